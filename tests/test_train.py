"""Training: the objective, the compiled step, whole runs and what they leave."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, serialization
from models import LinenNet, NNXNet, blobs, function_task, linen_task, nnx_task
from xla_flags import compiled_as_usual

import fnopt
from fnopt.data import Arrays
from fnopt.train import (
    History,
    NonFiniteError,
    TrainState,
    evaluate,
    fit,
    make_train_step,
    objective,
)
from fnopt.train.loop import run_steps as _run

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

TASKS = {"nnx": nnx_task, "linen": linen_task, "function": function_task}
MODELS = {"nnx": nnx_task, "linen": linen_task}


def state_of(task, tx=None, key=0):
    return TrainState.create(task, tx or fnopt.adamw(1e-2), key, blobs())


def same(a, b) -> bool:
    """Whether two trees are equal to the bit."""
    raw = [
        [
            jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
            for x in leaves
        ]
        for leaves in (jax.tree.leaves(a), jax.tree.leaves(b))
    ]
    return len(raw[0]) == len(raw[1]) and all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(*raw, strict=True)
    )


def test_the_loop_writes_the_log_of_a_step_by_one_update_for_each_dtype():
    task, data = nnx_task(), Arrays(blobs())
    state = state_of(task)
    order = data.order(state.key, 0, 32)
    program = jax.make_jaxpr(lambda state, order: _run(task, state, data, order, 0, 2))
    metrics = _run(task, state_of(task), data, order, 0, 2)[1].metrics
    text, steps = str(program(state, order)), len(order)
    assert list(metrics) == sorted(metrics) and len(metrics) > 2
    assert all(x.shape == (steps,) and np.all(x[:2] != 0) for x in metrics.values())
    assert len(re.findall(rf":(?:f32|bool)\[{steps}(?:,\d+)?\] = scatter\[", text)) == 2


# The step


@pytest.mark.parametrize("kind", ["nnx", pytest.param("linen", marks=pytest.mark.slow)])
@pytest.mark.parametrize("compiled_from", ["make_train_step", "fit"])
@pytest.mark.parametrize("packed", [True, False])
def test_the_compiled_step_aliases_its_state_and_copies_no_parameter(kind, compiled_from, packed):
    task = MODELS[kind]()
    state = state_of(task, fnopt.adamw(fnopt.cosine_decay_schedule(1e-2, 10)))
    state = state.packed() if packed else state
    data = jax.tree.map(jnp.asarray, blobs())
    if compiled_from == "fit":
        order = jnp.zeros((2, 25), jnp.int32)
        compiled = compiled_as_usual(_run.of(task).lower(state, Arrays(data), order, 0, 0))
    else:
        compiled = compiled_as_usual(make_train_step(task, packed=packed).lower(state, data))
    text = compiled.as_text()
    leaves = jax.tree.leaves(state)
    aliases = re.search(r"input_output_alias=\{(.*?)\}, entry", text).group(1)
    assert aliases.count("alias") == len(leaves)
    assert compiled.memory_analysis().alias_size_in_bytes >= sum(x.nbytes for x in leaves)
    shapes = {str(list(x.shape)).replace(" ", "") for x in jax.tree.leaves(state.stored.params)}
    copied = set(re.findall(r"= f32(\[[\d,]+\])\S* copy\(", text))
    assert shapes and not copied & shapes


def test_a_step_of_a_plain_function_is_what_optax_does_by_hand():
    task, batch = function_task(), jax.tree.map(jnp.asarray, blobs())
    tx = optax.chain(optax.clip_by_global_norm(0.1), optax.adam(1e-2))
    ours = fnopt.chain(fnopt.clip_by_global_norm(0.1), fnopt.adam(1e-2))
    state, metrics = make_train_step(task)(state_of(task, ours), batch)

    def loss_fn(params):
        outputs, _ = task.forward(params, {}, batch, key=None, train=True)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]).mean()

    loss, grads = jax.value_and_grad(loss_fn)(task.params)
    updates, _ = tx.update(grads, tx.init(task.params), task.params)
    expected = optax.apply_updates(task.params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state.params, expected)
    got = {
        "loss": loss,
        "learning_rate": 1e-2,
        "grad_norm": optax.tree.norm(grads),  # before the clipping
        "update_norm": optax.tree.norm(updates),
        "accuracy": np.mean(batch[1] == 0),
    }
    assert metrics.keys() == got.keys()
    for name, metric in got.items():
        np.testing.assert_allclose(metrics[name], metric, rtol=1e-5, err_msg=name)
    assert int(state.step) == 1


@pytest.mark.parametrize("kind", MODELS)
def test_dropout_draws_anew_at_every_step_and_from_the_key_alone(kind):
    task, batch = MODELS[kind](), blobs()
    params, model_state = task.init(jax.random.key(0), batch)

    def outputs(key):
        return task.forward(params, model_state, batch, key=jax.random.key(key), train=True)[0]

    assert same(outputs(1), outputs(1)) and not same(outputs(1), outputs(2))
    # A rate of 0 leaves the parameters: all that may differ between two steps is the draw.
    step, state = make_train_step(task), state_of(task, fnopt.sgd(0.0))
    state, first = step(state, batch)
    _, second = step(state, batch)
    assert float(first["loss"]) != float(second["loss"])


@pytest.mark.parametrize("kind", MODELS)
def test_evaluation_is_without_dropout_and_with_running_statistics(kind):
    task, batch = MODELS[kind](), blobs()
    params, model_state = task.init(jax.random.key(0), batch)

    def outputs(train, batch=batch, model_state=model_state):
        key = jax.random.key(1) if train else None
        return task.forward(params, model_state, batch, key=key, train=train)

    evaluated, unchanged = outputs(train=False)
    assert same(unchanged, model_state)
    # Of one example more or less, another's output knows only through batch statistics.
    alone = outputs(train=False, batch=tuple(x[:1] for x in batch))[0]
    np.testing.assert_allclose(alone, evaluated[:1], rtol=1e-5)
    # Of the running statistics it does depend.
    shifted = jax.tree.map(lambda x: x + 1, model_state)
    assert not same(outputs(train=False, model_state=shifted)[0], evaluated)
    # And in training everything is the other way round.
    trained, moved = outputs(train=True)
    assert not same(trained, evaluated) and not same(moved, model_state)
    assert same(outputs(train=True, model_state=shifted)[0], trained)


def test_nnx_and_linen_train_alike_without_dropout():
    batch, losses = blobs(), {}
    weights: dict = {}
    for kind, make in MODELS.items():
        task = make(dropout=0.0)
        params, _ = task.init(jax.random.key(0), batch)
        if not weights:
            weights = {np.shape(x): x for x in jax.tree.leaves(params)}
        state = state_of(task, fnopt.sgd(0.1))
        params = jax.tree.map(
            lambda x, w=weights: jnp.array(w[x.shape]) if x.ndim == 2 else x, state.params
        )
        state, step = state.replace(params=params), make_train_step(task)
        losses[kind] = []
        for _ in range(5):
            state, metrics = step(state, batch)
            losses[kind].append(float(metrics["loss"]))
    np.testing.assert_allclose(losses["nnx"], losses["linen"], rtol=1e-4)


def test_a_step_that_is_not_finite_is_not_taken():
    task, (x, y) = nnx_task(), blobs()
    step, state = make_train_step(task), state_of(task)
    state, _ = step(state, (x, y))
    before = jax.tree.map(jnp.array, state)
    state, metrics = step(state, (x * np.nan, y))
    assert np.isnan(metrics["loss"]) and not np.isfinite(metrics["update_norm"])
    assert same(state, before.replace(skipped=jnp.int32(1)))
    state, _ = step(state, (x, y))
    assert int(state.step) == 2


def test_complex_parameters_descend():
    target = jnp.array([1 + 2j, -1j])
    task = objective(lambda p, batch: jnp.abs(p - batch) ** 2, params=jnp.zeros(2, jnp.complex64))
    state, step = TrainState.create(task, fnopt.sgd(0.4), 0), make_train_step(task)
    for _ in range(60):
        state, _ = step(state, target)
    np.testing.assert_allclose(state.params, target, atol=1e-4)


def test_creating_a_state_copies_what_it_is_given():
    rate = fnopt.adam(1e-2)
    shared = jax.tree.map(jnp.asarray, rate)
    task = nnx_task()
    state = TrainState.create(task, fnopt.chain(shared, shared), 0)
    make_train_step(task)(state, blobs())  # donates every buffer once
    make_train_step(task)(TrainState.create(task, shared, 0), blobs())  # and none of the givers'


def test_a_sweep_of_optimizers_is_one_program():
    task, batch = nnx_task(), jax.tree.map(jnp.asarray, blobs())
    rates = (1e-3, 1e-2, 1e-1)
    states = [state_of(task, fnopt.sgd(rate, momentum=0.9)) for rate in rates]
    step = make_train_step(task)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *states)
    swept, metrics = jax.vmap(step, in_axes=(0, None))(stacked, batch)
    for i, state in enumerate(states):
        alone, _ = step(state, batch)
        for a, b in zip(jax.tree.leaves(swept.params), jax.tree.leaves(alone.params), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["learning_rate"], rates)
    assert step._cache_size() == 1  # and the three alone are another


# The run


@pytest.mark.parametrize("kind", TASKS)
def test_a_run_learns_and_records(kind):
    task = TASKS[kind]()
    tx = fnopt.adamw(fnopt.linear_schedule(0.05, 0.0, 60))
    result = fit(task, tx, blobs(200), epochs=10, batch_size=32, validation_data=blobs(30, seed=1))
    history = result.history
    assert history["val_accuracy"][-1] > 0.9 and history["val_loss"][-1] < 0.4
    np.testing.assert_array_equal(history["step"], 6 * np.arange(1, 11))
    # The rate recorded is that of the epoch's last update, number 6k - 1 from 0.
    np.testing.assert_allclose(
        history["learning_rate"], 0.05 * (1 - (history["step"] - 1) / 60), rtol=1e-5
    )
    assert result.steps_per_second > 0 and not result.interrupted


def test_the_same_seed_gives_the_same_run_to_the_bit():
    def run(key, **options):
        tx = fnopt.adamw(1e-2)
        return fit(nnx_task(), tx, blobs(), epochs=3, batch_size=16, key=key, **options)

    first = run(0)
    assert same(first.state, run(jax.random.key(0)).state)
    assert not same(first.state.params, run(1).state.params)
    # Evaluating changes nothing, nor does how many steps are made at a time.
    tested = run(0, validation_data=blobs(30), steps_per_call=2).state
    assert same(first.state.params, tested.params)
    assert same(first.state.opt_state, tested.opt_state)


@pytest.mark.slow  # a killed run that goes on in another process to the same bits shows it too
def test_the_same_seed_gives_the_same_run_in_two_processes():
    program = (
        "import hashlib, jax, fnopt; from fnopt.train import fit;"
        "from models import nnx_task, blobs;"
        "s = fit(nnx_task(), fnopt.adamw(1e-2), blobs(), epochs=2, batch_size=16).state;"
        "raw = b''.join(x.tobytes() for x in jax.device_get(jax.tree.leaves(s.params)));"
        "print(hashlib.sha256(raw).hexdigest())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    got = {
        subprocess.check_output([sys.executable, "-c", program], text=True, env=environment)
        for _ in range(2)
    }
    assert len(got) == 1


def test_a_run_in_two_parts_is_the_run_in_one():
    task, data = nnx_task(), blobs()
    tx = fnopt.adamw(fnopt.cosine_decay_schedule(1e-2, 12))
    whole = fit(task, tx, data, epochs=4, batch_size=16)
    half = fit(task, tx, data, epochs=2, batch_size=16)
    rest = fit(task, None, data, epochs=2, batch_size=16, state=half.state)
    assert same(whole.state, rest.state)
    assert rest.history["step"].tolist() == whole.history["step"][2:].tolist()


@pytest.mark.parametrize(("batch_size", "steps"), [(None, 1), (1, 50), (16, 3)])
def test_batch_sizes_from_full_to_stochastic(batch_size, steps):
    result = fit(function_task(), fnopt.sgd(0.01), blobs(50), epochs=2, batch_size=batch_size)
    assert result.history["step"].tolist() == [steps, 2 * steps]


def test_an_epoch_is_a_permutation_without_its_remainder():
    key, other = jax.random.split(jax.random.key(0))
    data = Arrays(np.zeros(50))
    order = np.asarray(data.order(key, 0, 16))
    assert order.shape == (3, 16) and len(set(order.flat)) == 48 and order.max() < 50
    # Another epoch, another key: another permutation.
    for differs in (
        Arrays(np.zeros(50)).order(key, 3, 16),
        Arrays(np.zeros(50)).order(other, 0, 16),
    ):
        assert not np.array_equal(order, differs)


def test_evaluation_drops_and_doubles_nothing():
    task, data = nnx_task(), blobs(50)
    state = state_of(task)
    outputs, _ = task.forward(state.params, state.model_state, data, key=None, train=False)
    expected = optax.softmax_cross_entropy_with_integer_labels(outputs, data[1]).mean()
    for batch_size in (None, 50, 16, 7, 1):
        got = evaluate(task, state, data, batch_size)
        np.testing.assert_allclose(got["loss"], expected, rtol=1e-5)


def test_nothing_recompiles():
    task = nnx_task()
    for epochs, rate in ((2, 1e-2), (3, 1e-3)):
        fit(
            task,
            fnopt.adamw(rate),
            blobs(50),
            epochs=epochs,
            batch_size=16,
            validation_data=blobs(33),
        )
    assert _run.of(task)._cache_size() == 1


def test_a_plateau_watches_the_metric_of_each_evaluation():
    plateau = fnopt.reduce_on_plateau(0.5, patience=0, monitor="metric", mode="max")
    result = fit(
        function_task(),
        fnopt.chain(fnopt.sgd(0.0), plateau),  # at a rate of 0 nothing ever gets better
        blobs(),
        epochs=4,
        batch_size=10,
        validation_data=blobs(20),
        monitor="val_accuracy",
    )
    scale = result.state.opt_state[1].scale
    assert float(scale) == 0.25  # the first was best, two more were told before the last epoch
    assert int(result.state.evaluations) == 4


def test_a_plateau_that_would_never_act_is_refused():
    plateau = fnopt.reduce_on_plateau(0.5, patience=0, monitor="metric")
    with pytest.raises(ValueError, match="reduce_on_plateau watches a metric of validation_data"):
        fit(function_task(), fnopt.chain(fnopt.sgd(0.1), plateau), blobs(), epochs=1)


def test_a_line_search_of_optax_trains():
    result = fit(function_task(), optax.lbfgs(), blobs(), epochs=8, batch_size=None)
    assert result.history["loss"][-1] < 0.1 * result.history["loss"][0]


def test_foreign_optimizers_train_too():
    result = fit(nnx_task(), optax.adam(1e-2), blobs(), epochs=2, batch_size=16)
    ours = fit(nnx_task(), fnopt.adam(1e-2), blobs(), epochs=2, batch_size=16)
    np.testing.assert_allclose(result.history["loss"], ours.history["loss"], rtol=1e-4)
    assert "learning_rate" not in result.history.names()  # it does not tell


# What goes wrong


def test_a_loss_that_is_not_finite_ends_the_run_with_the_last_good_state():
    x, y = blobs(48)
    x[7] = np.nan
    task = function_task()
    with pytest.raises(
        NonFiniteError, match=r"stopped at step \d+, which was not taken: loss nan"
    ) as caught:
        fit(task, fnopt.sgd(0.1), (x, y), epochs=2, batch_size=8)
    error = caught.value
    assert 0 <= error.step < 6 and int(error.state.step) == error.step
    # The state is that of a run that ends just before.
    order = Arrays(np.zeros(48)).order(jax.random.key(0), 0, 8)
    state, step = state_of(task, fnopt.sgd(0.1)), make_train_step(task)
    for indices in order[: error.step]:
        state, _ = step(state, (x[indices], y[indices]))
    np.testing.assert_allclose(error.state.params["w"], state.params["w"], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 51}, "batch_size must be from 1 to the 50 examples.*got 51"),
        ({"batch_size": 0}, "batch_size must be from 1"),
        ({"validation_data": blobs(9), "monitor": "acuracy"}, "did you mean 'val_accuracy'"),
        ({"monitor": "accuracy"}, "monitor='accuracy' needs an evaluation; give validation_data"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"steps_per_call": 0}, "steps_per_call must be at least 1"),
    ],
)
def test_bad_arguments_of_a_run(options, match):
    with pytest.raises(ValueError, match=match):
        fit(function_task(), fnopt.sgd(0.1), blobs(50), **{"epochs": 1, **options})


def test_data_that_do_not_go_together():
    x, y = blobs(50)
    with pytest.raises(ValueError, match=r"data\[0\]: 50, data\[1\]: 49"):
        fit(function_task(), fnopt.sgd(0.1), (x, y[1:]), epochs=1)


def test_objectives_say_what_they_lack():
    with pytest.raises(TypeError, match="needs a loss"):
        objective(LinenNet())
    with pytest.raises(TypeError, match="Equinox module or a function, got 3"):
        objective(3, "squared_error")
    with pytest.raises(TypeError, match="params="):
        objective(lambda params, x: x, "squared_error")
    with pytest.raises(ValueError, match="did you mean 'squared_error'"):
        objective(lambda params, x: x, "square_error", params=0.0)


def test_figures_are_summed_in_single_precision():
    ones = jnp.ones(5000, jnp.bfloat16)
    task = objective(
        lambda p, x: (p * x).astype(jnp.bfloat16),
        lambda outputs, y: outputs,
        metrics={"right": lambda outputs, y: outputs == y},
        params=jnp.ones(()),
    )
    got = evaluate(task, TrainState.create(task, fnopt.sgd(0.1), np.int64(0)), (ones, ones), 1)
    assert {name: float(x) for name, x in got.items()} == {"loss": 1.0, "right": 1.0}


def test_a_model_that_has_noted_something_down_trains():
    class Noting(NNXNet):
        def __call__(self, x):
            self.seen = nnx.Intermediate(x)
            return super().__call__(x)

    model = Noting(nnx.Rngs(0))
    model(blobs()[0])
    task = objective(model, "softmax_cross_entropy_with_integer_labels")
    state, _ = make_train_step(task)(state_of(task), blobs())
    nnx.update(model, state.params, state.model_state)


def test_evaluation_needs_losses_of_examples():
    task = objective(lambda p, x: p * jnp.mean(x), params=jnp.ones(()))
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    with pytest.raises(ValueError, match="one number for each of a batch of 4"):
        evaluate(task, state, jnp.ones((8, 2)), 4)


def test_ctrl_c_ends_after_the_step_under_way():
    def interrupt(state, record):
        if record["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    result = fit(
        function_task(), fnopt.sgd(0.1), blobs(), epochs=50, batch_size=10, on_epoch=interrupt
    )
    assert result.interrupted and len(result.history) == 2 and int(result.state.step) == 10
    assert np.all(np.isfinite(result.state.params["w"]))


def test_a_run_in_a_thread_leaves_signals_alone():
    results = []
    thread = threading.Thread(
        target=lambda: results.append(fit(function_task(), fnopt.sgd(0.1), blobs(), epochs=1))
    )
    thread.start()
    thread.join()
    assert len(results[0].history) == 1


def test_a_callback_may_end_the_run():
    result = fit(
        function_task(), fnopt.sgd(0.1), blobs(), epochs=9, on_epoch=lambda s, r: r["epoch"] == 3
    )
    assert len(result.history) == 3


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (
            lambda: fit(function_task(), fnopt.sgd(0.1), blobs(), epochs=1, state=1),
            TypeError,
            "state is 1 .int., not a train state",
        ),
        (
            lambda: objective(LinenNet(), "l2_loss", params=1),
            TypeError,
            "what module.init.key, inputs. returns",
        ),
        (lambda: objective(LinenNet, "l2_loss"), TypeError, "LinenNet is a class"),
        (lambda: TrainState.create(linen_task(), fnopt.sgd(0.1), 0), TypeError, "need batch="),
        (lambda: TrainState.create(nnx_task(), fnopt.sgd(0.1), None), TypeError, "key must be"),
        (
            lambda: objective(LinenNet(), "l2_loss", metrics={"loss": lambda o, y: o}),
            ValueError,
            "every step reports loss",
        ),
        (
            lambda: evaluate(nnx_task(), state_of(nnx_task()), {"x": blobs()[0]}),
            TypeError,
            r"a batch is a dict of \['x'\], not a pair",
        ),
    ],
)
def test_what_is_given_wrong_is_named(make, error, says):
    with pytest.raises(error, match=says):
        make()


# What a run leaves


def test_history_is_written_and_drawn(tmp_path):
    history = History([{"epoch": 1, "loss": 1.0, "val_loss": float("nan"), "learning_rate": 0.1}])
    history.write(tmp_path / "new" / "log.jsonl")
    (line,) = (tmp_path / "new" / "log.jsonl").read_text().splitlines()
    assert json.loads(line) == {**history.records[0], "val_loss": None}
    history.plot(tmp_path / "new" / "log.png")
    assert (tmp_path / "new" / "log.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(KeyError, match="'accuracy' was not recorded"):
        history["accuracy"]


def test_a_state_with_schedules_goes_through_flax_serialization():
    rate = fnopt.join_schedules([0.1, fnopt.cosine_decay_schedule(0.1, 9)], [3])
    tx = fnopt.adamw(rate, b2=fnopt.exponential_decay(0.9, 5, 0.99, staircase=True))
    saved = serialization.to_bytes(tx)
    other = jax.tree.map(lambda x: 0.0, tx)
    assert other != tx and serialization.from_bytes(other, saved) == tx
