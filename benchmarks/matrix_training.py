"""Training with matrix methods beside AdamW: steps and seconds to AdamW's final loss.

``python benchmarks/matrix_training.py`` trains a dense network on the digits, 2c2d on
Fashion-MNIST and a transformer on letters with ``fit``. Every method is tried at as many learning
rates, half a decade apart, with one seed; the best by its final validation loss is trained with
three seeds. It writes ``logs/matrix-training-TAG.jsonl`` and a picture, and prints a table.

A rate falls to 0 by a cosine over the budget after a twentieth of warm-up; everything else has its
default. A method that reaches AdamW's final loss in no run is shown as such;
a star is at a rate that is the smallest or largest tried.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from fit_tasks import TwoConvTwoDense
from flax import nnx
from log import Log
from machine import HERE, machine

import fnopt
from fnopt.data import austen, digits, fashion_mnist
from fnopt.train import TrainState, fit, make_train_step, objective
from fnopt.train.models import MLP, max_pool

sys.path.insert(0, str(HERE.parent / "examples" / "char_lm"))
CROSS_ENTROPY = "softmax_cross_entropy_with_integer_labels"
SEEDS = 3


class Task(NamedTuple):
    """What is trained.

    Attributes:
        title: what it is, in words.
        objective: a function of the seed.
        train, validation: the data.
        batch_size: examples of a step.
        epochs: passes through the data.
        every: steps between evaluations.
    """

    title: str
    objective: Callable[[int], Any]
    train: Any
    validation: Any
    batch_size: int
    epochs: int
    every: int

    @property
    def steps(self) -> int:
        return self.epochs * (len(jax.tree.leaves(self.train)[0]) // self.batch_size)


def dense(options: argparse.Namespace) -> Task:
    train, validation = digits()

    def make(seed: int) -> Any:
        network = MLP(64, (128, 128), 10, dropout=0.2, rngs=nnx.Rngs(seed))
        return objective(network, CROSS_ENTROPY)

    return Task("digits, dense, batch norm, dropout", make, train, validation, 64, 15, 11)


def two_conv_two_dense(options: argparse.Namespace) -> Task:
    (x, y), (test_x, test_y) = fashion_mnist(options.root)
    count = 128 * 30  # a step of SOAP takes seconds: its largest matrix is 3136 by 1024

    def make(seed: int) -> Any:
        return objective(TwoConvTwoDense(nnx.Rngs(seed), max_pool), CROSS_ENTROPY)

    train = x[:count].astype("float32") / 255, y[:count]
    validation = test_x[:512].astype("float32") / 255, test_y[:512]
    return Task("Fashion-MNIST, 2c2d", make, train, validation, 128, 1, 5)


def letters(options: argparse.Namespace) -> Task:
    from train import Transformer

    length, batch = 64, 16
    text = austen(options.root)
    pieces = text.windows(length + 1)

    def make(seed: int) -> Any:
        return objective(
            Transformer(len(text.vocabulary), length, 64, 2, 4, nnx.Rngs(seed)),
            CROSS_ENTROPY,
            inputs=lambda pieces: pieces[:, :-1].astype(jnp.int32),
            targets=lambda pieces: pieces[:, 1:].astype(jnp.int32),
        )

    return Task(
        "letters, transformer of 2 blocks, width 64", make,
        pieces[: batch * 300], pieces[-256:], batch, 1, 20,
    )  # fmt: skip


TASKS = {"digits": dense, "2c2d": two_conv_two_dense, "letters": letters}


class Method(NamedTuple):
    """An optimizer to be tuned.

    Attributes:
        make: a function of the learning rate.
        usual: the rate in the middle of those that are tried.
    """

    make: Callable[[Any], fnopt.Transform]
    usual: float


METHODS = {
    "adamw": Method(fnopt.adamw, 3e-3),
    "muon": Method(lambda rate: fnopt.muon(rate, consistent_rms=0.2), 3e-3),
    "normuon": Method(fnopt.normuon, 3e-3),
    "soap": Method(fnopt.soap, 3e-3),
    "kl_soap": Method(fnopt.kl_soap, 3e-3),
    "shampoo": Method(fnopt.shampoo, 3e-3),
    "psgd_kron": Method(fnopt.psgd_kron, 1e-3),
    "kfac": Method(fnopt.kfac, 1e-2),
}
"""The usual rates are those of methods whose updates have the length of Adam's, unless said."""


