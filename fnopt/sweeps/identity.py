"""What a sweep is, as text and numbers that are the same in every process.

Numbers and shapes are compared by themselves, functions by their names and the numbers that they
close over. What the code of a function computes is compared as JAX sees it: by the operations of
the first epoch, and of parts of it to say which differs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import types
import zlib
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.interpreters.partial_eval import dce_jaxpr

from fnopt.core.checks import brief
from fnopt.core.stacking import groups_of
from fnopt.sweeps.program import run_epoch
from fnopt.sweeps.training import Training
from fnopt.train.about import describe, functions, is_key
from fnopt.train.closures import closure, from_difference
from fnopt.train.plain import dumps

_FUNCTIONS = {
    "function": "model", "loss_fn": "loss", "metric_fns": "metrics", "inputs": "inputs",
    "targets": "targets", "weights": "weights",
}  # fmt: skip
"""Attributes of objectives that are functions, and the arguments that they come from."""
_ENVIRONMENT, _OPERATIONS = "environment", "operations"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+|\bid=\d+")


def identity(training: Training, monitor: str, mode: str, keep: str) -> dict[str, Any]:
    """What a sweep is: all that its records follow from, as text and numbers.

    Args:
        training: what the runs have in common.
        monitor: name of the metric by which runs are judged.
        mode: ``"min"`` if a smaller metric is better, ``"max"`` if a larger one is.
        keep: of which runs the final state is kept.
    """
    entrants = training.entrants[:: len(training.seeds)]
    groups = groups_of(entrant.tx for entrant in training.entrants)
    data = training.data
    return {
        "optimizers": [entrant.label for entrant in entrants],
        "hyperparameters": [dict(entrant.hyperparameters) for entrant in entrants],
        "numbers of the optimizers": [_checksum(entrant.tx) for entrant in entrants],
        "functions of the optimizers": [
            functions(types.SimpleNamespace(tx=entrant.tx)) for entrant in entrants
        ],
        "structures of the optimizers": [_structure(training, group[0]) for group in groups],
        "seeds": list(training.seeds),
        "objective": repr(training.objective),
        "functions of the objective": {
            argument: closure(vars(training.objective).get(name))
            for name, argument in _FUNCTIONS.items()
        },
        "parameters at the start": _checksum(training.starts),
        "data": _checksum(data),
        "options of the data": {"shuffle": str(data.shuffle), "augment": closure(data.augment)},
        "validation_data": _checksum(training.sets),
        "epochs": training.epochs,
        "batch_size": training.plan.batch_size,
        "monitor": monitor,
        "monitor_mode": mode,
        "early_stopping": repr(training.stopping),
        "same_order": training.plan.same_order,
        "precision": repr(training.plan.precision),
        "keep": keep,
        _ENVIRONMENT: _environment(),
        _OPERATIONS: dict(_operations(training, [group[0] for group in groups])),
    }


def difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Words for the first difference of two sweeps; empty where they are the same.

    Operations are not compared where another version of a package may have changed them.

    Args:
        there: the identity of the sweep that is in the folder.
        here: that of the one that is called.
    """
    for name, value in here.items():
        other = there.get(name)
        if name == _ENVIRONMENT or value == other:
            continue
        if name == _OPERATIONS:
            if there.get(_ENVIRONMENT) != here[_ENVIRONMENT]:
                continue
            other = other or {}
            part = next((part for part, x in value.items() if x != other.get(part)), "a metric")
            return f"{part} computes something else there than here"
        if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
            pairs = enumerate(zip(value, other, strict=True))
            number, (value, other) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
            name = name.replace("functions of the optimizers", f"functions of optimizer {number}")
        texts = [value, other]
        if name.startswith(("functions", "options")) and isinstance(other, dict):
            name, *texts = _first_of(name, value, other)
        elif not all(isinstance(text, str) and len(text) > 60 for text in texts):
            texts = [brief(text, 60) for text in texts]
        there_is, here_is = from_difference(texts[1], texts[0])
        return f"{name} is {there_is:.120} there, and {here_is:.120} here"
    return ""


def bytes_of(x: Any) -> np.ndarray:
    """An array of any dtype as bytes."""
    x = np.asarray(jax.random.key_data(x) if hasattr(x, "dtype") and is_key(x) else x)
    return np.frombuffer(x.tobytes(), np.uint8)


