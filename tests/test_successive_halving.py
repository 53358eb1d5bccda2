"""Successive halving and Hyperband as trainings: their runs are those of a sweep."""

import itertools
import re
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh
from models import CROSS_ENTROPY, BiaslessNet, blobs, function_task

import fnopt
from fnopt.sweeps import (
    Rung,
    budget_bracket,
    grid,
    halving_bracket,
    hyperband,
    hyperband_brackets,
    log_space,
    log_uniform,
    sample,
    successive_halving,
    sweep,
)
from fnopt.sweeps.keeper import Keeper
from fnopt.sweeps.program import Report
from fnopt.sweeps.progress import SweepProgress
from fnopt.sweeps.run import Log
from fnopt.train import accuracy, objective

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

DATA, VALIDATION = blobs(72), blobs(30, seed=1)
SMALL = dict(batch_size=24, validation_data=VALIDATION)
RATES = grid(fnopt.adamw, learning_rate=log_space(1e-4, 1, 9))


LINEAR = function_task()


def rungs_of(result):
    return [
        [(len(rung.runs), rung.epochs) for rung in bracket.rungs] for bracket in result.brackets
    ]


def trained(result):
    """For each entrant the epochs after its last rung."""
    table = result.table()
    return dict(zip(table["entrant"], table["epochs"], strict=True))


def assert_runs_of_sweep(result, whole, seeds):
    """Each run is that of the sweep as long as it went, and then NaN."""
    epochs = trained(result)
    for run, alone in zip(result.sweep.runs, whole.runs, strict=True):
        assert (run.number, run.entrant, run.seed) == (alone.number, alone.entrant, alone.seed)
        last = epochs[run.number // seeds]
        assert run.curves.keys() == alone.curves.keys()
        for name, curve in run.curves.items():
            np.testing.assert_allclose(
                curve[:last], alone.curves[name][:last], atol=1e-5, rtol=1e-5
            )
            assert np.isnan(curve[last:]).all()
        if run.diverged_at is None:
            assert run.stopped_at == (last if last < len(run.epochs) else None)


def bits(tree):
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        for x in jax.tree.leaves(tree)
    ]


