r"""The maximal update parametrization: what is tuned at a small width holds at a large one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fnopt.core.checks import leaves_like
from fnopt.core.select import Pattern, matches, nearest, path_name, show
from fnopt.core.types import Outputs, Params
from fnopt.initialize.fixup import rescaled
from fnopt.initialize.gain import FAN_MODES, one_of

Axes = tuple[tuple[int, ...], tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Mup:
    """The scaling rules of :func:`mup`: trees like the parameters, a number or name for each leaf.

    Attributes:
        kinds: ``"input"``, ``"hidden"``, ``"output"`` or ``"scalar"``, by which axes grew.
        factors: the factors of freshly drawn weights.
        multipliers: the factors of the updates, for ``fnopt.scale_by_tree``.
        forward: the factors by which the model must multiply the outputs of the layers; 1 without
            ``output_multiplier``.
    """

    kinds: Any
    factors: Any
    multipliers: Any
    forward: Any

    def rescale(self, params: Params) -> Params:
        """Freshly drawn parameters with the variances of the parametrization, in the same dtypes.

        ``lambda key: scaling.rescale(init(key))`` is an initializer of the whole tree.

        Raises:
            ValueError: the tree is not like the one that the rules are for. The message has the
                paths.
        """
        treedef = jax.tree.structure(params)
        factors = leaves_like(treedef, "factors", self.factors, "params")
        leaves = zip(jax.tree.leaves(params), factors, strict=True)
        return treedef.unflatten([rescaled(leaf, factor) for leaf, factor in leaves])

    def table(self) -> str:
        """Kind, factor and multiplier of every leaf, a line each."""
        rows: list[tuple[str, ...]] = [("path", "kind", "factor", "multiplier", "forward")]
        trees = (self.factors, self.multipliers, self.forward)
        numbers = zip(*map(jax.tree.leaves, trees), strict=True)
        kinds = jax.tree_util.tree_leaves_with_path(self.kinds)
        for (path, kind), row in zip(kinds, numbers, strict=True):
            rows.append((path_name(path), kind, *(f"{number:.6g}" for number in row)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(lines)


def mup(
    params: Params,
    base_params: Params,
    *,
    optimizer: str = "adam",
    fan_mode: str | Mapping[Any, str] = "fan_in",
    axes: Mapping[Any, Any] | None = None,
    output_multiplier: bool = False,
) -> Mup:
    r"""The scaling rules of μP between a base width, where a rate was tuned, and this width.

    With :math:`r_{\text{in}}` and :math:`r_{\text{out}}` the ratios of a leaf's input and output
    axes to those of the base model, relative to the base model:

    ======  =========  ==========  ==========  ============
    kind    what grew  variance    rate, Adam  rate, SGD
    ======  =========  ==========  ==========  ============
    input   outputs    1           1           r_out
    hidden  both       1 / r_in    1 / r_in    r_out / r_in
    output  inputs     1 / r_in²   1 / r_in    1 / r_in
    scalar  neither    1           1           1
    ======  =========  ==========  ==========  ============

    which is Table 3. Biases and the scales of a normalization are inputs. Then every layer's
    activations change by :math:`\Theta(1)` in each coordinate at each step, at any width, and the
    best learning rate is the same at all widths. ::

        scaling = mup(params, jax.eval_shape(init_of_base, key))
        params = scaling.rescale(params)
        tx = chain(
            scale_by_adam(),
            scale_by_tree(scaling.multipliers),
            add_decayed_weights(0.1, mask=decay_mask),
            scale_by_learning_rate(3e-3),
        )

    Decoupled weight decay comes after the multipliers, since :math:`1 - \eta\lambda` should be the
    same at all widths; in ``chain(adamw(…), scale_by_tree(…))`` it would shrink with the width.
    Clipping by the global norm and Adam's :math:`\epsilon` are not scaled: keep :math:`\epsilon`
    far below the gradients. Attention must divide by :math:`d` instead of :math:`\sqrt d`, which is
    up to the model. A stack of layers for a ``scan`` is as long at both widths, so that its leaves
    get the rules of the single layers.

    Args:
        params: the parameters, or their shapes (``jax.eval_shape``).
        base_params: the parameters, or their shapes, of the model at the base width, of the same
            depth. At the base width nothing changes.
        optimizer: ``"adam"`` for optimizers that divide by the gradient's size elementwise (Adam,
            RMSProp, Adagrad, Lion, signs), ``"sgd"`` for those that are linear in it (momentum
            too).
        fan_mode: the size that the variance of the initializers is divided by, in the names of
            ``variance_scaling``; :meth:`Mup.rescale` corrects for it. ``"fixed"`` for a variance
            that does not depend on the width. A dict from patterns to modes says it leaf by leaf:
            the first that matches, ``"fan_in"`` for the others. Flax's ``Embed`` has ``"fan_out"``.
            Biases and scales are assumed to be fixed.
        axes: the axes of inputs and of outputs, where they are not the last two: a dict from
            patterns to pairs of tuples, such as ``{"*/query/kernel": ((-3,), (-2, -1))}``. In a
            leaf with one axis, or called ``bias`` or ``scale``, all are outputs by default.
        output_multiplier: whether to use Table 8, in which the model multiplies the layers of kind
            ``"output"`` by ``Mup.forward``, :math:`1 / r_{\text{in}}`. It is for embeddings
            that are shared with the output, which are of that kind with
            ``axes={"*/embedding": ((1,), (0,))}`` (and ``fan_mode`` is ``"fan_in"`` for Flax's).
            Their variance is that of the base model and their rate 1 (Adam) or
            :math:`r_{\text{in}}` (SGD).

    Returns:
        The rules, as :class:`Mup`.

    Raises:
        TypeError: ``axes`` of a leaf are no two tuples of axes that it has.
        ValueError: a name is unknown, a pattern matches nothing, the trees differ, or an axis grew
            that is neither input nor output. The message has the path.

    References:
        Yang, Hu, Babuschkin, Sidor, Liu, Farhi, Ryder, Pachocki, Chen & Gao, *Tensor Programs V:
        tuning large neural networks via zero-shot hyperparameter transfer*, 2022,
        arXiv:2203.03466, Tables 3 and 8, Appendix B.

    >>> import jax.numpy as jnp
    >>> from fnopt import initialize
    >>> def net(width):
    ...     kernel = lambda *shape: {"kernel": jnp.ones(shape), "bias": jnp.zeros(shape[-1:])}
    ...     return {"in": kernel(3, width), "mid": kernel(width, width), "out": kernel(width, 2)}
    >>> print(initialize.mup(net(256), net(64)).table())
    path        kind    factor  multiplier  forward
    in/bias     input   1       1           1
    in/kernel   input   1       1           1
    mid/bias    input   1       1           1
    mid/kernel  hidden  1       0.25        1
    out/bias    scalar  1       1           1
    out/kernel  output  0.5     0.25        1
    """
    one_of("mup: optimizer", optimizer, ("adam", "sgd"))
    chosen = fan_mode if isinstance(fan_mode, Mapping) else {"*": fan_mode}
    modes: list[tuple[Any, str]] = [*chosen.items(), ("*", "fan_in")]
    for _, mode in modes:
        one_of("mup: fan_mode", mode, (*FAN_MODES, "fixed"))
    with_paths, treedef = jax.tree_util.tree_flatten_with_path(params)
    base = leaves_like(treedef, "base_params", base_params, "params")
    named = [(path_name(path), leaf) for path, leaf in with_paths]
    axes_of = list((axes or {}).items())
    for pattern in [*(pattern for pattern, _ in axes_of), *(pattern for pattern, _ in modes[:-1])]:
        if not any(matches(pattern, *leaf) for leaf in named):
            near = ", ".join(nearest(pattern, [path for path, _ in named]))
            raise ValueError(f"mup: {show(pattern)!r} matches no path; the nearest: {near}")
    rules = [
        _of_leaf(path, leaf, like, optimizer, modes, axes_of, output_multiplier)
        for (path, leaf), like in zip(named, base, strict=True)
    ]
    columns = zip(*rules, strict=True) if rules else [()] * 4
    return Mup(*(treedef.unflatten(column) for column in columns))


def _of_leaf(
    path: str,
    leaf: Any,
    like: Any,
    optimizer: str,
    modes: list[tuple[Pattern, str]],
    axes: list[tuple[Pattern, Any]],
    output_multiplier: bool,
) -> tuple[str, float, float, float]:
    """Kind, factor, multiplier and forward multiplier of a leaf."""
    shape, base = np.shape(leaf), np.shape(like)
    if len(shape) != len(base):
        raise ValueError(f"mup: {path} has shape {shape}, but {base} at the base width")
    inputs, outputs = _axes(path, len(shape), _first(axes, path, leaf))
    grew = {i for i, (n, n_base) in enumerate(zip(shape, base, strict=True)) if n != n_base}
    if any(not shape[i] or not base[i] for i in grew):
        raise ValueError(f"mup: {path} is empty at one of the widths: {shape} and {base}")
    if not grew <= {*inputs, *outputs}:
        raise ValueError(
            f"mup: axis {min(grew - {*inputs, *outputs})} of {path} is neither input nor output,"
            f" but grew: {base} at the base width, now {shape}; say which are which, such as"
            f" axes={{{path!r}: ((0,), (1, 2))}}"
        )
    r_in, r_out = (math.prod(shape[i] / base[i] for i in side) for side in (inputs, outputs))
    kind = {(False, False): "scalar", (False, True): "input", (True, False): "output"}.get(
        (not grew.isdisjoint(inputs), not grew.isdisjoint(outputs)), "hidden"
    )
    variance, rate, forward = 1 / r_in, 1 / r_in if optimizer == "adam" else r_out / r_in, 1.0
    if kind == "output":
        variance = 1 / r_in**2
        if output_multiplier:
            # Of the table by the paper's Lemma J.1: forward x c, deviation / c, the rate of Adam
            # / c, that of SGD / c², with c = 1 / r_in.
            forward, variance = 1 / r_in, 1.0
            rate = rate * r_in if optimizer == "adam" else rate * r_in**2
    mode = _first(modes, path, leaf)
    drawn = _variance(mode, shape, inputs, outputs) / _variance(mode, base, inputs, outputs)
    return kind, math.sqrt(variance / drawn), rate, forward


def _first(choices: list[tuple[Pattern, Any]], path: str, leaf: Any) -> Any:
    """The value of the first pattern that matches; None if none does."""
    return next((value for pattern, value in choices if matches(pattern, path, leaf)), None)


def _axes(path: str, n: int, axes: Any) -> Axes:
    """The axes that are inputs and those that are outputs, counted from the front."""
    if axes is None:
        vector = n < 2 or path.rpartition("/")[2] in ("bias", "scale")
        return ((), tuple(range(n))) if vector else ((n - 2,), (n - 1,))
    try:
        inputs, outputs = (tuple(range(n)[axis] for axis in side) for side in axes)
    except (TypeError, ValueError, IndexError) as error:
        raise TypeError(
            f"mup: axes of {path}, which has {n}, must be two tuples of axes, as ((0,), (1, 2)),"
            f" got {axes!r}"
        ) from error
    if {*inputs} & {*outputs}:
        raise ValueError(f"mup: axes of {path}: {axes!r} has an axis that is input and output")
    return inputs, outputs


def _variance(mode: str, shape: tuple[int, ...], inputs: Any, outputs: Outputs) -> float:
    """The variance with which an initializer draws, up to a factor."""
    if mode == "fixed" or not inputs or 0 in shape:
        return 1.0
    fan_in = math.prod(shape) / math.prod(shape[i] for i in outputs)
    fan_out = math.prod(shape) / math.prod(shape[i] for i in inputs)
    return (
        1
        / {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[mode]
    )
