"""Data of all kinds in a run: copied, refused where they are no numbers, and evaluated."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import FEATURES, blobs, function_task
from test_train import same

import fnopt
from fnopt.data import Arrays, Batches, Text, split
from fnopt.data.numbers import own
from fnopt.train import DataError, TrainState, evaluate, fit, objective

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

linear = functools.cache(function_task)  # one program for all runs
TX = fnopt.sgd(0.1)


def batches(count: int = 5, size: int = 10) -> list[Any]:
    x, y = blobs(size * count)
    return [(x[i : i + size], y[i : i + size]) for i in range(0, size * count, size)]


class Loader:
    """What can be iterated again, and does not say how long it is, as a loader of a stream."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        raise TypeError("a stream has no len()")

    def __iter__(self) -> Any:
        return iter(self.batches)


class CallableLoader(Loader):
    def __call__(self) -> Any:
        raise AssertionError("a loader is iterated, not called")


@functools.cache
def streamed() -> Any:
    """The run that all of these batches must give."""
    return fit(linear(), TX, Loader(batches()), epochs=2)


# Memory that is written into again


class DLPack:
    """An array that has nothing but DLPack."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


SHAPES = [(4, 1), (512, 64), (1024, 1024)]  # jax copies some at once, some later, some never


@functools.cache
def squares() -> Any:
    """The loss of a batch filled with i is i²; the parameters stay."""
    return objective(lambda p, x: jnp.mean(jnp.square(x) + p, axis=-1), params=jnp.zeros(()))


def refilled(shape: tuple[int, ...], as_array: Any = lambda x: x, count: int = 6) -> Any:
    def batches() -> Any:
        memory = np.zeros(shape, np.float32)
        for i in range(count):
            memory[...] = i + 1
            yield as_array(memory)
            memory[...] = -100.0

    return batches


AS_ARRAYS = {
    "numpy": lambda x: x,
    "view": lambda x: x[::-1],
    "jax": jnp.asarray,
    "dlpack": DLPack,
    "of dlpack": jnp.from_dlpack,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", AS_ARRAYS)
def test_a_loader_may_fill_one_buffer_for_every_batch(kind, shape):
    data = refilled(shape, AS_ARRAYS[kind])
    for loader in (data, Batches(data), Batches(data, prefetch=0)):
        losses: list[Any] = []

        def note(step: int, metrics: Any, losses: list[Any] = losses) -> None:
            losses.extend(metrics["loss"])

        fit(squares(), fnopt.sgd(0.0), loader, epochs=2, steps_per_call=4, on_step=note)
        np.testing.assert_allclose(losses, 2 * [1.0, 4.0, 9.0, 16.0, 25.0, 36.0])
    state = TrainState.create(squares(), TX, 0)
    for loader in (data, Batches(data)):
        got = evaluate(squares(), state, loader)
        np.testing.assert_allclose(got["loss"], np.mean(np.arange(1, 7) ** 2))


@pytest.mark.parametrize("kind", ["tree", "arrays", "jax", "test"])
def test_the_arrays_of_a_run_stay_the_caller_s_to_write_into(kind):
    x, y = np.full((512, 64), 2.0, np.float32), np.full((512, 64), 3.0, np.float32)
    data = {"arrays": Arrays(x), "jax": jnp.asarray(x)}.get(kind, x)

    def spoil(*got: Any) -> None:
        x[:], y[:] = -100.0, -100.0

    result = fit(squares(), fnopt.sgd(0.0), data, epochs=3, batch_size=128, validation_data=y,
                 steps_per_call=1, on_step=spoil, on_epoch=spoil)  # fmt: skip
    np.testing.assert_array_equal(result.history["loss"], [4.0, 4.0, 4.0])
    np.testing.assert_array_equal(result.history["val_loss"], [9.0, 9.0, 9.0])


def test_what_is_made_of_arrays_does_not_change_with_them():
    x, weights = np.ones((4096, 256), np.float32), np.ones(4096, np.float32)
    arrays = Arrays(x, weights=weights)
    weights[:] = np.nan
    batch = arrays.batch(jax.random.key(0), 0, jnp.arange(4000))
    parts = split({"x": x}, 0.5)
    state = TrainState.create(squares(), TX, 0)
    got = [evaluate(squares(), state, data, size) for data in (x, arrays) for size in (None, 1000)]
    x[:] = np.nan
    assert bool(jnp.all(batch == 1)) and all(np.all(part["x"] == 1) for part in parts)
    assert [float(one["loss"]) for one in got] == [1.0] * 4
    assert np.all(np.isfinite(arrays.weights))
    text = Text("to be")
    text.windows(2)[:] = 9
    assert text.decode(text.tokens) == "to be" and not text.tokens.flags.writeable


# What is no array of numbers

X, Y = batches(1)[0]
MASKED = np.ma.masked_array(X, X > 1e9)
ODD = {
    "objects": (X.astype(object), "batch[0] is an array of Python objects (float)", "dtype"),
    "rows": (np.array([X[0], X[1, :3]], object), "batch[0] is an array of Python objects", "rows"),
    "text": (np.array(["a"] * 10), "batch[0] is text", "encode"),
    "bytes": (np.array([b"a"] * 10), "batch[0] is text", "encode"),
    "a string": ("photo.png", "batch[0] is text", "encode"),
    "raw bytes": (b"photo", "batch[0] is text", "encode"),
    "dates": (np.zeros(10, "M8[s]"), "batch[0] is an array of dates or times", "astype"),
    "times": (np.zeros(10, "m8[s]"), "batch[0] is an array of dates or times", "astype"),
    "fields": (np.zeros(10, [("a", "f4")]), "batch[0] is a structured array", "field"),
    "masked": (np.ma.masked_array(X, X > 0), "batch[0] is a masked array with", ".filled"),
    "ragged": ([[1.0, 2.0], [3.0]], "batch[0] is a ragged list", "fill its rows up"),
    "a list": (X.tolist(), "batch[0] is a list of Python numbers", "np.array"),
    "an object": (object(), "batch[0] is of type object", "give an array"),
    "a set": ({1, 2}, "batch[0] is of type set", "give an array"),
}


def kinds_of(loader: Any) -> list[Any]:
    return [loader, Batches(loader), Batches(loader, prefetch=0)]


@pytest.mark.parametrize("kind", ODD)
def test_a_batch_in_mid_run_that_is_no_array_of_numbers_loses_nothing(kind, tmp_path):
    odd, says, cure = ODD[kind]
    loader = Loader([*batches()[:3], (odd, Y), batches()[4]])
    for i, data in enumerate(kinds_of(loader)):
        with pytest.raises(DataError) as caught:
            fit(linear(), TX, data, epochs=2, checkpoint_dir=tmp_path / str(i))
        error = caught.value
        assert f"batch 3 is refused: {says}" in str(error) and cure in str(error)
        assert (error.batch, error.epoch, int(error.state.step)) == (3, 1, 3)
        rest = fit(
            linear(), TX, Loader(batches()), epochs=2, checkpoint_dir=tmp_path / str(i), resume=True
        )
        assert same(rest.state, streamed().state)


@pytest.mark.parametrize("kind", ODD)
def test_data_that_are_no_numbers_are_refused_before_the_first_step(kind):
    odd, says, cure = ODD[kind]
    steps: list[Any] = []

    def note(*call: Any) -> None:
        steps.append(call)

    state = TrainState.create(linear(), TX, 0)
    got = []
    for data in kinds_of(Loader([(odd, Y)])):
        for call in (
            lambda data=data: fit(linear(), TX, data, epochs=1, on_step=note),
            lambda data=data: fit(linear(), TX, blobs(), epochs=1, validation_data=data),
            lambda data=data: evaluate(linear(), state, data),
        ):
            with pytest.raises(DataError) as caught:
                call()
            got.append(str(caught.value))
    assert not steps
    assert all(f": {says}" in one and cure in one and "batch 0" in one for one in got)
    for call in (
        lambda: fit(linear(), TX, (odd, Y), epochs=1),
        lambda: fit(linear(), TX, blobs(), epochs=1, validation_data=(odd, Y)),
        lambda: evaluate(linear(), state, (odd, Y)),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert says.replace("batch", "data") in str(caught.value) and cure in str(caught.value)


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (None, "batch 2 is refused: batch is None, without any array"),
        ((), "batch 2 is refused: batch is an empty tuple"),
        ((None, Y), r"batch\[0\]: \(10, 8\) float32 before, None now\. All must have"),
        ((X, None), r"batch\[1\]: \(10,\) int32 before, None now\. All must have"),
        ((X, Y, None), r"batch\[2\]: missing before, None now\. All must have"),
        ((X.astype(np.int32), Y), r"\(10, 8\) float32 before, \(10, 8\) int32 now\. All must"),
        ((X, ((1, 2), (3,))), r"batch\[1\]: \(10,\) int32 before, missing now"),
    ],
)
def test_a_batch_with_something_missing_or_different(odd, says):
    with pytest.raises(DataError, match=says) as caught:
        fit(linear(), TX, Loader([*batches(2), odd]), epochs=1)
    assert int(caught.value.state.step) == 2
    for data in kinds_of(Loader([*batches(2), odd])):
        with pytest.raises(DataError, match="batch 2") as caught:
            fit(linear(), TX, data, epochs=1)
        assert int(caught.value.state.step) == 2
        with pytest.raises(DataError, match="batch 2"):
            evaluate(linear(), caught.value.state, data)


@pytest.mark.parametrize(
    "numbers",
    [
        lambda x, y: (x.astype(">f4"), y.astype(">i8")),
        lambda x, y: (np.ma.masked_array(x, x > 1e9), np.ma.masked_array(y)),
        lambda x, y: (x.astype(np.float64), y.astype(np.int64)),
        lambda x, y: (np.asfortranarray(x).astype(np.longdouble), y.astype(np.uint8)),
        lambda x, y: [jnp.asarray(x), DLPack(y)],
    ],
)
def test_every_array_of_numbers_is_taken(numbers):
    given = [numbers(*batch) for batch in batches()]
    for data in kinds_of(Loader(given)):
        assert same(fit(linear(), TX, data, epochs=2).state.params, streamed().state.params)
    x, y = numbers(*blobs())
    whole = fit(linear(), TX, blobs(), epochs=2, validation_data=blobs(7))
    got = fit(linear(), TX, (x, y), epochs=2, validation_data=(x, y))
    assert same(whole.state.params, got.state.params)


def test_nothing_of_a_traced_array_is_copied():
    state = TrainState.create(linear(), TX, 0)
    got = jax.jit(lambda data: evaluate(linear(), state, data, 8))(blobs(20))
    np.testing.assert_allclose(got["loss"], evaluate(linear(), state, blobs(20))["loss"], 1e-6)


# Evaluation of batches


class Counted:
    """A function that makes a generator, and counts how often it was iterated."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches, self.begun, self.ended = batches, 0, 0

    def __call__(self) -> Any:
        self.begun += 1
        yield from self.batches
        self.ended += 1