def scheduled(task: Task, rate: float) -> Any:
    steps = task.steps
    return fnopt.warmup_cosine_decay_schedule(0.0, rate, math.ceil(steps / 20), steps)


def trained(task: Task, method: Method, rate: float, seed: int) -> dict[str, Any]:
    """A run: its validation losses, at which steps, and the seconds of a step."""
    try:
        result = fit(
            task.objective(seed), method.make(scheduled(task, rate)), task.train,
            epochs=task.epochs, batch_size=task.batch_size, validation_data=task.validation,
            eval_every=task.every, key=seed, progress=False,
        )  # fmt: skip
    except FloatingPointError as error:
        return {"steps": [], "losses": [], "final": math.inf, "error": str(error)}
    if result.interrupted:
        raise KeyboardInterrupt
    records = [r for r in result.history.records if "val_loss" in r]
    losses = [float(r["val_loss"]) for r in records]
    final = losses[-1] if losses and math.isfinite(losses[-1]) else math.inf
    return {
        "steps": [int(r["step"]) for r in records],
        "losses": losses,
        "final": final,
        "seconds_a_step": 1 / result.steps_per_second,
    }


def time_steps(task: Task, names: Sequence[str], log: Log, key: str) -> None:
    """Logs the mean seconds of ten steps of each method, after its first ten, all in turn."""
    batch = jax.tree.map(lambda x: jnp.asarray(x[: task.batch_size]), task.train)
    goal = task.objective(0)
    step = make_train_step(goal)
    state = {name: TrainState.create(goal, METHODS[name].make(1e-4), 0) for name in names}
    for block in range(3):
        for name in names:
            start = time.perf_counter()
            for _ in range(10):
                state[name], metrics = step(state[name], batch)
            jax.block_until_ready((state[name].step, metrics))
            if block:
                seconds = (time.perf_counter() - start) / 10
                log("steps", task=key, method=name, seconds=seconds)


def rates_of(method: Method, count: int) -> list[float]:
    half = (count - 1) / 2
    return [float(f"{method.usual * 10 ** ((i - half) / 2):.2g}") for i in range(count)]


def first_at(run: dict[str, Any], target: float) -> int | None:
    """The step of the first evaluation that is as good as the target."""
    pairs = zip(run["steps"], run["losses"], strict=True)
    return next((step for step, loss in pairs if loss <= target), None)


def seconds_of_a_step(records: Sequence[dict[str, Any]], task: str, name: str) -> float:
    """The mean of those timed in turn, or else the median over the runs."""
    own = [r for r in records if (r.get("task"), r.get("method")) == (task, name)]
    timed = [r["seconds"] for r in own if r["kind"] == "steps"]
    if timed:
        return statistics.fmean(timed)
    return statistics.median(r.get("seconds_a_step", math.nan) for r in own if r["kind"] == "run")


