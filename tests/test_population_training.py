"""Population based training: copies, lineages and schedules, and runs that are those of a sweep."""

import re
import signal

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from models import blobs, function_task

import fnopt
from fnopt.sweeps import grid, log_space, log_uniform, population_based_training, sample, sweep
from fnopt.sweeps.keeper import Keeper
from fnopt.sweeps.progress import SweepProgress
from fnopt.train import fit

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

DATA, VALIDATION = blobs(72), blobs(30, seed=1)
SMALL = dict(batch_size=24, validation_data=VALIDATION)
RANGE = {"learning_rate": (1e-6, 1.0)}


LINEAR = function_task()
RATES = grid(fnopt.adamw, learning_rate=log_space(1e-4, 1e-2, 6))


def train(optimizers=RATES, data=DATA, task=LINEAR, **changes):
    options = {**SMALL, "epochs": 5, "hyperparameters": RANGE, "share": 0.34, **changes}
    return population_based_training(task, optimizers, data, **options)


def curves(sweep, metric="val_loss"):
    return np.array([run.curves[metric] for run in sweep.runs])


def compiled(caplog, name):
    text = "\n".join(record.getMessage() for record in caplog.records)
    return len(re.findall(rf"Finished XLA compilation of jit\({name}\)", text))


def test_a_population_without_copies_is_a_sweep():
    result = train(every=5)
    whole = sweep(LINEAR, RATES, DATA, epochs=5, **SMALL)
    np.testing.assert_array_equal(curves(result.sweep), curves(whole))
    assert result.exploits.shape == (0,) and result.sources.shape == (0, 6)
    assert result.best_run().number == whole.best_run(at="final").number
    assert (result.lineage() == result.best_run().number).all()
    rates = [entrant.tx.learning_rate for entrant in RATES]
    np.testing.assert_allclose(result.hyperparameters["learning_rate"], [rates] * 5, rtol=1e-6)


def test_the_worst_go_on_as_copies_of_the_best():
    """Each epoch by hand: who is copied, with which numbers, and what the copy makes of it."""
    result = train(seeds=2, every=2, key=3)
    numbers = np.arange(12)
    assert result.exploits.tolist() == [2, 4] and result.sources.shape == (2, 12)
    losses, rates = curves(result.sweep), result.hyperparameters["learning_rate"]
    for epoch, sources in zip(result.exploits, result.sources, strict=True):
        order = np.argsort(losses[:, epoch - 1], kind="stable")
        copies = order[-4:]
        assert set(np.flatnonzero(sources != numbers)) == set(copies)
        assert set(sources[copies]) <= set(order[:4])
        moved = rates[epoch] / rates[epoch - 1][sources]
        for run in numbers:
            assert moved[run] == pytest.approx(1) or (
                run in copies and moved[run] in (pytest.approx(0.8), pytest.approx(1.2))
            )
    np.testing.assert_array_equal(rates[[1, 3]], rates[[0, 2]])
    # Until it is copied over a run is that of a sweep.
    whole = sweep(LINEAR, RATES, DATA, seeds=2, epochs=5, keep="all", **SMALL)
    never = np.flatnonzero((result.sources == numbers).all(axis=0))
    assert never.size
    np.testing.assert_array_equal(losses[:, :2], curves(whole)[:, :2])
    np.testing.assert_array_equal(losses[never], curves(whole)[never])
    # A copy goes on from the state of its source, with its own key and its own new rate.
    start = sweep(LINEAR, RATES, DATA, seeds=2, epochs=2, keep="all", **SMALL)
    copy = int(np.flatnonzero(result.sources[0] != numbers)[0])
    state = start.states[result.sources[0][copy]]
    state = state.replace(tx=state.tx.replace(learning_rate=rates[2][copy]))
    state = state.replace(key=start.states[copy].key)
    alone = fit(LINEAR, None, DATA, state=state, epochs=2, progress=False, **SMALL)
    np.testing.assert_allclose(alone.history["val_loss"], losses[copy][2:4], rtol=1e-5)


def test_rates_that_are_all_too_small_grow():
    drawn = sample(fnopt.adamw, 8, 0, learning_rate=log_uniform(1e-4, 3e-4))
    whole = sweep(LINEAR, drawn, DATA, epochs=25, **SMALL)
    result = train(drawn, epochs=25, factors=(0.8, 2.0))
    without = curves(whole)[:, -1].min()
    best = result.best_run().curves["val_loss"][-1]
    assert best < 0.7 * without
    schedule = result.schedule("learning_rate")
    assert schedule[-1] > 10 * schedule[0] and 1e-4 <= schedule[0] < 3e-4
    assert (np.diff(schedule) >= 0).mean() > 0.6
    # The state is that of the best run, with the number that it was trained with at last.
    state = result.state
    assert int(state.step) == 75
    assert float(state.tx.learning_rate) == pytest.approx(schedule[-1])


