"""A warning where a dense layer seems to read a flattened picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fnopt.core.warn import warn_caller
from fnopt.pretrained.limits import short
from fnopt.pretrained.stored_tensors import StoredTensor


def warn_of_flattening(
    tensors: Mapping[str, StoredTensor], sources: Mapping[str, tuple[str, Any]], ordered: bool
) -> None:
    """Warns of dense kernels of torch whose inputs look like those of a flattened picture.

    That is: a multiple of the outputs of the convolution before it, where the file is in the order
    of the layers; else of any, if nothing in the file has as many outputs as it has inputs.

    Args:
        tensors: the tensors of the file by name.
        sources: name in the file and layout of a rule (or None), by path.
        ordered: whether the order of the tensors is that of the layers of the model.
    """
    paths = {name: (path, layout) for path, (name, layout) in sources.items()}
    weights = [
        (name, *paths[name], tensors[name].shape)
        for name in tensors
        if name in paths
        and paths[name][0].endswith("kernel")
        and not name.endswith("kernel")
        and len(tensors[name].shape) >= 2
    ]
    outputs = {shape[0] for _, _, _, shape in weights}
    channels = {shape[0] for _, _, _, shape in weights if len(shape) > 2}
    before: set[int] = set()
    for name, path, layout, shape in weights:
        if len(shape) > 2:
            before = {shape[0]}
            continue
        inputs = math.prod(shape[1:])
        candidates = before if ordered else channels if inputs not in outputs else set()
        divisors = (c for c in candidates if c and inputs % c == 0 and inputs > c)
        count = max(divisors, default=None)
        if count and layout is None:
            warn_caller(
                f"load_pretrained: {path!r} has {inputs} inputs, {inputs // count} times the"
                f" {count} channels of a convolution. If they are a flattened picture, their order"
                " is torch's, not Flax's: give the rule"
                f" ({short(name)!r}, {path!r}, torch_layout.flattened({count}, height, width)); if"
                f" not, ({short(name)!r}, {path!r}, torch_layout.kernel)"
            )
        before = set()