def uneven(sizes: tuple[int, ...] = (16, 16, 5)) -> Any:
    x, y = blobs(sum(sizes), seed=1)
    ends = np.cumsum(sizes)
    return [
        (x[end - size : end], y[end - size : end]) for size, end in zip(sizes, ends, strict=True)
    ]


WHOLE = blobs(37, seed=1)


@pytest.mark.parametrize("sizes", [(16, 16, 5), (37,), (16, 5, 16), (5, 16, 16), (1,) * 37])
def test_evaluation_counts_every_example_of_every_batch(sizes):
    parts = uneven(sizes)
    state = fit(linear(), TX, blobs(), epochs=1).state
    expected = evaluate(linear(), state, WHOLE)
    sources = [Loader(parts), CallableLoader(parts), lambda: iter(parts), iter(parts)]
    if sizes[0] == 16:
        sources += [Batches(parts), Batches(parts, prefetch=0)]
    for data in (*sources, Arrays(WHOLE)):
        got = evaluate(linear(), state, data)
        assert got.keys() == expected.keys()
        for name, metric in got.items():
            np.testing.assert_allclose(metric, expected[name], rtol=1e-5)
            assert metric.dtype == expected[name].dtype
    if sizes == (16, 16, 5):
        got = evaluate(linear(), state, Batches(parts, drop_last=True))
        first = tuple(x[:32] for x in WHOLE)
        np.testing.assert_allclose(got["loss"], evaluate(linear(), state, first)["loss"], 1e-5)


