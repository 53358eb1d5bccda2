"""The Hessian's spectrum along training at the edge of stability.

Run it with ``python examples/curvature/spectrum.py``; it leaves a picture in ``out/``.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx

import fnopt
from fnopt.curvature import SpectrumRecorder, hessian
from fnopt.data import digits
from fnopt.train import TrainState, evaluation_on, fit, objective

LEARNING_RATE, EPOCHS, EVERY, SEED = 0.5, 1000, 20, 0


class Network(nnx.Module):
    """Two hidden layers with tanh."""

    def __init__(self, rngs: nnx.Rngs, width: int):
        self.dense1 = nnx.Linear(64, width, rngs=rngs)
        self.dense2 = nnx.Linear(width, width, rngs=rngs)
        self.head = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(len(x), -1)
        return self.head(jnp.tanh(self.dense2(jnp.tanh(self.dense1(x)))))


def main(
    learning_rate: float = LEARNING_RATE,
    epochs: int = EPOCHS,
    every: int = EVERY,
    width: int = 32,
    steps: int = 64,
    out: str = "out",
) -> float:
    (images, labels), _ = digits()
    train = images, np.eye(10, dtype=np.float32)[labels]
    task = objective(Network(nnx.Rngs(SEED), width), "squared_error")
    tx = fnopt.sgd(learning_rate)

    # The Hessian of the whole loss at the parameters of a state; compiled once.
    recorder = SpectrumRecorder(
        lambda state: hessian(evaluation_on(task, state, train), state.params),
        every=every,
        steps=steps,
        samples=4,
        largest=3,
    )
    begin = time.perf_counter()
    recorder.record(TrainState.create(task, tx, SEED))
    # Of all examples at once: gradient descent without noise.
    result = fit(
        task, tx, train, epochs=epochs, batch_size=None, key=SEED, callbacks=[recorder],
        progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begin

    sharpness = float(recorder.records[-1].largest[0])
    figure = recorder.plot(title="Eigenvalues of the Hessian along gradient descent")
    largest = figure.axes[0]
    largest.axhline(2 / learning_rate, color="black", linestyle="--", linewidth=1)
    largest.annotate(
        "2 / rate", (1, 2 / learning_rate), xycoords=("axes fraction", "data"),
        xytext=(-4, 3), textcoords="offset points", ha="right",
    )  # fmt: skip
    figure.savefig(f"{out}/spectrum.png", dpi=120)
    print(
        f"loss {result.history['loss'][-1]:.4f}, largest eigenvalue {sharpness:.2f} beside"
        f" 2 / rate = {2 / learning_rate:.2f}; {len(recorder.records)} spectra, {seconds:.0f} s"
    )
    print(f"picture: {out}/spectrum.png")
    return sharpness


if __name__ == "__main__":
    tyro.cli(main)
