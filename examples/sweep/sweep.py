"""Which learning rate? A sweep, a range test, and descent on the learning rate itself.

Run it with ``python examples/sweep/sweep.py``; it leaves tables and pictures in ``out/``.
"""

import dataclasses
import functools

import jax
import tyro
from flax import nnx

import fnopt
from fnopt.data import digits
from fnopt.sweeps import (
    Sweep,
    Tuned,
    gradient_noise_scale,
    grid,
    learning_rate_range_test,
    log_space,
    sweep,
    tune,
)
from fnopt.train import Objective, accuracy, fit, objective

EPOCHS, BATCH_SIZE, SEEDS = 10, 64, 3
RATES, DECAYS = tuple(log_space(1e-5, 1, 11)), (0.0, 0.01, 0.1)


class Network(nnx.Module):
    """Two hidden layers with batch normalization, and dropout."""

    def __init__(self, rngs: nnx.Rngs, width: int):
        self.dense1 = nnx.Linear(64, width, use_bias=False, rngs=rngs)
        self.norm1 = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        self.dense2 = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(len(x), -1)
        x = self.dropout(nnx.relu(self.norm1(self.dense1(x))))
        x = self.dropout(nnx.relu(self.norm2(self.dense2(x))))
        return self.head(x)


def task_of(seed: int, width: int) -> Objective:
    """The network of a seed with its loss."""
    return objective(
        Network(nnx.Rngs(seed), width),
        "softmax_cross_entropy_with_integer_labels",
        metrics={"accuracy": accuracy},
    )


def main(
    epochs: int = EPOCHS,
    seeds: int = SEEDS,
    rates: tuple[float, ...] = RATES,
    decays: tuple[float, ...] = DECAYS,
    rounds: int = 20,
    width: int = 128,
    out: str = "out",
) -> tuple[float, float]:
    train, validation = digits()
    of_seed = functools.partial(task_of, width=width)
    task = of_seed(0)

    # A grid, with several seeds. All runs are one program, and each is as fit makes it alone.
    result = sweep(
        of_seed,
        grid(fnopt.adamw, learning_rate=rates, weight_decay=decays),
        train,
        seeds=seeds,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        validation_data=validation,
    )
    print(result, result.quantiles(), result.by("learning_rate"), sep="\n\n")
    result.to_csv(f"{out}/sweep.csv")
    result.to_json(f"{out}/sweep.json")
    result.plot(f"{out}/sweep_values.png", kind="values", title="AdamW on handwritten digits")
    result.plot(f"{out}/sweep_curves.png", kind="curves", title="The best of them")
    best = result.best()
    best_rate = best.hyperparameters["learning_rate"]

    # One short run with growing rates, where there is no time for a grid.
    test = learning_rate_range_test(task, best.tx, train, low=1e-5, batch_size=BATCH_SIZE)
    print(f"\n{test}")
    test.plot(path=f"{out}/sweep_range_test.png", title="Learning rate range test")

    # After one epoch: up to which size does a larger batch save steps?
    state = fit(task, best.tx, train, epochs=1, batch_size=BATCH_SIZE, key=0, progress=False).state
    noise = gradient_noise_scale(task, state, train)
    print(f"\n{noise}")
    noise.plot(path=f"{out}/sweep_noise_scale.png", title="Gradient noise scale after an epoch")

    # Descent on the learning rate itself, from a hundredth of the best: each round is a whole run
    # and the derivative of its validation loss.
    tuned = tune(
        task,
        best.tx.replace(learning_rate=best_rate / 100),
        train,
        steps=epochs * (len(train[1]) // BATCH_SIZE),
        rounds=rounds,
        batch_size=BATCH_SIZE,
        validation_data=validation,
    )
    rate = float(tuned.optimizer.learning_rate)
    print(f"\n{tuned}")
    print(f"learning rate: {best_rate:.3g} is the best of the grid, {rate:.3g} that of tune")
    draw_descent(result, best.hyperparameters["weight_decay"], tuned, f"{out}/sweep_tune.png")
    print(f"tables and pictures: {out}/sweep*")
    return best_rate, rate


def draw_descent(result: Sweep, decay: float, tuned: Tuned, path: str) -> None:
    """Draws the rounds of tune over the grid's runs of its seed and weight decay."""
    runs = tuple(
        run for run in result.runs
        if run.seed == 0 and run.entrant.hyperparameters["weight_decay"] == decay
    )  # fmt: skip
    of_grid = dataclasses.replace(result, runs=runs)
    figure = of_grid.plot(kind="values", at="final", title="tune, over the runs of the grid")
    good = ~tuned.diverged
    axes, rates = figure.axes[0], tuned.values["learning_rate"]
    axes.plot(rates[good], tuned.losses[good], "x--", color="black", linewidth=1, label="tune")
    axes.annotate("first round", (rates[0], tuned.losses[0]), (8, 4), textcoords="offset points")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    tyro.cli(main)
