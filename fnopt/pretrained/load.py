"""Weights that were learnt before, as the start of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from fnopt.pretrained.flattening import warn_of_flattening
from fnopt.pretrained.limits import some
from fnopt.pretrained.names import Assignment, array_leaves, as_rules, closest, random_keys
from fnopt.pretrained.report import PretrainedReport
from fnopt.pretrained.tensor_fit import Fit, is_weight, like
from fnopt.pretrained.weights_file import read_weights
from fnopt.wrap.paths import Pattern, matches, show


def load_pretrained(
    params: Any,
    file: str | os.PathLike | Mapping[str, Any],
    rules: Iterable[tuple] = (),
    *,
    new: Pattern = (),
    strict: bool = True,
    entry: str | None = None,
) -> tuple[Any, PretrainedReport]:
    """Parameters with the weights of a file in the place of their own, and a report.

    The file is told by its content: safetensors, a folder of orbax, or a state dict that torch
    saved, which needs no torch and of which nothing is executed; or the weights of Hugging Face in
    several files, given by their index or folder. ::

        model, report = load_pretrained(model, "net.safetensors")
        print(report)
        model, report = load_pretrained(model, "net/model.safetensors.index.json")  # or "net"

    **Names.** A name of the file stands for the path that is equal to it with slashes for dots, or
    for the one that Flax would give it: ``layers.0.weight`` is ``layers/0/kernel`` (or ``scale`` or
    ``embedding``, whichever there is), ``norm.running_mean`` is ``norm/mean``; a leading
    ``module.``, ``_orig_mod.`` or ``params/`` may be missing. Where that does not do, a rule says
    it. The first rule that matches a name wins, and what it makes of it is understood likewise::

        rules=[
            ("features.*.conv.*", "block_*/conv/*"),  # a glob, or a regular expression:
            (re.compile(r"fc(\\d)\\.(.*)"), r"dense\\1.\\2"),
            ("classifier.weight", "head/kernel", layout.flattened(32, 4, 4)),
            ("ema.*", None),  # not wanted
        ]

    **Layouts.** What becomes a ``kernel`` and had another name is taken for torch's, and its axes
    are exchanged: (out, in, …) to (…, in, out). A third item of a rule is another layout, a
    function of the array, such as those of :mod:`fnopt.pretrained.torch_layout`: ``flattened``
    for the dense layer behind a flattened picture (shapes do not tell; there is a warning where it
    looks so), ``transposed_convolution``, ``as_is``.

    Dtype, sharding and kind (jax's or NumPy's) of every leaf stay; wider numbers of the file are
    rounded. All is checked before anything is made, and ``params`` is never changed.

    **Limits.** Time and memory before that are in proportion to the number and length of the names.
    A file has at most 1,000,000 tensors, of at most 32 axes, with names of at most 1,000 characters
    behind at most 8 wrappers (``module.`` and the like); its header, pickle or index has at most
    100 MB.

    Args:
        params: a tree to fill: parameters, a tuple of parameters and model state (for batch
            statistics), the variables of Linen, ``nnx.state(model)``, a whole NNX or Equinox
            model; of arrays or, where the file has all, of shapes. Random keys are kept.
        file: a path; or arrays by name. Of a folder that is not orbax's the first of these is read:
            ``model.safetensors``, ``model.safetensors.index.json``, ``pytorch_model.bin``,
            ``pytorch_model.bin.index.json``. The files that an index names must lie in its folder.
        rules: see above.
        new: paths of leaves to keep as they are, as those of a new head: globs, or a function of
            path and leaf. What the file has for them is left out.
        strict: refuse where something is missing, mismatched or unused; otherwise such leaves are
            kept as they are, and the report says so.
        entry: under which name a torch file of several things has the state dict, where it is none
            of the usual ones.

    Returns:
        A tree like ``params``, and a :class:`PretrainedReport`.

    Raises:
        TypeError: a rule, or ``file``, is of no known kind; ``params`` is a train state.
        FileNotFoundError: there is no such file.
        ImportError: ``file`` is a folder of orbax, which is not installed.
        ValueError: the file is damaged, beyond the limits, or would execute code; a file of an
            index is missing, outside its folder, or lacks a tensor; a rule or ``new`` matches
            nothing; two names stand for one leaf; with ``strict``, leaves do not fit; names the
            paths.

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
    checked = as_rules(rules)
    file_of, leaves_at = read_weights(file, entry), array_leaves(params)
    # A dict for its order and its quick lookup.
    kept = {path: leaf for path, leaf in leaves_at.items() if matches(new, path, leaf)}
    if new and not kept:
        raise ValueError(
            f"load_pretrained: new={show(new)!r} matches no leaf{closest(new, leaves_at)}"
        )
    keys = random_keys(params)
    assigned = Assignment(file_of.tensors, [*leaves_at, *keys], checked, {*kept, *keys})
    warn_of_flattening(file_of.tensors, assigned.sources, file_of.ordered)

    fits: dict[str, Fit] = {}
    mismatched: dict[str, str] = {}
    for path, (name, layout) in assigned.sources.items():
        try:
            fits[path] = Fit(path, leaves_at[path], name, file_of.tensors[name], layout)
        except ValueError as error:
            mismatched[path] = str(error)
    wanted = [path for path, leaf in leaves_at.items() if path not in kept and is_weight(leaf)]
    shown = {*wanted, *fits, *kept}
    report = PretrainedReport(
        loaded={path: fit.name for path, fit in fits.items()},
        missing=tuple(path for path in wanted if path not in assigned.sources),
        mismatched=mismatched,
        unused=tuple(assigned.unused),
        new=tuple(kept),
        left_out=tuple(assigned.left_out),
        notes={path: fit.note for path, fit in fits.items()},
        shapes={path: np.shape(leaf) for path, leaf in leaves_at.items() if path in shown},
        metadata=file_of.metadata,
    )
    _check(report, leaves_at, file, strict, file_of.tensors)
    try:
        made = {path: like(fit.array(), leaves_at[path]) for path, fit in fits.items()}
    except ValueError as error:  # of a torch file check sums are compared now
        raise ValueError(f"load_pretrained: {file} is refused: {error}") from error
    return array_leaves(params, made), report


def _check(report: PretrainedReport, at: Any, file: Any, strict: bool, names: Any) -> None:
    """Refuses what must not go on."""
    shown = "the arrays given" if isinstance(file, Mapping) else file
    if not report.loaded:
        raise ValueError(
            f"load_pretrained: nothing of {shown} stands for a leaf. It has"
            f" {some(names, 4) or 'nothing'}; the paths are {some(at, 4)}; say by"
            f" rules=[(name, path), …] which is which\n{report.problems()}".rstrip()
        )
    if strict and not report.complete:
        raise ValueError(
            f"load_pretrained: {shown} and the leaves differ:\n{report.problems()}\n"
            "Rules map names, and (name, None) leaves one out; new= keeps leaves; strict=False"
            " keeps all that do not fit"
        )
    for path in (*report.missing, *report.mismatched, *report.new):
        if isinstance(at[path], jax.ShapeDtypeStruct):
            raise ValueError(f"load_pretrained: {path!r} is a shape, and cannot be kept as it is")
