"""The schedules of fnopt in plain Python, one function each, from their equations.

Every function has its schedule's name and arguments, after the count ``t``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def constant_schedule(t: int, value: float) -> float:
    return value


def polynomial_schedule(
    t: int,
    init_value: float,
    end_value: float,
    power: float,
    transition_steps: float,
    transition_begin: float = 0,
) -> float:
    """A transition of no length never begins."""
    if transition_steps <= 0:
        return init_value
    done = min(max(t - max(transition_begin, 0), 0), transition_steps) / transition_steps
    return (init_value - end_value) * (1 - done) ** power + end_value


def linear_schedule(
    t: int,
    init_value: float,
    end_value: float,
    transition_steps: float,
    transition_begin: float = 0,
) -> float:
    begin = max(transition_begin, 0)
    if transition_steps <= 0:
        return init_value
    share = min(max(t - begin, 0), transition_steps) / transition_steps
    return init_value + (end_value - init_value) * share


def exponential_decay(
    t: int,
    init_value: float,
    transition_steps: float,
    decay_rate: float,
    transition_begin: float = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> float:
    """Without a length or a rate nothing decays, and then ``end_value`` bounds nothing."""
    if transition_steps <= 0 or decay_rate == 0:
        return init_value
    exponent = max(t - max(transition_begin, 0), 0) / transition_steps
    value = init_value * decay_rate ** (math.floor(exponent) if staircase else exponent)
    if end_value is None:
        return value
    return max(value, end_value) if decay_rate < 1 else min(value, end_value)


def natural_exponential_decay(t: int, init_value: float, k: float) -> float:
    return init_value * math.exp(-k * t)


def step_decay(t: int, init_value: float, factor: float, every: float) -> float:
    return init_value * factor ** math.floor(t / every)


def cosine_decay_schedule(
    t: int, init_value: float, decay_steps: float, alpha: float = 0.0, exponent: float = 1.0
) -> float:
    """Loshchilov & Hutter 2017, eq. 5, of the first period; then held."""
    wave = math.cos(math.pi * min(t / decay_steps, 1.0)) / 2 + 0.5
    return alpha * init_value + (1 - alpha) * init_value * wave**exponent


def warmup_cosine_decay_schedule(
    t: int,
    init_value: float,
    peak_value: float,
    warmup_steps: float,
    decay_steps: float,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> float:
    """As in optax, a peak of 0 has no share to fall to and stays 0."""
    if t < warmup_steps:
        return init_value + (peak_value - init_value) * t / warmup_steps
    if peak_value == 0:
        return 0.0
    since, length = t - warmup_steps, decay_steps - warmup_steps
    wave = (1 + math.cos(math.pi * min(since, length) / length)) / 2
    return end_value + (peak_value - end_value) * wave**exponent


def piecewise_constant_schedule(
    t: int, init_value: float, boundaries_and_scales: Mapping[float, float] | None = None
) -> float:
    passed = (f for b, f in (boundaries_and_scales or {}).items() if b <= t)
    return init_value * math.prod(passed)


def join_schedules(
    t: int, schedules: Sequence[Callable[[int], float] | float], boundaries: Sequence[int]
) -> float:
    """The last schedule that has begun, counting from its own beginning."""
    begun = [(b, s) for b, s in zip((0, *boundaries), schedules, strict=True) if b <= t]
    begin, schedule = begun[-1]
    return schedule(t - begin) if callable(schedule) else schedule


def ademamix_alpha_schedule(t: int, end_value: float, transition_steps: float) -> float:
    """Pagliardini, Ablin & Grangier 2024, section 3, where the first update is t = 1."""
    return min((t + 1) * end_value / transition_steps, end_value, key=abs)


def ademamix_b3_schedule(
    t: int, init_value: float, end_value: float, transition_steps: float
) -> float:
    """The same section; the paper's start is ``init_value``, its beta_3 ``end_value``."""
    if t + 1 >= transition_steps:
        return end_value
    start, end, share = math.log(init_value), math.log(end_value), (t + 1) / transition_steps
    return math.exp(start * end / ((1 - share) * end + share * start))


def warmup_constant_schedule(
    t: int, init_value: float, peak_value: float, warmup_steps: float
) -> float:
    if t >= warmup_steps:
        return peak_value
    return init_value + (peak_value - init_value) * t / warmup_steps


