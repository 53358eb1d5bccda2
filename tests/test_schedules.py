"""Every public schedule against its formula and optax, and as a value."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import schedules as oracles

import fnopt

SCHEDULES = {
    name: public
    for name, public in vars(fnopt).items()
    if isinstance(public, type)
    and issubclass(public, fnopt.Schedule)
    and public is not fnopt.Schedule
}
COUNTS = np.arange(60)

# Multiples of a quarter: single precision holds them, so no comparison turns by their rounding.
VALUE = st.integers(-40, 40).map(lambda quarters: quarters / 4)
FACTOR = st.integers(0, 8).map(lambda quarters: quarters / 4)
EXPONENT = st.sampled_from([0.25, 0.5, 1, 1.5, 2, 3])
LENGTH = st.integers(1, 50)
MAYBE_NO_LENGTH = st.integers(-1, 50)
AVERAGE = st.sampled_from([0.25, 0.5, 0.75, 0.875])


class Row(NamedTuple):
    """What one schedule is tested with.

    Attributes:
        example: arguments for which the schedule is smooth at every whole count below 9.
        arguments: a strategy for all of its arguments.
    """

    example: dict[str, Any]
    arguments: st.SearchStrategy[dict[str, Any]]


@st.composite
def _warmup_cosine(draw: Any) -> dict[str, Any]:
    numbers = draw(
        st.fixed_dictionaries(
            {"init_value": VALUE, "peak_value": VALUE, "warmup_steps": st.integers(0, 25)},
            optional={"end_value": VALUE, "exponent": EXPONENT},
        )
    )
    return {**numbers, "decay_steps": numbers["warmup_steps"] + draw(LENGTH)}


@st.composite
def _joined(draw: Any) -> dict[str, Any]:
    boundaries = sorted(draw(st.sets(LENGTH, max_size=3)))
    part = VALUE | st.sampled_from([lambda count: 2 * count - 10, lambda count: -count])
    parts = [draw(part) for _ in range(len(boundaries) + 1)]
    return {"schedules": parts, "boundaries": boundaries}


WARMED_UP = {"init_value": VALUE, "peak_value": VALUE, "warmup_steps": st.integers(0, 25)}
DIVISORS = {
    "div_factor": st.sampled_from([0.5, 2.0, 4.0, 25.0]),
    "final_div_factor": st.sampled_from([0.5, 2.0, 1024.0, 1e4]),
}
ANY = VALUE | st.sampled_from([lambda t: 2 * t - 10, fnopt.linear_schedule(4, 1, 8)])
SEVERAL = st.lists(ANY, min_size=1, max_size=3)
NATURAL = fnopt.natural_exponential_decay(0.7, 0.3)


def eighths(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low, high).map(lambda eighths: eighths / 8)


@st.composite
def _warmup_polynomial(draw: Any) -> dict[str, Any]:
    numbers = draw(
        st.fixed_dictionaries(WARMED_UP, optional={"end_value": VALUE, "power": EXPONENT})
    )
    return {**numbers, "decay_steps": numbers["warmup_steps"] + draw(LENGTH)}


@st.composite
def _inverse_sqrt(draw: Any) -> dict[str, Any]:
    numbers = draw(st.fixed_dictionaries({**WARMED_UP, "timescale": st.none() | LENGTH}))
    if numbers["timescale"] is None and not numbers["warmup_steps"]:
        numbers["timescale"] = draw(LENGTH)
    cooldown = {"cooldown_begin": st.integers(0, 50), "cooldown_steps": LENGTH}
    return {**numbers, **draw(st.just({}) | st.fixed_dictionaries(cooldown))}


@st.composite
def _onecycle(draw: Any) -> dict[str, Any]:
    three_phase = draw(st.booleans())
    numbers = {
        "init_value": VALUE,
        "peak_value": VALUE,
        "end_value": VALUE,
        "transition_steps": st.integers(9, 50),
        "pct_start": eighths(1, 4 if three_phase else 8),
        "anneal": st.sampled_from(["linear", "cosine"]),
        "three_phase": st.just(three_phase),
    }
    return draw(st.fixed_dictionaries(numbers))


@st.composite
def _linear_onecycle(draw: Any) -> dict[str, Any]:
    start = draw(st.integers(1, 6))
    numbers = {
        # Of fewer steps two boundaries are one, and optax's dict then loses a factor.
        "transition_steps": st.integers(8, 50),
        "peak_value": VALUE,
        "pct_start": st.just(start / 8),
        "pct_final": eighths(start + 1, 7),
    }
    return draw(st.fixed_dictionaries(numbers, optional=DIVISORS))


@st.composite
def _chebyshev(draw: Any) -> dict[str, Any]:
    fractal, low = draw(st.booleans()), draw(LENGTH) / 4
    return {
        "min_curvature": low,
        "max_curvature": low + draw(LENGTH) / 4,
        "transition_steps": draw(st.sampled_from([1, 2, 4, 8, 16, 32]) if fractal else LENGTH),
        "fractal": fractal,
    }


@st.composite
def _sgdr(draw: Any) -> dict[str, Any]:
    return {"cosine_kwargs": draw(st.lists(_warmup_cosine(), min_size=1, max_size=3))}


ROWS = {
    "constant_schedule": Row({"value": 0.3}, st.fixed_dictionaries({"value": VALUE})),
    "polynomial_schedule": Row(
        {
            "init_value": 1.0,
            "end_value": 0.1,
            "power": 1.7,
            "transition_steps": 5.7,
            "transition_begin": 1.5,
        },
        st.fixed_dictionaries(
            {
                "init_value": VALUE,
                "end_value": VALUE,
                "power": EXPONENT,
                "transition_steps": MAYBE_NO_LENGTH,
            },
            optional={"transition_begin": MAYBE_NO_LENGTH},
        ),
    ),
    "linear_schedule": Row(
        {"init_value": 1.0, "end_value": 0.1, "transition_steps": 5.7, "transition_begin": 1.5},
        st.fixed_dictionaries(
            {"init_value": VALUE, "end_value": VALUE, "transition_steps": MAYBE_NO_LENGTH},
            optional={"transition_begin": MAYBE_NO_LENGTH},
        ),
    ),
    "exponential_decay": Row(
        {
            "init_value": 1.0,
            "transition_steps": 2.3,
            "decay_rate": 0.5,
            "transition_begin": 1.5,
            "end_value": 0.2,
        },
        st.fixed_dictionaries(
            {"init_value": VALUE, "transition_steps": MAYBE_NO_LENGTH, "decay_rate": FACTOR},
            optional={
                "transition_begin": MAYBE_NO_LENGTH,
                "staircase": st.booleans(),
                "end_value": VALUE | st.none(),
            },
        ),
    ),
    "natural_exponential_decay": Row(
        {"init_value": 0.7, "k": 0.3},
        st.fixed_dictionaries({"init_value": VALUE, "k": FACTOR}),
    ),
    "step_decay": Row(
        {"init_value": 0.7, "factor": 0.5, "every": 2.3},
        st.fixed_dictionaries({"init_value": VALUE, "factor": FACTOR, "every": LENGTH}),
    ),
    "cosine_decay_schedule": Row(
        {"init_value": 0.7, "decay_steps": 6.5, "alpha": 0.1, "exponent": 1.7},
        st.fixed_dictionaries(
            {"init_value": VALUE, "decay_steps": LENGTH},
            optional={"alpha": VALUE, "exponent": EXPONENT},
        ),
    ),
    "warmup_cosine_decay_schedule": Row(
        {
            "init_value": 0.2,
            "peak_value": 0.7,
            "warmup_steps": 2.5,
            "decay_steps": 7.5,
            "end_value": 0.1,
            "exponent": 1.7,
        },
        _warmup_cosine(),
    ),
    "piecewise_constant_schedule": Row(
        {"init_value": 0.7, "boundaries_and_scales": {2.5: 0.5, 6.5: 0.25}},
        st.fixed_dictionaries(
            {"init_value": VALUE},
            optional={
                "boundaries_and_scales": st.none() | st.dictionaries(LENGTH, FACTOR, max_size=3)
            },
        ),
    ),
    "piecewise_interpolate_schedule": Row(
        {
            "interpolate_type": "cosine",
            "init_value": 0.7,
            "boundaries_and_scales": {2.5: 0.5, 6.5: 0.25},
        },
        st.fixed_dictionaries(
            {"interpolate_type": st.sampled_from(["linear", "cosine"]), "init_value": VALUE},
            optional={
                "boundaries_and_scales": st.none()
                | st.dictionaries(st.integers(0, 50), FACTOR, max_size=3)
            },
        ),
    ),
    "linear_onecycle_schedule": Row(
        {
            "transition_steps": 8.4,
            "peak_value": 0.7,
            "pct_start": 0.3,
            "pct_final": 0.7,
            "div_factor": 3.0,
            "final_div_factor": 5.0,
        },
        _linear_onecycle(),
    ),
    "cosine_onecycle_schedule": Row(
        {
            "transition_steps": 8.4,
            "peak_value": 0.7,
            "pct_start": 0.3,
            "div_factor": 3.0,
            "final_div_factor": 5.0,
        },
        st.fixed_dictionaries(
            {
                "transition_steps": st.integers(8, 50),
                "peak_value": VALUE,
                "pct_start": eighths(1, 7),
            },
            optional=DIVISORS,
        ),
    ),
    "onecycle_schedule": Row(
        {
            "init_value": 0.2,
            "peak_value": 0.7,
            "end_value": 0.1,
            "transition_steps": 8.4,
            "pct_start": 0.31,
            "three_phase": True,
        },
        _onecycle(),
    ),
    "cyclic_schedule": Row(
        {
            "base_value": 0.2,
            "max_value": 0.7,
            "step_size_up": 2.37,
            "step_size_down": 1.4,
            "mode": "exp_range",
            "gamma": 0.6,
        },
        st.fixed_dictionaries(
            {"base_value": VALUE, "max_value": VALUE, "step_size_up": LENGTH},
            optional={
                "step_size_down": st.none() | LENGTH,
                "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
                "gamma": st.sampled_from([0.5, 0.75, 1.0]),
            },
        ),
    ),
    "cosine_annealing_schedule": Row(
        {"init_value": 0.7, "decay_steps": 3.3, "end_value": 0.1},
        st.fixed_dictionaries(
            {"init_value": VALUE, "decay_steps": LENGTH}, optional={"end_value": VALUE}
        ),
    ),
    "cosine_warm_restarts": Row(
        {"init_value": 0.7, "decay_steps": 1.3, "t_mult": 1.7, "m_mult": 0.9, "end_value": 0.1},
        st.fixed_dictionaries(
            {"init_value": VALUE, "decay_steps": LENGTH},
            optional={
                "t_mult": st.sampled_from([1, 1.5, 2, 3]),
                "m_mult": st.sampled_from([0.5, 0.75, 1]),
                "end_value": VALUE,
            },
        ),
    ),
    "sgdr_schedule": Row(
        {
            "cosine_kwargs": [
                {"init_value": 0.2, "peak_value": 0.7, "warmup_steps": 1.5, "decay_steps": 3.4},
                {
                    "init_value": 0.1,
                    "peak_value": 0.5,
                    "warmup_steps": 1.7,
                    "decay_steps": 4.4,
                    "end_value": 0.1,
                    "exponent": 1.3,
                },
            ]
        },
        _sgdr(),
    ),
    "warmup_constant_schedule": Row(
        {"init_value": 0.2, "peak_value": 0.7, "warmup_steps": 4.5},
        # Without a warm-up optax's stays at init_value for ever.
        st.fixed_dictionaries({"init_value": VALUE, "peak_value": VALUE, "warmup_steps": LENGTH}),
    ),
    "warmup_exponential_decay_schedule": Row(
        {
            "init_value": 0.2,
            "peak_value": 0.7,
            "warmup_steps": 2.5,
            "transition_steps": 2.3,
            "decay_rate": 0.5,
            "transition_begin": 1.2,
            "end_value": 0.2,
        },
        st.fixed_dictionaries(
            {**WARMED_UP, "transition_steps": MAYBE_NO_LENGTH, "decay_rate": FACTOR},
            optional={
                "transition_begin": MAYBE_NO_LENGTH,
                "staircase": st.booleans(),
                "end_value": VALUE | st.none(),
            },
        ),
    ),
    "warmup_polynomial_decay_schedule": Row(
        {
            "init_value": 0.2,
            "peak_value": 0.7,
            "warmup_steps": 2.5,
            "decay_steps": 7.5,
            "end_value": 0.1,
            "power": 1.7,
        },
        _warmup_polynomial(),
    ),
    "rex_schedule": Row(
        {"init_value": 0.7, "decay_steps": 6.5, "end_value": 0.1},
        st.fixed_dictionaries(
            {"init_value": VALUE, "decay_steps": LENGTH}, optional={"end_value": VALUE}
        ),
    ),
    "power_cool_schedule": Row(
        {"value": 0.7, "stable_steps": 2.5, "decay_steps": 5.3, "power": 1.2},
        st.fixed_dictionaries(
            {"value": VALUE, "stable_steps": st.integers(0, 25), "decay_steps": LENGTH},
            optional={"power": EXPONENT},
        ),
    ),
    "inverse_time_decay": Row(
        {"init_value": 0.7, "transition_steps": 2.3, "decay_rate": 0.5, "transition_begin": 1.5},
        st.fixed_dictionaries(
            {"init_value": VALUE, "transition_steps": LENGTH, "decay_rate": FACTOR},
            optional={"transition_begin": MAYBE_NO_LENGTH, "staircase": st.booleans()},
        ),
    ),
    "wsd_schedule": Row(
        {
            "init_value": 0.2,
            "peak_value": 0.7,
            "warmup_steps": 2.5,
            "stable_steps": 1.2,
            "decay_steps": 3.6,
            "end_value": 0.1,
            "decay": "1-sqrt",
        },
        st.fixed_dictionaries(
            {**WARMED_UP, "stable_steps": st.integers(0, 25), "decay_steps": st.integers(0, 25)},
            optional={
                "end_value": VALUE,
                "decay": st.sampled_from(["linear", "cosine", "1-sqrt"]),
            },
        ),
    ),
    "inverse_sqrt_schedule": Row(
        {
            "init_value": 0.2,
            "peak_value": 0.7,
            "warmup_steps": 2.5,
            "timescale": 1.7,
            "cooldown_begin": 5.5,
            "cooldown_steps": 2.8,
        },
        _inverse_sqrt(),
    ),
    "chebyshev_schedule": Row(
        {"min_curvature": 0.3, "max_curvature": 1.7, "transition_steps": 4}, _chebyshev()
    ),
    "multiplicative_schedule": Row(
        {"init_value": 0.7, "factor": NATURAL, "transition_steps": 6},
        st.fixed_dictionaries(
            {
                "init_value": VALUE,
                "factor": FACTOR | st.sampled_from([lambda t: 1 - 1 / (t + 1)]),
                "transition_steps": st.sampled_from([1, 5, 59]),
            }
        ),
    ),
    "add_schedules": Row(
        {"schedules": (0.3, NATURAL)}, st.fixed_dictionaries({"schedules": SEVERAL})
    ),
    "multiply_schedules": Row(
        {"schedules": (0.3, NATURAL)}, st.fixed_dictionaries({"schedules": SEVERAL})
    ),
    "negate_schedule": Row({"schedule": NATURAL}, st.fixed_dictionaries({"schedule": ANY})),
    "by_epoch": Row(
        {"schedule": NATURAL, "steps_per_epoch": 2.3, "staircase": False},
        st.fixed_dictionaries(
            {"schedule": ANY, "steps_per_epoch": LENGTH}, optional={"staircase": st.just(True)}
        ),
    ),
    "join_schedules": Row(
        {
            "schedules": (
                0.3,
                fnopt.linear_schedule(0.5, 0.1, 3.5),
                fnopt.natural_exponential_decay(0.2, 0.3),
            ),
            "boundaries": (2.5, 5.5),
        },
        _joined(),
    ),
    "ademamix_alpha_schedule": Row(
        {"end_value": 0.7, "transition_steps": 12.5},
        st.fixed_dictionaries({"end_value": VALUE, "transition_steps": LENGTH}),
    ),
    "ademamix_b3_schedule": Row(
        {"init_value": 0.2, "end_value": 0.6, "transition_steps": 12.5},
        st.fixed_dictionaries(
            {"init_value": AVERAGE, "end_value": AVERAGE, "transition_steps": LENGTH}
        ),
    ),
}
BESIDE_OPTAX = [name for name in ROWS if hasattr(optax, name)]

every_schedule = pytest.mark.parametrize("name", ROWS)
some_arguments = settings(max_examples=15, deadline=None)


def example(name: str) -> fnopt.Schedule:
    return SCHEDULES[name](**ROWS[name].example)


def numbers_scaled(schedule: Any, by: float) -> Any:
    """Another schedule of the same structure."""
    return jax.tree.map(lambda x: x * by, schedule)


def formula(name: str, arguments: dict[str, Any]) -> list[float]:
    return [getattr(oracles, name)(int(t), **arguments) for t in COUNTS]


def assert_equal_to_rounding(got: Any, want: Any) -> None:
    precision = jnp.finfo(jnp.result_type(float)).eps
    size = np.abs(want).max() + 10  # the largest of VALUE: what cancels within a formula
    np.testing.assert_allclose(got, want, rtol=300 * precision, atol=10 * precision * size)


def test_every_public_schedule_has_a_row():
    assert set(ROWS) == set(SCHEDULES)


@every_schedule
@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_is_its_formula_in_the_precision_of_the_session(name, x64):
    @some_arguments
    @given(ROWS[name].arguments)
    def check(arguments):
        with jax.enable_x64(x64):
            got = SCHEDULES[name](**arguments)(COUNTS)
            assert got.dtype == (np.float64 if x64 else np.float32)
            assert_equal_to_rounding(got, formula(name, arguments))

    check()


@pytest.mark.beside_optax
@pytest.mark.parametrize("name", BESIDE_OPTAX)
def test_is_optaxs_schedule_of_that_name(name):
    @some_arguments
    @given(ROWS[name].arguments)
    def check(arguments):
        theirs = dict(arguments)
        if name == "join_schedules":  # optax's joins functions only
            theirs["schedules"] = [
                x if callable(x) else optax.constant_schedule(x) for x in arguments["schedules"]
            ]
        schedule = getattr(optax, name)(**theirs)
        # One by one: of an array of counts, optax's stairs and ends may come late, as tested below.
        want = np.array([schedule(int(t)) for t in COUNTS])
        assert_equal_to_rounding(SCHEDULES[name](**arguments)(COUNTS), want)

    check()


@every_schedule
def test_the_first_update_uses_the_value_at_0(name):
    schedule = example(name)
    tx = fnopt.sgd(schedule)
    state = tx.init(jnp.zeros(()))
    for count in range(5):
        update, state = tx.update(jnp.ones(()), state)
        np.testing.assert_allclose(update, -schedule(count), rtol=1e-6)


@every_schedule
def test_takes_any_count(name):
    schedule = example(name)
    want = np.array(formula(name, ROWS[name].example), np.float32)
    array = schedule(COUNTS)
    assert array.shape == COUNTS.shape and not array.weak_type
    np.testing.assert_allclose(array, want, rtol=1e-5, atol=1e-7)
    as_argument = jax.jit(lambda schedule, count: schedule(count))
    for count in (0, 3, 8):
        for given_count in (count, float(count), np.int64(count), jnp.int32(count)):
            one = schedule(given_count)
            assert one.shape == () and one.dtype == np.float32 and not one.weak_type
            np.testing.assert_allclose(one, want[count], rtol=1e-5, atol=1e-7)
        for compiled in (jax.jit(schedule)(count), as_argument(schedule, count)):
            np.testing.assert_allclose(compiled, want[count], rtol=1e-5, atol=1e-7)


@every_schedule
def test_a_batch_of_schedules_is_each_of_them(name):
    several = [numbers_scaled(example(name), by) for by in (1.0, 1.25, 1.5)]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *several)
    got = jax.vmap(lambda schedule: schedule(COUNTS))(batch)
    np.testing.assert_allclose(got, [one(COUNTS) for one in several], rtol=1e-5, atol=1e-7)


@every_schedule
def test_the_derivative_by_every_number_is_the_finite_difference(name):
    counts = COUNTS[:9]
    with jax.enable_x64(True):
        numbers, structure = jax.tree.flatten(example(name))

        def rates(numbers):
            return structure.unflatten(list(numbers))(counts)

        got = jax.jacrev(rates)(jnp.array(numbers))
        shifts = 1e-6 * np.eye(len(numbers))
        want = [(rates(numbers + shift) - rates(numbers - shift)) / 2e-6 for shift in shifts]
        np.testing.assert_allclose(got, np.transpose(want), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ROWS)
def test_derivatives_are_finite_at_every_count(name):
    gradient = jax.jit(jax.grad(lambda schedule: schedule(COUNTS).sum()))

    @some_arguments
    @given(ROWS[name].arguments)
    def check(arguments):
        slopes = gradient(SCHEDULES[name](**arguments))
        assert np.isfinite(jax.tree.leaves(slopes)).all(), slopes

    check()


def test_a_length_has_a_derivative():
    schedule = fnopt.cosine_decay_schedule(1.0, decay_steps=10)
    slope = jax.grad(lambda schedule: schedule(5))(schedule).decay_steps
    # d/dT of (1 + cos(5 pi / T)) / 2
    np.testing.assert_allclose(slope, math.pi / 40, rtol=1e-5)


def traces_of(schedules: list[Any]) -> int:
    """How often a jitted function is traced for these arguments."""
    traces = []

    @jax.jit
    def rate(schedule, count):
        traces.append(count)
        return schedule(count)

    for schedule in schedules:
        rate(schedule, 3).block_until_ready()
    return len(traces)


def test_twenty_cosines_are_one_program():
    assert traces_of([fnopt.cosine_decay_schedule(0.1 * i, 10 + i) for i in range(20)]) == 1


def test_any_kind_of_scalar_is_the_same_value():
    kinds = [int, float, np.float32, np.int64, jnp.float32, jnp.int32, np.array]
    ours = [fnopt.warmup_cosine_decay_schedule(*map(kind, (0, 2, 3, 10))) for kind in kinds]
    assert all(schedule == ours[0] and repr(schedule) == repr(ours[0]) for schedule in ours)
    assert traces_of(ours) == 1
    tables = [fnopt.piecewise_constant_schedule(kind(1), {kind(2): kind(3)}) for kind in kinds[:-3]]
    assert traces_of(tables) == 1


@every_schedule
def test_is_a_value(name):
    schedule = example(name)
    copies = (
        pickle.loads(pickle.dumps(schedule)),
        copy.deepcopy(schedule),
        copy.copy(schedule),
        schedule.replace(),
        eval(repr(schedule), dict(vars(fnopt))),
        jax.tree.map(lambda x: x, schedule),
    )
    for same in copies:
        assert same == schedule and hash(same) == hash(schedule) and repr(same) == repr(schedule)
        assert same(3) == schedule(3)
    other = numbers_scaled(schedule, 2.0)
    assert other != schedule and hash(other) == hash(schedule)
    assert all(schedule != example(another) for another in ROWS if another != name)


def test_replace_checks_what_is_new():
    schedule = fnopt.cosine_decay_schedule(1.0, 10)
    assert schedule.replace(decay_steps=20) == fnopt.cosine_decay_schedule(1.0, 20)
    with pytest.raises(ValueError, match=r"decay_steps must lie in \(0, inf\), got -1"):
        schedule.replace(decay_steps=-1)


@pytest.mark.beside_optax
def test_joins_whatever_stands_for_a_schedule():
    parts = (
        1,
        fnopt.linear_schedule(1.0, 0.0, 4),
        lambda t: 0.1 * t,
        optax.linear_schedule(5, 3, 2),
    )
    joined = fnopt.join_schedules(parts, (2, 4, 6))
    np.testing.assert_allclose(joined(np.arange(10)), [1, 1, 1, 0.75, 0, 0.1, 5, 4, 3, 3])
    assert joined == fnopt.join_schedules(parts, (2, 4, 6))
    assert joined != fnopt.join_schedules((*parts[:-1], optax.linear_schedule(5, 3, 2)), (2, 4, 6))


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("length", [41, 47, 49, 55, 98])
def test_ends_and_stairs_come_at_their_count(length, x64):
    """XLA divides by a constant with its reciprocal, and 47 * (1 / 47) is below 1."""
    with jax.enable_x64(x64):
        for stairs in (
            fnopt.step_decay(1.0, 0.5, length),
            fnopt.exponential_decay(1.0, length, 0.5, staircase=True),
        ):
            assert jax.jit(stairs)(jnp.arange(3) * length).tolist() == [1, 0.5, 0.25]
        curve = fnopt.polynomial_schedule(0.0, 1.0, 0.25, length)
        np.testing.assert_allclose(jax.jit(curve)(length), 1, rtol=1e-6)


def test_a_schedule_does_not_count_before_its_turn():
    joined = fnopt.join_schedules((1.0, fnopt.natural_exponential_decay(0.5, 1.0)), (200,))
    slopes = jax.grad(lambda schedule: schedule(0))(joined)  # exp(200) is no single
    assert jax.tree.leaves(slopes) == [1, 0, 0, 0]


def test_natural_exponential_decay_is_its_differential_equation():
    schedule = fnopt.natural_exponential_decay(2.0, 0.25)
    slope = jax.grad(schedule)(3.0)
    np.testing.assert_allclose(slope, -0.25 * schedule(3), rtol=1e-6)
    np.testing.assert_allclose(schedule(4), 2 / math.e, rtol=1e-6)


def test_step_decay_counts_updates():
    schedule = fnopt.step_decay(1.0, 0.5, every=3)
    assert schedule(np.arange(8)).tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


REFUSED = [
    (lambda: fnopt.constant_schedule("fast"), TypeError, "value must be a number .* got 'fast'"),
    (lambda: fnopt.constant_schedule(True), TypeError, "value must be a number .* got True"),
    (lambda: fnopt.linear_schedule(1.0, None, 5), TypeError, "end_value must be a number"),
    (lambda: fnopt.step_decay(1.0, 0.5, 0), ValueError, r"every must lie in \(0, inf\), got 0"),
    (
        lambda: fnopt.cosine_decay_schedule(1.0, -2),
        ValueError,
        r"cosine_decay_schedule: decay_steps must lie in \(0, inf\), got -2",
    ),
    (
        lambda: fnopt.cosine_decay_schedule(1.0, math.nan),
        ValueError,
        r"decay_steps must lie in \(0, inf\), got nan",
    ),
    (
        lambda: fnopt.warmup_cosine_decay_schedule(0.0, 1.0, 10, 10),
        ValueError,
        "decay_steps .* must be above warmup_steps=10, got 10",
    ),
    (
        lambda: fnopt.warmup_cosine_decay_schedule(0.0, 1.0, 10, 5),
        ValueError,
        "decay_steps .* must be above warmup_steps=10, got 5",
    ),
    (
        lambda: fnopt.warmup_cosine_decay_schedule(0.0, 1.0, -3, 5),
        ValueError,
        r"warmup_steps must lie in \[0, inf\), got -3",
    ),
    (
        lambda: fnopt.piecewise_constant_schedule(1.0, {3: -0.5}),
        ValueError,
        "non-negative scales, got -0.5 at 3",
    ),
    (
        lambda: fnopt.piecewise_constant_schedule(1.0, {3: "half"}),
        TypeError,
        "boundaries_and_scales.* got 'half'",
    ),
    (
        lambda: fnopt.join_schedules((1.0, 2.0), (3, 6)),
        ValueError,
        "2 schedules need 1 boundaries, got 2",
    ),
    (
        lambda: fnopt.join_schedules((1.0, 2.0, 3.0), (6, 3)),
        ValueError,
        r"boundaries must not fall, got \(6.0, 3.0\)",
    ),
    (
        lambda: fnopt.join_schedules((1.0, "x"), (3,)),
        TypeError,
        "expected a schedule.* got 'x'",
    ),
    (lambda: fnopt.join_schedules((1.0, 2.0), ("x",)), TypeError, "boundaries.* got 'x'"),
]


@pytest.mark.parametrize(("make", "error", "says"), REFUSED, ids=[says for *_, says in REFUSED])
def test_refuses_bad_arguments(make, error, says):
    with pytest.raises(error, match=says):
        make()
