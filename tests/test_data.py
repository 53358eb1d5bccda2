"""Data in memory, batches of a loader, splits, and the data sets."""

from __future__ import annotations

import contextlib
import itertools
import pickle
import re
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnopt import data as sets
from fnopt.data import Arrays, Batches, Text, as_data, split
from fnopt.data.arrays import size
from fnopt.data.fashion_mnist import idx

KEY = jax.random.key(3)


def pairs(examples=50):
    return np.arange(examples, dtype=np.float32), np.arange(examples, dtype=np.int32)


# In memory


@pytest.mark.parametrize("step", [0, 7, 2**20])
def test_the_order_is_a_permutation_drawn_from_key_and_step(step):
    order = Arrays(pairs()).order(KEY, step, 16)
    stream = jax.random.fold_in(jax.random.fold_in(KEY, 2**32 - 1), step)
    expected = jax.random.permutation(stream, 50)[:48].reshape(3, 16)
    np.testing.assert_array_equal(order, expected)
    # And any step of it can be had again from the key and the step that began the epoch.
    np.testing.assert_array_equal(order[2], Arrays(pairs()).order(KEY, jnp.int32(step), 16)[2])


def test_without_shuffling_examples_come_as_they_lie():
    for step in (0, 3):
        order = Arrays(pairs(), shuffle=False).order(KEY, step, 16)
        np.testing.assert_array_equal(order, np.arange(48).reshape(3, 16))


def test_weights_say_how_often_an_example_is_drawn():
    weights = np.arange(10.0)
    data = Arrays(pairs(10), weights=weights)
    draws = np.concatenate([data.order(KEY, step, 5).ravel() for step in range(2000)])
    assert draws.shape == (20_000,)
    shares = np.bincount(draws, minlength=10) / draws.size
    assert shares[0] == 0
    np.testing.assert_allclose(shares, weights / 45, atol=4 * np.sqrt(0.2 * 0.8 / draws.size))
    first, again, other = (data.order(KEY, step, 5) for step in (0, 0, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_batch_is_augmented_by_the_key_and_the_step():
    def augment(key, batch):
        images, labels = batch
        return images + jax.random.uniform(key, images.shape), labels

    data, indices = Arrays(pairs(), augment=augment), jnp.array([4, 2, 9])
    draw = jax.jit(lambda data, key, step: data.batch(key, step, indices))  # inside jit
    images, labels = map(np.asarray, draw(data, KEY, 0))
    assert labels.tolist() == [4, 2, 9]
    assert np.all((images > labels) & (images < labels + 1))
    np.testing.assert_array_equal(images, draw(data, KEY, 0)[0])
    assert not np.any(images == np.asarray(draw(data, KEY, 1)[0]))
    assert not np.any(images == np.asarray(draw(data, jax.random.key(4), 0)[0]))
    plain = Arrays(pairs()).batch(KEY, 0, indices)
    np.testing.assert_array_equal(plain[0], [4.0, 2.0, 9.0])


def test_arrays_are_a_tree_that_keeps_what_it_is_told():
    data = Arrays({"x": np.ones((4, 2))}, shuffle=False)
    again = jax.tree.map(lambda x: x + 1, data)
    assert again.tree["x"][0, 0] == 2 and not again.shuffle and again.augment is None
    assert size(data) == 4 and "float64[4, 2]" in repr(data)
    paths = jax.tree_util.tree_flatten_with_path(Arrays(pairs(), weights=np.ones(50)))[0]
    told = [jax.tree_util.keystr(path) for path, _ in paths]
    assert told == [".tree[0]", ".tree[1]", ".weights"]
    assert pickle.loads(pickle.dumps(data)).tree["x"].shape == (4, 2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"weights": np.ones(4)}, r"one number for each of 50 examples; they have shape \(4,\)"),
        ({"weights": -np.arange(50)}, r"must lie in \[0, inf\); that of example 1 is -1"),
        ({"weights": np.full(50, np.nan)}, "that of example 0 is nan"),
        ({"weights": np.zeros(50)}, "all 0"),
        ({"weights": np.ones(50), "shuffle": False}, "leave out shuffle=False"),
    ],
)
def test_bad_weights(options, match):
    with pytest.raises(ValueError, match=match):
        Arrays(pairs(), **options)


# Parts


