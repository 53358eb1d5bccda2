"""Plain functions as objectives."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import jax

from fnopt.core.types import Batch, ModelState, Outputs, Params
from fnopt.train.layer_errors import explained
from fnopt.train.objective import Function, Objective, copied, name_of
from fnopt.train.signatures import train_flags


class FunctionObjective(Objective):
    """A function of parameters and inputs, called with ``key`` and ``train`` if it has them.

    Args:
        function: ``function(params, inputs)``.
        params: the parameters at the start.
        *args: those of :class:`~fnopt.train.Objective`.
    """

    def __init__(self, function: Function, params: Params, *args: Any) -> None:
        super().__init__(*args)
        self.function, self.params = function, params
        self._flags = train_flags(function)
        self._wants_key = "key" in inspect.signature(function).parameters

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        return self.params, {}

    def forward(
        self,
        params: Params,
        model_state: ModelState,
        batch: Batch,
        *,
        key: jax.Array | None,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        with explained(self.function, inputs := self.inputs(batch)):
            outputs = self.function(params, inputs, **self._options(key, train))
        return outputs, model_state

    def model(self, params: Params, model_state: ModelState) -> Function:
        return functools.partial(self.function, copied(params), **self._options(None, train=False))

    @property
    def model_name(self) -> str:
        return name_of(self.function)

    def _options(self, key: jax.Array | None, train: bool) -> dict[str, Any]:
        return self._flags(train) | ({"key": key} if self._wants_key else {})
