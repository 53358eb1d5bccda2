"""Sweeps: each run is the one alone, in one program; ends, chunks, folders, mistakes."""

import functools
import re
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax.sharding import Mesh
from models import CROSS_ENTROPY, FEATURES, BiaslessNet, blobs

import fnopt
from fnopt.sweeps import grid, log_space, memory, store, sweep
from fnopt.sweeps.begin import first_states, starts_of
from fnopt.sweeps.chunks import split
from fnopt.sweeps.keeper import Keeper
from fnopt.sweeps.memory import budget, limit_of
from fnopt.sweeps.program import Plan, Runs, run_epoch
from fnopt.train import NonFiniteError, accuracy, early_stopping, fit, objective

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

DATA, VALIDATION = blobs(72), blobs(30, seed=1)


class LinenNet(linen.Module):
    """Dense and dropout."""

    @linen.compact
    def __call__(self, x, train):
        x = linen.Dropout(0.3, deterministic=not train)(nnx.relu(linen.Dense(4)(x)))
        return linen.Dense(3)(x)


def net_task(seed=0):
    return objective(BiaslessNet(nnx.Rngs(seed)), CROSS_ENTROPY, metrics={"accuracy": accuracy})


def linear_task():
    params = {"w": jnp.full((FEATURES, 3), 0.1), "b": jnp.zeros(3)}
    return objective(lambda params, x: x @ params["w"] + params["b"], CROSS_ENTROPY, params=params)


@functools.cache
def linear():
    return linear_task()