def test_one_program_evaluates_all_batches():
    traced = []

    def losses(params: Any, batch: Any) -> Any:
        traced.append(batch[0].shape)
        return jnp.mean(batch[0], axis=-1) * params

    task = objective(losses, params=jnp.ones(()))
    state = TrainState.create(task, TX, 0)
    evaluate(task, state, Loader(uneven()))
    before = len(traced)
    evaluate(task, state, Loader(uneven((16, 3, 9, 16, 1))))
    assert len(traced) == before and set(traced) == {(16, FEATURES)}


def test_examples_of_batches_count_by_their_weights():
    task = objective(
        lambda p, x: x @ p, "squared_error", params=jnp.ones(FEATURES), weights=lambda b: b[2]
    )
    state = TrainState.create(task, TX, 0)
    x, y = (z.astype(np.float32) for z in WHOLE)
    weights = np.arange(37, dtype=np.float32)
    weights[16:32] = 0  # a batch of no weight
    parts = [
        tuple(z[start:stop] for z in (x, y, weights))
        for start, stop in ((0, 16), (16, 32), (32, 37))
    ]
    got = evaluate(task, state, Loader(parts))["loss"]
    np.testing.assert_allclose(got, evaluate(task, state, (x, y, weights))["loss"], rtol=1e-5)
    nothing = [(x, y, 0 * w) for x, y, w in parts]
    assert np.isnan(evaluate(task, state, Loader(nothing))["loss"])


