"""Shapes of parameters: few small arrays, many small ones, large ones."""

from __future__ import annotations

import itertools
from typing import Any

Shapes = dict[str, Any]


def mlp() -> Shapes:
    """784-128-64-10: 6 arrays, 0.11 M numbers. What a step costs here is mostly its call."""
    sizes = (784, 128, 64, 10)
    layers = enumerate(itertools.pairwise(sizes))
    return {f"dense_{i}": {"kernel": pair, "bias": pair[1:]} for i, pair in layers}


def resnet50() -> Shapes:
    """ResNet-50 for ImageNet: 161 arrays, 25.6 M numbers; most arrays are tiny."""

    def conv(size: int, inputs: int, outputs: int) -> Shapes:
        return {
            "conv": {"kernel": (size, size, inputs, outputs)},
            "norm": {"scale": (outputs,), "bias": (outputs,)},
        }

    shapes: Shapes = {"stem": conv(7, 3, 64)}
    inputs = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            layers = {
                "conv_0": conv(1, inputs, width),
                "conv_1": conv(3, width, width),
                "conv_2": conv(1, width, 4 * width),
            }
            if block == 0:
                layers["projection"] = conv(1, inputs, 4 * width)
            shapes[f"stage_{stage}_block_{block}"] = layers
            inputs = 4 * width
    return shapes | {"head": {"kernel": (inputs, 1000), "bias": (1000,)}}


def gpt2() -> Shapes:
    """GPT-2 small: 148 arrays, 124 M numbers. What a step costs here is moving memory."""
    width = 768

    def dense(inputs: int, outputs: int) -> Shapes:
        return {"kernel": (inputs, outputs), "bias": (outputs,)}

    def norm() -> Shapes:
        return {"scale": (width,), "bias": (width,)}

    block = {
        "norm_0": norm(),
        "attention": {"qkv": dense(width, 3 * width), "out": dense(width, width)},
        "norm_1": norm(),
        "mlp": {"up": dense(width, 4 * width), "down": dense(4 * width, width)},
    }
    embeddings = {"tokens": (50257, width), "positions": (1024, width)}
    return embeddings | {f"block_{i:02d}": block for i in range(12)} | {"norm": norm()}


def thousand() -> Shapes:
    """1,000 arrays of 64 numbers. What a step costs here is the number of arrays."""
    return {f"array_{i:03d}": (64,) for i in range(1000)}


def large() -> Shapes:
    """A transformer's 147 matrices, 1.0 G numbers. What a step costs here is moving memory."""
    width = 1408
    block = {
        "qkv": (width, 3 * width),
        "out": (width, width),
        "up": (width, 4 * width),
        "down": (4 * width, width),
    }
    ends = {"tokens": (50257, width), "positions": (1024, width), "head": (width, 50257)}
    return ends | {f"block_{i:02d}": block for i in range(36)}


TREES = {
    "mlp": mlp,
    "resnet50": resnet50,
    "gpt2": gpt2,
    "thousand": thousand,
    "large": large,
}
ON_GPUS = ("large",)
"""Those that take minutes a block on a CPU."""
