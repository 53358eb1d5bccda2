"""The data that the command line trains on: a data set of fnopt, or the arrays of a file."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fnopt.cli.usage import UsageError
from fnopt.core import did_you_mean
from fnopt.data import load, split

Pair = tuple[np.ndarray, np.ndarray]
DATASETS = {
    "digits": "handwritten digits",
    "fashion_mnist": "Fashion-MNIST",
    "breast_cancer": "breast cancer",
    "wine": "wines",
    "diabetes": "the course of diabetes",
}
"""The data sets to train on, and their names in a title."""
HELD_OUT = 0.2
"""Share of a file's examples that is held out where it has no part to validate on."""
FEWEST = 10
"""Fewest examples that are divided."""
HOW = "write one by numpy.savez('data.npz', x=x, y=y)"


class Data(NamedTuple):
    """Examples, and what is to be learnt of them.

    Attributes:
        name: name of the files that a run leaves.
        title: what the data are, for a picture.
        train: inputs and targets to train on.
        validation: inputs and targets to validate on.
        test: inputs and targets for one evaluation at the end; None for none.
        classes: number of classes; None in a regression.
        about: a sentence on the parts and the task.
        is_scaled: whether the inputs have a scale that suits a network.
    """

    name: str
    title: str
    train: Pair
    validation: Pair
    test: Pair | None
    classes: int | None
    about: str
    is_scaled: bool

    @property
    def outputs(self) -> int:
        """Number of outputs that a model of the data needs."""
        return self.classes or math.prod(self.train[1].shape[1:])


def load_dataset(name: str) -> Data:
    """A data set of fnopt.

    Raises:
        UsageError: there is none of this name to train on; the nearest is suggested.
        ImportError, FileNotFoundError: it is not installed; says how to install it.
    """
    if name not in DATASETS:
        raise UsageError(f"no data set {name!r} to train on; {did_you_mean(name, DATASETS)}")
    train, held_out = load(name)
    classes = None if name == "diabetes" else int(train[1].max()) + 1
    about = _about(name, train, held_out, classes)
    return Data(name, DATASETS[name], train, held_out, None, classes, about, True)


def load_file(path: Path, task: str | None) -> Data:
    """The arrays of an ``.npz`` file.

    Args:
        path: a file with ``x`` and ``y``, or with parts: ``x_train`` and ``y_train``, ``x_val`` and
            ``y_val``, ``x_test`` and ``y_test``.
        task: ``"classification"`` or ``"regression"``; None for the first where ``y`` are integers.

    Raises:
        UsageError: the file is missing or no such file, or an array is missing or not as it must
            be.
    """
    arrays = _read(path)
    train, validation, test = (_pair(path, arrays, part) for part in ("train", "val", "test"))
    if train is None:
        raise UsageError(
            f"{path} has {_listed(arrays)}; it must have the arrays x and y, or x_train and y_train"
        )
    if task is None:
        task = "classification" if train[1].dtype.kind in "iub" else "regression"
    targets = {"classification": _labels, "regression": _numbers}[task]
    train = train[0], targets(path, "y", train[1])
    validation, test = (
        part and (part[0], targets(path, name, part[1]))
        for name, part in (("y_val", validation), ("y_test", test))
    )
    if validation is None:
        validation, test = test, None
    how = ""
    if validation is None:
        how = " (a fifth, the same every time)"
        train, validation = _divided(path, train, task)
    parts = [train, validation, *([test] if test else [])]
    _check_shapes(path, parts)
    classes = _classes(path, parts) if task == "classification" else None
    about = _about(path.name, train, validation, classes, how)
    return Data(path.stem, path.name, train, validation, test, classes, about, False)


def _divided(path: Path, data: Pair, task: str) -> tuple[Pair, Pair]:
    """A part to train on and one to validate on, the same every time."""
    if len(data[1]) < FEWEST:
        raise UsageError(
            f"{path} has {len(data[1])} examples, too few to hold some out; give at least"
            f" {FEWEST}, or x_val and y_val"
        )
    train, validation = split(
        data, HELD_OUT, stratify=data[1] if task == "classification" else None
    )
    return train, validation


