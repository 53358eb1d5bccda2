"""Loads the weights of a file into a tree."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from fnopt.core.select import Pattern, matches, show
from fnopt.core.types import PyTree
from fnopt.pretrained.array_leaves import array_leaves, random_keys, with_array_leaves
from fnopt.pretrained.flattening import warn_of_flattening
from fnopt.pretrained.limits import some
from fnopt.pretrained.name_matching import NameMatching, closest
from fnopt.pretrained.renames import as_renames
from fnopt.pretrained.report import PretrainedReport
from fnopt.pretrained.tensor_fit import TensorFit, is_weight, like
from fnopt.pretrained.weights_file import read_weights


def load_pretrained(
    params: PyTree,
    file: str | os.PathLike | Mapping[str, Any],
    rules: Iterable[tuple] = (),
    *,
    new: Pattern = (),
    strict: bool = True,
    entry: str | None = None,
) -> tuple[PyTree, PretrainedReport]:
    """Loads the weights of a file into a tree of parameters, and reports leaf by leaf.

    The content of the file says of which kind it is: safetensors, a folder of orbax, or a state
    dict that torch saved, which needs no torch and of which nothing is executed; or the weights of
    Hugging Face in several files, by their index or folder. ::

        model, report = load_pretrained(model, "net.safetensors")
        print(report)
        model, report = load_pretrained(model, "net/model.safetensors.index.json")  # or "net"

    **Names.** A name of the file stands for the path that is equal to it with slashes for dots, or
    for the one that Flax would give it: ``layers.0.weight`` is ``layers/0/kernel`` (or ``scale`` or
    ``embedding``, whichever there is), ``norm.running_mean`` is ``norm/mean``; a leading
    ``module.``, ``_orig_mod.`` or ``params/`` may be missing. For other names there are rules. The
    first rule that matches a name wins, and the new name is matched in the same way::

        rules=[
            ("features.*.conv.*", "block_*/conv/*"),  # a glob, or a regular expression:
            (re.compile(r"fc(\\d)\\.(.*)"), r"dense\\1.\\2"),
            ("classifier.weight", "head/kernel", layout.flattened(32, 4, 4)),
            ("ema.*", None),  # left out
        ]

    **Layouts.** A tensor that becomes a ``kernel`` and had another name is assumed to have torch's
    layout, and its axes are permuted: (out, in, …) to (…, in, out). A third item of a rule is
    another layout, a function of the array, such as those of :mod:`fnopt.pretrained.torch_layout`:
    ``flattened`` for the dense layer behind a flattened picture (shapes do not tell; there is a
    warning where it looks like one), ``transposed_convolution``, ``as_is``.

    Dtype, sharding and kind (jax's or NumPy's) of every leaf stay; wider numbers of the file are
    rounded. Everything is checked before any array is created, and ``params`` is never changed.

    **Limits.** Time and memory before that are in proportion to the number and length of the names.
    A file has at most 1,000,000 tensors, of at most 32 axes, with names of at most 1,000 characters
    behind at most 8 wrappers (``module.`` and the like); its header, pickle or index has at most
    100 MB.

    Args:
        params: the tree to load into: parameters, a tuple of parameters and model state (for batch
            statistics), the variables of Linen, ``nnx.state(model)``, a whole NNX or Equinox
            model. Its leaves are arrays or, where the file has all of them, shapes. Random keys
            stay as they are.
        file: a path; or a dict of arrays by name. In a folder that is not orbax's the first of
            these is read:
            ``model.safetensors``, ``model.safetensors.index.json``, ``pytorch_model.bin``,
            ``pytorch_model.bin.index.json``. The files that an index names must lie in its folder.
        rules: pairs (pattern, new name) or triples (pattern, new name, layout), in order, as
            above; none by default.
        new: which leaves stay as they are, such as those of a new head: a glob of their paths,
            several, or a function of path and leaf. Tensors of the file for them are left out.
        strict: whether a missing, mismatched or unused tensor is an error; otherwise such leaves
            stay as they are, and the report lists them.
        entry: the key of the state dict in a torch file that holds several things; the usual keys
            are tried if None.

    Returns:
        A tree like ``params``, and a :class:`PretrainedReport`.

    Raises:
        TypeError: a rule or ``file`` is of no known kind, or ``params`` is a train state.
        FileNotFoundError: there is no such file.
        ImportError: ``file`` is a folder of orbax, which is not installed.
        ValueError: the file is damaged, beyond the limits, or would execute code; a file of an
            index is missing, outside its folder, or lacks a tensor; a rule or ``new`` matches
            nothing; two names match one leaf; with ``strict``, leaves do not fit. The message has
            the paths.

    >>> import numpy as np
    >>> params = {"dense": {"kernel": np.zeros((2, 3), "f"), "bias": np.zeros(3, "f")}}
    >>> torchs = {"dense.weight": np.ones((3, 2), "f"), "dense.bias": np.ones(3, "f")}
    >>> loaded, report = load_pretrained(params, torchs)
    >>> print(report)
    path          shape   from
    dense/bias    (3,)    dense.bias
    dense/kernel  (2, 3)  dense.weight  from (3, 2)
    2 loaded
    """
    if hasattr(params, "opt_state") and hasattr(params, "model_state"):
        raise TypeError(
            "load_pretrained: params is a train state, whose optimizer may have copied the weights;"
            " give (state.params, state.model_state), and put both and tx.init(params) into"
            " state.replace(…)"
        )
    if isinstance(params, (str, os.PathLike)):
        raise TypeError(
            f"load_pretrained: params is the path {str(params)!r}; the tree comes first,"
            " load_pretrained(params, file)"
        )
    renames = as_renames(rules)
    weights, leaves = read_weights(file, entry), array_leaves(params)
    # A dict for its order and its quick lookup.
    unloaded = {path: leaf for path, leaf in leaves.items() if matches(new, path, leaf)}
    if new and not unloaded:
        raise ValueError(
            f"load_pretrained: new={show(new)!r} matches no leaf{closest(new, leaves)}"
        )
    keys = random_keys(params)
    names = NameMatching(weights.tensors, [*leaves, *keys], renames, {*unloaded, *keys})
    warn_of_flattening(weights.tensors, names.sources, weights.ordered)

    fits: dict[str, TensorFit] = {}
    mismatched: dict[str, str] = {}
    for path, (name, layout) in names.sources.items():
        try:
            fits[path] = TensorFit(path, leaves[path], name, weights.tensors[name], layout)
        except ValueError as error:
            mismatched[path] = str(error)
    required = [path for path, leaf in leaves.items() if path not in unloaded and is_weight(leaf)]
    shown = {*required, *fits, *unloaded}
    report = PretrainedReport(
        loaded={path: fit.name for path, fit in fits.items()},
        missing=tuple(path for path in required if path not in names.sources),
        mismatched=mismatched,
        unused=tuple(names.unused),
        new=tuple(unloaded),
        left_out=tuple(names.left_out),
        notes={path: fit.note for path, fit in fits.items()},
        shapes={path: np.shape(leaf) for path, leaf in leaves.items() if path in shown},
        metadata=weights.metadata,
    )
    _check(report, leaves, file, strict, weights.tensors)
    try:
        loaded = {path: like(fit.array(), leaves[path]) for path, fit in fits.items()}
    except ValueError as error:  # of a torch file check sums are compared now
        raise ValueError(f"load_pretrained: {file} is refused: {error}") from error
    return with_array_leaves(params, loaded), report


def _check(
    report: PretrainedReport,
    leaves: Mapping[str, Any],
    file: Any,
    strict: bool,
    names: Collection[str],
) -> None:
    """Raises ValueError where nothing, or with ``strict`` not everything, can be loaded."""
    shown = "the dict of arrays" if isinstance(file, Mapping) else file
    if not report.loaded:
        raise ValueError(
            f"load_pretrained: nothing of {shown} stands for a leaf. It has"
            f" {some(names, 4) or 'nothing'}; the paths are {some(leaves, 4)}; say by"
            f" rules=[(name, path), …] which is which\n{report.problems()}".rstrip()
        )
    if strict and not report.complete:
        raise ValueError(
            f"load_pretrained: {shown} and the leaves differ:\n{report.problems()}\n"
            "Rules map names, and (name, None) leaves one out; leaves that match new= stay as they"
            " are, and with strict=False all that do not fit"
        )
    for path in (*report.missing, *report.mismatched, *report.new):
        if isinstance(leaves[path], jax.ShapeDtypeStruct):
            raise ValueError(f"load_pretrained: {path!r} is a shape, and cannot stay as it is")
