"""Training steps of one network as people write them: loss, gradient, batch statistics, AdamW."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from program import counts
from resnet_models import new_network, new_torch_network
from torch_device import torch_device

import fnopt
from fnopt.train import TrainState, make_train_step, objective

RATE, DECAY = 1e-3, 1e-2

Batches = Sequence[tuple[jax.Array, jax.Array]]
Step = Callable[[int], Any]
"""A step on the batch of a number that returns the loss, which may not be computed yet."""


def with_fnopt(width: int, batches: Batches, packed: bool) -> tuple[Step, dict[str, Any]]:
    """``make_train_step``, and the numbers of its compiled program."""
    task = objective(new_network(width), "softmax_cross_entropy_with_integer_labels")
    step = make_train_step(task, packed=packed)
    state = [TrainState.create(task, fnopt.adamw(RATE, weight_decay=DECAY), 0, batches[0])]
    numbers = counts(step.lower(state[0], batches[0]).compile())

    def call(i: int) -> Any:
        state[0], metrics = step(state[0], batches[i])
        return metrics["loss"]

    return call, numbers


def with_nnx_loop(width: int, batches: Batches) -> Step:
    """The loop of flax's documentation: ``nnx.jit``, ``nnx.Optimizer``."""
    model = new_network(width)
    optimizer = nnx.Optimizer(model, optax.adamw(RATE, weight_decay=DECAY), wrt=nnx.Param)

    def loss_fn(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    @nnx.jit
    def train_step(model: Any, optimizer: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return loss

    return lambda i: train_step(model, optimizer, *batches[i])


def with_torch(width: int, batches: Batches, kind: str) -> Step:
    """torch with fused AdamW.

    Args:
        width: channels of the first stage.
        batches: the batches.
        kind: ``"eager"``, ``"compile"`` for ``torch.compile`` of the network, or ``"graph"`` for a
            whole step as a CUDA graph, one of each batch.
    """
    import torch

    device = torch_device()
    network = new_torch_network(width).to(device)
    # A step within a graph reads its number from the device.
    options: dict[str, Any] = {"capturable": True} if kind == "graph" else {}
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=RATE, weight_decay=DECAY, fused=True, **options
    )
    forward = torch.compile(network) if kind == "compile" else network
    of_torch = [
        (
            torch.from_numpy(np.array(x).transpose(0, 3, 1, 2).copy()).to(device),
            torch.from_numpy(np.array(y, np.int64)).to(device),
        )
        for x, y in batches
    ]

    def call(i: int) -> Any:
        x, y = of_torch[i]
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return _captured(network, optimizer, call, len(batches)) if kind == "graph" else call


def _captured(network: Any, optimizer: Any, call: Step, count: int) -> Step:
    """The steps as CUDA graphs, at the first values of the network and an empty state."""
    import torch

    first = {name: value.clone() for name, value in network.state_dict().items()}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # makes the optimizer's state, and chooses convolutions
        for i in range(3 * count):
            call(i % count)
    torch.cuda.current_stream().wait_stream(side)
    graphs, losses = [], []
    for i in range(count):
        graphs.append(torch.cuda.CUDAGraph())
        with torch.cuda.graph(graphs[-1]):
            losses.append(call(i))
    network.load_state_dict(first)
    for slots in optimizer.state.values():
        for slot in slots.values():
            slot.zero_()

    def replay(i: int) -> Any:
        graphs[i].replay()
        return losses[i]

    return replay


def wait_for(loss: Any) -> float:
    """The loss, when it and all that came before on its device are computed."""
    return float(jax.block_until_ready(loss))


TORCH = {
    "torch": functools.partial(with_torch, kind="eager"),
    "torch.compile": functools.partial(with_torch, kind="compile"),
}
TORCH_ON_GPUS = {"torch, CUDA graph": functools.partial(with_torch, kind="graph")}