@pytest.mark.parametrize("eval_every", [None, 2])
def test_a_run_evaluates_batches_again_each_time(eval_every, tmp_path):
    expected = fit(linear(), TX, blobs(), epochs=3, validation_data=WHOLE, eval_every=eval_every,
                   batch_size=10)  # fmt: skip
    counted = Counted(uneven())
    sources = [counted, Loader(uneven()), CallableLoader(uneven()), Batches(uneven()),
               Batches(Counted(uneven()), prefetch=0)]  # fmt: skip
    for data in sources:
        got = fit(linear(), TX, blobs(), epochs=3, validation_data=data, eval_every=eval_every,
                   batch_size=10)  # fmt: skip
        np.testing.assert_allclose(got.history["val_loss"], expected.history["val_loss"], rtol=1e-5)
        assert same(got.state.params, expected.state.params)
        assert int(got.state.evaluations) == int(expected.state.evaluations)
    assert counted.begun == counted.ended == int(expected.state.evaluations)


@pytest.mark.parametrize("data", [iter(uneven()), Batches(iter(uneven())), map(tuple, uneven())])
def test_an_iterator_as_validation_data_is_refused_before_training(data):
    steps: list[Any] = []

    def note(*call: Any) -> None:
        steps.append(call)

    with pytest.raises(ValueError, match=r"fit: validation_data is an iterator.*pass a function"):
        fit(linear(), TX, blobs(), epochs=1, validation_data=data, on_step=note)
    assert not steps


