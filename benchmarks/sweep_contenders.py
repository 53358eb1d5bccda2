"""The contenders of ``sweep.py``: each trains a network with every configuration and seed 0.

All train 64-128-128-10 with batch normalization and dropout on the digits, in batches of 64, by
AdamW, and report the mean loss and accuracy of each epoch's steps and those of the validation data
after it. What they return is the last validation loss of every configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from fit_tasks import Digits
from flax import nnx

import fnopt
from fnopt.data import digits
from fnopt.sweeps import sweep
from fnopt.train import accuracy, fit, objective

LOSS = optax.softmax_cross_entropy_with_integer_labels


class Configuration(NamedTuple):
    """The hyperparameters of a run."""

    rate: float
    decay: float


class Work(NamedTuple):
    """What is to be done: configurations, epochs, the network and the data."""

    configurations: Sequence[Configuration]
    epochs: int
    task: Digits
    validation: Any


def work_of(runs: int, epochs: int) -> Work:
    """As many configurations as runs, learning rates and decays from a grid."""
    rates = np.geomspace(1e-4, 1e-1, -(-runs // 2))
    pairs = [Configuration(float(r), d) for r in rates for d in (0.0, 1e-2)]
    return Work(pairs[:runs], epochs, Digits(None), digits()[1])  # pyright: ignore


def _objective(task: Digits) -> Any:
    loss = "softmax_cross_entropy_with_integer_labels"
    return objective(task.network(), loss, metrics={"accuracy": accuracy})


def with_sweep(work: Work) -> list[float]:
    """fnopt.sweep: all configurations as one program, over all devices if there are several."""
    devices = jax.devices()
    mesh = jax.make_mesh((len(devices),), ("runs",)) if len(devices) > 1 else None
    result = sweep(
        _objective(work.task),
        [fnopt.adamw(c.rate, weight_decay=c.decay) for c in work.configurations],
        work.task.train,
        epochs=work.epochs,
        batch_size=work.task.batch,
        validation_data=work.validation,
        progress=False,
        keep="none",
        mesh=mesh,
    )
    return [float(run.curves["val_loss"][-1]) for run in result.runs]


def with_fit(work: Work) -> list[float]:
    """A loop over fnopt's fit, which compiles once for all of one structure."""
    minimized, losses = _objective(work.task), []
    for rate, decay in work.configurations:
        result = fit(
            minimized,
            fnopt.adamw(rate, weight_decay=decay),
            work.task.train,
            epochs=work.epochs,
            batch_size=work.task.batch,
            validation_data=work.validation,
            progress=False,
        )
        losses.append(float(result.history["val_loss"][-1]))
    return losses


def _batches(work: Work) -> Any:
    """For each epoch its batches, as NumPy arrays in a random order."""
    task, rng = work.task, np.random.RandomState(0)
    images, labels = task.train
    for _ in range(work.epochs):
        order = rng.permutation(len(labels))[: task.steps * task.batch]
        order = order.reshape(task.steps, task.batch)
        yield [(images[rows], labels[rows]) for rows in order]


def with_new_jit(work: Work) -> list[float]:
    """The loop of flax's documentation in a function of the configuration: a new step each."""

    def train(rate: float, decay: float) -> float:
        model = work.task.network()
        optimizer = nnx.Optimizer(model, optax.adamw(rate, weight_decay=decay), wrt=nnx.Param)

        def loss_fn(model: nnx.Module, x: Any, y: Any) -> Any:
            logits = model(x)  # pyright: ignore[reportCallIssue]
            return LOSS(logits, y).mean(), accuracy(logits, y).mean()

        @nnx.jit
        def train_step(model: nnx.Module, optimizer: nnx.Optimizer, x: Any, y: Any) -> Any:
            values, grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, x, y)
            optimizer.update(model, grads)
            return values

        @nnx.jit
        def evaluate(model: nnx.Module, x: Any, y: Any) -> Any:
            return loss_fn(model, x, y)

        for batches in _batches(work):
            model.train()
            metrics = [train_step(model, optimizer, x, y) for x, y in batches]
            model.eval()
            seen = evaluate(model, *work.validation)
            _ = np.mean(jax.device_get(metrics), axis=0), float(seen[1])
        return float(seen[0])

    return [train(*configuration) for configuration in work.configurations]


