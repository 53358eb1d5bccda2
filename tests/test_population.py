"""The step of population based training: which runs are copied, and what varies in the copies."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_same
from models import function_task

import fnopt
from fnopt.sweeps.population import exploit_and_explore
from fnopt.train import TrainState

NAN, INF = float("nan"), float("inf")
RATES = jnp.geomspace(1e-3, 1.0, 10)
SCORES = jnp.array([5.0, 1.0, 9.0, 3.0, 8.0, 2.0, 7.0, 4.0, 6.0, 0.0])
RANGE = {"learning_rate": (1e-4, 10.0)}


@functools.cache
def population():
    """Ten train states with their own rates and keys, as a sweep stacks them."""
    task = function_task()

    def create(rate, key):
        state = TrainState.create(task, fnopt.adamw(0.1, weight_decay=0.5), key)
        tx = state.tx.replace(learning_rate=rate)
        noise = jax.tree.map(lambda x: jax.random.normal(key, x.shape, x.dtype), state.params)
        return state.replace(tx=tx, params=noise, opt_state=state.opt_state)

    return jax.vmap(create)(RATES, jax.random.split(jax.random.key(1), 10))


def stacked(*trees):
    return jax.tree.map(lambda *leaves: jnp.array(leaves), *trees)


step_of = jax.jit(functools.partial(exploit_and_explore, hyperparameters=RANGE))


def run_of(tree, number):
    """What a tree has of one run, its keys as numbers."""
    keys = jax.dtypes.prng_key
    plain = [
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, keys) else leaf
        for leaf in jax.tree.leaves(tree)
    ]
    return [np.asarray(leaf)[number] for leaf in plain]


def test_the_worst_become_copies_of_the_best():
    before = population()
    after, sources = step_of(jax.random.key(0), before, SCORES)
    sources = sources.tolist()
    assert {sources[2], sources[4]} <= {9, 1}  # two of ten
    others = [0, 1, 3, 5, 6, 7, 8, 9]
    assert [sources[i] for i in others] == others
    assert jax.tree.structure(before) == jax.tree.structure(after)
    for i in others:
        assert_same(run_of(after, i), run_of(before, i))
    for i in (2, 4):
        copied, source = ((x.params, x.opt_state) for x in (after, before))
        assert_same(run_of(copied, i), run_of(source, sources[i]))
        ratio = float(after.tx.learning_rate[i] / RATES[sources[i]])
        assert ratio == pytest.approx(0.8) or ratio == pytest.approx(1.2)
        assert float(after.tx.weight_decay[i]) == 0.5


def test_a_copy_draws_its_own_batches_and_dropout():
    after = step_of(jax.random.key(0), population(), SCORES).states
    assert_same(jax.random.key_data(after.key), jax.random.key_data(population().key))


def many(scores, number=400, **options):
    """The sources and the rates of many steps."""

    def one(key):
        tx = fnopt.sgd(RATES[: len(scores)])
        step = exploit_and_explore(key, tx, jnp.asarray(scores), RANGE, **options)
        return step.sources, step.states.learning_rate

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), number))


def test_sources_and_factors_are_drawn_evenly():
    sources, rates = map(np.asarray, many(SCORES))
    counts = [np.sum(sources[:, i] == j) for i in (2, 4) for j in (9, 1)]
    assert all(abs(count - 200) < 40 for count in counts)  # four standard deviations
    factors = rates[:, 2] / np.asarray(RATES)[sources[:, 2]]
    up = np.isclose(factors, 1.2)
    assert np.isclose(factors[~up], 0.8).all() and abs(up.sum() - 200) < 40
    # Of one step the runs draw by themselves.
    assert 150 < np.sum(sources[:, 2] == sources[:, 4]) < 250
    factors_of_4 = rates[:, 4] / np.asarray(RATES)[sources[:, 4]]
    assert 150 < np.sum(np.isclose(factors, factors_of_4)) < 250


@pytest.mark.parametrize(
    ("scores", "mode", "share", "replaced", "best"),
    [
        ([1, 2, 3, 4, 5], "min", 0.2, {4}, {0}),
        ([1, 2, 3, 4, 5], "max", 0.2, {0}, {4}),
        ([1, 2, 3, 4, 5], "min", 0.4, {3, 4}, {0, 1}),
        ([2, 1], "min", 0.2, {0}, {1}),  # one at least
        ([7, 7, 7, 7], "min", 0.5, {2, 3}, {0, 1}),
        ([1, NAN, NAN, NAN, 2, 3, 4, 5], "min", 0.2, {1, 2, 3}, {0}),
        ([NAN, INF, 3, -INF], "max", 0.5, {0, 1, 3}, {2}),
        ([NAN, 3, NAN, NAN], "min", 0.5, {0, 2, 3}, {1}),
        ([NAN, NAN, INF], "min", 0.3, set(), set()),
    ],
)
def test_truncation_selection(scores, mode, share, replaced, best):
    sources, _ = many(np.array(scores, np.float32), 50, mode=mode, share=share)
    changed = np.asarray(sources) != np.arange(len(scores))
    assert set(np.flatnonzero(changed.any(0))) == replaced == set(np.flatnonzero(changed.all(0)))
    assert set(np.asarray(sources)[changed]) == best


def test_what_is_varied_stays_in_its_range():
    tx = stacked(fnopt.adamw(0.9, b1=0.95), fnopt.adamw(0.1, b1=0.5))
    scores = jnp.array([0.0, 1.0])
    ranges = {"learning_rate": (0.0, 1.0), "b1": (0.94, 0.99)}
    step = exploit_and_explore(0, tx, scores, ranges, factors=[1.5])
    np.testing.assert_allclose(step.states.learning_rate, [0.9, 1.0])
    np.testing.assert_allclose(step.states.b1, [0.95, 0.99])
    step = exploit_and_explore(0, tx, scores, ranges, factors=[0.5])
    np.testing.assert_allclose(step.states.learning_rate, [0.9, 0.45])
    np.testing.assert_allclose(step.states.b1, [0.95, 0.94])


def test_numbers_of_one_name_keep_their_ratio():
    pair = jnp.array([0.5, 0.7])
    tx = fnopt.chain(fnopt.sgd(pair), fnopt.sgd(2 * pair))
    for seed in range(5):
        states = exploit_and_explore(seed, tx, jnp.array([0.0, 1.0]), RANGE).states
        first, second = (part.learning_rate for part in states.transforms)
        np.testing.assert_allclose(second, 2 * first, rtol=1e-6)
        assert float(first[0]) == 0.5 and float(first[1]) in map(np.float32, (0.4, 0.6))


def test_a_schedule_is_varied_by_its_own_numbers():
    schedule = jax.vmap(lambda rate: fnopt.cosine_decay_schedule(rate, 10))(jnp.array([0.5, 0.7]))
    tx = fnopt.sgd(schedule)
    for name in ("learning_rate.init_value", "learning_rate/init_value", "init_value"):
        states = exploit_and_explore(
            0, tx, jnp.array([0.0, 1.0]), {name: (0.0, 1.0)}, factors=[0.8]
        ).states
        np.testing.assert_allclose(states.learning_rate.init_value, [0.5, 0.4])
        np.testing.assert_allclose(states.learning_rate.decay_steps, [10, 10])


def test_a_schedule_is_varied_as_a_whole_where_it_is_in_the_range():
    """One factor for both ends; the number of steps is no learning rate."""
    rates = jnp.array([0.5, 0.7])
    schedule = jax.vmap(lambda rate: fnopt.linear_schedule(rate, rate / 10, 20))(rates)
    tx, scores = fnopt.chain(fnopt.sgd(schedule), fnopt.scale(-1.0)), jnp.array([0.0, 1.0])
    tx = jax.tree.map(lambda x: jnp.broadcast_to(x, (2, *jnp.shape(x)[1:])), tx)
    for seed in range(4):
        states = exploit_and_explore(seed, tx, scores, {"learning_rate": (0.01, 0.55)}).states
        moved = states.transforms[0].learning_rate
        assert float(moved.end_value[1]) in (pytest.approx(0.04), pytest.approx(0.06))
        up = float(moved.end_value[1]) > 0.05
        assert float(moved.init_value[1]) == pytest.approx(0.55 if up else 0.4)
        np.testing.assert_allclose(moved.transition_steps, [20, 20])


def test_parameters_with_the_name_of_a_hyperparameter_stay():
    state = population()
    params = {"learning_rate": jnp.ones(10)}
    state = TrainState(**{**vars(state), "params": params})
    after = step_of(jax.random.key(0), state, SCORES).states
    assert_same(after.params, params)
    assert not np.array_equal(after.tx.learning_rate, RATES)


def test_compiled_it_is_the_same_and_one_program():
    step = jax.jit(lambda key, tx, scores: exploit_and_explore(key, tx, scores, RANGE))
    tx = fnopt.sgd(RATES)
    for seed in range(2):
        eager = exploit_and_explore(seed, tx, SCORES, RANGE)
        compiled = step(jax.random.key(seed), tx, SCORES)
        assert compiled.sources.tolist() == eager.sources.tolist()
        np.testing.assert_allclose(
            compiled.states.learning_rate, eager.states.learning_rate, rtol=1e-6
        )
    assert step._cache_size() == 1


def test_a_population_finds_a_rate_for_a_parabola():
    """Rates 100 times too small are copied away, and the best grow from step to step."""
    tx = fnopt.sgd(jnp.geomspace(1e-4, 1e-2, 10))
    points = jnp.full((10, 3), 5.0)

    @jax.jit
    def round_of(key, tx, points):
        for _ in range(4):
            updates, _ = jax.vmap(lambda tx, w: tx.update(2 * w, tx.init(w)))(tx, points)
            points = points + updates
        loss = jnp.sum(points**2, 1)
        (tx, points), _ = exploit_and_explore(key, (tx, points), loss, RANGE)
        return tx, points, jnp.min(loss)

    losses = []
    for number in range(60):
        tx, points, loss = round_of(jax.random.key(number), tx, points)
        losses.append(float(loss))
    assert losses[-1] < 1e-6 * losses[0]
    assert float(jnp.median(tx.learning_rate)) > 3e-2  # ten times the median of the start, and more


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "least"}, "mode must be one of"),
        ({"share": 0.6}, r"share must lie in \(0, 0.5\], got 0.6"),
        ({"share": 0}, r"share must lie in \(0, 0.5\], got 0"),
        ({"factors": []}, "factors must lie in"),
        ({"factors": [0.8, -1.2]}, "factors must lie in"),
        ({"scores": jnp.ones(3)}, r"learning_rate has shape \(2,\), but there are 3 scores"),
        ({"scores": jnp.ones(1)}, "two runs at least"),
        ({"states": fnopt.sgd(0.1)}, r"learning_rate has shape \(\)"),
        ({"hyperparameters": {"rate": (0, 1)}}, "no hyperparameter has the name 'rate'"),
        ({"hyperparameters": {"learning_rate": (1, 0)}}, r"must be \(low, high\) with low <= high"),
        ({"hyperparameters": {"learning_rate": 0.1}}, r"must be \(low, high\)"),
        (
            {"states": fnopt.sgd(jnp.array([1, 2]))},
            "learning_rate has dtype int32; only a floating-point number",
        ),
    ],
)
def test_mistakes(change, words):
    arguments = {
        "states": fnopt.sgd(jnp.array([0.1, 0.2])),
        "scores": jnp.ones(2),
        "hyperparameters": RANGE,
        **change,
    }
    with pytest.raises(ValueError, match=words) as refusal:
        exploit_and_explore(0, **arguments)
    assert len(str(refusal.value)) <= 400
