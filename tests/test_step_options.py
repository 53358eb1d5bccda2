"""The options of a step: accumulation, clipping, what is left out."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from models import CROSS_ENTROPY, blobs, function_task, linen_task, nnx_task
from xla_flags import compiled_as_usual

import fnopt
from fnopt.train import (
    Precision,
    StepOptions,
    TrainState,
    dynamic_scaling,
    ema_of_params,
    evaluate,
    make_train_step,
    objective,
    swa,
    train_step,
)

pytestmark = pytest.mark.beside_optax


class Mlp(nnx.Module):
    """A network without normalization."""

    def __init__(self, rngs, dropout=0.0):
        self.dense = nnx.Linear(8, 16, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.dropout(nnx.tanh(self.dense(x))))


def correct(outputs, labels):
    return (jnp.argmax(outputs, axis=-1) == labels).astype(jnp.float32)


def mlp_task(dropout=0.0):
    return objective(Mlp(nnx.Rngs(0), dropout), CROSS_ENTROPY, metrics={"right": correct})


def weighted_task():
    """The network with examples weighted by the third item of a batch."""
    task = mlp_task()
    plain = task.losses

    def loss(outputs, batch):
        return jnp.sum(batch[2] * plain(outputs, batch)) / jnp.sum(batch[2])

    task.loss, task.example_weights = loss, lambda batch: batch[2]
    task.inputs, task.targets = (lambda batch: batch[0]), (lambda batch: batch[1])
    return task


def relative(got, expected):
    """The distance of two trees by the size of the second."""
    got, expected = (jax.flatten_util.ravel_pytree(t)[0] for t in (got, expected))
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


class show_gradient(fnopt.Transform):
    """Leaves the parameters; its state is the gradients that it was given and that it asked for."""

    def init(self, params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return {"given": zeros, "asked": zeros, "derived": zeros, "value": jnp.float32(0)}

    def update(self, updates, state, params=None, *, value_fn, grad_fn, **extra):
        state = {
            "given": updates,
            "asked": grad_fn(params),
            "derived": jax.grad(value_fn)(params),
            "value": value_fn(params),
        }
        return jax.tree.map(jnp.zeros_like, updates), state


def shown(task, batch, **options):
    state = TrainState.create(task, show_gradient(), 0)
    state, metrics = make_train_step(task, **options)(state, batch)
    return state.opt_state, metrics


# Accumulation


@functools.cache
def in_one_batch(weighted):
    """Task, batch, and what is computed of the batch as a whole."""
    x, y = blobs(48)
    weights = np.random.RandomState(1).rand(48).astype(np.float32)
    weights[:12] = 0  # the whole of the first of four micro-batches: its loss is 0 / 0
    task, batch = (weighted_task(), (x, y, weights)) if weighted else (mlp_task(), (x, y))
    return task, batch, *shown(task, batch)


@pytest.mark.parametrize(
    ("dtype", "precision", "weighted"),
    [
        (None, 1e-6, True),
        pytest.param("float32", 1e-6, False, marks=pytest.mark.slow),
        ("float64", 1e-6, False),
        ("bfloat16", 1e-2, True),
        pytest.param("float16", 1e-3, False, marks=pytest.mark.slow),
    ],
)
def test_micro_batches_are_one_batch_to_the_precision_of_their_sum(dtype, precision, weighted):
    task, batch, whole, got = in_one_batch(weighted)
    with jax.enable_x64(dtype == "float64"):
        made, figures = shown(task, batch, accumulate=4, accumulator_dtype=dtype)
    assert relative(made["given"], whole["given"]) < precision
    # And so are the functions that the optimizer may call.
    assert relative(made["asked"], whole["given"]) < precision
    assert weighted or relative(made["derived"], whole["given"]) < 1e-6
    assert relative(made["value"], got["loss"]) < 1e-6
    for name in ("loss", "right"):
        np.testing.assert_allclose(figures[name], got[name], rtol=1e-6)
    for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(whole), strict=True):
        assert a.dtype == b.dtype


def test_an_example_of_no_weight_has_none():
    task, batch, whole, got = in_one_batch(True)
    rest, figures = shown(task, tuple(x[12:] for x in batch))
    assert relative(rest["given"], whole["given"]) < 1e-6
    np.testing.assert_allclose(figures["right"], got["right"], rtol=1e-6)
    assert not np.isclose(in_one_batch(False)[3]["loss"], got["loss"], rtol=1e-3)


def test_a_sum_in_bfloat16_is_one():
    x, y = blobs(48)
    whole, _ = shown(mlp_task(), (x, y))
    made, _ = shown(mlp_task(), (x, y), accumulate=24, accumulator_dtype="bfloat16")
    assert relative(made["given"], whole["given"]) > 1e-4
    bits = np.concatenate([np.asarray(g).view(np.uint32).ravel() for g in jax.tree.leaves(
        made["given"])])  # fmt: skip
    assert not np.any(bits & 0xFFFF)


def test_a_run_in_micro_batches_is_the_run_in_batches():
    states = []
    for parts in (1, 4):
        task = mlp_task()
        state = TrainState.create(task, fnopt.adam(1e-2), 0)
        step = make_train_step(task, accumulate=parts)
        for _ in range(10):
            state, _ = step(state, blobs(48))
        states.append(state.params)
    assert relative(states[1], states[0]) < 1e-5


def test_counts_are_of_updates():
    tx = fnopt.adamw(fnopt.linear_schedule(1.0, 0.0, 10))
    task = mlp_task()
    state, step = TrainState.create(task, tx, 0), make_train_step(task, accumulate=4)
    for i in range(3):
        state, metrics = step(state, blobs(48))
        np.testing.assert_allclose(metrics["learning_rate"], 1 - i / 10, rtol=1e-6)
    assert int(state.step) == 3
    counts = [x for x in jax.tree.leaves(state.opt_state) if x.dtype == jnp.int32]
    assert counts and {int(x) for x in counts} == {3}


@pytest.mark.parametrize("make", [nnx_task, linen_task])
def test_batch_statistics_are_those_of_micro_batches_one_after_the_other(make):
    task, (x, y) = make(0.0), blobs(48)
    state = TrainState.create(task, fnopt.sgd(0.0), 0, (x, y))
    expected = state.model_state
    for part in np.split(np.arange(48), 4):
        _, expected = task.forward(
            state.params, expected, (x[part], y[part]), key=jax.random.key(0), train=True
        )
    state, _ = make_train_step(task, accumulate=4)(state, (x, y))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        jax.tree.leaves(state.model_state), jax.tree.leaves(expected),
    )  # fmt: skip


def test_dropout_draws_anew_in_every_micro_batch():
    seen = []

    def f(params, x, key):
        jax.debug.callback(
            lambda k: seen.append(tuple(np.asarray(k).tolist())), jax.random.key_data(key)
        )
        return params * x

    task = objective(f, "squared_error", params=jnp.ones(()))
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    state, _ = make_train_step(task, accumulate=4)(state, (jnp.ones(8), jnp.ones(8)))
    jax.block_until_ready(state)
    jax.effects_barrier()
    assert len(set(seen)) == 4


def test_activations_of_one_micro_batch_are_held():
    # A wide hidden layer: 4096 examples of it are 16 MB, the parameters 0.1 MB.
    def net(params, x):
        for _ in range(3):
            x = jnp.tanh(x @ params["in"]) @ params["out"]
        return jnp.mean(x**2, axis=-1)

    params = {"in": jnp.ones((8, 1024)), "out": jnp.ones((1024, 8))}
    task = objective(net, lambda outputs, y: outputs, params=params)
    batch = jnp.ones((4096, 8)), jnp.ones(4096)
    held = []
    for parts in (1, 4, 16):
        state = TrainState.create(task, fnopt.sgd(0.1), 0)
        compiled = compiled_as_usual(make_train_step(task, accumulate=parts).lower(state, batch))
        held.append(compiled.memory_analysis().temp_size_in_bytes)
    assert held[1] < 0.3 * held[0] and held[2] < 0.35 * held[1]


def test_a_line_search_goes_through_micro_batches():
    losses = []
    for parts in (1, 4):
        task = function_task()
        state = TrainState.create(task, optax.lbfgs(), 0)
        step = make_train_step(task, accumulate=parts)
        for _ in range(5):
            state, metrics = step(state, blobs(48))
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(*losses, rtol=1e-3)


def test_complex_gradients_are_summed_as_such():
    task = objective(lambda p, batch: jnp.abs(p - batch) ** 2, params=jnp.zeros((), jnp.complex64))
    target = jnp.asarray([1 + 2j, -1j, 3, 2 - 1j])
    whole, _ = shown(task, target)
    for dtype in (None, "bfloat16"):
        made, _ = shown(task, target, accumulate=2, accumulator_dtype=dtype)
        np.testing.assert_allclose(made["given"], whole["given"], rtol=1e-6)
        np.testing.assert_allclose(made["given"], -2 * np.mean(target), rtol=1e-6)


# Clipping, and what is left out


@pytest.mark.parametrize(("limit", "parts"), [(0.1, 1), (0.1, 4), (100.0, 1)])
def test_the_gradient_is_clipped_before_the_optimizer_and_told_from_before(limit, parts):
    task, batch, whole, got = in_one_batch(False)
    made, figures = shown(task, batch, clip_norm=limit, accumulate=parts)
    expected, _ = optax.clip_by_global_norm(limit).update(whole["given"], optax.EmptyState())
    assert relative(made["given"], expected) < 1e-6
    np.testing.assert_allclose(figures["grad_norm"], got["grad_norm"], rtol=1e-6)
    assert 0.1 < float(got["grad_norm"]) < 100


@pytest.mark.parametrize("parts", [1, 4])
def test_steps_that_are_not_finite_are_counted(parts):
    task, (x, y) = mlp_task(), blobs(48)
    state, step = TrainState.create(task, fnopt.adam(1e-2), 0), None
    step = make_train_step(task, accumulate=parts)
    bad = x.copy()
    bad[40] = np.inf
    for i, inputs in enumerate((x, bad, x, bad, bad, x)):
        state, metrics = step(state, (inputs, y))
        assert bool(np.isfinite(metrics["update_norm"])) == (i in (0, 2, 5))
    assert int(state.skipped) == 3 and int(state.step) == 3
    assert step._cache_size() == 1 and "skipped" not in metrics
    assert np.isfinite(evaluate(task, state, (x, y))["loss"])


def test_what_is_not_finite_is_taken_when_told_so():
    task, (x, y) = mlp_task(), blobs(48)
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    state, _ = make_train_step(task, skip_nonfinite=False)(state, (x * np.nan, y))
    assert int(state.step) == 1 and int(state.skipped) == 0
    assert np.all(np.isnan(jax.tree.leaves(state.params)[0]))


# Every option


OPTIONS = {
    "none": ({}, {}),
    "accumulate": ({"accumulate": 5}, {}),
    "accumulate_bfloat16": ({"accumulate": 5, "accumulator_dtype": "bfloat16"}, {}),
    "take_all": ({"skip_nonfinite": False}, {}),
    "bfloat16": ({"precision": "bfloat16"}, {}),
    "stochastic": ({"precision": "bfloat16_stochastic"}, {}),
    "float16": ({"precision": "float16"}, {}),
    "swa": ({}, {"average": swa(2, 3)}),
    "all": (
        {"accumulate": 5, "clip_norm": 1.0, "precision": Precision(
            "bfloat16", "bfloat16", rounding="stochastic", loss_scale=dynamic_scaling())},
        {"average": ema_of_params(0.99)},
    ),
}  # fmt: skip


def made(kind, name, data):
    options, of_state = OPTIONS[name]
    task = {"nnx": nnx_task, "linen": linen_task}[kind]()
    tx = fnopt.adamw(fnopt.cosine_decay_schedule(1e-2, 10))
    precision = options.get("precision")
    state = TrainState.create(task, tx, 0, data, precision=precision, **of_state)
    return state, make_train_step(task, **options)


def copies(text):
    """Shapes of the floating buffers that a program copies; within a fusion it is a layout."""
    fused = False
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            fused = "fused_" in line.split()[0] or "wrapped_" in line.split()[0]
        elif not fused:
            yield from re.findall(r"= (?:f32|f16|bf16)(\[[\d,]+\])\S* copy\(", line)


def avals(state):
    return jax.tree.map(jax.typeof, jax.tree.leaves(state))


@pytest.mark.parametrize(("kind", "name"), [*(("nnx", name) for name in OPTIONS), ("linen", "all")])
def test_every_option_works_in_place_in_one_program_that_gives_the_same_bits(kind, name):
    data = jax.tree.map(jnp.asarray, blobs())

    def begun():
        state, step = made(kind, name, data)
        # Stochastic rounding draws for each leaf as it is.
        return (state if name in ("stochastic", "all") else state.packed()), step

    state, step = begun()
    compiled = compiled_as_usual(step.lower(state, data))
    text = compiled.as_text()
    leaves = jax.tree.leaves(state)
    aliases = re.search(r"input_output_alias=\{(.*?)\}, entry", text).group(1)
    assert aliases.count("alias") == len(leaves)
    assert compiled.memory_analysis().alias_size_in_bytes >= sum(x.nbytes for x in leaves)
    # The vectors among the parameters have the shape of the statistics, which are copied: they
    # are what a step that is left out goes back to.
    stored = state.stored.params
    weights = {str(list(x.shape)).replace(" ", "") for x in jax.tree.leaves(stored)}
    weights = {shape for shape in weights if "," in shape or state.is_packed}
    assert len(weights) == (1 if state.is_packed else 2) and not weights & set(copies(text))

    before, runs = avals(state), []
    for _ in range(2):
        state, _ = begun()
        for _ in range(5):
            state, metrics = compiled(state, data)  # which takes nothing but what it was made for
            assert avals(state) == before
        assert int(state.step) + int(state.skipped) == 5 and np.isfinite(metrics["loss"])
        runs.append(jax.tree.leaves(state.replace(key=None)))
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(np.asarray(a, np.float64), np.asarray(b, np.float64))


def test_options_are_equal_by_what_they_say():
    one = StepOptions(accumulate=2, precision="float16", accumulator_dtype=jnp.bfloat16)
    other = StepOptions(
        accumulate=np.int64(2), precision=Precision.named("float16"), accumulator_dtype="bfloat16"
    )
    assert one == other and hash(one) == hash(other) and one != StepOptions()
    compiled = jax.jit(train_step, static_argnums=(0, 3))
    task = mlp_task()
    for options in (one, other):
        state = TrainState.create(task, fnopt.sgd(0.1), 0, precision="float16")
        compiled(task, state, blobs(), options)
    assert compiled._cache_size() == 1


# What goes wrong


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"accumulate": 0}, ValueError, "accumulate must be at least 1, got 0"),
        ({"accumulate": 1.5}, TypeError, "accumulate must be an integer, got 1.5"),
        ({"accumulate": True}, TypeError, "accumulate must be an integer, got True"),
        ({"accumulator_dtype": "float8"}, ValueError, "no accumulator_dtype='float8'"),
        ({"accumulator_dtype": "int32"}, ValueError, "no accumulator_dtype='int32'"),
        ({"accumulator_dtype": "float64"}, ValueError, "jax_enable_x64"),
        ({"precision": "bf16"}, ValueError, "no precision 'bf16'; .*known: bfloat16"),
        ({"clip_norm": 0.0}, ValueError, r"clip_norm must lie in \(0, inf\), got 0"),
        ({"clip_norm": -1.0}, ValueError, r"clip_norm must lie in \(0, inf\)"),
        (
            {"skip_nonfinite": False, "precision": "float16"},
            ValueError,
            "contradicts loss scaling",
        ),
    ],
)
def test_options_that_cannot_be(options, error, match):
    with pytest.raises(error, match=match):
        make_train_step(mlp_task(), **options)


def test_a_batch_that_cannot_be_split_is_refused():
    task = mlp_task()
    state, step = TrainState.create(task, fnopt.sgd(0.1), 0), make_train_step(task, accumulate=4)
    with pytest.raises(ValueError, match="accumulate=4 needs batches of a multiple of 4 examples"):
        step(state, blobs(50))
    x, y = blobs(48)
    with pytest.raises(ValueError, match="the same number of examples"):
        step(state, (x, y[1:]))


@pytest.mark.parametrize("size", [1e-25, 1.0, 1e20, 1e37])
def test_a_finite_gradient_of_any_size_is_clipped(size):
    """Its square may be beyond single precision."""
    task = objective(lambda params, batch: size * params * batch, params=jnp.ones(()))
    state = TrainState.create(task, fnopt.sgd(1.0), 0)
    state, metrics = make_train_step(task, clip_norm=min(1.0, size / 2))(state, jnp.ones(4))
    np.testing.assert_allclose(metrics["grad_norm"], size, rtol=1e-6)
    np.testing.assert_allclose(metrics["update_norm"], min(1.0, size / 2), rtol=1e-6)
    assert int(state.step) == 1 and int(state.skipped) == 0
