"""What a run gives back: the trained model, its predictions, the best evaluation, short words."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from models import CLASSES, FEATURES, NNXNet, blobs, function_task, linen_task, nnx_task

import fnopt
from fnopt.data import Arrays, Batches
from fnopt.train import (
    Best,
    CheckpointError,
    FitResult,
    History,
    Objective,
    TrainState,
    averaged,
    early_stopping,
    ema_of_params,
    fit,
    make_train_step,
    objective,
    predict,
    restore,
)
from fnopt.train.best import best_evaluation
from fnopt.train.predict import _outputs

pytestmark = pytest.mark.beside_optax

X, Y = blobs(50)


@functools.cache
def run(kind: str) -> FitResult:
    task = {"nnx": nnx_task, "linen": linen_task, "function": function_task}[kind]()
    return fit(task, fnopt.adam(0.02), (X, Y), epochs=3, validation_data=blobs(20, seed=1))


def outputs_of(result: FitResult, x=X):
    """What an evaluation computes."""
    state, batch = result.state, (jnp.asarray(x), None)
    assert result.objective is not None
    return result.objective.forward(
        state.eval_params, state.model_state, batch, key=None, train=False
    )[0]


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# The model


@pytest.mark.parametrize("kind", ["nnx", "linen", "function"])
def test_the_trained_model_computes_what_an_evaluation_does(kind):
    result = run(kind)
    options = {"train": False} if kind == "linen" else {}
    close(result.model(X, **options), outputs_of(result))
    close(result.predict(X), outputs_of(result))
    assert result.model is result.model


def test_the_model_outlives_the_state_whose_buffers_a_step_takes_over():
    result = run("nnx")
    task, state = result.objective, jax.tree.map(jnp.array, result.state)
    model = task.model(state.params, state.model_state)
    before = model(X)
    make_train_step(task, packed=False)(state, (X, Y))
    assert jax.tree.leaves(state.params)[0].is_deleted()
    np.testing.assert_array_equal(model(X), before)


def test_an_nnx_model_is_a_new_one_that_can_be_trained_and_taken_apart():
    net = NNXNet(nnx.Rngs(0))
    task = objective(net, "softmax_cross_entropy_with_integer_labels")
    start = np.asarray(net.dense.kernel[...])
    result = fit(task, fnopt.adam(0.02), (X, Y), epochs=1)
    model = result.model
    assert isinstance(model, NNXNet) and model is not net
    assert model is not task.model(result.state.params, result.state.model_state)
    np.testing.assert_array_equal(net.dense.kernel[...], start)
    assert not net.dropout.deterministic and model.dropout.deterministic
    np.testing.assert_array_equal(model(X), model(X))
    nnx.merge(*nnx.split(model))(X)
    model.train()
    assert not np.array_equal(model(X), model(X))  # it drops units, from a stream of its own
    nnx.update(net, result.state.params, result.state.model_state)
    net.eval()
    close(net(X), result.predict(X))


def test_a_linen_model_is_bound():
    model = run("linen").model
    assert isinstance(model, linen.Module)
    assert set(model.variables) == {"params", "batch_stats"}


def test_an_equinox_model_is_in_inference_mode():
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        dense: eqx.nn.Linear
        norm: eqx.nn.BatchNorm
        dropout: eqx.nn.Dropout

        def __call__(self, x, state, *, key=None):
            x, state = self.norm(self.dense(x), state)
            return self.dropout(x, key=key), state

    net, state = eqx.nn.make_with_state(Net)(
        eqx.nn.Linear(FEATURES, CLASSES, key=jax.random.key(0)),
        eqx.nn.BatchNorm(CLASSES, "batch", mode="ema"),
        eqx.nn.Dropout(0.5),
    )
    task = objective(net, "softmax_cross_entropy_with_integer_labels", state=state)
    result = fit(task, fnopt.adam(0.02), (X, Y), epochs=1)
    assert isinstance(result.model, Net) and result.model.dropout.inference
    for _ in range(2):  # the state is still valid
        outputs, _ = jax.vmap(lambda x: result.model(x, result.state.model_state))(X)
        close(outputs, result.predict(X))


def test_a_functions_model_has_its_flags():
    def scaled(params, x, *, key, train):
        assert not train and key is None
        return params * x

    task = objective(scaled, "squared_error", params=jnp.float32(2))
    model = task.model(jnp.float32(3), {})
    assert isinstance(model, functools.partial) and float(model(2.0)) == 6.0


def test_the_model_has_the_parameters_that_are_evaluated():
    tx = fnopt.schedule_free(fnopt.sgd(0.1), 0.1)
    result = fit(function_task(), tx, (X, Y), epochs=2, average=ema_of_params(0.9))
    state = result.state
    (params,) = result.model.args
    np.testing.assert_array_equal(params["w"], state.eval_params["w"])
    assert not np.array_equal(params["w"], state.params["w"])
    close(result.predict(X), result.model(X))
    # The average is another.
    average = averaged(result.objective, state)
    close(predict(result.objective, average, X), X @ average.params["w"] + average.params["b"])
    assert not np.allclose(average.params["w"], params["w"])


def test_with_early_stopping_the_model_is_the_best():
    stopping = early_stopping(patience=0, min_delta=1e9)  # the first evaluation stays the best
    test = blobs(20, seed=1)
    result = fit(
        function_task(),
        fnopt.sgd(0.5),
        (X, Y),
        epochs=9,
        validation_data=test,
        early_stopping=stopping,
    )
    assert result.ended == "early stopping" and int(result.state.step) == 2
    (params,) = result.model.args
    np.testing.assert_array_equal(params["w"], result.state.params["w"])
    assert not np.array_equal(params["w"], result.last.params["w"])


def test_an_objective_of_your_own_says_how_to_give_its_model():
    class Own(Objective):
        def __init__(self):
            pass

    assert repr(Own()) == "Own()"
    with pytest.raises(NotImplementedError, match=r"Own does not say .* give it a method model\("):
        Own().model({}, {})


# Predictions


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 60), st.integers(1, 50))
def test_predictions_do_not_depend_on_the_batch_size(batch_size, examples):
    result = run("function")
    outputs = result.predict(X[:examples], batch_size)
    assert isinstance(outputs, np.ndarray) and outputs.shape == (examples, CLASSES)
    close(outputs, outputs_of(result)[:examples])


def test_all_batches_are_one_program():
    task = nnx_task()
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    predict(task, state, X, 16)
    assert _outputs.of(task)._cache_size() == 1
    predict(task, state, lambda: (X[i : i + 16] for i in range(0, 50, 16)))
    assert _outputs.of(task)._cache_size() == 1


def batches(of, size=16):
    return [jax.tree.map(operator.itemgetter(slice(i, i + size)), of) for i in range(0, 50, size)]


@pytest.mark.parametrize(
    "inputs",
    [
        X,
        jnp.asarray(X),
        (X, Y),
        [X, Y],
        (X, None),
        Arrays((X, Y)),
        lambda: iter(batches(X)),
        lambda: iter(batches((X, Y))),
        Batches(batches(X)),
        Batches(batches([X, Y])),
        (x for x in batches(X)),
    ],
    ids=[
        "numpy",
        "jax",
        "pair",
        "list",
        "without labels",
        "Arrays",
        "function",
        "function of pairs",
        "Batches",
        "Batches of pairs",
        "iterator",
    ],
)
def test_what_predict_takes(inputs):
    result = run("function")
    close(result.predict(inputs, 16), outputs_of(result))


def test_predict_takes_torchs_loader():
    torch = pytest.importorskip("torch")
    data = torch.utils.data
    tensors = torch.from_numpy(X), torch.from_numpy(Y)
    result = run("function")
    for sources in (tensors, tensors[:1]):
        loader = data.DataLoader(data.TensorDataset(*sources), batch_size=16)
        close(result.predict(loader), outputs_of(result))


def test_an_objective_with_inputs_of_its_own_gets_what_they_take():
    params = jnp.ones((FEATURES, 2))
    own = {"inputs": lambda batch: batch["x"] / 2, "targets": lambda batch: batch["y"]}
    task = objective(lambda p, x: x @ p, "squared_error", params=params, **own)
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    close(predict(task, state, {"x": X}, 16), X @ np.ones((FEATURES, 2)) / 2)
    # The first item of a pair is as without.
    task = objective(lambda p, x: x @ p, "l2_loss", params=params, inputs=lambda batch: batch[0])
    close(predict(task, state, X), predict(task, state, (X, Y)))
    # A function without a loss gets all of a batch, and returns its losses.
    task = objective(lambda p, batch: batch[0] @ p - batch[1], params=jnp.ones(FEATURES))
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    close(predict(task, state, (X, Y.astype(np.float32)), 16), X.sum(1) - Y)


def test_inputs_and_outputs_may_be_trees():
    def function(params, x):
        return {"sum": params * (x["a"] + x["b"]), "all": (x["a"],)}

    task = objective(function, lambda outputs, targets: outputs["sum"], params=jnp.float32(2))
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    a = np.arange(5, dtype=np.float32)
    outputs = predict(task, state, {"a": a, "b": a}, 2)
    np.testing.assert_array_equal(outputs["sum"], 4 * a)
    np.testing.assert_array_equal(outputs["all"][0], a)


def test_predictions_are_in_the_precision_of_the_run():
    seen = []

    def function(params, x):
        seen.append(x.dtype.name)
        return x @ params

    task = objective(function, "l2_loss", params=jnp.zeros(FEATURES))
    data = X, Y.astype(np.float32)
    result = fit(task, fnopt.sgd(0.1), data, epochs=1, precision="bfloat16")
    seen.clear()
    assert result.predict(X).dtype == np.float32
    assert seen == ["bfloat16"]
    predict(task, result.state, X)
    assert seen[1:] == ["float32"]


def test_what_cannot_be_predicted_is_named():
    task = objective(lambda params, batch: jnp.mean(batch * params), params=jnp.float32(1))
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    with pytest.raises(ValueError, match=r"predict: outputs must have one entry for each of 50"):
        predict(task, state, X)
    with pytest.raises(ValueError, match="the same number of examples, above 0"):
        run("function").predict(X[:0])
    with pytest.raises(TypeError, match="predict: batch_size"):
        run("function").predict(X, 2.5)


# The best evaluation


def records(*values, name="val_loss"):
    return [{"epoch": i, "step": 10 * i, name: x} for i, x in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("values", "mode", "epoch"),
    [
        ((3.0, 1.0, 2.0), "min", 2),
        ((3.0, 1.0, 2.0), "max", 1),
        ((math.nan, 2.0, math.nan), "min", 2),
        ((2.0, 1.0, 1.0), "min", 2),  # the first of equals
        ((math.inf, 5.0), "max", 1),
    ],
)
def test_the_best_of_a_history(values, mode, epoch):
    best = best_evaluation(History(records(*values)), "val_loss", mode)
    assert best == Best("val_loss", values[epoch - 1], epoch, 10 * epoch)


def test_there_is_no_best_without_an_evaluation():
    assert best_evaluation(History(), "val_loss", "min") is None
    assert best_evaluation(History(records(1.0, name="loss")), "val_loss", "min") is None
    assert best_evaluation(History(records(math.nan)), "val_loss", "min") is None
    assert fit(function_task(), fnopt.sgd(0.1), (X, Y), epochs=1).best is None


def test_the_best_is_found_between_epochs():
    evaluations = [{"epoch": 1, "step": step, "val_loss": x} for step, x in ((4, 0.5), (8, 0.7))]
    history = History(records(0.7, 0.7), evaluations)
    assert best_evaluation(history, "val_loss", "min") == Best("val_loss", 0.5, 1, 4)


def test_the_best_checkpoint_can_be_restored(tmp_path):
    task, test = function_task(), blobs(20, seed=1)
    seen = {}
    rates = fnopt.piecewise_constant_schedule(0.1, {4: 1000.0})  # far too large from step 4 on
    result = fit(
        task, fnopt.sgd(rates), (X, Y), epochs=6, batch_size=25, validation_data=test,
        checkpoint_dir=tmp_path / "run", keep=1, key=0,
        on_epoch=lambda state, record: seen.update({int(state.step): np.array(state.params["w"])}),
    )  # fmt: skip
    best = result.best
    assert best is not None and best.value == result.history["val_loss"].min()
    assert best.step < int(result.state.step)
    assert best.checkpoint == tmp_path / "run" / f"step_{best.step:08d}"
    state = restore(best.checkpoint, result.state)
    assert int(state.step) == best.step
    np.testing.assert_array_equal(state.params["w"], seen[best.step])
    assert int(restore(tmp_path / "run", state).step) == int(result.state.step)
    assert f"(best {best.value:.4g}, epoch {best.epoch})" in repr(result)
    # Its name counts skipped steps, which are no updates.
    renamed = best.checkpoint.rename(tmp_path / "run" / "step_00000099")
    assert result.best == dataclasses.replace(best, checkpoint=renamed)
    (renamed / "about.json").write_text("{")
    assert result.best == dataclasses.replace(best, checkpoint=None)
    with pytest.warns(UserWarning, match="is not good"), pytest.raises(CheckpointError):
        restore(renamed, state)
    with pytest.raises(FileNotFoundError, match="step_00000098"):
        restore(tmp_path / "run" / "step_00000098", state)


# In words


def test_what_a_newcomer_prints_is_short():
    result = run("nnx")
    lines = repr(result).splitlines()
    assert lines[:2] == ["FitResult(", lines[1]] and len(lines) < 9
    assert "ended='epochs', epochs=3, steps=3" in lines[1]
    words = "state=TrainState(step=3, <227 parameters, float32, 908 bytes>, …)"
    assert words in repr(result) and "val_accuracy=" in repr(result)
    state = repr(result.state)
    assert len(state.splitlines()) == 8
    assert "params=<227 parameters, float32, 908 bytes>" in state
    assert "model_state=<32 numbers, float32, 128 bytes>" in state
    assert f"tx={result.state.tx!r}" in state and "key=key<fry>[]" in state
    history = repr(result.history)
    assert "epochs=3" in history and "last record: step=3, " in history
    assert max(map(len, history.splitlines())) <= 80
    task = repr(result.objective)
    assert "model=NNXNet" in task and "metrics=[accuracy]" in task
    assert "loss=softmax_cross_entropy_with_integer_labels" in task
    assert repr(History()) == "History(epochs=0)"
    assert repr(Batches(batches)) == "Batches(batches, prefetch=2, drop_last=False)"


def test_every_kind_of_objective_names_its_model():
    assert "model=LinenNet" in repr(linen_task())
    task = objective(functools.partial(jnp.multiply), "l2_loss", params=jnp.float32(1))
    assert repr(task) == "FunctionObjective(model=multiply, loss=l2_loss)"


def test_a_state_prints_whatever_its_leaves_are():
    state = jax.tree.map(jnp.array, run("function").state)
    params = "params=<27 parameters, float32, 108 bytes>"
    abstract = repr(jax.eval_shape(lambda: state))
    assert params in abstract and "step=int32[]" in abstract and "rate=float32[]" in abstract
    seen = []
    jax.jit(lambda state: seen.append(repr(state)))(state)
    assert params in seen[0] and "step=int32[]" in seen[0]
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    assert "step=int32[2]" in repr(stacked)
    assert "params=<no parameters>" in repr(jax.tree.map(lambda x: None, state))
    assert "params=<2 leaves, str>" in repr(jax.tree.map(str, state))
    for x in jax.tree.leaves(state):
        x.delete()
    assert params in repr(state) and "step=int32[]" in repr(state)


def test_a_result_is_pickled_without_its_objective():
    result = run("nnx")
    assert result.model is not None
    copy = pickle.loads(pickle.dumps(result))
    assert copy.best == result.best and copy.history == result.history
    with pytest.raises(ValueError, match="a pickled result has no objective"):
        copy.predict(X)
    again = dataclasses.replace(copy, objective=result.objective)
    close(again.predict(X), result.predict(X))