@pytest.mark.parametrize("fractions", [0.2, (0.8, 0.2), (4, 1)])
def test_parts_have_their_share_of_every_class(fractions):
    labels = np.repeat([5, 7, 9], [100, 33, 8])
    train, test = split((np.arange(141), labels), fractions, stratify=labels)
    assert sorted([*train[0], *test[0]]) == list(range(141))  # all of them, each once
    counts = [np.sum(test[1] == label) for label in (5, 7, 9)]
    np.testing.assert_allclose(counts, [20, 6.6, 1.6], atol=1 - 1e-6)
    assert counts[0] == 20 and abs(len(test[0]) - 28.2) < 1
    again = split((np.arange(141), labels), fractions, stratify=labels)
    np.testing.assert_array_equal(test[0], again[1][0])
    other = split((np.arange(141), labels), fractions, stratify=labels, key=jax.random.key(1))
    assert not np.array_equal(test[0], other[1][0])


def test_rounding_of_many_classes_does_not_add_up():
    labels = np.repeat(np.arange(100), 5)  # an ideal of half an example a class
    parts = split(labels, (8, 1, 1), stratify=labels)
    assert all(
        abs(len(part) - 500 * share) < 2 for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True)
    )
    assert all(3 <= count <= 5 for count in np.bincount(parts[0]))


def test_parts_without_labels():
    parts = split({"x": np.arange(10), "y": jnp.arange(10)}, (0.7, 0.2, 0.1))
    assert [len(part["x"]) for part in parts] == [7, 2, 1]
    assert all(np.array_equal(part["x"], part["y"]) for part in parts)


@pytest.mark.parametrize(
    ("fractions", "options", "match"),
    [
        (1.5, {}, r"share, in \(0, 1\); got 1.5"),
        ((1.0,), {}, "two numbers or more"),
        ((0.5, 0.0), {}, r"in \(0, inf\)"),
        ((0.5, 0.5), {"stratify": np.zeros(3)}, r"for each of 4 examples; it has shape \(3,\)"),
        ((0.999, 0.001), {}, r"parts of \[4, 0\]; none may be empty"),
    ],
)
def test_bad_fractions(fractions, options, match):
    with pytest.raises(ValueError, match=match):
        split(np.arange(4), fractions, **options)


# From a loader


def counted(count, shape=(2, 3), seen=None, at=None, error=None):
    """A loader: batch i holds i."""

    def batches():
        for i in range(count):
            if i == at:
                raise error
            if seen is not None:
                seen.append(i)
            yield np.full(shape, i, np.float32), np.full(shape[:1], i)

    return batches


def numbers(batches):
    return [int(labels[0]) for _, labels in batches]


def loaders():
    return [t for t in threading.enumerate() if t.name == "fnopt.data.Batches"]


@pytest.mark.parametrize("prefetch", [0, 1, 2, 20])
def test_batches_come_in_order_on_the_device_every_epoch(prefetch):
    for iterable in (counted(7), list(counted(7)())):
        batches = Batches(iterable, prefetch=prefetch)
        for _ in range(2):
            assert numbers(batches) == list(range(7))
        images, labels = next(iter(batches))
        assert isinstance(images, jax.Array) and images.shape == (2, 3)
        assert labels.dtype == jnp.int32  # as jax keeps integers
    assert not loaders()


def test_batches_are_taken_ahead_and_no_further():
    seen = []
    with contextlib.closing(Batches(counted(9, seen=seen), prefetch=2).epoch()) as epoch:
        for i in range(4):
            next(epoch)
            wait_for(lambda i=i: len(seen) == i + 3)  # this one and two more
            time.sleep(0.01)
            assert len(seen) == i + 3
    assert not loaders()


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_an_epoch_from_its_midst_on():
    batches = Batches(counted(7))
    assert numbers(batches.epoch(start=4)) == [4, 5, 6]
    assert numbers(batches.epoch(start=7)) == []


@pytest.mark.parametrize("prefetch", [0, 2])
def test_what_the_loader_raises_comes_where_its_batch_would_have_come(prefetch):
    error = KeyError("no such file")
    batches = Batches(counted(2000, at=1000, error=error), prefetch=prefetch)
    taken = []
    with pytest.raises(KeyError, match="no such file") as caught:
        for batch in batches:
            taken.append(batch)
    assert len(taken) == 1000
    assert caught.value.__notes__ == ["This was batch 1000 of the data, counted from 0."]
    assert not loaders()


def test_a_batch_that_is_no_array_is_told_by_its_number():
    def batches():
        yield {"x": np.ones(2)}
        yield {"x": object()}

    with pytest.raises(TypeError) as caught:
        list(Batches(batches))
    assert "batch 1 of the data" in caught.value.__notes__[0]