def assert_like_alone(result, number, alone):
    """A run of a sweep is one of fit: its curves, its end and its final parameters."""
    run = result.runs[number]
    epochs = len(alone.history)
    assert {"loss", "val_loss"} <= set(run.curves)
    for name, curve in run.curves.items():
        np.testing.assert_allclose(curve[:epochs], alone.history[name], atol=1e-5, rtol=1e-5)
        assert np.isnan(curve[epochs:]).all()
    state = result.states[number]
    for ours, theirs in zip(
        jax.tree.leaves((state.params, state.model_state, state.metric, state.step)),
        jax.tree.leaves(
            (alone.state.params, alone.state.model_state, alone.state.metric, alone.state.step)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


def test_runs_equal_those_alone_with_dropout_batch_norm_and_shuffling():
    task = net_task()
    entrants = grid(fnopt.adamw, learning_rate=[3e-3, 3e-2], weight_decay=[0, 0.1])
    options = dict(epochs=5, batch_size=16, validation_data=VALIDATION)
    result = sweep(task, entrants, DATA, seeds=[0, 3], keep="all", **options)
    assert result.programs == 1 and (result.monitor, result.mode) == ("val_loss", "min")
    assert [run.seed for run in result.runs] == [0, 3] * 4
    for number, run in enumerate(result.runs):
        assert run.number == number and run.entrant == entrants[number // 2]
        assert (run.diverged_at, run.stopped_at) == (None, None)
        alone = fit(task, run.entrant.tx, DATA, key=run.seed, progress=False, **options)
        assert_like_alone(result, number, alone)


def test_early_stopping_and_plateau_act_in_each_run():
    """Each watches its own metric; the parameters that come back are those of the best epoch."""

    def make(rate):
        return fnopt.chain(
            fnopt.sgd(rate), fnopt.reduce_on_plateau(0.5, patience=0, monitor="metric")
        )

    data, validation = blobs(24, seed=3), blobs(12, seed=5)
    options = dict(
        epochs=12, batch_size=8, validation_data=validation,
        early_stopping=early_stopping(patience=1),
    )  # fmt: skip
    entrants = grid(make, rate=[0.02, 3.0, 30.0])
    result = sweep(linear(), entrants, data, keep="all", **options)
    for number, run in enumerate(result.runs):
        alone = fit(linear(), run.entrant.tx, data, key=0, progress=False, **options)
        assert_like_alone(result, number, alone)
        ended = len(alone.history) if alone.ended == "early stopping" else None
        assert run.stopped_at == ended
    ends = [run.stopped_at for run in result.runs]
    assert None in ends and len({*ends} - {None}) >= 1


@pytest.mark.parametrize("kind", ["nnx", pytest.param("linen", marks=pytest.mark.slow)])
def test_models_are_initialized_by_the_seed(kind):
    """As a function of the seed, or by the key of the run."""
    if kind == "nnx":
        given = of_seed = net_task
    else:
        given = objective(LinenNet(), CROSS_ENTROPY)
        of_seed = lambda seed: given  # noqa: E731
    options = dict(epochs=2, batch_size=24, validation_data=VALIDATION)
    tx = fnopt.sgd(0.1)
    result = sweep(given, tx, DATA, seeds=2, keep="all", **options)
    for seed in (0, 1):
        alone = fit(of_seed(seed), tx, DATA, key=seed, progress=False, **options)
        assert_like_alone(result, seed, alone)


def test_one_order_for_all_is_that_of_the_first_seed():
    ordered = fnopt.data.Arrays(DATA, shuffle=False)
    tx, options = fnopt.sgd(0.1), dict(epochs=2, batch_size=16)
    one, other = sweep(linear(), tx, DATA, seeds=[4, 5], same_order=True, **options).runs
    alone = fit(linear(), tx, DATA, key=4, progress=False, **options)
    np.testing.assert_allclose(one.curves["loss"], alone.history["loss"], rtol=1e-5)
    np.testing.assert_array_equal(one.curves["loss"], other.curves["loss"])
    one, other = sweep(linear(), tx, DATA, seeds=[4, 5], **options).runs
    assert (one.curves["loss"] != other.curves["loss"]).all()
    unshuffled = sweep(linear(), tx, ordered, **options).runs[0]
    alone = fit(linear(), tx, ordered, key=0, progress=False, **options)
    np.testing.assert_allclose(unshuffled.curves["loss"], alone.history["loss"], rtol=1e-5)


# Programs.


def compiled(caplog):
    """The programs that were compiled, by name."""
    text = "\n".join(record.getMessage() for record in caplog.records)
    return re.findall(r"Finished XLA compilation of (\S+)", text)


def test_a_structure_is_one_program(caplog):
    task = linear_task()
    rates = log_space(1e-4, 1, 11)
    of_adam = grid(fnopt.adamw, learning_rate=rates, weight_decay=[0, 1e-2])
    of_sgd = grid(fnopt.sgd, learning_rate=rates)
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        result = sweep(task, of_adam, DATA, seeds=3, epochs=1)
        assert compiled(caplog).count("jit(run_epoch)") == result.programs == 1
        assert len(result.runs) == 66
        caplog.clear()
        result = sweep(task, [of_adam, of_sgd], DATA, seeds=3, epochs=2)
        # That of Adam is known already, and the number of epochs is not in it.
        assert compiled(caplog).count("jit(run_epoch)") == 1 and result.programs == 2
        caplog.clear()
        sweep(task, [of_sgd, of_adam], DATA, seeds=[7, 8, 9], epochs=1)
        assert "jit(run_epoch)" not in compiled(caplog)


# Ends of runs.


def bits(tree):
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        for x in jax.tree.leaves(tree)
    ]


def test_a_diverging_run_changes_no_other_by_a_bit():
    options = dict(epochs=3, batch_size=16, validation_data=VALIDATION, keep="all")

    def make(rate, momentum=0.9):
        return fnopt.sgd(rate, momentum)

    healthy = sweep(net_of_all(), grid(make, rate=[0.01, 0.1, 0.02, 0.05]), DATA, **options)
    mixed = sweep(net_of_all(), grid(make, rate=[0.01, 0.1, 1e38, 0.05]), DATA, **options)
    for number in (0, 1, 3):
        ours, theirs = mixed.runs[number], healthy.runs[number]
        assert ours.diverged_at is None
        for name, curve in ours.curves.items():
            np.testing.assert_array_equal(curve, theirs.curves[name])
        for a, b in zip(bits(mixed.states[number]), bits(healthy.states[number]), strict=True):
            np.testing.assert_array_equal(a, b)
    # It ends as it does alone, at the same step and with the last good state.
    with pytest.raises(NonFiniteError) as error:
        fit(net_of_all(), mixed.runs[2].entrant.tx, DATA, epochs=3, batch_size=16, progress=False)
    run, state = mixed.runs[2], mixed.states[2]
    assert run.diverged_at == error.value.step == int(state.step)
    assert np.isnan(run.curves["val_loss"]).all()
    for a, b in zip(bits(state.params), bits(error.value.state.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@functools.cache
def net_of_all():
    return net_task()


@pytest.mark.parametrize("groups", [1, 2])
def test_a_run_that_is_over_is_frozen_to_the_bit(groups):
    keys, seeds = jnp.stack([jax.random.key(0)]), jnp.zeros(2, jnp.int32)
    task = net_of_all()
    starts, _ = starts_of(lambda seed: task, (0,), jax.tree.map(lambda x: x[:1], DATA))
    stacked = jax.tree.map(lambda *x: jnp.stack(x), fnopt.adamw(0.1), fnopt.adamw(0.1))
    states = first_states(stacked, seeds, starts, keys, early_stopping())
    before = bits(states)
    runs = Runs(states, jnp.array([True, False]), jnp.full(2, -1, jnp.int32), seeds)
    arrays = fnopt.data.Arrays(jax.tree.map(jnp.asarray, DATA))
    order = arrays.order(keys[0], 0, 16)[None]
    part = jax.tree.map(lambda x: jnp.asarray(x)[None], VALIDATION), jnp.ones((1, 30))
    plan = Plan(16, "val_loss", True)
    sets = {"val": part}
    runs, report = run_epoch(task, runs, keys[0], jnp.int32(0), order, arrays, sets, plan, groups)
    assert report.complete.tolist() == [True, False]
    for old, new in zip(before, bits(runs.states), strict=True):
        np.testing.assert_array_equal(old[1], new[1])
    assert runs.states.step.tolist() == [4, 0]


def test_runs_that_are_not_packed_are_the_same(monkeypatch):
    """Packed, there is one buffer for the small leaves of all runs."""
    options = dict(epochs=2, batch_size=16, validation_data=VALIDATION, keep="all")
    entrants = grid(fnopt.adamw, learning_rate=[3e-3, 3e-2])
    stops = early_stopping(patience=0)
    packed = sweep(net_of_all(), entrants, DATA, early_stopping=stops, **options)
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr("fnopt.sweeps.begin.gains", lambda *state: asked.append(state))
        jax.clear_caches()  # of the states of runs that are packed
        plain = sweep(net_of_all(), entrants, DATA, early_stopping=stops, **options)
        jax.clear_caches()
    assert asked
    for one, other in zip(packed.runs, plain.runs, strict=True):
        for name, curve in one.curves.items():
            np.testing.assert_allclose(curve, other.curves[name], atol=1e-5)
        ours, theirs = packed.states[one.number], plain.states[one.number]
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for a, b in zip(bits(ours.params), bits(theirs.params), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


# Memory, devices, folders.

RATES = grid(fnopt.adamw, learning_rate=log_space(1e-3, 1, 10))
SMALL = dict(epochs=2, batch_size=24, validation_data=VALIDATION)


def table(result):
    return [(r.number, r.entrant, r.seed, r.diverged_at, r.stopped_at) for r in result.runs]


def assert_same_table(one, other):
    assert table(one) == table(other)
    for a, b in zip(one.runs, other.runs, strict=True):
        assert a.curves.keys() == b.curves.keys()
        for name in a.curves:
            np.testing.assert_array_equal(a.curves[name], b.curves[name])


def memory_of(caplog, share):
    """A share of the memory that a sweep says it takes."""
    with caplog.at_level("INFO", "fnopt"):
        sweep(linear(), RATES, DATA, **SMALL)
    (number,) = re.findall(r"all at once: about ([\d.]+) KiB", caplog.text)
    caplog.clear()
    return f"{share * float(number)} KiB"


def test_runs_go_in_chunks_that_fit(caplog):
    whole = sweep(linear(), RATES, DATA, **SMALL)
    memory = memory_of(caplog, 0.7)
    with caplog.at_level("INFO", "fnopt"):
        chunked = sweep(linear(), RATES, DATA, memory=memory, **SMALL)
    assert "sweep: 10 runs of adamw, 5 at once: about" in caplog.text
    assert table(chunked) == table(whole)
    for a, b in zip(chunked.runs, whole.runs, strict=True):
        np.testing.assert_allclose(a.curves["val_loss"], b.curves["val_loss"], rtol=1e-5)


def test_a_sweep_resumes_with_less_memory(tmp_path, caplog):
    options = dict(folder=tmp_path, **SMALL)
    whole = sweep(linear(), RATES, DATA, **SMALL)
    write, more, less = store.Store.write, *(memory_of(caplog, share) for share in (0.7, 0.5))

    def once(self, chunk, finished):
        write(self, chunk, finished)
        raise OSError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.Store, "write", once)
        with pytest.raises(OSError, match="killed"):
            sweep(linear(), RATES, DATA, memory=more, **options)
    with caplog.at_level("INFO", "fnopt"):
        rest = sweep(linear(), RATES, DATA, memory=less, resume=True, **options)
    (at_once,) = re.findall(r"sweep: 5 runs of adamw, (\d) at once", caplog.text)
    assert int(at_once) < 5 and table(rest) == table(whole)


def test_a_killed_sweep_resumes_to_the_same_table(tmp_path, monkeypatch, caplog):
    memory = memory_of(caplog, 0.5)
    options = dict(memory=memory, **SMALL)
    mixed = [RATES, fnopt.sgd(0.1), fnopt.sgd(0.01)]
    whole = sweep(linear(), mixed, DATA, **options)
    write, written = store.Store.write, []

    def killed(self, chunk, finished):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(chunk)
        write(self, chunk, finished)

    monkeypatch.setattr(store.Store, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(linear(), mixed, DATA, folder=tmp_path, **options)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("chunk-*.npz"))) == 2 and written[0].slots < 10
    done = sum(len(chunk.numbers) for chunk in written)
    words = rf"{done} runs of it finished; go on with it by resume=True"
    with pytest.raises(ValueError, match=words):
        sweep(linear(), mixed, DATA, folder=tmp_path, **options)
    # A chunk that was damaged is made again.
    path = next(iter(tmp_path.glob("chunk-*.npz")))
    path.write_bytes(path.read_bytes()[:100])
    resumed = sweep(linear(), mixed, DATA, folder=tmp_path, resume=True, **options)
    assert_same_table(resumed, whole)
    assert resumed.states.keys() == whole.states.keys()
    again = sweep(linear(), mixed, DATA, folder=tmp_path, resume=True, **options)
    assert_same_table(again, whole) and again.programs == 0
    ((number, state),) = again.states.items()
    for a, b in zip(bits(state), bits(whole.states[number]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(epochs=1), "epochs is 2 there, and 1 here"),
        (dict(seeds=2), "seeds is [0] there, and [0, 1] here"),
        (dict(optimizers=grid(fnopt.adamw, learning_rate=[0.5])),
         "hyperparameters is {'learning_rate': 0.1} there, and {'learning_rate': 0.5} here"),
        (dict(data=blobs(72, seed=9)), "data is"),
    ],
)  # fmt: skip
def test_a_folder_of_another_sweep_is_refused_by_name(changes, words, folder):
    usual = dict(optimizers=grid(fnopt.adamw, learning_rate=[0.1]), data=DATA, seeds=1, epochs=2)
    with pytest.raises(ValueError) as refusal:
        sweep(linear(), folder=folder, resume=True, **{**usual, **changes})
    assert words in str(refusal.value) and str(folder) in str(refusal.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep")
    sweep(linear(), grid(fnopt.adamw, learning_rate=[0.1]), DATA, folder=path, epochs=2)
    return path


def test_groups_of_runs_go_one_after_another(monkeypatch):
    whole = sweep(linear(), RATES, DATA, seeds=2, keep="all", **SMALL)
    monkeypatch.setattr(memory, "_CACHE", 7 * memory.lower_bound(whole.states[0]))
    grouped = sweep(linear(), RATES, DATA, seeds=2, keep="all", **SMALL)
    assert grouped.programs == 1
    for a, b in zip(whole.runs, grouped.runs, strict=True):
        assert a.curves.keys() == b.curves.keys() and a.seed == b.seed
        for name in a.curves:
            np.testing.assert_allclose(a.curves[name], b.curves[name], rtol=1e-5)
        for x, y in zip(bits(whole.states[a.number]), bits(grouped.states[a.number]), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("devices, most, lanes", [(1, 20, 7), (2, 20, 3), (1, 7, 3), (4, 3, 1)])
def test_places_make_even_groups(devices, most, lanes):
    for even in (True, False):
        chunks = split(range(20), most, devices, lanes, even)
        assert [n for chunk in chunks for n in chunk.numbers] == list(range(20))
        assert len({(chunk.slots, chunk.groups) for chunk in chunks}) == 1
        own, rest = divmod(chunks[0].slots, devices)
        assert rest == 0 and own % chunks[0].groups == 0 and own // chunks[0].groups <= lanes
        # As many go at once as may, but for those that even groups need.
        assert chunks[0].slots < most + devices * chunks[0].groups


@pytest.mark.parametrize(
    "mesh",
    [
        lambda: Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("one", "two")),
        lambda: jax.make_mesh((4,), ("runs",), devices=jax.devices()[:4]),
    ],
    ids=["Mesh", "make_mesh"],
)
def test_runs_are_spread_over_a_mesh(mesh):
    alone = sweep(linear(), RATES, DATA, **SMALL)
    spread = sweep(linear(), RATES, DATA, mesh=mesh(), same_order=True, **SMALL)
    assert table(alone) == table(spread) and spread.programs == 1
    for a, b in zip(spread.runs, alone.runs, strict=True):
        np.testing.assert_allclose(a.curves["val_loss"], b.curves["val_loss"], rtol=1e-5)
    assert spread.states.keys() == alone.states.keys()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_loses_no_epoch(number, monkeypatch, tmp_path, caplog):
    """The second chunk ends after its first epoch, and the third does not begin."""
    options = {**SMALL, "memory": memory_of(caplog, 0.5), "folder": tmp_path / "kept", "epochs": 3}
    whole = sweep(linear(), RATES, DATA, **{**options, "folder": None})
    see, seen = Keeper.see, []

    def signalled(keeper, metrics):
        see(keeper, metrics)
        seen.append(metrics)
        if len(seen) == 4:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "see", signalled)
        cut = sweep(linear(), RATES, DATA, **options)
    assert cut.interrupted and "interrupted" in repr(cut) and signal.getsignal(number) == before
    first, second = (sum(len(m["loss"]) for m in seen[i : i + 1]) for i in (0, 3))
    assert len(cut.runs) == first + second < len(RATES)
    for run in cut.runs:
        epochs = 3 if run.number < first else 1
        curve, full = run.curves["val_loss"], whole.runs[run.number].curves["val_loss"]
        np.testing.assert_array_equal(curve, full[:epochs])
        assert run.epochs.tolist() == [1, 2, 3][:epochs] and run.stopped_at is None
    assert len(cut.table()["run"]) == len(cut.runs)
    assert np.isfinite(cut.best(at="final").median)
    rest = sweep(linear(), RATES, DATA, resume=True, **options)
    assert table(rest) == table(whole) and not rest.interrupted
    for a, b in zip(rest.runs, whole.runs, strict=True):
        np.testing.assert_array_equal(a.curves["val_loss"], b.curves["val_loss"])


def test_an_interruption_before_the_first_epoch(monkeypatch):
    monkeypatch.setattr(Keeper, "offer", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        sweep(linear(), RATES, DATA, **SMALL)


def test_the_state_of_the_best_run_is_kept():
    result = sweep(linear(), [RATES, fnopt.sgd(1e-6)], DATA, **SMALL)
    best = min(result.runs, key=lambda run: np.nanmin(run.curves["val_loss"]))
    ((number, state),) = result.states.items()
    assert number == best.number and int(state.step) == 6
    assert sweep(linear(), RATES[:2], DATA, keep="none", **SMALL).states is None


def test_the_cores_of_a_cpu_share_its_memory():
    mesh = jax.make_mesh((4,), ("runs",), devices=jax.devices()[:4])
    assert 4 * limit_of(None, mesh) == pytest.approx(limit_of(None, None), abs=8)
    assert limit_of("1GiB", mesh) == limit_of("1GiB", None) == 2**30


def test_budgets_are_numbers_or_sizes():
    device = jax.devices()[0]
    assert [budget(x, device) for x in (5e6, "5KiB", "1.5 GB")] == [5e6, 5120, 1.5 * 2**30]
    assert budget(None, device) > 2**28


STREAM = [DATA, DATA]


@pytest.mark.parametrize(
    "changes, error, words",
    [
        (dict(optimizers=[]), ValueError, "sweep: optimizers is empty"),
        (dict(objective=BiaslessNet), TypeError, "not an objective"),
        (dict(objective=lambda seed: seed), TypeError, "objective is a function of the seed"),
        (dict(data=iter(STREAM)), TypeError, "sweep: data must be arrays in memory"),
        (dict(validation_data=iter(STREAM)), TypeError, "validation_data must be arrays in memory"),
        (dict(epochs=0), ValueError, "sweep: epochs must be at least 1"),
        (dict(batch_size=100), ValueError, "batch_size must be from 1 to the 72 examples"),
        (dict(monitor="val_los", validation_data=DATA), ValueError, "did you mean 'val_loss'"),
        (dict(monitor="val_loss"), ValueError, "sweep: monitor='val_loss' needs an evaluation"),
        (dict(early_stopping=early_stopping()), ValueError, "sweep: early_stopping needs"),
        (dict(early_stopping=3), TypeError, "sweep: early_stopping must be"),
        (dict(keep="last"), ValueError, "keep must be one of ('best', 'all', 'none')"),
        (dict(resume=True), ValueError, "sweep: resume needs folder="),
        (dict(memory="1KiB"), ValueError, "one run of sgd takes about"),
        (dict(memory="much"), ValueError, "a text such as '8GiB'"),
        (dict(memory=-1), ValueError, "memory must be above 0"),
        (dict(mesh=8), TypeError, "mesh must be a jax.sharding.Mesh"),
        (dict(data=(DATA[0], DATA[1] + 9)), ValueError, "must lie in [0, 3)"),
    ],
)
def test_a_mistake_is_refused(changes, error, words):
    usual = dict(objective=linear(), optimizers=[fnopt.sgd(0.1)], data=DATA, epochs=1)
    with pytest.raises(error) as refusal:
        sweep(**{**usual, **changes})
    assert words in str(refusal.value), str(refusal.value)


def test_the_models_of_all_seeds_have_one_structure():
    def of_seed(seed):
        params = jnp.zeros(seed + 1)
        return objective(lambda p, x: p.sum() + 0 * x[0].sum(1), "squared_error", params=params)

    with pytest.raises(ValueError, match="all must be of one model"):
        sweep(of_seed, [fnopt.sgd(0.1)], DATA, seeds=2, epochs=1)


@pytest.mark.parametrize(
    "precision",
    ["bfloat16", pytest.param("bfloat16_stochastic", marks=pytest.mark.slow), "float16"],
)
def test_a_precision_is_that_of_the_run_alone(precision):
    task, scaled = linear_task(), precision == "float16"
    data = (DATA[0] * 20, DATA[1]) if scaled else DATA  # the first steps overflow
    entrants = grid(fnopt.sgd, learning_rate=[0.01, 1e30 if scaled else 0.1])
    options = dict(
        epochs=1 if scaled else 3,
        batch_size=1 if scaled else 8,  # enough steps to halve the scale down to the smallest
        validation_data=VALIDATION,
        precision=precision,
    )
    result = sweep(task, entrants, data, seeds=[0, 3], same_order=False, keep="all", **options)
    for number, run in enumerate(result.runs[: 2 if scaled else 4]):
        alone = fit(task, run.entrant.tx, data, key=run.seed, progress=False, **options)
        assert_like_alone(result, number, alone)
        assert int(result.states[number].skipped) == int(alone.state.skipped) >= scaled
    assert [run.diverged for run in result.runs] == [False] * 2 + [scaled] * 2
