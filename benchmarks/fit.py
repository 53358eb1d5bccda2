"""Training a network: ``fit`` compared with the loops that people write, steps per second.

``python benchmarks/fit.py`` trains one network several ways in one process, a few epochs of each in
turn, and prints the median of the rounds' ratios. All report the same for every step: loss,
accuracy, norm of gradient, norm of update. Evaluation is left out of all.

``--task digits`` is a network 64-128-128-10 with batch normalization and dropout, batches of 64 of
the bundled digits; ``--task fashion_mnist`` the convolutional 2c2d of DeepOBS on Fashion-MNIST,
batches of 128, of which an epoch here is as many as ``--steps`` says. Its pictures are halved by
``fnopt.train.models.max_pool`` in all of jax's contenders; with ``--flax-pool`` by flax's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence

import jax
import numpy as np
import optax
from fit_tasks import TASKS
from flax import nnx
from machine import HERE, load_average, machine
from report import of_fit
from torch_device import torch_device, torch_is_left_out
from turns import print_table

import fnopt
from fnopt.train import accuracy, fit, objective

RATE, DECAY = 1e-3, 1e-2


def batches(task, seed: int, epochs: int):
    """What a loop written by hand iterates over: a permutation an epoch, in NumPy."""
    rng, (images, labels) = np.random.RandomState(seed), task.train
    for _ in range(epochs):
        order = rng.permutation(len(labels))[: task.steps * task.batch]
        for indices in order.reshape(task.steps, task.batch):
            yield images[indices], labels[indices]


def with_fit(task, packed: bool | None = None):
    """fnopt's fit; None leaves to it whether small arrays are packed."""
    loss = "softmax_cross_entropy_with_integer_labels"
    minimized = objective(task.network(), loss, metrics={"accuracy": accuracy})
    tx = fnopt.adamw(RATE, weight_decay=DECAY)
    state = [None]

    def run(seed: int, epochs: int):
        optimizer = tx if state[0] is None else None
        result = fit(
            minimized,
            optimizer,
            task.train,
            epochs=epochs,
            batch_size=task.batch,
            key=seed,
            state=state[0],
            packed=packed,
            progress=False,
        )
        state[0] = result.state
        return result.history["loss"][-1]

    return run


def with_nnx_loop(task):
    """The loop of flax's documentation: nnx.jit, nnx.Optimizer."""
    model = task.network()
    optimizer = nnx.Optimizer(model, optax.adamw(RATE, weight_decay=DECAY), wrt=nnx.Param)
    model.train()

    def loss_fn(model, x, y):
        logits = model(x)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return loss, logits

    @nnx.jit
    def train_step(model, optimizer, x, y):
        (loss, logits), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, x, y)
        updates = optimizer.update(model, grads)
        return (
            loss,
            accuracy(logits, y).mean(),
            optax.tree.norm(nnx.as_pure(grads)),
            optax.tree.norm(updates),
        )

    def run(seed: int, epochs: int):
        metrics = [train_step(model, optimizer, x, y) for x, y in batches(task, seed, epochs)]
        return np.mean([float(loss) for loss, *_ in metrics[-task.steps :]])

    return run


