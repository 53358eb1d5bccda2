"""Equinox modules as objectives."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import jax

from fnopt.core.types import Batch, ModelState, Outputs, Params
from fnopt.train.layer_errors import check_params, explained
from fnopt.train.objective import Objective, copied
from fnopt.train.signatures import train_flags


class EquinoxObjective(Objective):
    """An Equinox module, called on each example of a batch.

    Its inexact arrays are the parameters; all else in it stays as it is. The model state is its
    ``eqx.nn.State``.

    Args:
        module: the module; its ``inference`` flags are set for training and for evaluation.
        state: its state at the start, or None. If there is one, it is the second argument of the
            call, and the second of what that returns.
        *args: those of :class:`~fnopt.train.Objective`.
    """

    def __init__(self, module: Any, state: Any, *args: Any) -> None:
        super().__init__(*args)
        # Here rather than above: this file can be imported where Equinox is not installed.
        self._eqx: Any = importlib.import_module("equinox")
        eqx = self._eqx
        call = type(module).__call__
        self._flags = train_flags(call)
        self._wants_key = "key" in inspect.signature(call).parameters
        self._params = eqx.filter(module, eqx.is_inexact_array)
        self._rest = {
            train: eqx.filter(
                eqx.nn.inference_mode(module, value=not train), eqx.is_inexact_array, inverse=True
            )
            for train in (False, True)
        }
        self._name = type(module).__name__
        self._model_state = {} if state is None else state
        self._has_state = state is not None

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
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
        module: Any = self._eqx.combine(params, self._rest[train])
        inputs = self.inputs(batch)
        examples = jax.tree.leaves(inputs)[0].shape[0]
        keys = None if key is None else jax.random.split(key, examples)

        def of_example(x: Any, state: Any, key: Any) -> Any:
            options = {"key": key} if self._wants_key else {}
            if self._has_state:
                return module(x, state, **options, **self._flags(train))
            return module(x, **options, **self._flags(train)), state

        # A copy: Equinox makes a state that was written to invalid.
        copied = jax.tree.map(lambda x: x, model_state)
        with explained(module, inputs):
            outputs, after = jax.vmap(
                of_example, in_axes=(0, None, 0), out_axes=(0, None), axis_name="batch"
            )(inputs, copied, keys)
        return outputs, after if train else model_state

    def model(self, params: Params, model_state: ModelState) -> Any:
        return self._eqx.combine(copied(params), self._rest[False])

    @property
    def model_name(self) -> str:
        return self._name
