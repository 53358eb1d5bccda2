"""Sums, products and changes of time of schedules: the laws that they keep."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fnopt

COUNTS = np.arange(40)
VALUE = st.integers(-8, 8).map(lambda quarters: quarters / 4)
SCHEDULE = st.one_of(
    st.builds(fnopt.linear_schedule, VALUE, VALUE, st.integers(1, 30)),
    st.builds(fnopt.constant_schedule, VALUE),
    st.builds(fnopt.step_decay, VALUE, st.just(0.5), st.integers(1, 9)),
)
some = settings(max_examples=20, deadline=None)


@some
@given(SCHEDULE, SCHEDULE, VALUE)
def test_operations_are_those_of_the_values(a, b, number):
    for of in (
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: -a * (b - a),
        lambda a, b: number + a,
        lambda a, b: a + number,
        lambda a, b: number - a,
        lambda a, b: a - number,
        lambda a, b: number * a,
        lambda a, b: a * number,
        lambda a, b: +a,
    ):
        composed = of(a, b)
        assert isinstance(composed, fnopt.Schedule) and not isinstance(composed, tuple)
        want = of(np.asarray(a(COUNTS)), np.asarray(b(COUNTS)))
        np.testing.assert_allclose(composed(COUNTS), want, rtol=1e-6, atol=1e-6)
        assert eval(repr(composed), dict(vars(fnopt))) == composed == of(a, b)
        assert hash(composed) == hash(of(a, b))


@some
@given(SCHEDULE, st.integers(1, 9))
def test_a_schedule_of_epochs_is_asked_once_an_epoch(schedule, n):
    stairs = schedule.by_epoch(n)
    assert stairs == fnopt.by_epoch(schedule, n)
    np.testing.assert_array_equal(stairs(COUNTS), schedule(COUNTS // n))
    straight = schedule.by_epoch(n, staircase=False)
    np.testing.assert_allclose(straight(COUNTS), schedule(COUNTS / n), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("two", [2, 2.0, np.float32(2), np.float64(2), np.asarray(2.0)], ids=repr)
def test_any_number_stands_on_either_side(two):
    schedule = fnopt.linear_schedule(1.0, 0.0, 4)
    for doubled in (two * schedule, schedule * two, schedule.scaled(two)):
        np.testing.assert_array_equal(doubled(np.arange(3)), [2, 1.5, 1])
    assert schedule * two == schedule.scaled(2.0)


def test_any_callable_stands_on_either_side():
    schedule = fnopt.linear_schedule(1.0, 0.0, 4)
    for product in (schedule * (lambda t: t), (lambda t: t) * schedule):
        np.testing.assert_array_equal(product(np.arange(4)), [0, 0.75, 1, 0.75])


def test_every_number_of_a_composed_schedule_is_a_leaf():
    schedule = 2 * fnopt.linear_schedule(1.0, 0.5, 4) - fnopt.rex_schedule(0.3, 9).by_epoch(3)
    assert jax.tree.leaves(schedule) == [2, 1, 0.5, 4, 0, 0.3, 9, 0, 3]
    slopes = jax.grad(lambda schedule: schedule(2))(schedule)
    np.testing.assert_allclose(jax.tree.leaves(slopes)[:3], [0.75, 1, 1])
    tx = fnopt.adam(schedule)
    assert tx.replace(learning_rate=schedule * 0.5) != tx


def test_what_is_no_schedule_is_refused():
    schedule = fnopt.constant_schedule(1.0)
    with pytest.raises(TypeError, match=r"expected a schedule, a number .* got 'x'"):
        schedule * "x"
    with pytest.raises(TypeError, match="at least one schedule"):
        fnopt.add_schedules(())
    with pytest.raises(TypeError, match="sequence of at least one schedule"):
        fnopt.multiply_schedules(schedule)
    with pytest.raises(ValueError, match=r"steps_per_epoch must lie in \(0, inf\), got 0"):
        schedule.by_epoch(0)


def test_a_schedule_is_divided_by_a_number():
    schedule = fnopt.linear_schedule(1.0, 0.0, 10)
    assert float((schedule / 4)(5)) == 0.125
    with pytest.raises(TypeError):
        1 / schedule  # pyright: ignore
