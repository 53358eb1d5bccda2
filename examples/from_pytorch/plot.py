"""Draws docs/pictures/from_pytorch.png: ``python examples/from_pytorch/plot.py``, some minutes."""

from pathlib import Path

import fnopt_digits
import jax
import numpy as np
import torch_digits
from matplotlib.figure import Figure
from same_start import same_start

SEEDS, EPOCHS, STEPS = range(10), 20, 20
COLORS = {"torch": "#d1495b", "fnopt": "#00798c", "float32": "#30343f", "float64": "#8f6bb3"}


def measured():
    """The losses of every run, by program; and how far apart two are from one start, by dtype."""
    losses, apart = {}, {}
    for name, program in (("torch", torch_digits), ("fnopt", fnopt_digits)):
        runs = [program.main(EPOCHS, seed) for seed in SEEDS]
        losses[name] = np.array([run["loss"] for run in runs])
        right = np.array([run["test_accuracy"][-1] for run in runs])
        last = losses[name][:, -1]
        print(f"{name}: training loss {last.mean():.5f} ± {last.std():.5f}, ", end="")
        print(f"test accuracy {right.mean():.4f} ± {right.std():.4f}")
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            pairs = np.array([same_start(STEPS, seed, dtype) for seed in SEEDS])
        apart[dtype] = np.abs(pairs[:, 0] - pairs[:, 1]) / pairs[:, 0]
        most = np.sort(apart[dtype].max(1))
        print(f"{dtype}: apart by at most {most[-1]:.1e} of the loss, median {np.median(most):.1e}")
    return losses, apart


def draw(losses, apart):
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)

    epochs = np.arange(1, EPOCHS + 1)
    for name, runs in losses.items():
        left.plot(epochs, runs.mean(0), color=COLORS[name], label=name)
        low, high = runs.min(0), runs.max(0)
        left.fill_between(epochs, low, high, color=COLORS[name], alpha=0.2, lw=0)
    left.set(yscale="log", xlabel="epoch", ylabel="training loss")
    left.set_title(f"each by itself: mean and range of {len(SEEDS)} seeds", fontsize=10)
    left.set_xticks(range(0, EPOCHS + 1, 5))
    left.legend(frameon=False)

    steps = np.arange(1, STEPS + 1)
    for dtype, runs in apart.items():
        seen = np.where(runs > 0, runs, np.nan)  # equal to the bit: nothing to draw on this axis
        right.plot(steps, seen.T, color=COLORS[dtype], lw=0.6, alpha=0.35)
        right.plot(steps, runs.max(0), color=COLORS[dtype])
        rounding = np.finfo(dtype).eps
        right.axhline(rounding, color=COLORS[dtype], ls=":", lw=1)
        right.text(STEPS, rounding / 12, dtype, color=COLORS[dtype], size=9, ha="right")
    right.set(yscale="log", ylim=(3e-18, 1e-3), xlabel="step", ylabel="|difference| / loss")
    right.set_title(f"same weights, same batches: {len(SEEDS)} starts and the largest", fontsize=10)
    right.set_xticks(range(0, STEPS + 1, 5))

    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    path = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "from_pytorch.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(*measured()).savefig(path, dpi=130)
