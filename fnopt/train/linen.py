"""Flax Linen modules as objectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.core
import jax
import jax.numpy as jnp
from flax import linen

from fnopt.core.types import Batch, ModelState, Outputs, Params
from fnopt.train.about import by_path
from fnopt.train.kinds import description
from fnopt.train.layer_errors import explained
from fnopt.train.objective import Objective, copied
from fnopt.train.signatures import train_flags


class LinenObjective(Objective):
    """A Flax Linen module.

    Args:
        module: the module.
        variables: its variables at the start, or its parameters alone; None to draw them.
        rngs: the names of its random streams in training.
        *args: those of :class:`~fnopt.train.Objective`.
    """

    def __init__(
        self, module: linen.Module, variables: Any, rngs: tuple[str, ...], *args: Any
    ) -> None:
        super().__init__(*args)
        self.module: Any = module
        self.variables = None if variables is None else _by_collection(variables)
        self.rngs = rngs
        self._flags = train_flags(type(module).__call__)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        own = self.variables or {}
        if batch is None:
            if len(own) > 1:  # its other collections, too
                return own["params"], _without_params(own)
            raise TypeError(
                "TrainState.create: a Linen module's shapes need batch=, an example batch"
            )
        keys = self._keys(key) | {"params": key}
        with explained(self.module, inputs := self.inputs(batch)):
            variables = self.module.init(keys, inputs, **self._flags(False))
        for name, tree in own.items():
            _check_like(name, tree, variables.get(name, {}))
        variables = {**variables, **own}
        return variables.get("params", {}), _without_params(variables)

    def forward(
        self,
        params: Params,
        model_state: ModelState,
        batch: Batch,
        *,
        key: jax.Array | None,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        with explained(self.module, inputs := self.inputs(batch)):
            outputs = self.module.apply(
                {"params": params, **model_state},
                inputs,
                rngs=self._keys(key) if train else None,
                mutable=list(model_state) if train else False,
                **self._flags(train),
            )
        return outputs if train else (outputs, model_state)

    def model(self, params: Params, model_state: ModelState) -> linen.Module:
        return self.module.bind(copied({"params": params, **model_state}))

    @property
    def model_name(self) -> str:
        return type(self.module).__name__

    def _keys(self, key: jax.Array | None) -> dict[str, jax.Array]:
        if key is None:
            return {}
        return {name: jax.random.fold_in(key, i) for i, name in enumerate(self.rngs)}


def _by_collection(variables: Any) -> dict[str, Any]:
    """The variables by collection; those of a tree of parameters alone are ``params``."""
    if not isinstance(variables, Mapping):
        raise TypeError(
            "objective: params of a Linen module are what module.init(key, inputs) returns, a dict;"
            f" got {description(variables)}"
        )
    variables = flax.core.unfreeze(variables)  # pyright: ignore[reportArgumentType]
    is_whole = isinstance(variables.get("params"), Mapping)
    return variables if is_whole else {"params": variables}


def _without_params(variables: Mapping[str, Any]) -> dict[str, Any]:
    left_out = "params", "intermediates"
    return {name: tree for name, tree in variables.items() if name not in left_out}


def _check_like(name: str, tree: Any, drawn: Any) -> None:
    """Refuses variables that the module would not draw, by structure and shapes."""
    theirs, own = by_path(tree), by_path(drawn)
    for path in sorted(own.keys() | theirs.keys()):
        here, there = (jnp.shape(x[path]) if path in x else "missing" for x in (own, theirs))
        if here != there:
            raise ValueError(
                f"objective: params= are not of this module: {name}.{path} is {there}, and the"
                f" module has {here}; give what module.init(key, inputs) returns"
            )