def test_the_lineage_is_traced_from_the_end():
    result = train(key=1)
    numbers = np.arange(6)
    assert (result.sources != numbers).sum(axis=1).tolist() == [2] * 4
    for run in range(6):
        line = result.lineage(run)
        assert line[-1] == run and len(line) == 5
        for epoch in range(4):  # an exploit lies after each
            assert line[epoch] == result.sources[epoch][line[epoch + 1]]
        rates, losses = result.hyperparameters["learning_rate"], curves(result.sweep)
        assert result.schedule("learning_rate", run).tolist() == [
            rates[epoch, line[epoch]] for epoch in range(5)
        ]
        assert result.curve(run=run).tolist() == [losses[line[i], i] for i in range(5)]
    assert result.lineage()[-1] == result.best_run().number == np.argmin(losses[:, -1])
    assert "6 runs, 8 copies" in repr(result)
    with pytest.raises(ValueError, match="did you mean 'learning_rate'"):
        result.schedule("learning_rat")
    with pytest.raises(ValueError, match="from 0 to 5, got 6"):
        result.lineage(6)


def test_a_run_that_diverged_becomes_a_copy_and_changes_no_other_by_a_bit():
    def make(rate, momentum=0.9):
        return fnopt.sgd(rate, momentum)

    rates = [0.05, 1e-5, 0.02, 0.1, 0.08, 1e-6]
    options = dict(hyperparameters={"learning_rate": (1e-6, 1.0)}, share=0.17, epochs=4)
    healthy = train(grid(make, rate=rates), **options)
    rates[5] = 1e38  # the worst of both, of which one in six is replaced
    mixed = train(grid(make, rate=rates), **options)
    np.testing.assert_array_equal(mixed.sources, healthy.sources)
    ours, theirs = curves(mixed.sweep), curves(healthy.sweep)
    assert np.isnan(ours[5, 0]) and np.isfinite(ours[5, 1:]).all()
    np.testing.assert_array_equal(ours[:5], theirs[:5])
    assert [run.diverged for run in mixed.sweep.runs] == [False] * 6
    assert mixed.hyperparameters["learning_rate"][1:].max() <= 1.0


def test_an_interruption_loses_no_epoch(monkeypatch):
    """After the third epoch, the first of two between steps."""
    whole, see, seen = train(every=2), Keeper.see, []

    def signalled(keeper, metrics):
        see(keeper, metrics)
        seen.append(metrics)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Keeper, "see", signalled)
    cut = train(every=2)
    assert cut.interrupted and cut.sweep.interrupted and not whole.interrupted and len(seen) == 3
    assert "interrupted" in repr(cut) and signal.getsignal(signal.SIGINT) == before
    ours, theirs = curves(cut.sweep), curves(whole.sweep)
    np.testing.assert_array_equal(ours[:, :3], theirs[:, :3])
    assert np.isnan(ours[:, 3:]).all() and cut.exploits.tolist() == [2]
    rates = cut.hyperparameters["learning_rate"]
    np.testing.assert_array_equal(rates[:3], whole.hyperparameters["learning_rate"][:3])
    assert np.isnan(rates[3:]).all()
    assert cut.best_run().number == np.argmin(ours[:, 2]) and int(cut.state.step) == 9
    assert {run.stopped_at for run in cut.sweep.runs} == {3}
    assert cut.curve()[2] == ours[cut.best_run().number, 2]


