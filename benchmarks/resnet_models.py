"""ResNet-18 for pictures of 32 by 32, the same in Flax and in torch, and its training data."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

CLASSES = 10
PARAMETERS = 11_173_962
"""Of ResNet-18 at its usual width, 64."""


class Normalized(nnx.Module):
    """A convolution without bias, and batch normalization."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, rngs: nnx.Rngs):
        # As torch pads: on both sides, also where a stride needs one side alone.
        side = (size // 2, size // 2)
        self.conv = nnx.Conv(
            inputs,
            outputs,
            (size, size),
            strides=stride,
            padding=(side, side),
            use_bias=False,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(outputs, momentum=0.9, epsilon=1e-5, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class Block(nnx.Module):
    """Two convolutions of 3 by 3, beside the input or a projection of it."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        self.first = Normalized(inputs, outputs, 3, stride, rngs)
        self.second = Normalized(outputs, outputs, 3, 1, rngs)
        projected = stride > 1 or inputs != outputs
        self.beside = Normalized(inputs, outputs, 1, stride, rngs) if projected else None

    def __call__(self, x: jax.Array) -> jax.Array:
        beside = x if self.beside is None else self.beside(x)
        return nnx.relu(self.second(nnx.relu(self.first(x))) + beside)


class ResNet18(nnx.Module):
    """A convolution, four stages of two blocks, the mean over the picture, a dense layer.

    Args:
        width: channels of the first stage, at least 1; usually 64.
        rngs: random streams.
    """

    def __init__(self, width: int, rngs: nnx.Rngs):
        widths = [width * 2**stage for stage in range(4)]
        self.stem = Normalized(3, width, 3, 1, rngs)
        self.blocks = nnx.List(
            Block(before if i == 0 else after, after, 2 if i == 0 and before < after else 1, rngs)
            for before, after in itertools.pairwise([width, *widths])
            for i in range(2)
        )
        self.head = nnx.Linear(widths[-1], CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=(1, 2)))


def new_network(width: int) -> ResNet18:
    """The network in training mode, with the initial values that all contenders have."""
    network = ResNet18(width, nnx.Rngs(0))
    network.train()
    count = sum(x.size for x in jax.tree.leaves(nnx.state(network, nnx.Param)))
    if width == 64 and count != PARAMETERS:
        raise AssertionError(f"this is no ResNet-18: it has {count} parameters")
    return network


def batches(batch: int, count: int = 2) -> list[tuple[jax.Array, jax.Array]]:
    """Batches of noise and labels, on jax's device."""
    draw = np.random.default_rng(0)
    return [
        (
            jnp.asarray(draw.standard_normal((batch, 32, 32, 3)), jnp.float32),
            jnp.asarray(draw.integers(CLASSES, size=batch), jnp.int32),
        )
        for _ in range(count)
    ]


def new_torch_network(width: int) -> Any:
    """The network in torch, in training mode, with the same initial values."""
    import torch
    from torch import nn

    def normalized(inputs: int, outputs: int, size: int, stride: int) -> nn.Module:
        conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs))

    class TorchBlock(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.first = normalized(inputs, outputs, 3, stride)
            self.second = normalized(outputs, outputs, 3, 1)
            projected = stride > 1 or inputs != outputs
            self.beside = normalized(inputs, outputs, 1, stride) if projected else nn.Identity()

        def forward(self, x: Any) -> Any:
            return (self.second(self.first(x).relu()) + self.beside(x)).relu()

    widths = [width * 2**stage for stage in range(4)]
    blocks = [
        TorchBlock(before if i == 0 else after, after, 2 if i == 0 and before < after else 1)
        for before, after in itertools.pairwise([width, *widths])
        for i in range(2)
    ]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    head = nn.Linear(widths[-1], CLASSES)
    network = nn.Sequential(normalized(3, width, 3, 1), nn.ReLU(), *blocks, *pool, head)
    _copy_values(new_network(width), network, torch)
    return network.train()


def _copy_values(ours: ResNet18, theirs: Any, torch: Any) -> None:
    """Copies the initial values, in the order in which both compute."""
    layers: list[Any] = [ours.stem]
    for block in ours.blocks:
        layers += [block.first, block.second, *([block.beside] if block.beside else [])]
    arrays = [
        array
        for layer in layers
        for array in (
            # (height, width, inputs, outputs) in Flax, (outputs, inputs, height, width) in torch
            layer.conv.kernel[...].transpose(3, 2, 0, 1),
            layer.norm.scale[...],
            layer.norm.bias[...],
        )
    ]
    arrays += [ours.head.kernel[...].T, nnx.state(ours.head)["bias"][...]]
    with torch.no_grad():
        for param, array in zip(theirs.parameters(), arrays, strict=True):
            param.copy_(torch.from_numpy(np.array(array)))