def _classes(path: Path, parts: list[Pair]) -> int:
    """The number of classes, checked to be one that so many examples can have."""
    classes, examples = 1 + max(int(y.max()) for _, y in parts), len(parts[0][1])
    if classes > examples:
        raise UsageError(
            f"y in {path} are integers up to {classes - 1} of {examples} examples: numbers rather"
            " than classes? Then give --task regression"
        )
    return classes


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by their names in lower case."""
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise UsageError(f"{path} is one array; --data takes an .npz file of two: {HOW}")
            return {name.lower(): file[name] for name in file.files}
    except FileNotFoundError:
        raise UsageError(f"--data: there is no file {path}") from None
    except IsADirectoryError:
        raise UsageError(f"--data: {path} is a folder, not an .npz file") from None
    except ValueError as error:
        if "Object arrays" in str(error):
            raise UsageError(
                f"{path} has an array of Python objects; give it a dtype, such as"
                " x.astype('float32'), and save it again"
            ) from None
        raise UsageError(f"{path} is no .npz file; {HOW}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise UsageError(f"{path} is no .npz file, or a damaged one; {HOW}") from None


def _pair(path: Path, arrays: dict[str, np.ndarray], part: str) -> Pair | None:
    """Inputs and targets of a part, checked for what can be learnt from; None if not there."""
    suffixes = [f"_{part}", *([""] if part == "train" else [])]
    there = [suffix for suffix in suffixes if {f"x{suffix}", f"y{suffix}"} & set(arrays)]
    if not there:
        return None
    x_name, y_name = f"x{there[0]}", f"y{there[0]}"
    for name, other in ((x_name, y_name), (y_name, x_name)):
        if name not in arrays:
            raise UsageError(f"{path} has {other}, but no {name}; it has {_listed(arrays)}")
    x, y = arrays[x_name], arrays[y_name]
    _check_numbers(path, x_name, x, "leave it out or encode it as numbers")
    _check_numbers(path, y_name, y, "encode it by numpy.unique(y, return_inverse=True)[1]")
    if x.ndim < 2:
        raise UsageError(
            f"{x_name} in {path} has shape {x.shape}; it must have a row for each example,"
            " (examples, features) or (examples, height, width, channels)"
        )
    if y.ndim == 0 or len(x) != len(y):
        raise UsageError(
            f"{x_name} and {y_name} in {path} differ in their number of examples: shapes"
            f" {x.shape} and {y.shape}"
        )
    if not x.size:
        raise UsageError(f"{x_name} in {path} is empty: its shape is {x.shape}")
    return x.astype(np.float32) if x.dtype.kind == "f" else x, y


def _check_numbers(path: Path, name: str, x: np.ndarray, cure: str) -> None:
    if x.dtype.kind not in "biuf":
        kind = "text" if x.dtype.kind in "US" else f"of dtype {x.dtype}"
        raise UsageError(f"{name} in {path} is {kind}, not numbers; {cure}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        rows = len(np.unique(np.argwhere(~np.isfinite(x))[:, 0]))
        raise UsageError(
            f"{name} in {path} has NaN or inf in {rows} of {len(x)} rows, first in row {row}; fill"
            " them in, or leave those rows out"
        )


def _check_shapes(path: Path, parts: list[Pair]) -> None:
    shapes = [tuple(array.shape[1:] for array in part) for part in parts]
    if len(set(shapes)) > 1:
        raise UsageError(
            f"the parts in {path} differ in the shape of an example:"
            f" {' and '.join(str(x) for x, _ in shapes)} of x,"
            f" {' and '.join(str(y) for _, y in shapes)} of y"
        )


def _labels(path: Path, name: str, y: np.ndarray) -> np.ndarray:
    """Classes from 0 on, as integers, one for each example."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim > 1:
        raise UsageError(
            f"{name} in {path} has shape {y.shape}; a class for each example has one axis. Give"
            f" one-hot labels as {name}.argmax(1)"
        )
    if y.dtype.kind == "f" and not np.array_equal(y, np.floor(y)):
        raise UsageError(
            f"{name} in {path} are not whole numbers, as classes are; leave --task away for a"
            " regression"
        )
    if y.min() < 0:
        raise UsageError(
            f"{name} in {path} has the class {y.min():g}; classes are whole numbers from 0 on"
        )
    return y.astype(np.int32)


def _numbers(path: Path, name: str, y: np.ndarray) -> np.ndarray:
    """Targets of a regression, with an axis of outputs."""
    y = y.astype(np.float32)
    return y[:, None] if y.ndim == 1 else y


def _listed(arrays: dict[str, np.ndarray]) -> str:
    if not arrays:
        return "no arrays"
    return f"the array{'s' * (len(arrays) > 1)} {', '.join(sorted(arrays))}"


def _about(name: str, train: Pair, held_out: Pair, classes: int | None, how: str = "") -> str:
    task = f"{classes} classes" if classes else "regression"
    shape = train[0].shape[1:]
    inputs = f"{shape[0]} features" if len(shape) == 1 else f"inputs of {_by(shape)}"
    return (
        f"{name}: {task}, {inputs}, {len(train[0])} examples to train on,"
        f" {len(held_out[0])} to validate on{how}"
    )


def _by(shape: tuple[int, ...]) -> str:
    return " by ".join(map(str, shape))
