"""The options of ``fnopt train``: their groups, defaults, help, and how a value is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from fnopt.cli.usage import UsageError


def number_or_all(word: str) -> int | str:
    """A whole number, or ``"all"``."""
    return "all" if word.lower() in ("all", "none") else int(word)


KINDS = {int: "a whole number", float: "a number", number_or_all: "a whole number or all"}


def option(
    name: str,
    metavar: str,
    kind: Callable[[str], Any] = str,
    *,
    default: str | None = None,
    none: bool = True,
    bare: str | None = None,
    choices: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    must_be: str | None = None,
) -> tuple[Any, Any]:
    """What tyro has to know of an option; a value that cannot be read is refused in a sentence.

    Args:
        name: the option, with its hyphens.
        metavar: what stands for the value in the help.
        kind: makes the value of a word.
        default: the default, as the help shows it, of an option that may be none.
        none: whether the word none stands for None, where there is such a default.
        bare: the value of the option alone; None where it needs one.
        choices: the values that there are; any if empty.
        aliases: other names of the option.
        must_be: what the value must be, for the error; None for the words of its kind.
    """

    def read(words: list[str]) -> Any:
        if not words and bare is not None:
            return bare
        if len(words) != 1:
            got = f"got {len(words)}: {' '.join(words)}" if words else "got none"
            raise UsageError(f"{name} takes one value, {metavar}; {got}")
        if words[0].lower() == "none" and default is not None and none:
            return None
        if choices and words[0] not in choices:
            raise UsageError(f"{name} must be {_listed(choices)}, got {words[0]!r}")
        try:
            return kind(words[0])
        except ValueError:
            raise UsageError(f"{name} must be {must_be or KINDS[kind]}, got {words[0]!r}") from None

    spec = PrimitiveConstructorSpec(
        nargs="*",
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: True,
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )
    hint = None if default is None else f"(default: {default})"
    return spec, tyro.conf.arg(aliases=aliases, help_behavior_hint=hint)


def _listed(choices: tuple[str, ...]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """What is learnt: a data set that comes with fnopt, or a file of your own.

    Args:
        dataset: digits, fashion_mnist, breast_cancer, wine or diabetes.
        data: an .npz file with the arrays x and y, or x_train, y_train and x_val, y_val (and
            x_test, y_test). Without a part to validate on, a fifth is held out. For the default
            network, features are scaled to mean 0 and variance 1.
        task: classification or regression; by default the first where y are integers.
    """

    dataset: Annotated[Any, *option("--dataset", "NAME", default="digits")] = None
    data: Annotated[Any, *option("--data", "FILE", Path, default="none")] = None
    task: Annotated[
        Any,
        *option("--task", "TASK", default="by the data", choices=("classification", "regression")),
    ] = None


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """The network: one that fits the data, or your own.

    Args:
        model: a function that returns a Flax NNX, Linen or Equinox model. It gets those of the
            arguments input_shape, outputs, seed, rngs and key that it names. MODULE is a module or
            the path of a .py file.
        loss: a loss of optax by its name; by default softmax cross-entropy, or the squared error
            in a regression.
    """

    model: Annotated[
        Any, *option("--model", "MODULE:FUNCTION", default="a network with batch normalization")
    ] = None
    loss: Annotated[Any, *option("--loss", "NAME", default="by the task")] = None


@dataclasses.dataclass(frozen=True)
class OptimizerOptions:
    """How the weights move.

    Args:
        optimizer: any of those that `fnopt optimizers` lists.
        learning_rate: rate at the start, or at the peak of a warm-up.
        weight_decay: strength of the weight decay.
        schedule: constant, linear, cosine, warmup_cosine, step, exponential or plateau.
        plateau: lower the rate, on top of the schedule, after more than N evaluations without a
            lower validation loss.
        clip_norm: scale gradients down to this norm where theirs is larger.
    """

    optimizer: Annotated[Any, *option("--optimizer", "NAME")] = "adamw"
    learning_rate: Annotated[
        Any,
        *option(
            "--learning-rate", "RATE", float, default="the optimizer's usual", aliases=("--lr",)
        ),
    ] = None
    weight_decay: Annotated[
        Any, *option("--weight-decay", "NUMBER", float, default="the optimizer's")
    ] = None
    schedule: Annotated[Any, *option("--schedule", "NAME")] = "cosine"
    plateau: Annotated[Any, *option("--plateau", "N", int, default="none")] = None
    clip_norm: Annotated[Any, *option("--clip-norm", "NORM", float, default="none")] = None


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How long, how exactly, and from where.

    Args:
        epochs: number of passes over the data.
        batch_size: number of examples per step, or all for the gradient of all of them.
        early_stop: end after more than N evaluations without a lower validation loss, and keep the
            best parameters.
        precision: float32, bfloat16, bfloat16_params, bfloat16_stochastic or float16.
        accumulate: number of micro-batches in which a batch is computed.
        seed: seed of initialization, shuffling and dropout.
        checkpoint_dir: folder where a checkpoint is written after each epoch.
        resume: continue from the newest checkpoint there, with the numbers that it has; override:
            with those of these options.
    """

    epochs: Annotated[Any, *option("--epochs", "N", int)] = 30
    batch_size: Annotated[
        Any,
        *option("--batch-size", "N|all", number_or_all, default="64, or all if fewer", none=False),
    ] = None
    early_stop: Annotated[Any, *option("--early-stop", "N", int, default="none")] = None
    precision: Annotated[Any, *option("--precision", "NAME")] = "float32"
    accumulate: Annotated[Any, *option("--accumulate", "N", int)] = 1
    seed: Annotated[Any, *option("--seed", "N", int)] = 0
    checkpoint_dir: Annotated[Any, *option("--checkpoint-dir", "FOLDER", Path, default="none")] = (
        None
    )
    resume: Annotated[
        Any,
        *option("--resume", "[no|yes|override]", bare="yes", choices=("no", "yes", "override")),
    ] = "no"


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """What is said, and what is left in the folder.

    Args:
        log_every: print the mean loss of every N steps, and write it to NAME-steps.jsonl.
        plot: whether to draw NAME.png, a picture of the run.
        out: folder for NAME.jsonl, a line for each epoch, and the rest; NAME is that of the data.
    """

    log_every: Annotated[Any, *option("--log-every", "N", int, default="none")] = None
    plot: Annotated[bool, tyro.conf.arg(help_behavior_hint="(default: --plot)")] = True
    out: Annotated[Any, *option("--out", "FOLDER", Path)] = Path("out")


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Trains a network on a data set or on your arrays, your own model if you like."""

    data: DataOptions = DataOptions()
    model: ModelOptions = ModelOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    run: RunOptions = RunOptions()
    output: OutputOptions = OutputOptions()


@dataclasses.dataclass(frozen=True)
class OptimizersOptions:
    """Lists the optimizers, or says all about one: equations, arguments, source.

    Args:
        name: an optimizer, such as adamw.
        family: list this family alone: gradient_descent, adaptive, sign, layerwise, matrix or
            rate_free.
    """

    name: tyro.conf.Positional[
        Annotated[Any, *option("fnopt optimizers", "NAME", default="all")]
    ] = None
    family: Annotated[Any, *option("--family", "FAMILY", default="all")] = None


@dataclasses.dataclass(frozen=True)
class SchedulesOptions:
    """Lists the schedules, or says all about one: equations, arguments, source.

    Args:
        name: a schedule, such as cosine_decay_schedule.
    """

    name: tyro.conf.Positional[
        Annotated[Any, *option("fnopt schedules", "NAME", default="all")]
    ] = None


@dataclasses.dataclass(frozen=True)
class PlotOptions:
    """Draws curves of logs, or schedules.

    Args:
        what: logs, such as out/digits.jsonl; with a label, as sgd=runs/sgd-*.jsonl, all of one
            label are runs of one curve with a band. Or the word schedule and names of schedules.
        metric: what is drawn of logs: loss, val_loss, val_accuracy, learning_rate, or another one.
        by: epoch or step.
        yscale: linear or log.
        learning_rate: rate at the start of a schedule, or at its peak.
        steps: length of a schedule.
        title: title above the picture.
        theme: light or dark.
        out: the picture: a .png, .svg or .pdf.
    """

    what: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="LOG …", help_behavior_hint="")]
    ] = ()
    metric: Annotated[Any, *option("--metric", "NAME")] = "loss"
    by: Annotated[
        Any, *option("--by", "NAME", default="epoch, if there are", choices=("epoch", "step"))
    ] = None
    yscale: Annotated[
        Any,
        *option("--yscale", "NAME", default="log for a wide loss", choices=("linear", "log")),
    ] = None
    learning_rate: Annotated[Any, *option("--learning-rate", "RATE", float, aliases=("--lr",))] = (
        0.1
    )
    steps: Annotated[Any, *option("--steps", "N", int)] = 1000
    title: Annotated[Any, *option("--title", "TEXT", default="none")] = None
    theme: Annotated[Any, *option("--theme", "NAME", choices=("light", "dark"))] = "light"
    out: Annotated[Any, *option("--out", "FILE", Path, default="curves.png or schedule.png")] = None


def names(options: type) -> list[str]:
    """The options that a dataclass of options has, with their hyphens."""
    found: list[str] = []
    for field in dataclasses.fields(options):
        if dataclasses.is_dataclass(default := field.default):
            found += names(type(default))
        else:
            found.append("--" + field.name.replace("_", "-"))
    return found
