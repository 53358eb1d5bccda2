"""The options of ``fnopt sweep``, beside the hyperparameters."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

from fnopt.cli.options import DataOptions, ModelOptions, number_or_all, option

DATA, MODEL = DataOptions(), ModelOptions()


@dataclasses.dataclass(frozen=True)
class SweepRunOptions:
    """How often, how long and how exactly each optimizer trains.

    Args:
        seeds: number of seeds of initialization, shuffling and dropout.
        epochs: number of passes over the data.
        batch_size: number of examples per step, or all for the gradient of all of them.
        early_stop: end a run after more than N evaluations without a better one.
        schedule: constant, linear, cosine, warmup_cosine, step or exponential; it begins with the
            learning rate, or rises to it.
        monitor: the metric by which runs are judged and stopped: val_loss, val_accuracy or another
            one of the data to validate on.
        precision: float32, bfloat16, bfloat16_params, bfloat16_stochastic or float16.
        memory: memory to take, such as 8GiB; runs that it does not hold at once go in chunks.
        folder: folder where each finished chunk is saved, to go on from after an interruption.
        resume: go on after the last finished chunk there.
    """

    seeds: Annotated[Any, *option("--seeds", "N", int)] = 1
    epochs: Annotated[Any, *option("--epochs", "N", int)] = 10
    batch_size: Annotated[
        Any,
        *option("--batch-size", "N|all", number_or_all, default="64, or all if fewer", none=False),
    ] = None
    early_stop: Annotated[Any, *option("--early-stop", "N", int, default="none")] = None
    schedule: Annotated[
        Any,
        *option(
            "--schedule",
            "NAME",
            choices=("constant", "linear", "cosine", "warmup_cosine", "step", "exponential"),
        ),
    ] = "constant"
    monitor: Annotated[Any, *option("--monitor", "NAME", default="val_loss")] = None
    precision: Annotated[Any, *option("--precision", "NAME")] = "float32"
    memory: Annotated[Any, *option("--memory", "SIZE", default="most of what there is")] = None
    folder: Annotated[Any, *option("--folder", "FOLDER", Path, default="none")] = None
    resume: Annotated[Any, *option("--resume", "[no|yes]", bare="yes", choices=("no", "yes"))] = (
        "no"
    )


@dataclasses.dataclass(frozen=True)
class SweepOutputOptions:
    """What is left in the folder.

    Args:
        plot: whether to draw the pictures.
        theme: light or dark.
        out: folder for NAME-sweep.csv, the table; NAME-sweep.json, which fnopt.sweeps.Sweep.read
            reads; and NAME-sweep-….png. NAME is that of the data.
    """

    plot: Annotated[bool, tyro.conf.arg(help_behavior_hint="(default: --plot)")] = True
    theme: Annotated[Any, *option("--theme", "NAME", choices=("light", "dark"))] = "light"
    out: Annotated[Any, *option("--out", "FOLDER", Path)] = Path("out")


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """Trains a network with many hyperparameters at once, and says which are the best.

    Args:
        optimizers: any of those that `fnopt optimizers` lists, with commas between them; adamw by
            default. Each of their hyperparameters is an option, with the values to try: a list, as
            in --weight-decay 0,1e-2; a band, as in --b1 0.8:0.95:4 for four numbers; or a band of
            equal ratios, as in --learning-rate 1e-5:1:log11. `fnopt optimizers NAME` lists them.
    """

    optimizers: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="OPTIMIZERS", help_behavior_hint="")]
    ] = ()
    data: DataOptions = DATA
    model: ModelOptions = MODEL
    run: SweepRunOptions = SweepRunOptions()
    output: SweepOutputOptions = SweepOutputOptions()