def assert_same_states(ours, theirs, **tolerance):
    for a, b in zip(bits(ours), bits(theirs), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def compiled(caplog):
    """How often the program of an epoch was compiled."""
    text = "\n".join(record.getMessage() for record in caplog.records)
    return len(re.findall(r"Finished XLA compilation of jit\(run_epoch\)", text))


def test_runs_that_go_on_equal_those_of_a_sweep_with_dropout_batch_norm_and_shuffling(caplog):
    task = objective(BiaslessNet(nnx.Rngs(0)), CROSS_ENTROPY, metrics={"accuracy": accuracy})
    entrants = grid(fnopt.adamw, learning_rate=[1e-4, 3e-3, 3e-2, 1e-3], weight_decay=[0, 0.1])
    options = dict(seeds=[0, 3], batch_size=16, validation_data=VALIDATION)
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        result = successive_halving(task, entrants, DATA, epochs=4, eta=2, **options)
        assert compiled(caplog) == result.sweep.programs == 1
    assert rungs_of(result) == [[(8, 1), (4, 2), (2, 4)]]
    whole = sweep(task, entrants, DATA, epochs=4, keep="all", **options)
    assert_runs_of_sweep(result, whole, seeds=2)
    assert len(result.sweep.states) == 4  # of two entrants
    for number, state in result.sweep.states.items():
        last = whole.states[number]
        assert_same_states(state.params, last.params, atol=1e-5, rtol=1e-5)
        assert_same_states(state.model_state, last.model_state, atol=1e-5, rtol=1e-5)
        assert int(state.step) == int(last.step)
    assert (result.sweep.monitor, result.sweep.mode) == ("val_loss", "min")
    assert result.epochs == 2 * (8 * 1 + 4 * 1 + 2 * 2)


def test_the_best_median_over_seeds_goes_on():
    """By hand from the curves of a whole sweep, for a metric of which more is better."""
    options = dict(monitor="val_accuracy", seeds=3, **SMALL)
    result = successive_halving(LINEAR, RATES, DATA, epochs=4, eta=2, **options)
    whole = sweep(LINEAR, RATES, DATA, epochs=4, **options)
    curves = np.array([run.curves["val_accuracy"] for run in whole.runs]).reshape(9, 3, 4)
    medians = np.median(curves, axis=1)
    left = np.arange(9)
    for rung, keep in zip(result.brackets[0].rungs, (4, 2, 0), strict=True):
        assert rung.runs.tolist() == sorted(left.tolist())
        values = medians[rung.runs, rung.epochs - 1]
        np.testing.assert_allclose(rung.values, values, atol=1e-6)
        left = rung.runs[np.argsort(-values, kind="stable")[:keep]]
        assert rung.promoted.tolist() == left.tolist()
    last = result.brackets[0].rungs[-1]
    best = result.best()
    assert best.entrant == RATES[last.runs[np.argmax(last.values)]]
    assert best.median == last.values.max() and len(best.runs) == 3
    assert best.runs[0].curves["val_accuracy"][-1] == max(
        run.curves["val_accuracy"][-1] for run in best.runs
    )


def test_structures_compete_and_programs_are_used_again(caplog):
    task = function_task()
    entrants = [RATES[:5], grid(fnopt.sgd, learning_rate=log_space(1e-5, 1e-3, 4))]
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        result = successive_halving(task, entrants, DATA, epochs=9, **SMALL)
        # Of 5 and 4 runs 3 of one structure go on, then 1.
        assert rungs_of(result) == [[(9, 1), (3, 3), (1, 9)]]
        assert compiled(caplog) == result.sweep.programs == 2
        assert all(number < 5 for number in result.brackets[0].rungs[1].runs)
        caplog.clear()
        again = successive_halving(task, entrants, DATA, epochs=9, **SMALL)
        assert compiled(caplog) == 0 and again.sweep.programs == result.sweep.programs
    assert_runs_of_sweep(result, sweep(task, entrants, DATA, epochs=9, **SMALL), seeds=1)
    assert result.best().entrant.label == "adamw" and repr(result).startswith("HalvingResult(\n")


def test_a_diverging_run_never_goes_on_and_changes_no_other_by_a_bit():
    def make(rate, momentum=0.9):
        return fnopt.sgd(rate, momentum)

    rates = [0.01, 0.1, 1e-5, 0.02, 0.2, 2e-5]
    options = dict(epochs=4, eta=2, **SMALL)
    healthy = successive_halving(LINEAR, grid(make, rate=rates), DATA, **options)
    rates[2], rates[5] = 1e38, 1e38
    mixed = successive_halving(LINEAR, grid(make, rate=rates), DATA, **options)
    assert rungs_of(mixed) == rungs_of(healthy) == [[(6, 1), (3, 2), (1, 4)]]
    for ours, theirs in zip(mixed.sweep.runs, healthy.sweep.runs, strict=True):
        if ours.number in (2, 5):
            assert ours.diverged_at is not None and ours.stopped_at is None
            assert trained(mixed)[ours.number] == 1
            continue
        assert ours.diverged_at is None
        for name, curve in ours.curves.items():
            np.testing.assert_array_equal(curve, theirs.curves[name])
    ((number, state),) = mixed.sweep.states.items()
    assert_same_states(state, healthy.sweep.states[number], rtol=0, atol=0)
    assert mixed.sweep.table().title.endswith("2 diverged, 3 stopped early")


def test_fewer_go_on_where_most_diverge_and_none_where_all_do():
    rates = grid(fnopt.sgd, learning_rate=[1e38, 0.1, 2e38, 1e38])
    result = successive_halving(LINEAR, rates, DATA, epochs=4, eta=2, **SMALL)
    assert rungs_of(result) == [[(4, 1), (1, 2), (1, 4)]]
    assert result.best().hyperparameters == {"learning_rate": 0.1} and trained(result)[1] == 4
    lost = successive_halving(LINEAR, rates[2:], DATA, epochs=4, eta=2, **SMALL)
    assert rungs_of(lost) == [[(2, 2)]] and lost.sweep.states == {}
    assert "no finite val_loss" in repr(lost)
    with pytest.raises(ValueError, match=r"none of the 2 entrants has a finite val_loss"):
        lost.best()


@pytest.mark.slow  # of a sweep it is tested
def test_chunks_and_devices_change_nothing(caplog):
    options = dict(epochs=3, **SMALL)
    alone = successive_halving(LINEAR, RATES, DATA, **options)

    def assert_same(other):
        assert rungs_of(other) == rungs_of(alone)
        assert trained(other) == trained(alone)
        for a, b in zip(other.sweep.runs, alone.sweep.runs, strict=True):
            np.testing.assert_allclose(a.curves["val_loss"], b.curves["val_loss"], rtol=1e-5)
        ((number, state),) = [(n, s) for n, s in other.sweep.states.items() if n == best]
        assert_same_states(state.params, alone.sweep.states[number].params, atol=1e-5)

    best = alone.best().runs[0].number
    with caplog.at_level("INFO", "fnopt"):
        sweep(LINEAR, RATES, DATA, epochs=1, **SMALL)
        (need,) = re.findall(r"all at once: about ([\d.]+) KiB", caplog.text)
        memory = f"{0.52 * float(need)}KiB"
        chunked = successive_halving(LINEAR, RATES, DATA, memory=memory, **options)
    assert re.search(r"9 runs of adamw, [12] at once", caplog.text)
    assert_same(chunked)
    mesh = Mesh(np.array(jax.devices()[:2]), ("runs",))
    assert_same(successive_halving(LINEAR, RATES, DATA, mesh=mesh, **options))


def test_rungs_of_ones_own():
    bracket = budget_bracket(9, 60)
    result = successive_halving(LINEAR, RATES, DATA, epochs=bracket, **SMALL)
    assert rungs_of(result) == [list(map(tuple, bracket))]
    assert result.epochs <= 60 and len(result.sweep.runs[0].epochs) == bracket[-1].epochs


def test_the_brackets_of_hyperband_go_at_once(caplog):
    task, brackets = function_task(), hyperband_brackets(4, eta=2)
    numbers = []

    def draw(n):
        numbers.append(n)
        return sample(fnopt.adamw, n, 1, learning_rate=log_uniform(1e-5, 1.0))

    with jax.log_compiles(True), caplog.at_level("WARNING"):
        result = hyperband(task, draw, DATA, epochs=4, eta=2, seeds=2, **SMALL)
        assert compiled(caplog) == result.sweep.programs == 1
    assert numbers == [10] and rungs_of(result) == [list(map(tuple, b)) for b in brackets]
    drawn = draw(10)
    whole = sweep(task, drawn, DATA, epochs=4, seeds=2, **SMALL)
    assert_runs_of_sweep(result, whole, seeds=2)
    listed = hyperband(task, drawn, DATA, epochs=4, eta=2, seeds=2, **SMALL)
    assert trained(listed) == trained(result)
    table = result.table()
    assert table["bracket"].count(0) == 4 and len(table) == 10
    finalists = [row for row in table if row["epochs"] == 4]
    assert len(finalists) == 5 and table["epochs"][:5] == [4] * 5
    assert finalists[0]["val_loss"] == min(row["val_loss"] for row in finalists)
    assert result.best().hyperparameters["learning_rate"] == finalists[0]["learning_rate"]
    assert "10 entrants, 3 brackets, " in repr(result)


def interrupt(monkeypatch, at, number=signal.SIGINT):
    """Lets a signal come after so many epochs of chunks; returns the runs of each that there is."""
    see, seen = Keeper.see, []

    def signalled(keeper, metrics):
        see(keeper, metrics)
        seen.append(len(metrics["loss"]))
        if len(seen) == at:
            signal.raise_signal(number)

    monkeypatch.setattr(Keeper, "see", signalled)
    return seen


@pytest.mark.parametrize("at", [2, 11, 15, 17])
def test_an_interruption_loses_no_epoch(at, monkeypatch):
    """In the first rung, within an entrant of the second, at its end, and in the last."""
    whole = successive_halving(LINEAR, RATES, DATA, epochs=9, **SMALL)
    before, seen = signal.getsignal(signal.SIGTERM), interrupt(monkeypatch, at, signal.SIGTERM)
    cut = successive_halving(LINEAR, RATES, DATA, epochs=9, **SMALL)
    assert cut.interrupted and cut.sweep.interrupted and not whole.interrupted
    assert "interrupted" in repr(cut) and signal.getsignal(signal.SIGTERM) == before
    assert len(seen) == at and cut.epochs == sum(seen)
    epochs, full = trained(cut), {run.number: run for run in whole.sweep.runs}
    assert epochs.keys() == {run.number for run in cut.sweep.runs}
    for run in cut.sweep.runs:
        curve, last = run.curves["val_loss"], epochs[run.number]
        np.testing.assert_array_equal(curve[:last], full[run.number].curves["val_loss"][:last])
        assert np.isnan(curve[last:]).all() and run.stopped_at == last
    (rungs,) = (bracket.rungs for bracket in cut.brackets)
    longest = max(epochs.values())
    assert rungs[-1].epochs == longest and not len(rungs[-1].promoted)
    for one, other in itertools.pairwise(rungs):
        assert set(one.promoted) >= set(other.runs)
    best = cut.best().runs[0]
    assert (
        epochs[best.number] == longest and cut.best().median == best.curves["val_loss"][longest - 1]
    )
    assert int(cut.sweep.states[best.number].step) == 3 * longest
    assert cut.table()["entrant"][0] == best.number


def test_an_interrupted_hyperband_has_what_each_bracket_came_to(monkeypatch):
    drawn = sample(fnopt.adamw, 10, 1, learning_rate=log_uniform(1e-5, 1.0))
    whole = sweep(LINEAR, drawn, DATA, epochs=4, seeds=2, **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("fnopt.sweeps.rungs.places_of", lambda *_: 3)
        seen = interrupt(patch, 9)
        cut = hyperband(LINEAR, drawn, DATA, epochs=4, eta=2, seeds=2, **SMALL)
    # All 20 runs have an epoch after 7 chunks of 3, and 6 have another after 2 more.
    assert seen == [3] * 6 + [2] + [3] * 2 and cut.interrupted
    # The last bracket has no rung before its fourth epoch, and all have had one.
    shown = rungs_of(cut)
    assert [rungs[0] for rungs in shown] == [(4, 1), (3, 1), (3, 1)]
    assert sum(n for rungs in shown for n, epochs in rungs if epochs == 2) == 3
    assert cut.epochs == sum(seen) and len(cut.table()) == 10
    assert_runs_of_sweep(cut, whole, seeds=2)


def test_an_interruption_before_the_first_epoch(monkeypatch):
    monkeypatch.setattr(SweepProgress, "rung", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        successive_halving(LINEAR, RATES, DATA, epochs=3, **SMALL)


def test_an_entrant_that_diverges_in_the_last_rung_is_not_the_best():
    """It came furthest, and has no value there."""
    schedules = [
        fnopt.piecewise_constant_schedule(0.05, {6: 1e20, 7: 1e20}),
        fnopt.constant_schedule(1e-5),
    ]
    result = successive_halving(
        LINEAR, list(map(fnopt.sgd, schedules)), DATA, epochs=4, eta=2, **SMALL
    )
    assert rungs_of(result) == [[(2, 2), (1, 4)]] and result.sweep.runs[0].diverged
    assert result.best().runs[0].number == 1 and np.isfinite(result.best().median)


@pytest.mark.parametrize("function", [successive_halving, hyperband])
def test_runs_have_the_precision_of_a_sweep(function):
    drawn = sample(fnopt.adamw, 3, 1, learning_rate=log_uniform(1e-2, 0.1))
    options = dict(epochs=2, precision="bfloat16", **SMALL)
    own = {"eta": 3} if function is hyperband else {"epochs": [Rung(3, 1), Rung(1, 2)]}
    number = sum(bracket[0].runs for bracket in hyperband_brackets(2, eta=3))
    result = function(
        LINEAR, drawn[: number if function is hyperband else 3], DATA, **{**options, **own}
    )
    whole = sweep(LINEAR, drawn, DATA, **options)
    plain = sweep(LINEAR, drawn, DATA, **{**options, "precision": None})
    for run in result.sweep.runs:
        curve = run.curves["val_loss"]
        last = np.sum(np.isfinite(curve))
        np.testing.assert_allclose(
            curve[:last], whole.runs[run.number].curves["val_loss"][:last], rtol=1e-5
        )
        assert not np.allclose(
            curve[:last], plain.runs[run.number].curves["val_loss"][:last], rtol=1e-5
        )


@pytest.mark.parametrize(
    "function, changes, error, words",
    [
        (successive_halving, dict(optimizers=[]), ValueError, "optimizers is empty"),
        (successive_halving, dict(eta=1), ValueError, "eta must be at least 2, got 1"),
        (successive_halving, dict(eta=2.5), TypeError, "eta must be an integer, got 2.5"),
        (successive_halving, dict(epochs=0), ValueError, "epochs must be at least 1"),
        (successive_halving, dict(min_epochs=9), ValueError, "must lie in [1, epochs] = [1, 4]"),
        (successive_halving, dict(epochs=[1, 2]), TypeError, "epochs must be an integer, or rungs"),
        (successive_halving, dict(epochs=halving_bracket(4, 4)), ValueError,
         "the first rung in epochs has 4 runs, and there are 9 optimizers"),
        (successive_halving, dict(epochs=[Rung(9, 4), Rung(3, 4)]), ValueError,
         "Rung(runs=9, epochs=4) before Rung(runs=3, epochs=4)"),
        (successive_halving, dict(data=iter([DATA])), TypeError, "data must be arrays in memory"),
        (successive_halving, dict(objective=BiaslessNet), TypeError, "not an objective"),
        (successive_halving, dict(memory="1KiB"), ValueError, "one run of adamw takes about"),
        (successive_halving, dict(monitor="val_los"), ValueError, "did you mean 'val_loss'"),
        (hyperband, dict(), ValueError, "there are 9 optimizers, and the 2 brackets of 4 epochs"),
        (hyperband, dict(optimizers=lambda n: RATES[:2]), ValueError, "optimizers returned 2"),
        (hyperband, dict(optimizers=lambda n: 3), TypeError, "got 3 (int)"),
        (hyperband, dict(min_epochs=5), ValueError, "must lie in [1, epochs] = [1, 4]"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused(function, changes, error, words):
    usual = dict(objective=LINEAR, optimizers=RATES, data=DATA, epochs=4, **SMALL)
    with pytest.raises(error) as refusal:
        function(**{**usual, **changes})
    words_of = str(refusal.value)
    assert words in words_of, words_of
    assert words_of.startswith((function.__name__ + ":", function.__name__ + "("))
    assert len(words_of) <= 400


def test_a_missing_argument_is_answered_with_the_call():
    with pytest.raises(TypeError, match=r"Call hyperband\(objective, optimizers, data, epochs=…\)"):
        hyperband(LINEAR, RATES, DATA)


def test_runs_of_a_chunk_that_ends_early_cut_no_others():
    """The last chunk of a rung diverges in its second epoch; the first had all three."""
    training = types.SimpleNamespace(
        epochs=3, plan=types.SimpleNamespace(precision=None), entrants=RATES, seeds=(0,),
        places=(0,) * 3,
    )  # fmt: skip
    log = Log(training, range(3))
    for epoch in range(3):
        for places, going, last in (([0, 1], True, 3), ([2], epoch < 1, 2)):
            if epoch < last:
                flags = np.full(len(places), going)
                diverged = np.where(flags, -1, 7)
                losses = {"loss": np.ones((1, len(places)))}
                log.add(epoch, np.array(places), Report(losses, {}, flags, flags, diverged))
    assert log.epochs.tolist() == [3, 3, 2]
    assert [len(log.record(place).epochs) for place in range(3)] == [3, 3, 3]
    assert np.isfinite(log.record(0).curves["loss"]).all() and log.record(2).diverged_at == 7
