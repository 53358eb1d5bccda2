"""The precision in which a step stores parameters, computes, and rounds."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype, did_you_mean
from fnopt.core.checks import brief
from fnopt.core.packed_trees import is_packed, unpacked
from fnopt.core.types import Batch, ModelState, Outputs, Params, PyTree
from fnopt.train.objective import Objective
from fnopt.train.rounding import stochastic_round
from fnopt.train.scaling import dynamic_scaling

_DTYPES = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Precision:
    """The dtypes of a training step.

    In the forward pass floating parameters and inputs are cast to ``compute``, outputs to
    ``output`` before the loss takes them. Batch statistics stay what they are, float32. The
    optimizer sees parameters and gradients in single precision at least, and so has its state in
    it; a parameter stored in half precision is rounded once a step, when the update is added.

    A layer of Flax without a ``dtype`` computes in the widest dtype of its arguments:
    the batch normalization of NNX, whose statistics are float32, returns float32.

    Args:
        params: dtype in which the parameters are stored, ``"float32"``, ``"bfloat16"`` or
            ``"float16"``.
        compute: dtype of the forward and the backward pass.
        output: dtype of the outputs that the loss receives.
        rounding: ``"nearest"``, or ``"stochastic"`` for parameters in half precision: updates below
            half a unit in the last place then move them too, in the mean.
        loss_scale: factor of the loss by which the gradient is divided again, so that half
            precision can hold it: a number above 0, ``"dynamic"``, or a :class:`dynamic_scaling` of
            other numbers. A step that is not finite is not taken; under dynamic scaling the run
            goes on after it, with a smaller factor. None for 1.

    Raises:
        ValueError: a dtype is none of these, or the arguments contradict each other.

    >>> Precision.named("bfloat16_stochastic")
    Precision(params='bfloat16', compute='bfloat16', output='float32', rounding='stochastic', ...
    """

    params: Params = "float32"
    compute: Any = "float32"
    output: Any = "float32"
    rounding: str = "nearest"
    loss_scale: Any = None

    def __post_init__(self) -> None:
        for field in ("params", "compute", "output"):
            object.__setattr__(self, field, _dtype(field, getattr(self, field)))
        if self.rounding not in ("nearest", "stochastic"):
            raise ValueError(
                f"Precision: rounding must be 'nearest' or 'stochastic', got {self.rounding!r}"
            )
        if self.rounding == "stochastic" and self.params == "float32":
            raise ValueError(
                "Precision: rounding='stochastic' is for parameters in half precision, and"
                " params='float32' are not rounded; give params='bfloat16'"
            )
        scale = self.loss_scale
        if isinstance(scale, (int, float)) and not isinstance(scale, bool):
            object.__setattr__(self, "loss_scale", float(scale))
        elif scale is not None and scale != "dynamic" and not isinstance(scale, dynamic_scaling):
            raise ValueError(
                "Precision: loss_scale must be a number above 0, 'dynamic', a dynamic_scaling or"
                f" None, got {scale!r}"
            )
        scale = self.loss_scale
        if isinstance(scale, float) and not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"Precision: loss_scale must lie in (0, inf), got {scale!r}")
        if scale is None and "float16" in (self.params, self.compute):
            raise ValueError(
                "Precision: small gradients are 0 in float16; give loss_scale='dynamic', or 1.0 if"
                " they are known not to be small, or take bfloat16"
            )

    @classmethod
    def named(cls, name: Any) -> Precision:
        """A usual precision by its name; a precision, or None, is returned as it is.

        - ``"float32"``: everything;
        - ``"bfloat16"``: float32 parameters, bfloat16 computation;
        - ``"bfloat16_params"``: bfloat16 parameters too, rounded to nearest;
        - ``"bfloat16_stochastic"``: the same, rounded stochastically;
        - ``"float16"``: float32 parameters, float16 computation, dynamic loss scaling.

        Raises:
            TypeError: it is something else, such as a dtype.
            ValueError: there is none of this name.
        """
        if name is None or isinstance(name, Precision):
            return name  # pyright: ignore[reportReturnType]
        if not isinstance(name, str):
            of_dtype = _name_of_dtype(name)
            raise TypeError(
                f"precision must be a name such as 'bfloat16' or a Precision(…), got {brief(name)}"
                + f"; give precision={of_dtype!r}" * (of_dtype in _NAMED)
            )
        if name not in _NAMED:
            raise ValueError(
                f"no precision {name!r}; {did_you_mean(str(name), _NAMED)}; or a Precision(…)"
            )
        return cls(**_NAMED[name])

    @property
    def scaling(self) -> dynamic_scaling | None:
        """The dynamic loss scaling, if there is one."""
        if self.loss_scale == "dynamic":
            return dynamic_scaling()
        return self.loss_scale if isinstance(self.loss_scale, dynamic_scaling) else None


_NAMED: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"compute": "bfloat16"},
    "bfloat16_params": {"params": "bfloat16", "compute": "bfloat16"},
    "bfloat16_stochastic": {
        "params": "bfloat16", "compute": "bfloat16", "rounding": "stochastic",
    },
    "float16": {"compute": "float16", "loss_scale": "dynamic"},
}  # fmt: skip


def _name_of_dtype(x: Any) -> str:
    try:
        return jnp.dtype(x).name
    except TypeError:
        return ""


def forward(
    objective: Objective,
    precision: Precision | None,
    params: Params,
    model_state: ModelState,
    batch: Batch,
    *,
    key: jax.Array | None,
    train: bool,
) -> tuple[Outputs, ModelState]:
    """The objective's forward pass in a precision; None is the objective's own.

    Returns:
        The outputs and the next model state.
    """
    if is_packed(params) or is_packed(model_state):
        trees = unpacked(params), unpacked(model_state)
        outputs, new = forward(objective, precision, *trees, batch, key=key, train=train)
        return outputs, model_state.packing.pack(new) if is_packed(model_state) else new
    if precision is None:
        return objective.forward(params, model_state, batch, key=key, train=train)
    # Of the batch, the forward pass sees the inputs alone; the loss gets it as it came.
    outputs, new = objective.forward(
        cast_floating(params, precision.compute),
        model_state,
        cast_floating(batch, precision.compute),
        key=key,
        train=train,
    )
    new = jax.tree.map(lambda x, old: x.astype(jnp.result_type(old)), new, model_state)
    return cast_floating(outputs, precision.output), new


def cast_floating(tree: PyTree, dtype: Any) -> PyTree:
    """A tree with its real floating leaves in this dtype and the others as they are."""

    def cast(x: Any) -> Any:
        return x.astype(dtype) if _is_floating(x) and x.dtype != dtype else x

    return jax.tree.map(cast, tree)


def as_optimizers_see(tree: PyTree, precision: Precision | None) -> PyTree:
    """Parameters or gradients as the optimizer gets them: with a precision, float32 at least."""
    return tree if precision is None else to_float32_at_least(tree)


def to_float32_at_least(tree: PyTree) -> PyTree:
    """A tree with its leaves in single precision at least."""
    return jax.tree.map(lambda x: x.astype(computing_dtype(x.dtype)), tree)


def round_params(params: Params, precision: Precision, key: jax.Array) -> Params:
    """The parameters rounded to the dtype in which they are stored.

    Args:
        params: parameters in single precision at least.
        precision: says the dtype, and how to round to it.
        key: the key of stochastic rounding.
    """
    if precision.rounding == "nearest":
        return cast_floating(params, precision.params)
    leaves, treedef = jax.tree.flatten(params)
    return treedef.unflatten(
        stochastic_round(x, precision.params, jax.random.fold_in(key, i)) if _is_floating(x) else x
        for i, x in enumerate(leaves)
    )


def check_params(params: Params, precision: Precision) -> None:
    """Refuses parameters that are stored in another dtype than the precision says.

    Raises:
        ValueError: names the path of the first.
    """
    for path, x in jax.tree_util.tree_flatten_with_path(params)[0]:
        if _is_floating(x) and x.dtype != precision.params:
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} has dtype {x.dtype}, but the precision keeps"
                f" parameters in {precision.params}; make the state with TrainState.create(…,"
                " precision=…)"
            )


def _is_floating(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)


def _dtype(field: str, dtype: Any) -> str:
    name = dtype if isinstance(dtype, str) else str(jnp.dtype(dtype))
    if name not in _DTYPES:
        raise ValueError(f"Precision: no dtype {field}={name!r}; {did_you_mean(name, _DTYPES)}")
    return name
