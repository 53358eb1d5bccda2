"""What the schedules' formulas are for: exact ends, Chebyshev's bound, pictures."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import fnopt

# In each a first value that would vanish beside the others if it were added to them.
TINY, BIG, LAST = 1e-9, 7.3, 3e-5
ENDS = [
    (fnopt.linear_schedule(TINY, BIG, 47), {0: TINY, 47: BIG, 99: BIG}),
    (fnopt.polynomial_schedule(TINY, BIG, 0.5, 47), {0: TINY, 47: BIG}),
    (fnopt.rex_schedule(BIG, 47, LAST), {0: BIG, 47: LAST, 99: LAST}),
    (fnopt.warmup_constant_schedule(TINY, BIG, 47), {0: TINY, 47: BIG}),
    (fnopt.warmup_constant_schedule(TINY, BIG, 0), {0: BIG, 5: BIG}),
    (fnopt.warmup_polynomial_decay_schedule(TINY, BIG, 47, 96, LAST), {0: TINY, 47: BIG, 96: LAST}),
    (fnopt.onecycle_schedule(TINY, BIG, LAST, 50, 0.5), {0: TINY, 24: BIG, 49: LAST, 99: LAST}),
    (fnopt.cyclic_schedule(TINY, BIG, 47, 49), {0: TINY, 47: BIG, 96: TINY}),
    (fnopt.cosine_annealing_schedule(BIG, 47, LAST), {0: BIG, 94: BIG}),
    (fnopt.cosine_warm_restarts(BIG, 47, 2), {0: BIG, 47: BIG, 141: BIG, 47 * 63: BIG}),
    (fnopt.piecewise_interpolate_schedule("cosine", 0.5, {47: 3, 98: 0}), {0: 0.5, 47: 1.5, 98: 0}),
    *(
        (
            fnopt.wsd_schedule(TINY, BIG, 47, 5, 49, LAST, decay),
            {0: TINY, 47: BIG, 52: BIG, 101: LAST, 200: LAST},
        )
        for decay in ("linear", "cosine", "1-sqrt")
    ),
]


@pytest.mark.parametrize(("schedule", "values"), ENDS, ids=lambda x: type(x).__name__)
def test_ends_are_exact(schedule, values):
    compiled = jax.jit(lambda schedule, count: schedule(count))
    for count, value in values.items():
        for got in (schedule(count), jax.jit(schedule)(count), compiled(schedule, count)):
            np.testing.assert_array_equal(got, np.float32(value))


def test_restarts_come_at_their_count_for_long():
    schedule = jax.jit(fnopt.cosine_warm_restarts(1.0, 3, 2))
    for restart in range(1, 20):
        begin = 3 * (2**restart - 1)
        assert schedule(begin) == 1 and schedule(begin - 1) < 0.3


def test_the_slope_of_a_growth_of_restarts_is_right_where_they_do_not_grow():
    schedule, step = fnopt.cosine_warm_restarts(1.0, 5.3, 1.0), 1e-6
    with jax.enable_x64(True):
        slope = jax.grad(lambda schedule: schedule(18))(schedule).t_mult
        higher = schedule.replace(t_mult=1 + step)(18)
        np.testing.assert_allclose(slope, (higher - schedule(18)) / step, rtol=1e-4)


@pytest.mark.parametrize("fractal", [True, False])
def test_chebyshev_steps_reach_their_bound(fractal):
    low, high, steps = 0.1, 1.0, 8
    curvatures = np.linspace(low, high, 1001)
    rates = np.asarray(fnopt.chebyshev_schedule(low, high, steps, fractal)(np.arange(2 * steps)))
    np.testing.assert_array_equal(rates[:steps], rates[steps:])
    left = np.prod(1 - rates[:steps, None] * curvatures, axis=0)
    bound = 1 / np.cosh(steps * np.arccosh((high + low) / (high - low)))
    np.testing.assert_allclose(np.abs(left).max(), bound, rtol=1e-4)
    assert rates.max() > 2 / high


def test_vaswanis_warm_up_counts_from_one():
    width, warmup = 64, 10
    peak = (width * warmup) ** -0.5
    schedule = fnopt.inverse_sqrt_schedule(peak / warmup, peak, warmup - 1, timescale=warmup)
    n = np.arange(1, 60)
    want = width**-0.5 * np.minimum(n**-0.5, n * warmup**-1.5)
    np.testing.assert_allclose(schedule(n - 1), want, rtol=1e-5)


def test_a_picture_of_schedules(tmp_path):
    pytest.importorskip("matplotlib")
    cosine = fnopt.cosine_decay_schedule(1.0, 9)
    axes = fnopt.plot(cosine, 10)
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(10))
    np.testing.assert_allclose(line.get_ydata(), cosine(np.arange(10)))
    assert line.get_label().replace("\n", " ") == repr(cosine)
    counts = np.array([0, 5, 50])
    again = fnopt.plot({"ours": cosine, "one": 1, "theirs": lambda t: 2 * t}, counts, axes=axes)
    assert again is axes and [x.get_label() for x in axes.lines[1:]] == ["ours", "one", "theirs"]
    np.testing.assert_array_equal(axes.lines[2].get_ydata(), 1)
    path = tmp_path / "new" / "rates.png"
    assert len(fnopt.plot([cosine, 0.5], 3, path).lines) == 2
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(TypeError, match=r"missing.*'steps'. Call fnopt.plot\(schedule, steps\)"):
        fnopt.plot(cosine)
    with pytest.raises(TypeError, match="plot: 'fast' is no schedule"):
        fnopt.plot("fast", 3)


REFUSED = [
    (lambda: fnopt.wsd_schedule(0, 1, 2, 3, 4, decay="sqrt"), ValueError, "decay must be one of"),
    (lambda: fnopt.wsd_schedule(0, 1, 2, -3, 4), ValueError, r"stable_steps .* \[0, inf\), got -3"),
    (lambda: fnopt.cyclic_schedule(0, 1, 2, mode="up"), ValueError, "mode must be one of"),
    (lambda: fnopt.onecycle_schedule(0, 1, 0, 9, 1.5), ValueError, r"pct_start .* \[0, 1\]"),
    (
        lambda: fnopt.onecycle_schedule(0, 1, 0, 9, 0.6, three_phase=True),
        ValueError,
        "at most 0.5 for three phases",
    ),
    (
        lambda: fnopt.linear_onecycle_schedule(9, 1.0, 0.9),
        ValueError,
        "pct_final must not lie before pct_start=0.9, got 0.85",
    ),
    (lambda: fnopt.cosine_onecycle_schedule(0, 1.0), ValueError, "transition_steps .* got 0"),
    (
        lambda: fnopt.piecewise_interpolate_schedule("linear", 1.0, {3: -1}),
        ValueError,
        "non-negative scales, got -1.0 at 3.0",
    ),
    (lambda: fnopt.inverse_sqrt_schedule(0, 1, 0), ValueError, "needs a timescale"),
    (
        lambda: fnopt.inverse_sqrt_schedule(0, 1, 9, cooldown_steps=5),
        ValueError,
        "needs cooldown_begin and cooldown_steps",
    ),
    (lambda: fnopt.cosine_warm_restarts(1.0, 5, 0.5), ValueError, r"t_mult .* \[1, inf\)"),
    (lambda: fnopt.chebyshev_schedule(1, 2, 6), ValueError, "power of 2 .* got 6"),
    (lambda: fnopt.chebyshev_schedule(2, 1, 4), ValueError, "above min_curvature=2, got 1"),
    (lambda: fnopt.chebyshev_schedule(1, 2, 0), ValueError, "must be at least 1, got 0"),
    (lambda: fnopt.multiplicative_schedule(1, 0.5, 2.5), TypeError, "an integer, got 2.5"),
    (lambda: fnopt.sgdr_schedule([]), TypeError, "cosine_kwargs: must be at least one"),
    (lambda: fnopt.sgdr_schedule([0.1]), TypeError, "dicts of the arguments"),
    (
        lambda: fnopt.warmup_polynomial_decay_schedule(0, 1, 5, 5),
        ValueError,
        "above warmup_steps=5, got 5",
    ),
]


@pytest.mark.parametrize(("make", "error", "says"), REFUSED, ids=[says for *_, says in REFUSED])
def test_refuses_bad_arguments(make, error, says):
    with pytest.raises(error, match=says):
        make()