def _first_of(name: str, here: Any, there: Any) -> tuple[str, str, str]:
    """The first entry that differs, with its name."""
    part = next(x for x in (*here, *there) if here.get(x) != there.get(x))
    what = name.partition(" of ")[2]
    value, other = here.get(part, "missing"), there.get(part, "missing")
    part = part.removeprefix("tx").lstrip(".") or "optimizer"
    return f"{part} of {what}", value, other


def _structure(training: Training, number: int) -> int:
    """A check sum of shapes, dtypes and static fields in the state of a run."""
    state = jax.eval_shape(lambda: training.begin_one(number).states)
    return zlib.crc32(dumps(describe(state)).encode())


def _environment() -> dict[str, str]:
    """What the operations depend on besides the sweep."""
    versions = {}
    for name in ("fnopt", "jax", "optax", "flax", "equinox"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {**versions, "backend": jax.default_backend()}


def _operations(training: Training, firsts: list[int]) -> Iterator[tuple[str, int]]:
    """Check sums of the operations of parts of an epoch, then of all of it for each structure.

    The parts say which one differs; the whole misses nothing that is computed. From the first that
    cannot be traced by itself they are left out.
    """
    arrays = training.starts, training.keys, training.data, training.sets
    with contextlib.suppress(Exception):
        yield from _parts(training)
    for number in firsts:

        def epoch(starts: Any, keys: Any, data: Any, sets: Any, number: int = number) -> Any:
            own = dataclasses.replace(
                training.alone, starts=starts, keys=keys, data=data, sets=sets
            )
            return run_epoch.function(
                own.objective, own.begin_one(number), *own.shared, own.plan, 1
            )

        label = training.entrants[number].label
        yield f"optimizer {number // len(training.seeds)} ({label})", _traced(epoch, *arrays)


def _parts(training: Training) -> Iterator[tuple[str, int]]:
    """Check sums of the operations of data, model, loss and metrics."""
    objective, keys = training.objective, training.keys
    places = jax.ShapeDtypeStruct((training.plan.batch_size,), jnp.int32)

    def batch_of(data: Any, keys: Any, places: Any) -> Any:
        return data.batch(keys[0], 0, places)

    def outputs_of(train: bool, starts: Any, batch: Any, keys: Any) -> Any:
        params, model_state = jax.tree.map(lambda x: x[0], starts)
        return objective.forward(
            params, model_state, batch, key=keys[0] if train else None, train=train
        )[0]

    def metric_of(metric: Any, outputs: Any, batch: Any) -> Any:
        return metric(outputs, objective.targets(batch))

    yield "augment of the data", _traced(batch_of, training.data, keys, places)
    batch = jax.eval_shape(batch_of, training.data, keys, places)
    for name in ("inputs", "targets", "weights"):
        if function := getattr(objective, name):
            yield name, _traced(function, batch)
    for train, name in ((True, "the model"), (False, "the model in evaluation")):
        yield name, _traced(functools.partial(outputs_of, train), training.starts, batch, keys)
    model = functools.partial(outputs_of, False)
    outputs = jax.eval_shape(model, training.starts, batch, keys)
    yield "the loss", _traced(objective.losses, outputs, batch)
    for name, metric in objective.metric_fns.items():
        measure = functools.partial(metric_of, metric)
        yield f"the metric {name!r}", _traced(measure, outputs, batch)


def _traced(function: Callable[..., Any], *arguments: Any) -> int:
    """A check sum of the operations of a function, and of the constants in them."""
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), arguments
    )
    closed = jax.make_jaxpr(function)(*shapes)
    # What has no effect depends on what jax has traced before.
    program, _ = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)
    closed = closed.replace(jaxpr=program)
    total = zlib.crc32(_ADDRESS.sub("", str(closed)).encode())
    for constant in _constants(closed):
        total = zlib.crc32(bytes_of(constant).tobytes(), total)
    return total


def _constants(x: Any) -> Iterator[Any]:
    """The arrays in operations, which their text leaves out."""
    if isinstance(x, (ClosedJaxpr, Jaxpr)):  # which are one class in jax 0.12
        yield from getattr(x, "consts", ())
        for equation in x.eqns:
            yield from (v.val for v in equation.invars if isinstance(v, Literal) and np.ndim(v.val))
            for value in equation.params.values():
                yield from _constants(value)
    elif isinstance(x, (tuple, list)):
        for item in x:
            yield from _constants(item)


def _checksum(tree: Any) -> int:
    total = 0
    for leaf in jax.tree.leaves(tree):
        total = zlib.crc32(bytes_of(leaf).tobytes(), total)
    return total