@dataclasses.dataclass
class Failing:
    """Test data that fail in their second pass."""

    odd: Any
    passes: int = 0

    def __call__(self) -> Any:
        self.passes += 1
        yield uneven()[0]
        if self.passes == 2:
            if isinstance(self.odd, Exception):
                raise self.odd
            yield self.odd
        yield from uneven()[1:]


@pytest.mark.parametrize("eval_every", [None, 5, 3])
@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ((np.array(["a"]), Y), r"batch 1 of validation_data is refused: batch\[0\] is text"),
        (OSError("gone"), r"validation_data raised OSError\('gone'\) at batch 1"),
        ((X[:, :3], Y), r"batch 1 of validation_data has another shape.*\(10, 3\) float32 now"),
        ((X, Y[:3]), "batch 1 of validation_data: all arrays"),
    ],
)
def test_validation_data_that_fail_in_mid_run_lose_nothing(odd, says, eval_every, tmp_path):
    options = {"epochs": 3, "batch_size": 10, "eval_every": eval_every}
    plateau = fnopt.reduce_on_plateau(0.5, patience=0, monitor="metric")
    tx = fnopt.chain(fnopt.sgd(0.1), plateau)
    expected = fit(linear(), tx, blobs(), validation_data=Loader(uneven()), **options)
    with pytest.raises(DataError, match=says) as caught:
        fit(linear(), tx, blobs(), validation_data=Failing(odd), checkpoint_dir=tmp_path, **options)
    assert int(caught.value.state.step) == {None: 10, 5: 10, 3: 6}[eval_every]
    rest = fit(linear(), tx, blobs(), validation_data=Loader(uneven()), checkpoint_dir=tmp_path,
               resume=True, **options)  # fmt: skip
    assert same(rest.last, expected.last)
    assert rest.history.evaluations == expected.history.evaluations
    np.testing.assert_array_equal(rest.history["val_loss"], expected.history["val_loss"])


def test_validation_data_without_a_batch():
    with pytest.raises(DataError, match="validation_data gave no batch"):
        fit(linear(), TX, blobs(), epochs=1, validation_data=Loader([]))


# Numbers


@pytest.mark.parametrize("bad", [2.5, True, float("nan"), "3", np.float32(2), 2 + 0j])
def test_sizes_are_integers(bad):
    state = TrainState.create(linear(), TX, 0)
    calls = {
        "batch_size": [
            lambda: fit(linear(), TX, blobs(), epochs=1, batch_size=bad),
            lambda: fit(linear(), TX, Loader(batches()), epochs=1, batch_size=bad),
            lambda: evaluate(linear(), state, blobs(), bad),
            lambda: evaluate(linear(), state, Loader(batches()), bad),
        ],
        "eval_batch_size": [
            lambda: fit(
                linear(), TX, blobs(), epochs=1, validation_data=blobs(), eval_batch_size=bad
            ),
            lambda: fit(
                linear(), TX, blobs(), epochs=1, validation_data=batches, eval_batch_size=bad
            ),
        ],
        "prefetch": [lambda: Batches([], prefetch=bad)],
    }
    for argument, several in calls.items():
        for call in several:
            with pytest.raises(TypeError, match=rf"\b{argument} must be an integer, got"):
                call()


