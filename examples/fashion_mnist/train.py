"""Fashion-MNIST with fnopt: the network 2c2d of DeepOBS, compared with DeepOBS's published results.

Run it with ``python examples/fashion_mnist/train.py``; it leaves a log in ``out/``.
"""

import time

import jax
import tyro
from flax import nnx

import fnopt
from fnopt.data import fashion_mnist, pixels
from fnopt.train import accuracy, fit, objective
from fnopt.train.models import max_pool

PUBLISHED = {1: 87.65, 2: 89.11, 3: 90.04, 5: 90.80}
"""Test accuracy after an epoch, in per cent: Adam at 0.001, batches of 128, one seed."""


class TwoConvTwoDense(nnx.Module):
    """Two convolutions 5x5, each with its picture halved by a maximum; two dense layers."""

    def __init__(self, rngs: nnx.Rngs, channels=(32, 64), hidden: int = 1024):
        start = {
            "kernel_init": nnx.initializers.truncated_normal(0.05),
            "bias_init": nnx.initializers.constant(0.05),
            "rngs": rngs,
        }
        first, second = channels
        self.conv1 = nnx.Conv(1, first, (5, 5), padding="SAME", **start)
        self.conv2 = nnx.Conv(first, second, (5, 5), padding="SAME", **start)
        self.dense1 = nnx.Linear(7 * 7 * second, hidden, **start)
        self.dense2 = nnx.Linear(hidden, 10, **start)

    def __call__(self, x: jax.Array) -> jax.Array:
        for conv in (self.conv1, self.conv2):
            x = max_pool(nnx.relu(conv(x)))
        x = nnx.relu(self.dense1(x.reshape(len(x), -1)))
        return self.dense2(x)


def main(
    epochs: int = 5,
    examples: int | None = None,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    seed: int = 0,
    root: str | None = None,
    out: str = "out",
) -> float:
    """Trains, and prints the test accuracy after each epoch.

    Args:
        epochs: number of passes through the data; 100 in DeepOBS.
        examples: number of examples of each set to use, the first ones; None uses all.
        learning_rate: learning rate of Adam.
        batch_size: number of examples per step.
        seed: seed of initialization and shuffling.
        root: folder where Debian's package dataset-fashion-mnist is unpacked, if it is not
            installed.
        out: folder for fashion_mnist.jsonl.
    """
    train, test = (tuple(x[:examples] for x in pair) for pair in fashion_mnist(root))
    model = TwoConvTwoDense(nnx.Rngs(seed))
    return run(model, train, test, epochs, learning_rate, batch_size, seed, out)


def run(model, train, test, epochs, learning_rate, batch_size, seed, out) -> float:
    # The pictures stay bytes in memory: a batch becomes floats on its way into the model.
    task = objective(
        model,
        "softmax_cross_entropy_with_integer_labels",
        metrics={"accuracy": accuracy},
        inputs=pixels,
    )
    tx = fnopt.adam(learning_rate)
    print(tx)
    print("epoch  test accuracy  published  seconds")
    began = time.perf_counter()

    def tell(state, record):
        epoch, reached = record["epoch"], 100 * record["val_accuracy"]
        published = f"{PUBLISHED[epoch]:.2f} %" if epoch in PUBLISHED else ""
        print(f"{epoch:5}  {reached:11.2f} %  {published:>9}  {record['seconds']:7.1f}", flush=True)

    result = fit(
        task,
        tx,
        train,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=test,
        key=seed,
        on_epoch=tell,
    )
    result.history.write(f"{out}/fashion_mnist.jsonl")
    seconds = time.perf_counter() - began
    print(f"{seconds:.0f} seconds in all, {result.steps_per_second:,.1f} steps per second")
    return float(result.history["val_accuracy"][-1])


if __name__ == "__main__":
    tyro.cli(main)
