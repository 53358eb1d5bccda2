"""Networks whose start is sound, of many kinds, and faults to plant into them."""

from __future__ import annotations

import dataclasses
import functools
import random
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax.nn import initializers

from fnopt.core.select import path_name
from fnopt.initialize import lsuv
from fnopt.train import objective

EXAMPLES, FEATURES, SIDE, CLASSES = 48, 12, 6, 5
CROSS_ENTROPY = "softmax_cross_entropy_with_integer_labels"
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "gelu": jax.nn.gelu, "selu": jax.nn.selu}
# What suits which; "lsuv" is done afterwards.
SUITED = {
    "relu": ("he_normal", "he_uniform", "orthogonal", "lsuv"),
    "gelu": ("he_normal", "he_uniform", "orthogonal", "lsuv"),
    "tanh": ("glorot_normal", "glorot_uniform", "lsuv"),
    "selu": ("lecun_normal", "lsuv"),
}


@dataclasses.dataclass(frozen=True)
class Start:
    """A network and how it begins.

    ``depth`` counts the hidden layers; ``zero_last`` makes the last layer 0, and the last of each
    residual branch.
    """

    framework: str = "nnx"
    depth: int = 4
    width: int = 32
    activation: str = "relu"
    init: str = "he_normal"
    normalized: bool = False
    images: bool = False
    residual: bool = False
    zero_last: bool = False
    dropout: float = 0.0
    seed: int = 0

    def initializer(self, zero: bool = False) -> Any:
        if zero and self.zero_last:
            return initializers.zeros
        gain = 1.0 if self.activation == "tanh" else 2**0.5
        if self.init in ("orthogonal", "lsuv"):
            return initializers.orthogonal(gain)
        return getattr(initializers, self.init)()

    def batch(self) -> Any:
        rng = np.random.RandomState(self.seed)
        shape = (SIDE, SIDE, 2) if self.images else (FEATURES,)
        inputs = rng.randn(EXAMPLES, *shape).astype(np.float32)
        return inputs, rng.randint(CLASSES, size=EXAMPLES).astype(np.int32)

    def task(self) -> tuple[Any, Any, Any]:
        """The objective, its parameters, a batch."""
        batch, key = self.batch(), jax.random.key(self.seed)
        if self.framework == "function":
            task = objective(
                functools.partial(function, self), CROSS_ENTROPY, params=draw(self, key)
            )
        else:
            model = NNXNet(self) if self.framework == "nnx" else LinenNet(self)
            task = objective(model, CROSS_ENTROPY)
        params = task.init(key, batch)[0]
        if self.init == "lsuv":
            params = lsuv(task, params, batch, key=key)
        return task, params, batch


class NNXNet(nnx.Module):
    def __init__(self, start: Start):
        rngs = nnx.Rngs(start.seed)
        self.start = start
        self.layers, self.norms = nnx.List([]), nnx.List([])
        width = 2 if start.images else FEATURES
        for place in range(start.depth):
            init = start.initializer(zero=start.residual and place > 0 and place % 2 == 0)
            if start.images:
                layer = nnx.Conv(width, start.width, (3, 3), kernel_init=init, rngs=rngs)
            else:
                layer = nnx.Linear(width, start.width, kernel_init=init, rngs=rngs)
            self.layers.append(layer)
            self.norms.append(nnx.BatchNorm(start.width, rngs=rngs))
            width = start.width
        self.dropout = nnx.Dropout(start.dropout, rngs=rngs)
        init = start.initializer(zero=True)
        self.head = nnx.Linear(width, CLASSES, kernel_init=init, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        def layer(place: int, x: jax.Array) -> jax.Array:
            x = self.layers[place](x)
            return self.norms[place](x) if self.start.normalized else x

        return self.head(self.dropout(forward(self.start, layer, x)))


class LinenNet(linen.Module):
    start: Start

    @linen.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        start = self.start

        def layer(place: int, x: jax.Array) -> jax.Array:
            init = start.initializer(zero=start.residual and place > 0 and place % 2 == 0)
            if start.images:
                x = linen.Conv(start.width, (3, 3), kernel_init=init)(x)
            else:
                x = linen.Dense(start.width, kernel_init=init)(x)
            return linen.BatchNorm(use_running_average=not train)(x) if start.normalized else x

        x = linen.Dropout(start.dropout, deterministic=not train)(forward(start, layer, x))
        return linen.Dense(CLASSES, kernel_init=start.initializer(zero=True))(x)


def forward(start: Start, layer: Any, x: jax.Array) -> jax.Array:
    """The hidden layers: one after the other, or a first one and then branches of two."""
    activation = ACTIVATIONS[start.activation]
    x = activation(layer(0, x))
    for place in range(1, start.depth):
        if not start.residual:
            x = activation(layer(place, x))
        elif place % 2 == 0:
            x = activation(x + layer(place, activation(layer(place - 1, x))))
    return jnp.mean(x, axis=(1, 2)) if start.images else x


def draw(start: Start, key: jax.Array) -> Any:
    sizes = [FEATURES, *[start.width] * start.depth, CLASSES]
    keys = jax.random.split(key, len(sizes))
    return [
        {
            "kernel": start.initializer(zero=o == CLASSES)(one, (i, o), jnp.float32),
            "bias": jnp.zeros(o),
        }
        for one, i, o in zip(keys, sizes, sizes[1:], strict=False)
    ]


def function(start: Start, params: Any, x: jax.Array) -> jax.Array:
    def layer(place: int, x: jax.Array) -> jax.Array:
        x = x @ params[place]["kernel"]
        return x + jnp.broadcast_to(params[place]["bias"], x.shape)

    return layer(start.depth, forward(start, layer, x))


def sound(count: int) -> list[Start]:
    """So many sound starts, drawn at random, the same every time."""
    rng = random.Random(0)
    found = []
    for seed in range(count):
        activation = rng.choice(["relu", "relu", "tanh", "gelu", "selu"])
        framework = rng.choice(["nnx", "linen", "function"])
        dense = framework == "function"
        images = not dense and rng.random() < 0.4
        residual = rng.random() < 0.35
        depth = rng.randint(2, 12)
        found.append(
            Start(
                framework,
                # Of a residual network: a first layer, and branches of two.
                depth=max(3, depth - 1 + depth % 2) if residual else depth,
                width=rng.choice([8, 16] if images else [16, 24, 48, 64]),
                activation=activation,
                init=rng.choice(SUITED[activation]),
                normalized=not dense and rng.random() < 0.4,
                images=images,
                residual=residual,
                zero_last=rng.random() < 0.25,
                dropout=rng.choice([0.0, 0.0, 0.2]),
                seed=seed,
            )
        )
    return found


def changed(params: Any, change: Any, of: str = "kernel", place: int | None = None) -> Any:
    """Parameters with all leaves of a name changed, or one hidden layer's, and that one's path."""
    paths = [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    # layers/10 comes after layers/9, and the head last.
    natural = sorted(
        (p for p in paths if p.endswith("/" + of) and "norm" not in p.lower()),
        key=lambda p: ("head" in p, [int(x) if x.isdigit() else x for x in re.split("[/_]", p)]),
    )
    chosen = natural if place is None else [natural[place]]
    tree = jax.tree_util.tree_map_with_path(
        lambda path, x: change(x) if path_name(path) in chosen else x, params
    )
    return tree, chosen
