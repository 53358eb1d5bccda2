"""Grids and draws of optimizers, and the structures by which they are stacked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt
from fnopt.core.labels import labels_of
from fnopt.core.stacking import groups_of, stacked, structure_of
from fnopt.sweeps import (
    choice,
    grid,
    integers,
    lin_space,
    log_space,
    log_uniform,
    sample,
    uniform,
)
from fnopt.sweeps.arguments import as_entrants, as_seeds


def test_a_grid_is_a_product_and_its_last_argument_changes_fastest():
    entrants = grid(fnopt.adamw, learning_rate=[1e-3, 1e-2], weight_decay=(0, 0.1), b1=0.8)
    values = [tuple(entrant.hyperparameters.values()) for entrant in entrants]
    assert values == [(1e-3, 0, 0.8), (1e-3, 0.1, 0.8), (1e-2, 0, 0.8), (1e-2, 0.1, 0.8)]
    for entrant in entrants:
        assert entrant.label == "adamw"
        assert entrant.tx == fnopt.adamw(**entrant.hyperparameters)


def test_arguments_by_position_and_arrays_are_named():
    (one, two) = grid(fnopt.adamw, np.array([1e-3, 1e-2], np.float32), b1=0.8)
    assert list(one.hyperparameters) == ["learning_rate", "b1"]
    assert type(two.hyperparameters["learning_rate"]) is float
    assert two.hyperparameters["learning_rate"] == pytest.approx(1e-2)


def test_schedules_and_flags_are_values_too():
    schedules = [fnopt.cosine_decay_schedule(rate, 10) for rate in (0.1, 0.2)]
    entrants = grid(fnopt.adamw, learning_rate=schedules, nesterov=[False, True])
    assert [e.hyperparameters["learning_rate"] for e in entrants[::2]] == schedules
    assert len(groups_of(e.tx for e in entrants)) == 2


def test_an_argument_that_takes_a_tuple_needs_a_list_of_them():
    def make(boundaries):
        schedule = fnopt.join_schedules([lambda n: 1.0, lambda n: 0.1], boundaries)
        return fnopt.sgd(schedule)

    tried = [e.hyperparameters["boundaries"] for e in grid(make, boundaries=[(5.0,), (9.0,)])]
    assert tried == [(5.0,), (9.0,)]


def test_functions_and_optax_make_optimizers():
    def clipped(rate, norm=1.0):
        return fnopt.chain(fnopt.clip_by_global_norm(norm), fnopt.sgd(rate))

    entrants = grid(clipped, rate=[0.1, 0.2], norm=[1.0, 2.0])
    assert [entrant.label for entrant in entrants] == ["clipped"] * 4
    assert len(groups_of(entrant.tx for entrant in entrants)) == 1
    assert len(grid(functools.partial(clipped, norm=3.0), rate=[0.1, 0.2])) == 2
    foreign = grid(optax.adam, learning_rate=[0.1, 0.2])
    assert len(groups_of(entrant.tx for entrant in foreign)) == 2


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: grid(fnopt.adamw, learnig_rate=[1]), TypeError,
         "adamw has no hyperparameter 'learnig_rate'; did you mean 'learning_rate'?"),
        (lambda: grid(fnopt.adamw, lr=[1]), TypeError, "did you mean learning_rate=[1]?"),
        (lambda: sample(fnopt.adamw, 2, 0, wd=uniform(0, 1)), TypeError, "did you mean"),
        (lambda: grid(fnopt.adamw, learning_rate=[]), ValueError, "learning_rate is empty"),
        (lambda: grid(fnopt.adamw, [1], learning_rate=[1]), TypeError, "got learning_rate twice"),
        (lambda: grid(fnopt.adamw(1e-3), b1=[0.9]), TypeError, "make must be what returns"),
        (lambda: grid("adamw", b1=[0.9]), TypeError, "such as fnopt.adamw, got 'adamw'"),
        (lambda: grid(lambda x: x, x=[1]), TypeError, "must return an optimizer, got 1 (int)"),
        (lambda: grid(fnopt.adamw, learning_rate=[-1.0]), ValueError, "must lie in [0, inf)"),
        (lambda: grid(fnopt.adamw, learning_rate=uniform(0, 1)), TypeError, "sample(make, n, key"),
        (lambda: sample(fnopt.adamw, 2, 0, learning_rate=1e-3), ValueError, "nothing is drawn"),
        (lambda: sample(fnopt.adamw, 2, 0, learning_rate=[1, 2]), TypeError, "choice(1, 2) draws"),
        (lambda: sample(fnopt.adamw, 0, 0, learning_rate=uniform(0, 1)), ValueError, "at least 1"),
        (lambda: log_uniform(0, 1), ValueError, "low must lie in (0, inf), got 0"),
        (lambda: uniform(2, 1), ValueError, "low must be below high, got 2 and 1"),
        (lambda: log_space("a", 1, 3), TypeError, "low must be a number, got 'a'"),
        (lambda: log_space(1, 2, 0), ValueError, "n must be at least 1"),
        (lambda: lin_space(0, float("inf"), 3), ValueError, "high must lie in"),
        (lambda: choice(), ValueError, "there are no values"),
        (lambda: choice([0, 1e-2]), TypeError, "give the values themselves, as choice(0, 0.01)"),
        (lambda: choice(("a", None)), TypeError, "('a', None) (tuple), of which nothing is chosen"),
        (lambda: choice(np.array([1, 2])), TypeError, "as choice(1, 2)"),
        (lambda: choice(jnp.array([1, 2])), TypeError, "as choice(1, 2)"),
        (lambda: choice(range(99)), TypeError, "as choice(*values)"),
        (lambda: integers(1, 2.5), TypeError, "high must be an integer, got 2.5 (float)"),
        (lambda: integers(True, 2), TypeError, "low must be an integer, got True"),
        (lambda: integers(2, 2), ValueError, "low must be below high, got 2 and 2"),
        (lambda: sample(fnopt.adamw, 3, key=0, b1=uniform(0, 1)), TypeError,
         "Call sample(make, n, key, learning_rate=log_uniform(1e-5, 1)), the first three by pos"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_cure(make, error, words):
    with pytest.raises(error) as refusal:
        make()
    assert words in str(refusal.value) and len(str(refusal.value)) <= 400


def test_draws_follow_their_distributions():
    entrants = sample(
        fnopt.adamw, 400, 0,
        learning_rate=log_uniform(1e-4, 1e-2), b1=uniform(0.8, 0.9), nesterov=choice(False, True),
    )  # fmt: skip
    columns = {
        name: np.array([entrant.hyperparameters[name] for entrant in entrants], float)
        for name in ("learning_rate", "b1", "nesterov")
    }
    # Of 400 draws a quantile is off by at most 0.075 of the probability in 0.27 % of all cases.
    shares = np.log10(columns["learning_rate"] / 1e-4) / 2, (columns["b1"] - 0.8) / 0.1
    for share in shares:
        assert 0 <= share.min() and share.max() < 1
        np.testing.assert_allclose(
            np.quantile(share, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.08
        )
    assert abs(columns["nesterov"].mean() - 0.5) < 0.08
    assert abs(np.corrcoef(*shares)[0, 1]) < 0.15


def test_what_is_drawn_depends_on_the_key_and_the_name_alone():
    rates = dict(learning_rate=log_uniform(1e-4, 1e-2))
    some = [e.tx.learning_rate for e in sample(fnopt.adamw, 3, 7, **rates)]
    more = [e.tx.learning_rate for e in sample(fnopt.adamw, 5, 7, b1=uniform(0.8, 0.9), **rates)]
    other = [e.tx.learning_rate for e in sample(fnopt.adamw, 3, jax.random.key(8), **rates)]
    assert some == more[:3] and not set(some) & set(other) and len(set(more)) == 5


def test_integers_are_drawn_with_both_ends_each_as_often():
    def make(steps):
        return fnopt.sgd(fnopt.cosine_decay_schedule(0.1, steps))

    drawn = [e.hyperparameters["steps"] for e in sample(make, 400, 0, steps=integers(1, 4))]
    assert all(type(x) is int for x in drawn)
    counts = np.bincount(drawn, minlength=5)
    assert counts[0] == 0 and len(counts) == 5 and np.all(abs(counts[1:] - 100) < 35)
    assert integers(0, 1).at(1.0) == 1 and repr(integers(-2, 8)) == "integers(-2, 8)"
    one = choice(fnopt.sgd(0.1))  # a tuple of a type of its own
    assert one.at(0.9) == fnopt.sgd(0.1)


def test_hyperparameters_may_have_the_names_of_arguments():
    (one, two) = sample(fnopt.noisy_sgd, 2, 0, learning_rate=uniform(0, 1), key=3)
    assert one.hyperparameters["key"] == two.hyperparameters["key"] == 3

    def builder(make, n):
        return fnopt.sgd(make * n)

    assert [e.tx for e in grid(builder, make=[0.1, 0.2], n=1)] == [fnopt.sgd(0.1), fnopt.sgd(0.2)]
    (drawn,) = sample(builder, 1, 0, make=uniform(0, 1), n=2)
    assert drawn.tx.learning_rate == 2 * drawn.hyperparameters["make"]


def test_spaces_are_even_and_have_their_ends():
    assert log_space(1e-5, 1, 6) == (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    assert lin_space(-1, 1, 3) == (-1.0, 0.0, 1.0)
    assert log_space(2, 3, 1) == (2.0,)


# Structures.


def test_numbers_of_all_kinds_are_one_structure():
    kinds = [1, 1.0, np.float32(1), np.int64(1), jnp.float32(1)]
    assert len({structure_of(fnopt.sgd(x)) for x in kinds}) == 1
    raw = [jax.tree.unflatten(jax.tree.structure(fnopt.sgd(1.0)), [x]) for x in (1, 2.5)]
    assert len(groups_of(raw)) == 1
    np.testing.assert_array_equal(stacked(raw).learning_rate, np.array([1, 2.5], np.float32))
    assert stacked([fnopt.sgd(1), fnopt.sgd(2)]).learning_rate.dtype == jnp.float32


def test_structures_differ_by_kind_flag_and_what_is_none():
    adam, sgd = fnopt.adam(0.1), fnopt.sgd(0.1)
    others = [sgd, fnopt.sgd(0.1, momentum=0.9), fnopt.sgd(0.1, momentum=0.9, nesterov=True)]
    assert groups_of([adam, sgd, adam, *others]) == [[0, 2], [1, 3], [4], [5]]
    with pytest.raises(ValueError, match=r"2 structures, and one is needed: adam\(.*sgd\("):
        stacked([adam, sgd])
    with pytest.raises(ValueError, match="nothing to stack"):
        stacked([])


def test_a_stack_under_vmap_is_each_by_itself():
    txs = [
        fnopt.adamw(fnopt.cosine_decay_schedule(rate, 3), b1=b1)
        for rate, b1 in ((1, 0.5), (2, 0.9))
    ]
    params, grads = {"w": jnp.ones(3)}, {"w": jnp.array([1.0, -2.0, 0.5])}

    def second(tx):
        state = tx.update(grads, tx.init(params), params)[1]
        return tx.update(grads, state, params)[0]

    together = jax.vmap(second)(stacked(txs))
    for i, tx in enumerate(txs):
        np.testing.assert_allclose(together["w"][i], second(tx)["w"], rtol=1e-6)


# Entrants and seeds of a sweep.


def test_entrants_come_in_lists_dicts_and_names():
    grids = grid(fnopt.adamw, learning_rate=[1e-3, 1e-2])
    entrants = as_entrants([grids, "sgd", {"mine": [fnopt.adam(0.1), grids]}, [fnopt.adam(0.2)]])
    labels = [entrant.label for entrant in entrants]
    assert labels == ["adamw", "adamw", "sgd", "mine", "mine", "mine", "adam"]
    assert entrants[4].hyperparameters == {"learning_rate": 1e-3}
    assert entrants[3].hyperparameters == {}
    assert as_entrants(fnopt.adam(0.1))[0].label == "adam"


def test_labels_say_what_differs():
    txs = [fnopt.adam(0.1), fnopt.adam(0.2), fnopt.sgd(0.1), fnopt.adam(0.2)]
    assert labels_of(txs) == [
        "adam(learning_rate=0.1)", "adam(learning_rate=0.2)", "sgd", "adam(learning_rate=0.2) #2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: as_entrants([]), ValueError, "optimizers is empty"),
        (lambda: as_entrants([[], {}]), ValueError, "optimizers is empty"),
        (lambda: as_entrants([3]), TypeError, "got 3 (int)"),
        (lambda: as_entrants(["adamm"]), ValueError, "did you mean 'adam'?"),
        (lambda: as_entrants([fnopt.adam]), TypeError, "adam is a class; call it"),
        (lambda: as_seeds(0), ValueError, "must be at least 1"),
        (lambda: as_seeds([]), ValueError, "seeds is empty"),
        (lambda: as_seeds([1, 1]), ValueError, "the seed 1 is there twice"),
        (lambda: as_seeds([1.5]), TypeError, "must be an integer, got 1.5"),
        (lambda: as_seeds([-1]), ValueError, "must be at least 0"),
    ],
)
def test_bad_optimizers_and_seeds_are_refused(make, error, words):
    with pytest.raises(error) as refusal:
        make()
    assert words in str(refusal.value)


def test_seeds_are_a_number_or_numbers():
    assert as_seeds(3) == (0, 1, 2) and as_seeds(range(4, 6)) == (4, 5)