def report(records: Sequence[dict[str, Any]]) -> str:
    """A table for each task."""
    lines = []
    for about in (r for r in records if r["kind"] == "task"):
        runs = [r for r in records if r["kind"] == "run" and r["task"] == about["task"]]
        final = statistics.fmean(r["final"] for r in runs if r["method"] == "adamw")
        lines += [
            f"{about['title']}: {about['steps']} steps; AdamW's final validation loss {final:.4f}",
            "",
            "| method | rate | final loss | steps to it | seconds to it | ms a step |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name in dict.fromkeys(r["method"] for r in runs):
            own = [r for r in runs if r["method"] == name]
            step = seconds_of_a_step(records, about["task"], name)
            reached = [first_at(r, final) for r in own]
            known = [x for x in reached if x is not None]
            at = f"{statistics.median(known):g}" if len(known) == len(own) else "–"
            if known and len(known) < len(own):
                at = f"{len(known)} of {len(own)} runs"
            seconds = f"{statistics.median(known) * step:.3g}" if len(known) == len(own) else "–"
            losses = ", ".join(f"{r['final']:.4f}" for r in own)
            tried = [
                r["rate"]
                for r in records
                if r["kind"] == "tried" and (r["task"], r["method"]) == (about["task"], name)
            ]
            edge = "*" if own[0]["rate"] in (min(tried), max(tried)) else ""
            rate, step_ms = f"{own[0]['rate']:g}{edge}", f"{1e3 * step:.3g}"
            lines.append(f"| `{name}` | {rate} | {losses} | {at} | {seconds} | {step_ms} |")
        lines.append("")
    return "\n".join(lines)


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """The validation losses over steps and over seconds, a row for each task."""
    import matplotlib.pyplot as plt

    tasks = [r for r in records if r["kind"] == "task"]
    figure, axes = plt.subplots(len(tasks), 2, figsize=(9, 3 * len(tasks)), squeeze=False)
    for row, about in zip(axes, tasks, strict=True):
        runs = [r for r in records if r["kind"] == "run" and r["task"] == about["task"]]
        for i, name in enumerate(dict.fromkeys(r["method"] for r in runs)):
            for k, run in enumerate(r for r in runs if r["method"] == name):
                steps = run["steps"]
                of_one = seconds_of_a_step(records, about["task"], name)
                seconds = [step * of_one for step in steps]
                for ax, x in zip(row, (steps, seconds), strict=True):
                    label = name if k == 0 else None
                    ax.plot(x, run["losses"], color=f"C{i}", lw=1, alpha=0.8, label=label)
        row[0].set(title=about["title"], xlabel="step", ylabel="validation loss", yscale="log")
        row[1].set(xlabel="seconds", yscale="log", xscale="log")
    axes[0, 1].legend(fontsize=7, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def show(log: Log) -> None:
    print(report(log.records))
    draw(log.records, log.path.with_suffix(".png"))
    print(f"log: {log.path.relative_to(HERE.parent)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rates", type=int, default=5, help="learning rates tried of each method")
    parser.add_argument("--root", help="where Debian's packages of the data are unpacked")
    parser.add_argument("--tag", default="here")
    parser.add_argument("--time", action="store_true", help="only time steps, all in turn")
    parser.add_argument("--report", nargs="+", help="logs to join instead, of separate tasks")
    options = parser.parse_args()
    log = Log(HERE / "logs" / f"matrix-training-{options.tag}.jsonl")
    if options.report:
        for line in (x for path in options.report for x in Path(path).read_text().splitlines()):
            record = json.loads(line)
            log(record.pop("kind"), **record)
        show(log)
        return
    log("machine", **machine())
    for key in options.tasks:
        task = TASKS[key](options)
        if options.time:
            time_steps(task, options.methods, log, key)
            continue
        log("task", task=key, title=task.title, steps=task.steps, batch_size=task.batch_size)
        for name in options.methods:
            method = METHODS[name]
            tried = {}
            for rate in rates_of(method, options.rates):
                run = trained(task, method, rate, 0)
                tried[rate] = run
                log("tried", task=key, method=name, rate=rate, seed=0, **run)
            best = min(tried, key=lambda rate: tried[rate]["final"])
            log("run", task=key, method=name, rate=best, seed=0, **tried[best])
            for seed in range(1, SEEDS):
                run = trained(task, method, best, seed)
                log("run", task=key, method=name, rate=best, seed=seed, **run)
            print(f"{key} {name}: rate {best:g}, loss {tried[best]['final']:.4f}", file=sys.stderr)
    if not options.time:
        show(log)


if __name__ == "__main__":
    main()
