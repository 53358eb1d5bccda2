"""Plain functions as objectives."""

from __future__ import annotations

import inspect
from typing import Any

import jax

from fnopt.core.types import Batch, ModelState, Outputs, Params
from fnopt.train.objective import Function, Objective, train_flags


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
        options = {"key": key} if self._wants_key else {}
        outputs = self.function(params, self.inputs(batch), **options, **self._flags(train))
        return outputs, model_state
