"""Pictures of real runs: curves, paths, schedules, sizes of steps, noise of gradients.

Run it with ``python examples/pictures/pictures.py``; it leaves pictures in ``out/``.
"""

import time

import jax
import tyro
from flax import nnx

import fnopt
from fnopt.curvature import SpectrumRecorder, hessian
from fnopt.data import digits
from fnopt.lab import (
    GradientNoiseRecorder,
    PathRecorder,
    StepSizeRecorder,
    plot_curves,
    plot_path,
    plot_schedule,
    themed,
)
from fnopt.train import TrainState, evaluation_on, fit, objective

SEED, BATCH_SIZE = 0, 32


class Network(nnx.Module):
    """Two hidden layers."""

    def __init__(self, seed: int, width: int):
        rngs = nnx.Rngs(seed)
        self.dense1 = nnx.Linear(64, width, rngs=rngs)
        self.dense2 = nnx.Linear(width, width, rngs=rngs)
        self.head = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.dense1(x.reshape(len(x), -1)))
        return self.head(nnx.relu(self.dense2(x)))


def main(
    epochs: int = 20,
    seeds: int = 5,
    width: int = 32,
    resolution: int = 41,
    examples: int = 500,
    themes: tuple[str, ...] = ("light", "dark"),
    out: str = "out",
) -> None:
    begin = time.perf_counter()
    train, validation = digits()
    part = tuple(x[:examples] for x in train)
    tasks = [
        objective(Network(seed, width), "softmax_cross_entropy_with_integer_labels")
        for seed in range(seeds)
    ]
    optimizers = {
        "sgd": fnopt.sgd(0.1),
        "heavy_ball": fnopt.heavy_ball(0.03),
        "rmsprop": fnopt.rmsprop(1e-3),
        "adam": fnopt.adam(1e-3),
    }

    # Each optimizer from several seeds; of the first one the path is kept.
    losses, paths = {}, {name: PathRecorder(every=5) for name in optimizers}
    for name, tx in optimizers.items():
        runs = [
            fit(
                task, tx, train, epochs=epochs, batch_size=BATCH_SIZE, key=seed,
                validation_data=validation, callbacks=[paths[name]] if seed == SEED else None,
                progress=False,
            ).history
            for seed, task in enumerate(tasks)
        ]  # fmt: skip
        losses[name] = runs[0]["epoch"], [history["val_loss"] for history in runs]

    task = tasks[SEED]
    length = epochs * (len(train[1]) // BATCH_SIZE)
    schedule = fnopt.warmup_cosine_decay_schedule(0.0, 3e-3, length // 10, length, 3e-5)
    sizes = StepSizeRecorder(every=5)
    tx = sizes.watch(fnopt.adam(schedule))
    noise = GradientNoiseRecorder(task, train)
    spectrum = SpectrumRecorder(
        lambda state: hessian(evaluation_on(task, state, part), state.params), steps=32
    )
    start = TrainState.create(task, tx, SEED)
    for recorder in (noise, spectrum):
        recorder.record(start)
    fit(
        task, None, train, epochs=epochs, batch_size=BATCH_SIZE, state=start,
        callbacks=[sizes, noise, spectrum], progress=False,
    )  # fmt: skip

    shapes = {
        "cosine_decay": fnopt.cosine_decay_schedule(1.0, 1000),
        "warmup_cosine": fnopt.warmup_cosine_decay_schedule(0.0, 1.0, 100, 1000),
        "wsd": fnopt.wsd_schedule(0.0, 1.0, 100, 600, 300),
        "step_decay": fnopt.step_decay(1.0, 0.5, every=250),
        "exponential": fnopt.natural_exponential_decay(1.0, 3 / 1000),
    }
    for theme in themes:

        def to(name: str, theme: str = theme) -> dict[str, str]:
            return {
                "theme": theme,
                "path": f"{out}/{name}{'' if theme == 'light' else '_dark'}.png",
            }

        plot_curves(losses, xlabel="epoch", ylabel="validation loss", yscale="log", **to("curves"))
        plot_path(paths, task, part, resolution=resolution, **to("paths"))
        paths["adam"].plot(task, part, resolution=resolution, **to("path"))
        paths["adam"].plot(
            task, part, directions="random", resolution=resolution, **to("path_random")
        )
        plot_schedule(shapes, 1001, ylabel="rate / peak", **to("schedules"))
        sizes.plot(**to("step_sizes"))
        noise.plot(batch_size=BATCH_SIZE, **to("gradient_noise"))
        figure = themed(spectrum.plot(), theme)
        figure.savefig(to("run_spectrum")["path"], dpi=90)
    print(f"pictures: {out}/*.png, {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    tyro.cli(main)