@pytest.mark.parametrize("leave", ["break", "error", "close", "forgotten"])
def test_no_thread_is_left_behind(leave):
    closed = threading.Event()

    def endless():
        try:
            yield from (np.full(2, i) for i in itertools.count())
        finally:
            closed.set()

    epoch = iter(Batches(endless))
    next(epoch)
    assert len(loaders()) == 1
    if leave == "break":
        for _ in epoch:
            break
    elif leave == "error":
        with pytest.raises(ZeroDivisionError), contextlib.closing(epoch):
            for _ in epoch:
                _ = 1 / 0
    elif leave == "close":
        epoch.close()
    del epoch
    wait_for(lambda: not loaders())
    assert closed.is_set()  # the loader has closed what it had open


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_batch_unlike_the_first_is_refused(prefetch):
    odd = [np.ones((4, 2)), np.ones((4, 2)), np.ones((4, 3))]
    expected = r"batch 2 is float32\[4, 3\], but the first was float32\[4, 2\]$"
    with pytest.raises(ValueError, match=expected):
        list(Batches(odd, prefetch=prefetch))
    odd[2] = np.ones((4, 2), np.int32)
    with pytest.raises(ValueError, match=r"batch 2 is int32\[4, 2\]"):
        list(Batches(odd, prefetch=prefetch))
    odd[2] = [np.ones((4, 2))]
    with pytest.raises(ValueError, match=r"batch 2 is \[float32\[4, 2\]\]"):
        list(Batches(odd, prefetch=prefetch))


def test_the_first_batch_of_all_epochs_counts():
    sizes = iter([3, 4])
    batches = Batches(lambda: [np.ones(next(sizes))])
    list(batches)
    with pytest.raises(ValueError, match=r"batch 0 is float32\[4\].*first was float32\[3\]"):
        list(batches)


def test_a_shorter_last_batch_is_refused_or_left_out():
    last = [(np.ones((4, 2)), np.ones(4)), (np.ones((3, 2)), np.ones(3))]
    with pytest.raises(ValueError, match=r"batch 1 is .*; drop_last=True leaves a shorter last"):
        list(Batches(last))
    assert len(list(Batches(last, drop_last=True))) == 1
    with pytest.raises(ValueError, match=r"batch 1 has fewer examples.*is not the last"):
        list(Batches([*last, last[0]], drop_last=True))
    narrow = [np.ones((4, 2)), np.ones((3, 1))]
    with pytest.raises(ValueError, match="batch 1 is"):
        list(Batches(narrow, drop_last=True))


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_loader_may_fill_the_same_memory_again(prefetch):
    def batches():
        memory = np.zeros((64, 64), np.float32)  # large enough to be aliased
        for i in range(8):
            memory[:] = i
            yield memory

    assert [float(b[0, 0]) for b in list(Batches(batches, prefetch=prefetch))] == list(range(8))


def test_an_iterator_is_good_for_one_epoch():
    batches = Batches(counted(3)())
    assert numbers(batches) == [0, 1, 2]
    with pytest.raises(ValueError, match="for one epoch alone"):
        numbers(batches)


def test_the_thread_knows_the_precision_and_the_device_of_its_user():
    device = jax.devices()[3]
    with jax.enable_x64(True), jax.default_device(device):
        (batch,) = Batches([np.ones(2)])
    assert batch.dtype == jnp.float64 and batch.devices() == {device}


def test_loaders_of_torch():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    dataset = TensorDataset(torch.arange(10.0)[:, None], torch.arange(10))
    batches = Batches(DataLoader(dataset, batch_size=4), drop_last=True)
    for _ in range(2):
        got = list(batches)
        assert [y.tolist() for _, y in got] == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert got[0][0].shape == (4, 1) and isinstance(got[0][0], jax.Array)


def test_loaders_of_grain():
    grain = pytest.importorskip("grain")
    dataset = grain.MapDataset.source(list(np.arange(10.0))).batch(4).to_iter_dataset()
    batches = Batches(dataset, drop_last=True)
    assert [b.tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]] and len(list(batches)) == 2


def test_what_is_given_as_data():
    assert as_data(arrays := Arrays(pairs())) is arrays
    assert as_data(batches := Batches([])) is batches
    for tree in (pairs(), np.ones(3), {"x": jnp.ones(3)}, [np.ones(3), np.ones(3)]):
        assert isinstance(as_data(tree), Arrays)
    for loader in (counted(2), counted(2)(), map(np.ones, [3]), type("L", (list,), {})()):
        assert isinstance(as_data(loader), Batches)
    with pytest.raises(ValueError, match="same number of examples"):
        as_data((np.ones(3), np.ones(4)))