def warmup_exponential_decay_schedule(
    t: int,
    init_value: float,
    peak_value: float,
    warmup_steps: float,
    transition_steps: float,
    decay_rate: float,
    transition_begin: float = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> float:
    if t < warmup_steps:
        return init_value + (peak_value - init_value) * t / warmup_steps
    decay = (transition_steps, decay_rate, transition_begin, staircase, end_value)
    return exponential_decay(t - warmup_steps, peak_value, *decay)


def warmup_polynomial_decay_schedule(
    t: int,
    init_value: float,
    peak_value: float,
    warmup_steps: float,
    decay_steps: float,
    end_value: float = 0.0,
    power: float = 1.0,
) -> float:
    if t < warmup_steps:
        return init_value + (peak_value - init_value) * t / warmup_steps
    left = max(decay_steps - t, 0) / (decay_steps - warmup_steps)
    return (peak_value - end_value) * left**power + end_value


def rex_schedule(t: int, init_value: float, decay_steps: float, end_value: float = 0.0) -> float:
    """Chen, Wolfe & Kyrillidis 2022: the reflected exponential profile."""
    z = min(t / decay_steps, 1.0)
    return end_value + (init_value - end_value) * (1 - z) / (1 / 2 + 1 / 2 * (1 - z))


def power_cool_schedule(
    t: int, value: float, stable_steps: float, decay_steps: float, power: float = 1.2
) -> float:
    """Pande 2026: the smaller of a constant and c (T - t)**p, which meet after the stable part."""
    end, c = stable_steps + decay_steps, 1 / decay_steps**power
    return value * min(1.0, c * max(end - t, 0.0) ** power)


def inverse_time_decay(
    t: int,
    init_value: float,
    transition_steps: float,
    decay_rate: float,
    transition_begin: float = 0,
    staircase: bool = False,
) -> float:
    share = max(t - max(transition_begin, 0), 0) / transition_steps
    return init_value / (1 + decay_rate * (math.floor(share) if staircase else share))


def wsd_schedule(
    t: int,
    init_value: float,
    peak_value: float,
    warmup_steps: float,
    stable_steps: float,
    decay_steps: float,
    end_value: float = 0.0,
    decay: str = "linear",
) -> float:
    """Hu et al. 2024, section 4, with the shapes of Hägele et al. 2024."""
    if t < warmup_steps:
        return init_value + (peak_value - init_value) * t / warmup_steps
    begin = warmup_steps + stable_steps
    if t < begin:
        return peak_value
    if t >= begin + decay_steps:
        return end_value
    share = (t - begin) / decay_steps
    shapes = {
        "linear": 1 - share,
        "cosine": (1 + math.cos(math.pi * share)) / 2,
        "1-sqrt": 1 - math.sqrt(share),
    }
    return end_value + (peak_value - end_value) * shapes[decay]


def inverse_sqrt_schedule(
    t: int,
    init_value: float,
    peak_value: float,
    warmup_steps: float,
    timescale: float | None = None,
    cooldown_begin: float | None = None,
    cooldown_steps: float | None = None,
) -> float:
    """Zhai et al. 2022; without a timescale Vaswani et al. 2017, eq. 3, counted from 0."""
    if t < warmup_steps:
        value = init_value + (peak_value - init_value) * t / warmup_steps
    elif timescale is None:
        value = peak_value * math.sqrt(warmup_steps / t)
    else:
        value = peak_value / math.sqrt((t + timescale - warmup_steps) / timescale)
    if cooldown_begin is None or cooldown_steps is None:
        return value
    return value * min(max((cooldown_begin + cooldown_steps - t) / cooldown_steps, 0), 1)


def cyclic_schedule(
    t: int,
    base_value: float,
    max_value: float,
    step_size_up: float = 2000,
    step_size_down: float | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
) -> float:
    """Smith 2017, section 3 (cycles counted from 1)."""
    down = step_size_up if step_size_down is None else step_size_down
    cycle = math.floor(1 + t / (step_size_up + down))
    x = t - (cycle - 1) * (step_size_up + down)
    height = min(x / step_size_up, 1 - (x - step_size_up) / down)
    amplitude = {"triangular": 1, "triangular2": 1 / 2 ** (cycle - 1), "exp_range": gamma**t}
    return base_value + (max_value - base_value) * height * amplitude[mode]


def cosine_annealing_schedule(
    t: int, init_value: float, decay_steps: float, end_value: float = 0.0
) -> float:
    return end_value + (init_value - end_value) * (1 + math.cos(math.pi * t / decay_steps)) / 2


def _interpolated(t: int, shape: str, counts: Sequence[float], values: Sequence[float]) -> float:
    """Between the last count that is passed and the next; the last value is kept."""
    passed = max(i for i, count in enumerate(counts) if count <= t)
    if passed == len(counts) - 1:
        return values[-1]
    share = (t - counts[passed]) / (counts[passed + 1] - counts[passed])
    if shape == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return values[passed] + (values[passed + 1] - values[passed]) * share


def onecycle_schedule(
    t: int,
    init_value: float,
    peak_value: float,
    end_value: float,
    transition_steps: float,
    pct_start: float = 0.3,
    anneal: str = "cosine",
    three_phase: bool = False,
) -> float:
    top = pct_start * transition_steps - 1
    if three_phase:
        counts = [0, top, 2 * top, transition_steps - 1]
        return _interpolated(t, anneal, counts, [init_value, peak_value, init_value, end_value])
    counts = [0, top, transition_steps - 1]
    return _interpolated(t, anneal, counts, [init_value, peak_value, end_value])


def piecewise_interpolate_schedule(
    t: int,
    interpolate_type: str,
    init_value: float,
    boundaries_and_scales: Mapping[float, float] | None = None,
) -> float:
    table = sorted((boundaries_and_scales or {}).items())
    values = [init_value]
    for _, factor in table:
        values.append(values[-1] * factor)
    return _interpolated(t, interpolate_type, [0, *(b for b, _ in table)], values)


def linear_onecycle_schedule(
    t: int,
    transition_steps: float,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> float:
    first = peak_value / div_factor
    top, foot = int(pct_start * transition_steps), int(pct_final * transition_steps)
    values = [first, peak_value, first, first / final_div_factor]
    return _interpolated(t, "linear", [0, top, foot, transition_steps], values)


def cosine_onecycle_schedule(
    t: int,
    transition_steps: float,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> float:
    first = peak_value / div_factor
    counts = [0, int(pct_start * transition_steps), transition_steps]
    return _interpolated(t, "cosine", counts, [first, peak_value, first / final_div_factor])


def sgdr_schedule(t: float, cosine_kwargs: Sequence[Mapping[str, float]]) -> float:
    """The last wave goes on after its end."""
    for kwargs in cosine_kwargs[:-1]:
        if t < kwargs["decay_steps"]:
            return warmup_cosine_decay_schedule(t, **kwargs)
        t -= kwargs["decay_steps"]
    return warmup_cosine_decay_schedule(t, **cosine_kwargs[-1])


def cosine_warm_restarts(
    t: float,
    init_value: float,
    decay_steps: float,
    t_mult: float = 1.0,
    m_mult: float = 1.0,
    end_value: float = 0.0,
) -> float:
    """Loshchilov & Hutter 2017, eq. 5, restart by restart."""
    while t >= decay_steps:
        t, decay_steps, init_value = t - decay_steps, decay_steps * t_mult, init_value * m_mult
    return end_value + (init_value - end_value) * (1 + math.cos(math.pi * t / decay_steps)) / 2


def chebyshev_schedule(
    t: int,
    min_curvature: float,
    max_curvature: float,
    transition_steps: int,
    fractal: bool = True,
) -> float:
    """Agarwal, Goel & Zhang 2021: the steps, numbered from 1, and their order by its recurrence."""

    def sigma(T: int) -> list[int]:
        return [1] if T == 1 else [i for a in sigma(T // 2) for i in (a, T + 1 - a)]

    T, M, m = transition_steps, max_curvature, min_curvature
    i = (sigma(T) if fractal else range(1, T + 1))[t % T]
    return 1 / ((M + m) / 2 - (M - m) / 2 * math.cos((i - 1 / 2) * math.pi / T))


def multiplicative_schedule(
    t: int, init_value: float, factor: Callable[[int], float] | float, transition_steps: int
) -> float:
    for i in range(1, min(t, transition_steps) + 1):
        init_value *= _at(factor, i)
    return init_value


def _at(schedule: Callable[[Any], Any] | float, t: float) -> float:
    return float(schedule(t)) if callable(schedule) else schedule


def add_schedules(t: int, schedules: Sequence[Callable[[int], float] | float]) -> float:
    return sum(_at(schedule, t) for schedule in schedules)


def multiply_schedules(t: int, schedules: Sequence[Callable[[int], float] | float]) -> float:
    return math.prod(_at(schedule, t) for schedule in schedules)


def negate_schedule(t: int, schedule: Callable[[int], float] | float) -> float:
    return -_at(schedule, t)


def by_epoch(
    t: int,
    schedule: Callable[[int], float] | float,
    steps_per_epoch: float,
    staircase: bool = True,
) -> float:
    epochs = t / steps_per_epoch
    return _at(schedule, math.floor(epochs) if staircase else epochs)
