"""Flax Linen modules as objectives."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen

from fnopt.core.types import Batch, ModelState, Outputs, Params
from fnopt.train.objective import Objective, copied, train_flags


class LinenObjective(Objective):
    """A Flax Linen module.

    Args:
        module: the module.
        rngs: the names of its random streams in training.
        *args: those of :class:`~fnopt.train.Objective`.
    """

    def __init__(self, module: linen.Module, rngs: tuple[str, ...], *args: Any) -> None:
        super().__init__(*args)
        self.module: Any = module
        self.rngs = rngs
        self._flags = train_flags(type(module).__call__)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        if batch is None:
            raise TypeError(
                "TrainState.create: a Linen module's shapes need batch=, an example batch"
            )
        keys = self._keys(key) | {"params": key}
        variables = self.module.init(keys, self.inputs(batch), **self._flags(False))
        variables = {name: tree for name, tree in variables.items() if name != "intermediates"}
        return variables.pop("params", {}), variables

    def forward(
        self,
        params: Params,
        model_state: ModelState,
        batch: Batch,
        *,
        key: jax.Array | None,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        outputs = self.module.apply(
            {"params": params, **model_state},
            self.inputs(batch),
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
