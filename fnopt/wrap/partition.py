"""Groups of parameters, each with its own transform."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import optax

from fnopt.core import Static, Transform, did_you_mean, set_to_zero
from fnopt.core.calls import Call, Steps, run
from fnopt.core.checks import refuse_state
from fnopt.core.fields import Field
from fnopt.core.plan import plan_in_turn
from fnopt.core.select import Flags, as_flags, as_labels
from fnopt.core.transform import any_evaluates, as_transform
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.wrap.masked import masked


def _groups(labelled: Any) -> dict[Any, Transform]:
    if not isinstance(labelled, Mapping):
        raise TypeError(f"must be a dict from labels to transforms, got {labelled!r}")
    return {label: as_transform(tx) for label, tx in labelled.items()}


_GROUPS = "Mapping[Hashable, GradientTransformation]"


class partition(Transform):
    """A transform for each group of parameters; a group is the leaves that have one label.

    Args:
        transforms: a dict from labels to transforms, of fnopt or of optax.
        param_labels: the labels of the parameters: a tree, a prefix of one, or a function of the
            parameters (of the updates where there are none) that returns one.
        mask_compatible_extra_args: as in :class:`masked`.

    Raises:
        ValueError: a label has no transform, or the labels are no prefix of the parameters.

    When:
        Layers that need separate rates, decays or methods; by paths :class:`groups` says it
        shorter.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.partition(
    ...     {"slow": fnopt.sgd(0.1), "fast": fnopt.sgd(1.0)}, {"body": "slow", "head": "fast"}
    ... )
    >>> ones = {"body": jnp.ones(()), "head": jnp.ones(())}
    >>> tx.update(ones, tx.init(ones))[0]
    {'body': Array(-0.1, dtype=float32), 'head': Array(-1., dtype=float32)}
    """

    transforms: Annotated[Any, Field(convert=_groups, shown=_GROUPS)]
    param_labels: Annotated[Any, Field(convert=as_labels, static=True, shown="PyTree | Callable")]
    _: dataclasses.KW_ONLY
    mask_compatible_extra_args: Static[bool] = False
    family = "wrappers"

    @property
    def packs(self) -> bool:
        return True

    def init(self, params: Params) -> optax.PartitionState:
        groups = self._masked(params)
        return optax.PartitionState({label: tx.init(params) for label, tx in groups.items()})

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        return run(self.steps(updates, state, params, **extra_args))

    def steps(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> Steps:
        """The calls of the groups that ``update`` consists of."""
        states, new_states = self._states(state), {}
        for label, tx in self._masked(updates if params is None else params).items():
            updates, new_states[label] = yield Call(tx, updates, states[label], params, extra_args)
        return updates, optax.PartitionState(new_states)

    def eval_params(self, state: OptState, params: Params) -> Params:
        states = self._states(state)
        for label, tx in self._masked(params).items():
            params = tx.eval_params(states[label], params)
        return params

    @property
    def evaluates(self) -> bool | None:
        return any_evaluates(self.transforms.values())

    def plan(self, params: Params) -> PyTree:
        return plan_in_turn(self._masked(params).values(), params)

    def count(self, state: OptState) -> jax.Array | None:
        states = self._states(state)
        counts = (tx.count(states[k].inner_state) for k, tx in self.transforms.items())
        return next((count for count in counts if count is not None), None)

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        """As of any transform; a name that two groups share has the label before it."""
        states = self._states(state)
        by_label = {
            label: tx.hyperparameters(states[label].inner_state, **extra_args)
            for label, tx in self.transforms.items()
        }
        times = collections.Counter(name for names in by_label.values() for name in names)
        return {
            name if times[name] == 1 else f"{label}.{name}": value
            for label, names in by_label.items()
            for name, value in names.items()
        }

    def _masked(self, params: Params) -> dict[Any, masked]:
        # What has no leaves is the placeholder of optax.tree.map_params, or empty.
        labels = self.param_labels.tree(params) if jax.tree.leaves(params) else None
        try:
            self.param_labels.spread(labels, params if labels is not None else None)
        except ValueError as error:
            raise ValueError(f"partition: {error}") from error
        for label in jax.tree.leaves(labels):
            if label not in self.transforms:
                raise ValueError(
                    f"partition: a parameter has the label {label!r}, for which there is no"
                    f" transform; {did_you_mean(str(label), map(str, self.transforms))}"
                )
        return {
            label: masked(
                tx,
                jax.tree.map(lambda own, label=label: own == label, labels),
                mask_compatible_extra_args=self.mask_compatible_extra_args,
            )
            for label, tx in self.transforms.items()
        }

    def _states(self, state: OptState) -> Any:
        states = getattr(state, "inner_states", None)
        if not isinstance(states, Mapping) or set(states) != set(self.transforms):
            refuse_state(self, state)
        return states


multi_transform = partition


def selective_transform(
    optimizer: optax.GradientTransformation, *, freeze_mask: PyTree
) -> partition:
    """An optimizer for all parameters but the frozen, which stay and have no slots.

    Args:
        optimizer: the optimizer of the other leaves.
        freeze_mask: True for the leaves to freeze; otherwise as the mask of :class:`masked`.

    When:
        Fine-tuning some layers of a model.

    >>> import fnopt
    >>> fnopt.selective_transform(fnopt.sgd(0.1), freeze_mask=[True, False]).param_labels
    ['freeze', 'train']
    """
    groups = {"train": optimizer, "freeze": set_to_zero()}
    flags = as_flags(freeze_mask)
    return partition(
        groups, _ByFlags(flags) if callable(flags.choice) else _named(flags.tree(None))
    )


@dataclasses.dataclass(frozen=True)
class _ByFlags:
    """The labels that a function's flags mean."""

    flags: Flags

    def __call__(self, params: Params) -> Any:
        return _named(self.flags.prefix(params))


def _named(flags: Any) -> Any:
    return jax.tree.map(lambda flag: "freeze" if flag else "train", flags)