def test_an_interruption_before_the_first_epoch(monkeypatch):
    monkeypatch.setattr(SweepProgress, "doing", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train()


def test_runs_have_the_precision_of_a_sweep():
    result = train(every=5, precision="bfloat16")
    whole = sweep(LINEAR, RATES, DATA, epochs=5, precision="bfloat16", **SMALL)
    plain = sweep(LINEAR, RATES, DATA, epochs=5, **SMALL)
    np.testing.assert_array_equal(curves(result.sweep), curves(whole))
    assert not np.allclose(curves(result.sweep), curves(plain), rtol=1e-5)


def test_where_all_diverge_it_ends():
    lost = train(grid(fnopt.sgd, learning_rate=[1e38, 2e38]), epochs=3, share=0.5)
    assert all(run.diverged for run in lost.sweep.runs) and len(lost.exploits) == 0
    rates = lost.hyperparameters["learning_rate"]
    assert rates.shape == (3, 2) and np.isnan(rates[1:]).all() and np.isfinite(rates[0]).all()
    assert "no finite val_loss" in repr(lost) and lost.sweep.states == {}
    with pytest.raises(ValueError, match="all diverged"):
        lost.best_run()


def test_one_program_of_an_epoch(caplog):
    task = function_task()
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        result = train(task=task, epochs=3)
        assert compiled(caplog, "run_epoch") == result.sweep.programs == 1
        between = compiled(caplog, "_between")
        assert between <= 1
        train(task=task, key=1)
        assert compiled(caplog, "run_epoch") == 1 and compiled(caplog, "_between") == between


@pytest.mark.slow  # of a sweep it is tested
def test_devices_change_nothing():
    entrants, options = RATES[:5], dict(epochs=3, share=0.4, monitor="val_accuracy")
    alone = train(entrants, **options)
    mesh = Mesh(np.array(jax.devices()[:2]), ("runs",))  # 5 runs in 6 places
    spread = train(entrants, mesh=mesh, **options)
    assert (alone.sources != np.arange(5)).any() and alone.sweep.mode == "max"
    np.testing.assert_array_equal(spread.sources, alone.sources)
    np.testing.assert_allclose(curves(spread.sweep), curves(alone.sweep), rtol=1e-5)
    for name, values in alone.hyperparameters.items():
        np.testing.assert_allclose(spread.hyperparameters[name], values, rtol=1e-6)
    for a, b in zip(
        jax.tree.leaves(spread.state.params), jax.tree.leaves(alone.state.params), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_numbers_of_schedules_and_of_several_parts():
    """Leaves of one name get one factor, and are told apart by their paths."""

    def make(rate):
        twice = fnopt.scale_by_learning_rate(rate), fnopt.scale_by_learning_rate(0.5)
        return fnopt.chain(fnopt.scale(-1.0), *twice)

    ranges, rates = {"learning_rate": (0.0, 10.0)}, log_space(0.01, 0.1, 4)
    several = train(grid(make, rate=rates), hyperparameters=ranges, epochs=3)
    names = list(several.hyperparameters)
    assert len(names) == 2 and all(name.endswith(".learning_rate") for name in names)
    one, other = (several.schedule(name, 0) for name in names)
    factors = other / 0.5  # the schedule of the rate is its first value by the same factors
    assert factors[0] == 1 and factors[-1] != 1
    np.testing.assert_allclose(one / one[0], factors, rtol=1e-6)

    def scheduled(rate):
        return fnopt.sgd(fnopt.exponential_decay(rate, 10, 0.5))

    ranges = {"learning_rate/init_value": (0.0, 10.0)}  # slashes are read as dots
    result = train(grid(scheduled, rate=rates), hyperparameters=ranges, epochs=3)
    first = result.hyperparameters["learning_rate.init_value"][0]
    np.testing.assert_allclose(first, rates, rtol=1e-6)
    for name in ("learning_rate.init_value", "learning_rate/init_value"):
        assert len(result.schedule(name)) == 3
    ranges = {"learning_rate": (0.0, 1.0)}
    whole = train(grid(scheduled, rate=rates), hyperparameters=ranges, epochs=3).hyperparameters
    names = [f"learning_rate.{x}" for x in ("init_value", "transition_steps", "decay_rate")]
    assert set(names) <= set(whole)
    assert (whole[names[1]] == 10).all() and not (whole[names[2]] == 0.5).all()


@pytest.mark.parametrize(
    "changes, error, words",
    [
        (dict(optimizers=[]), ValueError, "optimizers is empty"),
        (dict(optimizers=RATES[:1]), ValueError, "there is 1 run, and a population has 2"),
        (dict(optimizers=[RATES, fnopt.sgd(0.1)]), ValueError, "are of 2 structures, such as adam"),
        (dict(hyperparameters={}), TypeError, "must be a dict from names"),
        (dict(hyperparameters="learning_rate"), TypeError, "must be a dict from names"),
        (dict(hyperparameters={"learning_rat": (0, 1)}), ValueError,
         "no hyperparameter has the name 'learning_rat'; the nearest names are learning_rate"),
        (dict(hyperparameters={"learning_rate": (1, 0)}), ValueError, "(low, high) with low <="),
        (dict(every=0), ValueError, "every must be at least 1"),
        (dict(share=0.6), ValueError, "share must lie in (0, 0.5], got 0.6"),
        (dict(factors=[0.8, -1]), ValueError, "factors must lie in (0, inf)"),
        (dict(memory="20KiB", batch_size=None), ValueError, "of 6 runs, and here all go at once"),
        (dict(memory="1KiB"), ValueError, "one run of adamw takes about"),
        (dict(monitor="val_los"), ValueError, "did you mean 'val_loss'"),
        (dict(epochs=0), ValueError, "epochs must be at least 1"),
        (dict(data=iter([DATA])), TypeError, "data must be arrays in memory"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_before_an_epoch(changes, error, words):
    with pytest.raises(error) as refusal:
        train(**changes)
    assert words in str(refusal.value), str(refusal.value)
    assert str(refusal.value).startswith("population_based_training:")
    assert len(str(refusal.value)) <= 400
