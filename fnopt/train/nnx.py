"""Flax NNX models as objectives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from fnopt.core.types import Batch, ModelState, Outputs, Params
from fnopt.train.layer_errors import check_params, explained
from fnopt.train.objective import Objective, copied
from fnopt.train.signatures import train_flags


class NNXObjective(Objective):
    """A Flax NNX model; each step's random streams begin at that step's key.

    Args:
        model: the model; it is copied, not changed.
        *args: those of :class:`~fnopt.train.Objective`.
    """

    def __init__(self, model: nnx.Module, *args: Any) -> None:
        super().__init__(*args)
        model = nnx.clone(model)
        nnx.pop(model, nnx.Intermediate)  # values that earlier calls have recorded
        self._name = type(model).__name__
        self._flags = train_flags(type(model).__call__)
        self._graphs = {}
        for train in (False, True):
            model.train() if train else model.eval()
            self._graphs[train], self._params, self._streams, self._model_state = _split(model)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        if not jax.tree.leaves(self._params):
            raise ValueError(
                f"TrainState.create: the Flax NNX model ({self._name}) has no parameters to train;"
                " they are of type nnx.Param"
            )
        return self._params, self._model_state

    def forward(
        self,
        params: Params,
        model_state: ModelState,
        batch: Batch,
        *,
        key: jax.Array | None,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        check_params(params, self._params)
        streams = self._streams if key is None else _streams_from(self._streams, key)
        model: Any = nnx.merge(self._graphs[train], params, streams, model_state, copy=True)
        with explained(model, inputs := self.inputs(batch)):
            outputs = model(inputs, **self._flags(train))
        return outputs, _split(model)[-1] if train else model_state

    def model(self, params: Params, model_state: ModelState) -> nnx.Module:
        trees = copied((params, self._streams, model_state))
        return nnx.merge(self._graphs[False], *trees, copy=True)

    @property
    def model_name(self) -> str:
        return self._name


def _split(model: nnx.Module) -> tuple[Any, Any, Any, Any]:
    """Graph, parameters, random streams, model state; without values that a pass records."""
    graph, params, streams, _, rest = nnx.split(
        model, nnx.Param, nnx.RngState, nnx.Intermediate, ...
    )
    return graph, params, streams, rest


def _streams_from(streams: Any, key: jax.Array) -> Any:
    """Random streams that begin at this key, each with its own."""
    leaves, treedef = jax.tree.flatten(streams)
    started = [
        jax.random.split(jax.random.fold_in(key, i), leaf.shape)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else jnp.zeros_like(leaf)
        for i, leaf in enumerate(leaves)
    ]
    return treedef.unflatten(started)
