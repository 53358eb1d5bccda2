"""Regression with fnopt: the course of diabetes, by several optimizers.

Run it with ``python examples/regression/train.py``; it leaves logs in ``out/``.
"""

import numpy as np
import tyro
from flax import nnx

import fnopt
from fnopt.data import diabetes, split
from fnopt.train import early_stopping, evaluate, fit, objective


class Network(nnx.Module):
    """One hidden layer."""

    def __init__(self, features: int, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(features, 64, rngs=rngs)
        self.head = nnx.Linear(64, 1, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.tanh(self.hidden(x)))


def optimizers(steps: int) -> dict[str, fnopt.Transform]:
    """The optimizers that are compared, each with a rate that is usual for it."""
    return {
        "sgd": fnopt.sgd(fnopt.cosine_decay_schedule(0.02, steps), momentum=0.9),
        "adamw": fnopt.adamw(fnopt.cosine_decay_schedule(3e-3, steps), weight_decay=1e-2),
        "lion": fnopt.lion(fnopt.cosine_decay_schedule(5e-4, steps), weight_decay=1e-2),
        "prodigy": fnopt.prodigy(),
    }


def main(epochs: int = 100, batch_size: int = 32, seed: int = 0, out: str = "out") -> dict:
    """Trains with each optimizer, and prints what share of the variance is left unexplained.

    Args:
        epochs: largest number of passes through the data; a run ends early where the error on
            held-out examples has not fallen for 20 of them.
        batch_size: number of examples per step.
        seed: seed of initialization, of shuffling and of the choice of held-out examples.
        out: folder for the files regression_OPTIMIZER.jsonl.
    """
    train, test = diabetes()
    train, held_out = split(train, 0.2, key=seed)
    task = objective(Network(train[0].shape[1], nnx.Rngs(seed)), "squared_error")
    reached = {"least squares": least_squares(train, test)}
    print(f"{'least squares':13}  test error {reached['least squares']:.4f}")
    for name, tx in optimizers(epochs * (len(train[0]) // batch_size)).items():
        result = fit(
            task,
            tx,
            train,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=held_out,
            key=seed,
            early_stopping=early_stopping(patience=20),
            progress=False,
        )
        result.history.write(f"{out}/regression_{name}.jsonl")
        reached[name] = float(evaluate(task, result.state, test)["loss"])
        print(f"{name:13}  test error {reached[name]:.4f} after {len(result.history)} epochs")
    return reached


def least_squares(train, test) -> float:
    """The test error of the best line, for comparison."""
    with_one = [np.column_stack([x, np.ones(len(x))]) for x, _ in (train, test)]
    line = np.linalg.lstsq(with_one[0], train[1], rcond=None)[0]
    return float(np.mean((with_one[1] @ line - test[1]) ** 2))


if __name__ == "__main__":
    tyro.cli(main)
