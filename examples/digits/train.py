"""Handwritten digits with fnopt: a Flax network with batch normalization and dropout.

Run it with ``python examples/digits/train.py``; it leaves a picture and a log in ``out/``.
"""

import jax
import optax
import tyro
from flax import nnx

import fnopt
from fnopt.data import digits
from fnopt.train import accuracy, evaluate, fit, objective

EPOCHS, BATCH_SIZE, SEED = 30, 64, 0


class Network(nnx.Module):
    """Two hidden layers; nothing in it knows whether it is being trained."""

    def __init__(self, rngs: nnx.Rngs):
        self.dense1 = nnx.Linear(64, 128, rngs=rngs)
        self.norm1 = nnx.BatchNorm(128, momentum=0.9, rngs=rngs)
        self.dense2 = nnx.Linear(128, 128, rngs=rngs)
        self.norm2 = nnx.BatchNorm(128, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(len(x), -1)
        x = self.dropout(nnx.relu(self.norm1(self.dense1(x))))
        x = self.dropout(nnx.relu(self.norm2(self.dense2(x))))
        return self.head(x)


def main(epochs: int = EPOCHS, out: str = "out") -> float:
    train, validation = digits()

    # What is minimized. Batch statistics and dropout keys are handled.
    task = objective(
        Network(nnx.Rngs(SEED)),
        optax.losses.softmax_cross_entropy_with_integer_labels,
        metrics={"accuracy": accuracy},
    )

    # The optimizer is a value: it can be printed, compared, stacked, differentiated.
    steps = epochs * (len(train[1]) // BATCH_SIZE)
    tx = fnopt.chain(
        fnopt.clip_by_global_norm(5.0),
        fnopt.adamw(fnopt.warmup_cosine_decay_schedule(0.0, 5e-3, steps // 10, steps)),
    )
    print(tx)

    result = fit(
        task, tx, train, epochs=epochs, batch_size=BATCH_SIZE, validation_data=validation, key=SEED
    )

    result.history.write(f"{out}/digits_example.jsonl")
    result.history.plot(f"{out}/digits_example.png", title="handwritten digits")
    metrics = evaluate(task, result.state, validation)
    print(
        f"validation accuracy {metrics['accuracy']:.4f},"
        f" {result.steps_per_second:,.0f} steps per second"
    )
    print(f"picture and log: {out}/digits_example.png, {out}/digits_example.jsonl")
    return float(metrics["accuracy"])


if __name__ == "__main__":
    tyro.cli(main)