def with_jitted_function(task):
    """A jitted function of pure states, donated, with optax."""
    graph, params, rest = nnx.split(task.network(), nnx.Param, ...)
    tx = optax.adamw(RATE, weight_decay=DECAY)
    carried = [(params, tx.init(params), rest)]

    def step(params, opt_state, rest, x, y):
        def loss_fn(params):
            model = nnx.merge(graph, params, rest, copy=True)
            model.train()
            logits = model(x)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
            return loss, (nnx.split(model, nnx.Param, ...)[2], logits)

        (loss, (rest, logits)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        metrics = (
            loss,
            accuracy(logits, y).mean(),
            optax.tree.norm(grads),
            optax.tree.norm(updates),
        )
        return optax.apply_updates(params, updates), opt_state, rest, metrics

    step = jax.jit(step, donate_argnums=(0, 1, 2))

    def run(seed: int, epochs: int):
        state, metrics = carried[0], []
        for x, y in batches(task, seed, epochs):
            *state, step_metrics = step(*state, x, y)
            metrics.append(step_metrics)
        carried[0] = state
        return np.mean([float(loss) for loss, *_ in metrics[-task.steps :]])

    return run


def with_torch(task, update_norm: bool):
    """torch with fused AdamW; the norm of the update costs it a copy of the parameters.

    The model and all of the data lie on the device that jax uses.
    """
    import torch

    device = torch_device()
    model = task.torch_network(torch.nn).to(device)
    params = list(model.parameters())
    optimizer = torch.optim.AdamW(params, lr=RATE, weight_decay=DECAY, fused=True)
    images = torch.from_numpy(np.ascontiguousarray(task.train[0].transpose(0, 3, 1, 2))).to(device)
    labels = torch.from_numpy(task.train[1].astype(np.int64)).to(device)
    model.train()

    def norm(tensors):
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))

    def run(seed: int, epochs: int):
        generator, metrics = torch.Generator(device).manual_seed(seed), []
        for _ in range(epochs):
            order = torch.randperm(len(labels), generator=generator, device=device)
            for indices in order[: task.steps * task.batch].view(task.steps, task.batch):
                y = labels[indices]
                logits = model(images[indices])
                loss = torch.nn.functional.cross_entropy(logits, y)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                with torch.no_grad():
                    step_metrics = [loss.detach(), (logits.argmax(1) == y).float().mean()]
                    step_metrics.append(norm([p.grad for p in params]))
                    before = torch._foreach_mul(params, 1.0) if update_norm else None
                    optimizer.step()
                    if update_norm:
                        step_metrics.append(norm(torch._foreach_sub(params, before)))
                metrics.append(torch.stack(step_metrics))
        return float(torch.stack(metrics)[-task.steps :, 0].mean())

    return run


def contenders(task, torch_too: bool):
    runs = {
        "fnopt fit": with_fit(task),
        "fnopt fit, packed": with_fit(task, packed=True),
        "fnopt fit, not packed": with_fit(task, packed=False),
        "flax documentation's loop": with_nnx_loop(task),
        "jitted function, optax": with_jitted_function(task),
    }
    if torch_too:
        runs["torch, fused"] = with_torch(task, update_norm=True)
        runs["torch, fused, no update norm"] = with_torch(task, update_norm=False)
    return runs


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--task", choices=TASKS, default="digits")
    parser.add_argument("--epochs", type=int, help="of each contender in each round")
    parser.add_argument("--steps", type=int, default=40, help="of an epoch of fashion_mnist")
    parser.add_argument("--flax-pool", action="store_true", help="for fashion_mnist")
    parser.add_argument("--noise", action="store_true", help="for fashion_mnist, where it is not")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--tag", default="local", help="names the log")
    options = parser.parse_args(arguments)
    if not options.no_torch and (reason := torch_is_left_out()):
        print(f"torch is left out: {reason}")
        options.no_torch = True
    task = TASKS[options.task](options)
    options.epochs = options.epochs or task.epochs
    runs = contenders(task, not options.no_torch)
    first = max(options.epochs // 2, 1)
    for name, run in runs.items():  # compiles, and shows that all learn
        print(f"{name}: loss {run(0, first):.4f} after {first} epochs", flush=True)
    kind = "" if options.task == "digits" else f"{options.task}-"
    log = HERE / "logs" / f"fit-{kind}{options.tag}.jsonl"
    log.parent.mkdir(exist_ok=True)
    records = []
    with log.open("w") as file:
        file.write(json.dumps({"machine": machine(), "options": vars(options)}) + "\n")
        for number in range(options.rounds):
            names = list(runs)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                began = time.perf_counter()
                runs[name](number, options.epochs)
                speed = options.epochs * task.steps / (time.perf_counter() - began)
                records.append({"round": number, "name": name, "steps_per_second": speed})
                file.write(json.dumps(records[-1]) + "\n")
                file.flush()
        file.write(json.dumps({"load_average": load_average()}) + "\n")
    for title, rows in of_fit(records):
        print_table(title, rows)
    print(f"raw log: {log.name}")


if __name__ == "__main__":
    main()
