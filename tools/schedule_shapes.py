"""The picture of the shapes of schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fnopt


def shapes() -> dict[str, Any]:
    """A schedule of each shape, over a hundred updates."""
    cosine = fnopt.cosine_decay_schedule(1.0, 100)
    return {
        "linear_schedule": fnopt.linear_schedule(1.0, 0.0, 100),
        "polynomial_schedule": fnopt.polynomial_schedule(1.0, 0.0, 3, 100),
        "exponential_decay": fnopt.exponential_decay(1.0, 30, 0.5),
        "step_decay": fnopt.step_decay(1.0, 0.5, every=25),
        "piecewise_constant": fnopt.piecewise_constant_schedule(1.0, {30: 0.3, 70: 0.3}),
        "inverse_time_decay": fnopt.inverse_time_decay(1.0, 20, 1.0),
        "inverse_sqrt (cooldown)": fnopt.inverse_sqrt_schedule(
            0.0, 1.0, 10, cooldown_begin=80, cooldown_steps=20
        ),
        "cosine_decay_schedule": cosine,
        "warmup_cosine_decay": fnopt.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100),
        "wsd_schedule (1-sqrt)": fnopt.wsd_schedule(0.0, 1.0, 10, 60, 30, decay="1-sqrt"),
        "rex_schedule": fnopt.rex_schedule(1.0, 100),
        "onecycle_schedule": fnopt.onecycle_schedule(0.1, 1.0, 0.0, 100),
        "cosine_warm_restarts": fnopt.cosine_warm_restarts(1.0, 15, 2),
        "cyclic_schedule (2)": fnopt.cyclic_schedule(0.0, 1.0, 12, mode="triangular2"),
        "chebyshev_schedule": fnopt.chebyshev_schedule(1.0, 20.0, 32),
        "cosine * 0.5 + 0.1": 0.5 * cosine + 0.1,
    }


def picture(path: Path) -> None:
    """Small pictures of the shapes, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    grid = figure.subplots(4, 4, sharex=True)
    for axes, (name, schedule) in zip(grid.flat, shapes().items(), strict=True):
        fnopt.plot(schedule, 100, axes=axes)
        axes.get_legend().remove()
        axes.set_title(name, fontsize=8)
        axes.set(xlabel="", ylabel="")
        axes.tick_params(labelsize=6)
    figure.savefig(path, dpi=110)