def test_bad_loaders():
    with pytest.raises(TypeError, match=r"iterable of batches or a function.*got int"):
        Batches(3)
    with pytest.raises(ValueError, match="prefetch must be at least 0, got -1"):
        Batches([], prefetch=-1)


# The data sets

TABLES = {
    "breast_cancer": ((455, 30), (455,), (114, 30), [170, 285]),
    "wine": ((142, 13), (142,), (36, 13), [47, 57, 38]),
    "diabetes": ((353, 10), (353, 1), (89, 10), None),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    (x, y), (test_x, test_y) = sets.load(name)
    of_x, of_y, of_test, counts = TABLES[name]
    assert (abs(len(x) - of_x[0]), x.shape[1:]) <= (1, of_x[1:]) and y.shape[1:] == of_y[1:]
    assert len(x) == len(y) and len(test_x) == len(test_y)
    assert abs(len(test_x) - of_test[0]) <= 1 and x.dtype == test_x.dtype == np.float32
    # Standardized by the training examples, whose statistics those for testing nearly have.
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-5)
    assert 1e-3 < np.abs(test_x.mean(axis=0)).max() < 0.7
    if counts is None:
        assert y.dtype == np.float32 and abs(y.std() - 1) < 1e-5
    else:
        assert y.dtype == np.int32 and np.all(np.abs(np.bincount(y) - counts) <= 1)
    again = sets.load(name)
    np.testing.assert_array_equal(test_x, again[1][0])


def installed(name, package):
    try:
        return sets.load(name)
    except FileNotFoundError:
        return pytest.skip(f"Debian's package {package} is not installed")


def test_fashion_mnist():
    (x, y), (test_x, test_y) = installed("fashion_mnist", "dataset-fashion-mnist")  # by SHA-256
    assert x.shape == (60_000, 28, 28, 1) and test_x.shape == (10_000, 28, 28, 1)
    assert x.dtype == np.uint8 and y.dtype == test_y.dtype == np.int32
    assert np.bincount(y).tolist() == [6000] * 10 and np.bincount(test_y).tolist() == [1000] * 10
    np.testing.assert_allclose([x.mean() / 255, x.std() / 255], [0.2860, 0.3530], atol=5e-5)


def test_austen():
    text = installed("austen", "r-cran-janeaustenr")  # by SHA-256
    assert len(text.text) == 4_025_027 and len(text.vocabulary) == 81
    assert text.tokens.dtype == np.uint8 and text.text.startswith("EMMA\n\nBy Jane Austen")
    assert text.decode(text.tokens[:500]) == text.text[:500]
    assert text.windows(129).shape == (4_025_027 // 129, 129)


@pytest.mark.parametrize(
    ("name", "package"),
    [("fashion_mnist", "dataset-fashion-mnist"), ("austen", "r-cran-janeaustenr")],
)
def test_what_is_not_installed_is_named_with_its_cure(name, package, tmp_path, monkeypatch):
    told = rf"no {re.escape(str(tmp_path))}/usr/.*apt-get install {package};.*dpkg-deb -x.*root="
    with pytest.raises(FileNotFoundError, match=told):
        sets.load(name, root=tmp_path)
    monkeypatch.setenv("FNOPT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=told):
        sets.load(name)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    for name in (*TABLES, "digits"):
        with pytest.raises(ImportError, match="pip install scikit-learn"):
            sets.load(name)


def test_other_data_under_the_same_name_are_refused(tmp_path):
    import gzip

    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\1\0\0\0\0"))
    with pytest.raises(ValueError, match=r"holds other data: SHA-256 \w{64}, not c59f468a"):
        sets.fashion_mnist(tmp_path)


def test_a_data_set_by_its_name():
    with pytest.raises(
        ValueError, match="no data set 'fashion_mist'; did you mean 'fashion_mnist'"
    ):
        sets.load("fashion_mist")
    assert all(callable(getattr(sets, name)) for name in sets.names())


def test_idx_files():
    raw = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6))
    assert idx(raw).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_pixels_of_bytes_and_of_floats():
    assert sets.pixels((np.array([0, 255], np.uint8), None)).tolist() == [0.0, 1.0]
    assert sets.pixels((np.array([0.5], np.float32), None)).tolist() == [0.5]


def test_text():
    text = Text("abcab")
    assert text.windows(2).tolist() == [[0, 1], [2, 0]]
    with pytest.raises(ValueError, match="no 'd' among the symbols 'abc'"):
        text.encode("abd")
    with pytest.raises(ValueError, match=r"length must be in \[1, 5\], got 6"):
        text.windows(6)
