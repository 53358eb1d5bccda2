"""Sweeps made by hand, for the tests of their results."""

from __future__ import annotations

import itertools

import numpy as np

from fnopt.sweeps import Entrant, RunRecord, Sweep


def run(number, entrant, values, seed=0, metric="val_loss", **ends):
    """A run with these values, one for each epoch, and other metrics made of them."""
    values = np.asarray(values, float)
    epochs = np.arange(1, len(values) + 1)
    curves = {metric: values, "loss": values / 2, "val_accuracy": 1 / (1 + values)}
    return RunRecord(number, entrant, seed, epochs, curves, **ends)


def sweep_of(*runs, monitor="val_loss", mode="min"):
    return Sweep(runs, monitor, mode, programs=1, seconds=1.5)


def grid_sweep(value, seeds=(0,), labels=("adamw",), **axes):
    """A sweep of a grid.

    Args:
        value: a function of label, seed and hyperparameters that gives the last of three values, of
            which the others are larger; None for a run that diverged.
        seeds: the seeds.
        labels: labels of the optimizers.
        **axes: the values of each hyperparameter.
    """
    runs = []
    for label, *values in itertools.product(labels, *axes.values()):
        entrant = Entrant(label, None, dict(zip(axes, values, strict=True)))
        for seed in seeds:
            last = value(label, seed, **entrant.hyperparameters)
            curve = [4.0, np.nan, np.nan] if last is None else [4.0 + last, 2.0 + last, last]
            ends = {"diverged_at": 17} if last is None else {}
            runs.append(run(len(runs), entrant, curve, seed, **ends))
    return sweep_of(*runs)
