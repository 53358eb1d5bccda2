"""The command ``fnopt``: its subcommands, its help, and how errors are shown."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fnopt.cli.screen import fitted
from fnopt.cli.usage import UsageError, no_such
from fnopt.cli.words import in_options

HELP = """\
usage: fnopt COMMAND [OPTIONS]

Functional optimization for JAX.

  fnopt train                 train a network on a data set, or on your arrays
  fnopt sweep [OPTIMIZERS]    train with many hyperparameters at once
  fnopt plot LOG …            draw curves of logs, or schedules
  fnopt animate [PROBLEM]     race optimizers on a function, as an animation
  fnopt optimizers [NAME]     list the optimizers, or say all about one
  fnopt schedules [NAME]      list the schedules, or say all about one
  fnopt COMMAND --help        the options of a command
  fnopt --version             the version"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command ``fnopt``.

    Args:
        arguments: the words after ``fnopt``; None for those of the command line.

    Raises:
        SystemExit: something is wrong, which its message says, or help was asked for.
    """
    words = sys.argv[1:] if arguments is None else [str(word) for word in arguments]
    try:
        _run(words)
    except UsageError as error:
        _exit(str(error))
    except KeyboardInterrupt:
        _exit("interrupted")
    except BrokenPipeError:  # as by ``| head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ModuleNotFoundError as error:
        _exit(f"{error}; the command line needs pip install 'fnopt[train]'")
    except (ValueError, TypeError, ArithmeticError, RuntimeError, OSError, ImportError) as error:
        notes = [note for note in getattr(error, "__notes__", []) if "JAX_TRACEBACK" not in note]
        _exit(in_options("\n".join([str(error), *notes]), words))


def _exit(message: str) -> NoReturn:
    """Ends with an error; on a terminal in lines that break between words."""
    sys.exit(fitted(f"fnopt: {message}", sys.stderr))


def _run(words: list[str]) -> None:
    command = words[0] if words else "--help"
    if command in ("-h", "--help", "help"):
        print(HELP)
    elif command == "--version":
        print(f"fnopt {importlib.metadata.version('fnopt')}")
    elif command in COMMANDS:
        COMMANDS[command](words[1:])
    else:
        kind = "option" if command.startswith("-") else "command"
        known = [*COMMANDS, "--help", "--version"]
        raise no_such(f"there is no {kind}", command, known, "fnopt --help")


def _train(words: list[str]) -> None:
    from fnopt.cli.options import TrainOptions
    from fnopt.cli.train import train

    train(_parsed(TrainOptions, "train", words))


def _sweep(words: list[str]) -> None:
    from fnopt.cli.options import names
    from fnopt.cli.sweep import sweep
    from fnopt.cli.sweep_grid import taken_apart
    from fnopt.cli.sweep_options import SweepOptions

    rest, settings = taken_apart(words, names(SweepOptions))
    sweep(_parsed(SweepOptions, "sweep", rest), settings)


def _animate(words: list[str]) -> None:
    from fnopt.cli.animate import animate
    from fnopt.cli.animate_options import AnimateOptions

    animate(_parsed(AnimateOptions, "animate", words))


def _optimizers(words: list[str]) -> None:
    from fnopt.cli.catalogue import print_optimizers
    from fnopt.cli.options import OptimizersOptions

    options = _parsed(OptimizersOptions, "optimizers", words)
    print_optimizers(options.name, options.family)


def _schedules(words: list[str]) -> None:
    from fnopt.cli.catalogue import print_schedules
    from fnopt.cli.options import SchedulesOptions

    print_schedules(_parsed(SchedulesOptions, "schedules", words).name)


def _plot(words: list[str]) -> None:
    from fnopt.cli.options import PlotOptions
    from fnopt.cli.plot import plot

    plot(_parsed(PlotOptions, "plot", words))


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "animate": _animate,
    "optimizers": _optimizers,
    "plot": _plot,
    "schedules": _schedules,
    "sweep": _sweep,
    "train": _train,
}
"""What runs for each command, with the words after it."""


def _parsed(options: type, command: str, words: list[str]) -> Any:
    """The options of a command, read by tyro, which also prints the help.

    Raises:
        UsageError: there is no such option, or a value is not what it must be.
    """
    import tyro

    from fnopt.cli.options import names

    joined: list[str] = []
    for word in words:
        value = re.match(r"-[\d.]", word)  # no option begins so
        if value and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={word}"  # else it would be taken for one
        else:
            joined.append(word)
    parsed, unknown = tyro.cli(
        options,
        prog=f"fnopt {command}",
        args=joined,
        return_unknown_args=True,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    if unknown:
        name = unknown[0].partition("=")[0]
        if not name.startswith("-"):
            raise UsageError(f"fnopt {command} takes no {name!r}; its options begin with --")
        name = name.replace("_", "-")
        raise no_such("there is no option", name, names(options), f"fnopt {command} --help")
    return parsed
