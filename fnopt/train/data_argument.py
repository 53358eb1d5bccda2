"""Data that a run or an evaluation receives: checks before anything is made of them."""

from __future__ import annotations

import os
from typing import Any

from fnopt.data.arrays import Arrays
from fnopt.data.batches import Batches, as_data, is_stream
from fnopt.train.kinds import (
    description,
    is_array,
    is_model,
    is_optimizer,
    is_result,
    is_state,
    of_torch,
)
from fnopt.train.objective import Objective

_EXPECTED = "arrays such as (inputs, targets), or batches of such, as a DataLoader gives them"


def check_data(caller: str, data: Any, argument: str = "data") -> None:
    """Refuses what cannot be data.

    Args:
        caller: the call that is right, such as ``"fit(objective, tx, data)"``.
        data: the argument.
        argument: its name.

    Raises:
        TypeError: it is something else; says what was expected, or how to convert it.
    """
    if argument in ("validation_data", "test_data") and isinstance(data, float) and 0 < data < 1:
        raise TypeError(f"{caller}: {argument} is a share, {data}; give validation_split={data}")
    if cure := _cure(data):
        raise TypeError(f"{caller}: {argument} is {description(data)}; {cure}")


def in_memory(caller: str, data: Any) -> Arrays:
    """Data as :class:`fnopt.data.Arrays`, copied.

    Args:
        caller: the call that is right, for errors.
        data: the data.

    Raises:
        TypeError: they are something else, or a stream of batches.
    """
    check_data(caller, data)
    arrays = as_data(data, copy=True)
    if isinstance(arrays, Batches):
        raise TypeError(
            f"{caller}: data are a stream of batches; give the arrays themselves, such as (inputs,"
            " targets), of some thousand examples"
        )
    return arrays


def _cure(data: Any) -> str:
    """What to give instead of something; empty for what may be data."""
    if isinstance(data, (str, bytes, os.PathLike)):
        return "give the arrays themselves; fnopt.data.load(name) has some data sets"
    if is_optimizer(data) or isinstance(data, Objective) or is_state(data) or is_result(data):
        return f"the arguments are in the wrong order. Data are {_EXPECTED}"
    if data is None or isinstance(data, (bool, int, float, complex, type)) or is_model(data):
        return f"data are {_EXPECTED}"
    if of_torch(data, "utils.data.Dataset") and not is_stream(data):
        return "wrap it, torch.utils.data.DataLoader(dataset, batch_size=…, shuffle=True)"
    if type(data) is list:
        return _cure_of_list(data)
    return ""


def _cure_of_list(items: list[Any]) -> str:
    """The same for a list, which may be one of numbers, of examples, or of batches."""
    if not items:
        return f"data are {_EXPECTED}"
    if all(map(_is_numbers, items)):
        pair = "(np.array(inputs), np.array(targets))"
        return f"convert lists to arrays, {pair if len(items) == 2 else 'np.array(…)'}"
    containers = (tuple, list, dict)
    if len(items) < 3 or not all(type(item) in containers for item in items):
        return ""  # a tree of arrays
    if _is_batch(items[0]):
        return "give a list of batches as fnopt.data.Batches(list)"
    return "it looks like a list of examples; stack their arrays, (np.stack(xs), np.array(ys))"


def _is_numbers(item: Any) -> bool:
    """Whether this is a list of numbers, or of such lists; looks at first items alone."""
    while isinstance(item, list) and item:
        item = item[0]
        if isinstance(item, (bool, int, float, complex)):
            return True
    return False


def _is_batch(item: Any) -> bool:
    """Whether all in an item are arrays of one number of rows, as in a batch."""
    arrays = list(item.values()) if isinstance(item, dict) else item
    sizes = {x.shape[:1] if is_array(x) else () for x in arrays}
    return len(sizes) == 1 and () not in sizes