def with_injected(work: Work) -> list[float]:
    """A loop by hand with ``optax.inject_hyperparams``: one jitted, donated step for all."""
    graph, start, rest_at_start = nnx.split(work.task.network(), nnx.Param, ...)
    tx = optax.inject_hyperparams(optax.adamw)(learning_rate=0.0, weight_decay=0.0)

    def apply(params: Any, rest: Any, x: Any, y: Any, training: bool) -> Any:
        model = nnx.merge(graph, params, rest, copy=True)
        model.train() if training else model.eval()
        logits = model(x)
        values = LOSS(logits, y).mean(), accuracy(logits, y).mean()
        return values, nnx.split(model, nnx.Param, ...)[2]

    def step(params: Any, opt_state: Any, rest: Any, x: Any, y: Any) -> Any:
        def loss_fn(params: Any) -> Any:
            (loss, share), new = apply(params, rest, x, y, True)
            return loss, (share, new)

        (loss, (share, rest)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, rest, (loss, share)

    step = jax.jit(step, donate_argnums=(0, 1, 2))
    evaluate = jax.jit(lambda params, rest, x, y: apply(params, rest, x, y, False)[0])
    losses = []
    for rate, decay in work.configurations:
        params, rest = jax.tree.map(jnp.copy, (start, rest_at_start))
        opt_state = tx.init(params)
        opt_state.hyperparams.update(
            learning_rate=jnp.float32(rate), weight_decay=jnp.float32(decay)
        )
        for batches in _batches(work):
            metrics = []
            for x, y in batches:
                params, opt_state, rest, values = step(params, opt_state, rest, x, y)
                metrics.append(values)
            seen = evaluate(params, rest, *work.validation)
            _ = np.mean(jax.device_get(metrics), axis=0), float(seen[1])
        losses.append(float(seen[0]))
    return losses


def with_torch(threads: int) -> Callable[[Work], list[float]]:
    """A loop in torch with fused AdamW, on the device that jax uses."""

    def run(work: Work) -> list[float]:
        import torch
        from torch_device import torch_device

        torch.set_num_threads(threads)
        device = torch_device()

        def on_device(images: Any, labels: Any) -> Any:
            labels = torch.from_numpy(np.asarray(labels, np.int64)).to(device)
            return torch.from_numpy(np.ascontiguousarray(images)).to(device), labels

        images, labels = on_device(*work.task.train)
        validation = on_device(*work.validation)
        losses = []
        for rate, decay in work.configurations:
            model = work.task.torch_network(torch.nn).to(device)
            fused: Any = {"lr": rate, "weight_decay": decay, "fused": True}
            optimizer = torch.optim.AdamW(model.parameters(), **fused)
            for _ in range(work.epochs):
                model.train()
                metrics, order = [], torch.randperm(len(labels), device=device)
                order = order[: work.task.steps * work.task.batch]
                for rows in order.view(work.task.steps, work.task.batch):
                    y = labels[rows]
                    logits = model(images[rows])
                    loss = torch.nn.functional.cross_entropy(logits, y)
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
                    with torch.no_grad():
                        share = (logits.argmax(1) == y).float().mean()
                        metrics.append(torch.stack([loss.detach(), share]))
                model.eval()
                with torch.no_grad():
                    logits = model(validation[0])
                    seen = torch.nn.functional.cross_entropy(logits, validation[1])
                    share = (logits.argmax(1) == validation[1]).float().mean()
                _ = torch.stack(metrics).mean(0).cpu(), float(share)
            losses.append(float(seen))
        return losses

    return run


ON_TWO = "fnopt.sweep, two devices"
"""With ``jax_num_cpu_devices`` 2, so that each core goes through runs of its own."""
CONTENDERS: dict[str, Callable[[Work], list[float]]] = {
    "fnopt.sweep": with_sweep,
    ON_TWO: with_sweep,
    "loop over fnopt.fit": with_fit,
    "optax, a new jitted step each": with_new_jit,
    "optax, inject_hyperparams": with_injected,
    "torch, 1 thread": with_torch(1),
    "torch, 2 threads": with_torch(2),
}