def test_sizes_are_positive():
    with pytest.raises(ValueError, match="eval_batch_size must be at least 1, got 0"):
        fit(linear(), TX, blobs(), epochs=1, validation_data=blobs(), eval_batch_size=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got -1"):
        fit(linear(), TX, Loader(batches()), epochs=1, batch_size=-1)
    with pytest.raises(TypeError, match="prefetch must be an integer, got False"):
        Batches([], prefetch=False)
    fit(linear(), TX, blobs(), epochs=1, batch_size=np.int64(10), eval_batch_size=jnp.int32(3))


def cut(examples: int) -> Any:
    """Batches of 10, the last of what is left, as loaders give them by default."""

    def batches() -> Any:
        for i in range(0, examples, 10):
            yield tuple(x[i : min(i + 10, examples)] for x in blobs(50))

    return batches


@pytest.mark.parametrize("steps_per_call", [1, 4, None])
def test_a_last_batch_of_fewer_examples_is_left_out(steps_per_call, tmp_path, caplog):
    def train(examples: int, **options: Any) -> Any:
        options = {"epochs": 2, "steps_per_call": steps_per_call, **options}
        return fit(linear(), fnopt.sgd(0.1), cut(examples), **options)

    whole = train(47, validation_data=cut(47))
    assert whole.history["step"].tolist() == [4, 8]
    assert same(whole.state.params, train(40).state.params)
    assert caplog.text.count("fewer examples than the others and is left out") == 1
    train(47, epochs=1, checkpoint_dir=tmp_path)
    rest = train(47, resume=True, checkpoint_dir=tmp_path)
    assert same(rest.state.params, whole.state.params)


# torch, where it is installed


def test_loaders_of_torch_straight_into_a_run():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, IterableDataset, TensorDataset

    x, y = (torch.from_numpy(z.copy()) for z in blobs())

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(x, y, strict=True))

    test_x, test_y = (torch.from_numpy(z.copy()) for z in WHOLE)
    test = DataLoader(TensorDataset(test_x, test_y), batch_size=16)
    expected = fit(linear(), TX, Loader(batches()), epochs=2, validation_data=WHOLE)
    for dataset in (TensorDataset(x, y), Stream()):
        for loader in kinds_of(DataLoader(dataset, batch_size=10)):
            got = fit(linear(), TX, loader, epochs=2, validation_data=test)
            assert same(got.state.params, expected.state.params)
            np.testing.assert_allclose(got.history["val_loss"], expected.history["val_loss"], 1e-5)
    state = got.state
    for data in (test, Batches(test)):
        metrics = evaluate(linear(), state, data)
        np.testing.assert_allclose(metrics["loss"], evaluate(linear(), state, WHOLE)["loss"], 1e-5)


@pytest.mark.parametrize(
    "kind", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "complex64", "bool", "int64"]
)
def test_tensors_of_torch(kind):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, kind))
    for given in (tensor, tensor.T.contiguous().T, tensor[0], tensor[0, 0]):
        got = own({"x": [given]})["x"][0]
        assert got.dtype == jax.dtypes.canonicalize_dtype(jnp.dtype(kind))
        np.testing.assert_array_equal(np.asarray(got, complex), given.to(torch.complex64).numpy())
    if tensor.is_floating_point() and tensor.element_size() > 1:
        tensor.requires_grad_()
    copy = own(tensor)
    with torch.no_grad():
        tensor.zero_()
    assert bool(copy[1, 2])
    if kind == "complex64":
        assert own(torch.tensor([1j]).conj())[0] == -1j


def test_tensors_without_numbers_of_their_own_are_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"batch\['x'\] is of type torch\.Tensor.*\.to_dense\(\)"):
        own({"x": torch.eye(2).to_sparse()})
    with pytest.raises(TypeError, match=r"batch\[0\] is of type torch\.Tensor.*meta"):
        own([torch.ones(2, device="meta")])


def test_torch_is_not_imported():
    import subprocess
    import sys

    program = (
        "import numpy as np, sys, fnopt.train; from fnopt.data.numbers import own;"
        "own(np.ones(2)); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_reading_is_as_fast_as_copying():
    """Of a megabyte; a bound that only an accident could miss."""
    memory = np.zeros((1024, 256), np.float32)
    own(memory)
    began = time.perf_counter()
    for _ in range(20):
        jax.block_until_ready(own(memory))
    assert time.perf_counter() - began < 5
