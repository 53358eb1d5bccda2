"""Draws how the loss went at each precision: ``python examples/char_lm/plot.py``."""

import math
from pathlib import Path

import matplotlib
import numpy as np
import tyro

matplotlib.use("Agg")

import matplotlib.pyplot as plt

# How they are called, and drawn: one line lies upon another.
PRECISIONS = {
    "float32": {"label": "float32", "color": "0.75", "linewidth": 4},
    "bfloat16_params": {"label": "bfloat16, rounded to the nearest", "color": "C1"},
    "bfloat16_stochastic": {"label": "bfloat16, rounded at random", "color": "C0"},
}


def main(out: str = "out", window: int = 20) -> None:
    """Draws the files that ``train.py`` has written, one run after the other.

    Args:
        out: folder with these files, to which char_lm.png is written.
        window: steps over which a mean is taken.
    """
    curves = {
        name: np.loadtxt(path) / math.log(2)
        for name in PRECISIONS
        if (path := Path(out) / f"char_lm_{name}_loss.txt").exists()
    }
    if not curves:
        raise SystemExit(f"no char_lm_*_loss.txt in {out}; run train.py first")
    figure, (whole, end) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, losses in curves.items():
        wide = min(window, len(losses))
        smooth = np.convolve(losses, np.ones(wide) / wide, "valid")
        steps = np.arange(len(smooth)) + wide
        for axes, part in ((whole, slice(None)), (end, slice(len(smooth) // 2, None))):
            axes.plot(steps[part], smooth[part], **{"linewidth": 1.2, **PRECISIONS[name]})
    for axes, title in ((whole, "whole run"), (end, "second half")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    whole.set_ylabel(f"bits a letter, mean of {window} steps")
    whole.legend(fontsize=8)
    figure.savefig(Path(out) / "char_lm.png", dpi=120)


if __name__ == "__main__":
    tyro.cli(main)
