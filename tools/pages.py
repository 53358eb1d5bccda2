"""Writes the pages of docs/reference from the docstrings: ``python tools/pages.py``.

A method is on the page that its ``family`` names. Tests hold that the pages are what this writes,
that every method is on one page, and that the bytes of state are those of ``init``.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import fnopt
from fnopt.registry import SIDE, TITLES, body, exported, items, section, state_bytes, summary

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"


class Family(NamedTuple):
    """A page.

    Attributes:
        about: what the methods on it have in common.
        functions: functions on it, whose page no class attribute can name.
    """

    about: str
    functions: str = ""


FAMILIES: dict[str, Family] = {
    "gradient_descent": Family(
        "Steps along the gradient, or along an average of gradients, with one learning rate for"
        " all weights. They need little state or none, have the least to tune wrongly, and in"
        " vision are still hard to beat where the rate falls by a schedule.",
    ),
    "adaptive": Family(
        "Each weight has a separate learning rate, from the magnitude of its gradients. These"
        " methods are insensitive to the scale of the loss, and the usual choice for attention,"
        " for sparse gradients and for a first try.",
    ),
    "sign": Family(
        "Only the sign of a gradient, or of its average, counts: every weight moves by the same"
        " amount, or by a separate amount that grows while the sign stays. `rprop` and"
        " `quickprop` are for full batches; `lion` and `signum` for noisy ones.",
    ),
    "layerwise": Family(
        "One number for a whole array or a row of it: steps in proportion to the weights of a"
        " layer, for large batches, or a second moment that is stored in factors.",
    ),
    "rate_free": Family(
        "The learning rate is computed from the loss, from the distance travelled so far, or from"
        " a bound on the error; the argument `learning_rate`, where there is one, stays at 1 or is"
        " an upper limit. Schedule-free methods have a learning rate, but no schedule.",
    ),
    "wrappers": Family(
        "Transforms around other transforms. They are values too: a sweep over the"
        " hyperparameters of the inner transform works through them.",
        "decay_mask freeze per_example_global_norm_clip per_example_layer_norm_clip"
        " selective_transform skip_large_updates skip_not_finite unitwise_clip unitwise_norm",
    ),
    "parts": Family(
        "What optimizers are composed of; `chain` combines them in other ways.",
        "asgd_eval_params schedule_free_eval_params",
    ),
    "schedules": Family(
        "A number for every count of updates; the first update uses `schedule(0)`. Schedules can"
        " be added and multiplied, `schedule.scaled(0.1)` and `schedule.by_epoch(steps)` make"
        " others of them, and `fnopt.plot(schedule, steps)` draws them.",
    ),
}


def names_of(page: str) -> list[str]:
    """The names on a page, sorted."""
    methods = [name for name, method in exported().items() if method.family == page]
    return sorted([*methods, *FAMILIES[page].functions.split()])


def markdown(text: str) -> str:
    """A docstring's markup as that of the pages."""
    text = re.sub(r":math:`([^`]*)`", lambda m: f"${' '.join(m[1].split())}$", text)
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")
    text = re.sub(r"(?m)^ *\.\. math::((?: .*)?(?:\n(?: +.*|))*)", _display, text)
    return re.sub(r"(?m)::$", ":", re.sub(r"(?m) ::$", "", text)).strip()


def _display(math: re.Match[str]) -> str:
    body = "\n".join(line.strip() for line in math[1].splitlines() if line.strip())
    if r"\\" in body and r"\begin" not in body:
        body = f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
    return f"$$\n{body}\n$$\n\n"


def text_and_example(method: Any) -> tuple[str, str]:
    """What a docstring says outside of its sections, and its example."""
    doc, example = body(method)
    return markdown(doc), f"```python\n{example}\n\n```" if example else ""


def arguments(method: Any) -> Iterable[str]:
    """A line for each entry of ``Args``, with the defaults."""
    parameters = inspect.signature(method).parameters
    for item in items(section(method, "Args")):
        names, _, meaning = item.partition(":")
        shown = []
        for name in names.split(","):
            name = name.strip().lstrip("*")
            default = parameters[name].default if name in parameters else inspect.Parameter.empty
            shown.append(
                f"`{name}`" if default is inspect.Parameter.empty else f"`{name}={default!r}`"
            )
        yield f"- {', '.join(shown)}: {markdown(meaning.strip())}"


def entry(name: str) -> str:
    """What a page says of one name."""
    method = getattr(fnopt, name)
    text, code = text_and_example(method)
    parts = [f"## `{name}`", text, "\n".join(arguments(method))]
    for title in ("When", "Raises", "References"):
        body = " ".join(markdown(section(method, title)).split())
        parts.append(f"**{title.replace('References', 'Source')}.** {body}" if body else "")
    return "\n\n".join(part for part in [*parts, code] if part)


def changed(name: str) -> str:
    """The defaults that the example of an optimizer changes, in brackets."""
    make = getattr(fnopt, name)
    defaults = inspect.signature(make).parameters
    changes = [
        f"`{argument}={value!r}`"
        for argument, value in make.example.items()
        if defaults[argument].default is not inspect.Parameter.empty
    ]
    return f" ({', '.join(changes)})" if changes else ""


def table(names: list[str]) -> str:
    """A table of optimizers, with their bytes of state."""
    rows = ["| optimizer | what it is | state, bytes |", "| --- | --- | --- |"]
    for name in names:
        what = markdown(summary(getattr(fnopt, name)))
        rows.append(f"| [`{name}`](#{name}) | {what} | {state_bytes(name):.3g}{changed(name)} |")
    return "\n".join(rows)


def page(key: str) -> str:
    """The text of a page."""
    family, names = FAMILIES[key], names_of(key)
    known = fnopt.optimizers()
    optimizers = [name for name in names if name in known]
    parts = [f"# {TITLES[key]}", family.about]
    if optimizers:
        parts.append(table(optimizers))
        parts.append(
            f"State is in bytes for each number of a {SIDE} by {SIDE} float32 matrix, without the"
            " few numbers that a method may have for the whole tree."
        )
    if key == "schedules":
        parts.append("![Shapes of schedules](schedules.png)")
    return "\n\n".join([*parts, *map(entry, names)]) + "\n"


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


def pages() -> dict[Path, str]:
    """The text of every page by its path."""
    return {REFERENCE / f"{key}.md": page(key) for key in FAMILIES}


def main() -> None:
    """Writes the pages and the picture of the schedules."""
    REFERENCE.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text)
        print(path.relative_to(ROOT), file=sys.stderr)
    picture(REFERENCE / "schedules.png")


if __name__ == "__main__":
    main()
