"""The state of a training run as one value."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import did_you_mean
from fnopt.core.entry import entry
from fnopt.core.packed_trees import is_packed
from fnopt.core.tracebacks import hides_frames
from fnopt.core.transform import as_transform
from fnopt.core.types import Batch, ModelState, OptState, Params
from fnopt.train.arguments import check_key, check_objective, check_optimizer, check_value
from fnopt.train.layout import PACKED, Stored, Tree, repacked
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision, as_optimizers_see, cast_floating, to_float32_at_least
from fnopt.train.reprs import call, listed, size

VALUES = ("tx", "stopping", "average", "scaling")
"""The fields of a train state that hold methods with their numbers, not arrays that change."""

_USAGE = "TrainState.create(objective, tx, key)"


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True)
class TrainState(Stored):
    """Everything that a training step changes or depends on, except the data.

    Steps may store the small arrays of it side by side in few buffers (see ``packed``); its
    fields are read as trees all the same.

    Attributes:
        params: the parameters.
        model_state: what the forward pass changes besides them (batch statistics).
        tx: the optimizer; its numbers are arrays here.
        opt_state: the optimizer's state.
        step: number of updates so far.
        key: the run's key; every step's own key is folded from it by ``step``.
        metric: the monitored metric of the last evaluation; 0 before the first, when
            ``evaluations`` is 0.
        evaluations: the number of evaluations so far.
        skipped: the number of steps skipped because something was not finite.
        average: average of the parameters, such as :class:`ema_of_params`; None for none.
        average_state: the state of the average.
        scaling: the dynamic loss scaling; None for none.
        scaling_state: the state of the loss scaling.
        stopping: early stopping; None for none.
        stopping_state: the state of early stopping; its ``best_params`` are a pair of parameters
            and model state.
    """

    params: Params
    model_state: ModelState
    tx: Any
    opt_state: OptState
    step: jax.Array
    key: jax.Array
    metric: jax.Array
    evaluations: jax.Array
    skipped: jax.Array = dataclasses.field(default_factory=lambda: jnp.zeros((), jnp.int32))
    average: Any = None
    average_state: Any = None
    scaling: Any = None
    scaling_state: Any = None
    stopping: Any = None
    stopping_state: Any = None

    @classmethod
    @entry(_USAGE)
    def create(
        cls,
        objective: Objective,
        tx: optax.GradientTransformation,
        key: Any,
        batch: Batch = None,
        *,
        precision: Any = None,
        average: Any = None,
        stopping: Any = None,
    ) -> TrainState:
        """The state before the first step.

        Its arrays are copies: steps take over the buffers of the state that they receive, and
        those of the model or of an optimizer in use elsewhere must stay.

        Args:
            objective: the objective to minimize.
            tx: an optimizer, of fnopt or of optax.
            key: a PRNG key, or an integer to make one.
            batch: an example batch, for models whose shapes follow from it (Linen).
            precision: a :class:`Precision` or the name of one; the steps must receive the same.
            average: average of the parameters, such as :class:`ema_of_params`; None for none.
            stopping: early stopping, or None; without a ``mode`` the metric is a loss.

        Raises:
            TypeError: there is no key, or no batch where one is needed.
            ValueError: there is no precision of this name.
        """
        check_objective(_USAGE, objective)
        check_optimizer(_USAGE, tx)
        key = check_key("TrainState.create", key)
        check_value("TrainState.create", "average", average)
        check_value("TrainState.create", "stopping", stopping)
        params, model_state = objective.init(key, batch)
        if stopping is not None and stopping.mode is None:
            stopping = stopping.replace(mode="min")
        precision = Precision.named(precision)
        scaling = None
        if precision is not None:
            params, scaling = cast_floating(params, precision.params), precision.scaling
        params, model_state, tx, key, average, scaling, stopping = jax.tree.map(
            copy, (params, model_state, as_transform(tx), key, average, scaling, stopping)
        )
        wide = as_optimizers_see(params, precision)

        def begin(value: Any, *args: Any) -> Any:
            return None if value is None else jax.tree.map(copy, value.init(*args))

        return cls(
            params=params,
            model_state=model_state,
            tx=tx,
            opt_state=begin(tx, wide),
            step=jnp.zeros((), jnp.int32),
            key=key,
            metric=jnp.zeros((), jnp.result_type(float)),
            evaluations=jnp.zeros((), jnp.int32),
            average=average,
            average_state=begin(average, params),
            scaling=scaling,
            scaling_state=begin(scaling),
            stopping=stopping,
            stopping_state=begin(stopping, (params, model_state)),
        )

    def __repr__(self) -> str:
        counts = ("step", "evaluations", "metric", "skipped")
        values = {name: getattr(self, name) for name in VALUES}
        arrays = {
            name: getattr(self, name)
            for name in ("model_state", "opt_state", "average_state", "stopping_state")
        }
        return call(
            "TrainState",
            listed({name: getattr(self, name) for name in counts}),
            f"params=<{size(self.params, 'parameters')}>",
            *(f"{name}={value!r}" for name, value in values.items() if value is not None),
            *(f"{name}=<{size(x)}>" for name, x in arrays.items() if jax.tree.leaves(x)),
            listed({"key": self.key}),
        )

    @property
    def eval_params(self) -> Params:
        """The parameters to evaluate, to average and to store as the best.

        They are ``params``, unless the optimizer's method says otherwise: of ``schedule_free`` they
        are its average, of ``lookahead`` its slow parameters.
        """
        evaluated = self.stored_eval_params
        # Parameters that are not packed stay the same object.
        return evaluated.unpack() if is_packed(evaluated) else evaluated

    def moved_to(self, params: Params, model_state: ModelState) -> TrainState:
        """The state with other parameters, which are then those to evaluate.

        The optimizer's state is kept if ``eval_params`` returns the parameters themselves.
        Otherwise (``schedule_free``, ``lookahead``) it is initialized again, from ``params``.

        Args:
            params: a tree like ``params``.
            model_state: the model state that goes with them.
        """
        moved = self.unpacked().replace(params=params, model_state=model_state)
        evaluated = zip(jax.tree.leaves(moved.eval_params), jax.tree.leaves(params), strict=True)
        if all(x is y for x, y in evaluated):
            return moved
        return moved.replace(
            opt_state=jax.tree.map(
                lambda new, old: copy(new if new.dtype == old.dtype else new.astype(old.dtype)),
                self.tx.init(to_float32_at_least(params)),
                self.opt_state,
            )
        )

    @hides_frames
    def replace(self, **changes: Any) -> TrainState:
        """A copy with other fields.

        The numbers of a value (``tx``, ``stopping``, ``average``, ``scaling``) and Python's numbers
        become arrays of the state's own, as in :meth:`create`: with other numbers the next step is
        the same program.

        Args:
            **changes: new values of fields. Another ``tx`` needs the slots that the state has;
                with ``opt_state=tx.init(state.params)`` it gets new ones.

        Raises:
            TypeError: there is no field of a name, or ``tx`` is no optimizer.
            ValueError: ``tx`` needs other slots.
        """
        _check_fields(changes)
        if "tx" in changes:
            check_optimizer("state.replace(tx=…)", changes["tx"])
            changes["tx"] = as_transform(changes["tx"])  # one of optax's, too
            if "opt_state" not in changes:
                self._check_like_old(changes["tx"], changes.get("params", self.params))
        for name, change in changes.items():
            if name in VALUES or isinstance(change, (bool, int, float, complex)):
                changes[name] = jax.tree.map(copy, change)
        if not self.is_packed:
            return dataclasses.replace(self, **changes)
        stored = repacked(self, changes)
        if stored is None:  # packed in another way, by whoever wants it packed
            return dataclasses.replace(self, **changes)
        return TrainState(**{**vars(self), **stored})

    def _check_like_old(self, tx: Any, params: Params) -> None:
        """Refuses an optimizer for which the state has no slots."""
        new = jax.tree.structure(jax.eval_shape(tx.init, to_float32_at_least(params)))
        if new != jax.tree.structure(self.opt_state):
            raise ValueError(
                f"state.replace(tx=…): the state has the slots of {_name(self.tx)}, and"
                f" {_name(tx)} needs others; begin with new ones,"
                " state.replace(tx=tx, opt_state=tx.init(state.params))"
            )


def _refuse_assignment(state: TrainState, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(
        f"a train state is a value: state.{name} cannot be assigned; take a new one,"
        f" state = state.replace({name}=…)"
    )


# Beside the decorator, which would take them for defaults, and writes a __setattr__ of its own.
for _name_of_field in PACKED:
    setattr(TrainState, _name_of_field, Tree(_name_of_field))
TrainState.__setattr__ = _refuse_assignment


def _check_fields(changes: dict[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(TrainState)]
    for name in changes:
        if name not in known:
            raise TypeError(f"state.replace: no field {name!r}; {did_you_mean(name, known)}")


def _name(tx: Any) -> str:
    return f"{tx!r:.80}{'…' * (len(repr(tx)) > 80)}"


def copy(x: Any) -> jax.Array:
    """A copy of an array; a Python number becomes an array without a weak type."""
    return jnp.array(x, dtype=jnp.result_type(x) if isinstance(x, (int, float)) else None)
