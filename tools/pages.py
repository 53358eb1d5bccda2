"""Writes the pages of docs/reference from the docstrings: ``python -m tools.pages``.

A family of methods has a page with a list, and each method has a page in the folder of its
``family``. Tests hold that the pages are what this writes, that every method has one page, that the
lines that use it run, and that the bytes of state are those of ``init``.
"""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import fnopt
from fnopt.registry import SIDE, TITLES, body, exported, section, state_bytes, summary
from tools.docstrings import arguments, call, errors, markdown
from tools.schedule_shapes import picture
from tools.usage import example, usage

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
    "matrix": Family(
        "A weight is treated as a matrix: its update is orthogonalized, or multiplied by roots of"
        " second moments of its rows and columns. Vectors, embeddings and heads get another"
        " optimizer, AdamW unless you choose. See [Matrix methods](../matrix.md) for which leaf is"
        " seen how.",
    ),
    "rate_free": Family(
        "The learning rate is computed from the loss, from the distance travelled so far, or from"
        " a bound on the error; the argument `learning_rate`, where there is one, stays at 1 or is"
        " an upper limit. Schedule-free methods have a learning rate, but no schedule.",
    ),
    "curvature": Family(
        "Steps from the curvature of the loss: from its Hessian, from products with it, or from"
        " what differences of gradients say of it. They need the loss as a function, which a step"
        " of `fnopt.train` passes; most are for full batches or large ones. See"
        " [Curvature](../curvature.md) for which to use when.",
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


@functools.cache
def homes() -> dict[str, str]:
    """The family of every name that has a page."""
    return {name: key for key in FAMILIES for name in names_of(key)}


def link(family: str, name: str) -> str:
    """The page of a name from a page in the folder of a family; empty if it has none."""
    home = homes().get(name)
    return "" if home is None else os.path.relpath(f"{home}/{name}.md", family)


def method_page(name: str) -> str:
    """The page of a method: its signature, a line that makes it, and what its docstring says."""
    method, family = getattr(fnopt, name), homes()[name]
    to = functools.partial(link, family)
    first, _, rest = markdown(body(method)[0], to).partition("\n\n")
    kind = "class" if inspect.isclass(method) else "function"
    parts = [
        f"# {name}",
        first,
        f"```{{eval-rst}}\n.. py:{kind}:: fnopt.{call(name, method)}\n```",
        f"```python\n{usage(name)}\n```" if usage(name) else "",
        rest,
        "\n".join(["## Arguments\n", *arguments(method, to)]) if section(method, "Args") else "",
    ]
    for title, name_of_section in (("Returns", "Returns"), ("When to use it", "When")):
        text = " ".join(markdown(section(method, name_of_section), to).split())
        parts.append(f"**{title}.** {text}" if text else "")
    if name in fnopt.optimizers():
        parts.append(f"**State.** {state(name)}")
    if refused := list(errors(method, to)):
        parts.append("\n".join(["**Raises.**\n", *refused]))
    if lines := example(name):
        parts.append(f"## Example\n\n```python\n{lines}\n```")
    if source := " ".join(markdown(section(method, "References"), to).split()):
        parts.append(f"## Source\n\n{source}")
    return "\n\n".join(part for part in parts if part) + "\n"


def state(name: str) -> str:
    """How much memory the state of an optimizer takes, in a sentence."""
    size = f"{state_bytes(name):.3g}"
    return f"{size} bytes for each number of a {SIDE} by {SIDE} float32 matrix{changed(name)}."


def changed(name: str) -> str:
    """The defaults that the counted example of an optimizer changes, in brackets."""
    make = getattr(fnopt, name)
    defaults = inspect.signature(make).parameters
    changes = [
        f"`{argument}={value!r}`"
        for argument, value in make.example.items()
        if defaults[argument].default is not inspect.Parameter.empty
    ]
    return f" ({', '.join(changes)})" if changes else ""


def table(key: str) -> str:
    """The names of a family, each with what it is; of optimizers also the bytes of state."""
    known = fnopt.optimizers()
    sized = any(name in known for name in names_of(key))
    rows = [
        "| optimizer | what it is | state, bytes |" if sized else "| name | what it is |",
        "| --- | --- | --- |" if sized else "| --- | --- |",
    ]
    for name in names_of(key):
        what = markdown(summary(getattr(fnopt, name)))
        size = f" {state_bytes(name):.3g}{changed(name)} |" if name in known else " |" * sized
        rows.append(f"| [`{name}`]({key}/{name}.md) | {what} |{size}")
    return "\n".join(rows)


def family_page(key: str) -> str:
    """The page of a family: what its methods have in common, and a list of them."""
    parts = [f"# {TITLES[key]}", FAMILIES[key].about]
    if key == "schedules":
        parts.append("![Shapes of schedules](schedules.png)")
    parts.append(table(key))
    if any(name in fnopt.optimizers() for name in names_of(key)):
        parts.append(
            f"State is in bytes for each number of a {SIDE} by {SIDE} float32 matrix, without the"
            " few numbers that a method may have for the whole tree."
        )
    pages = "\n".join(f"{key}/{name}" for name in names_of(key))
    parts.append(f"```{{toctree}}\n:hidden:\n\n{pages}\n```")
    return "\n\n".join(parts) + "\n"


def paths() -> dict[Path, str]:
    """The page of every family and method, with its name."""
    families = {REFERENCE / f"{key}.md": key for key in FAMILIES}
    return families | {REFERENCE / home / f"{name}.md": name for name, home in homes().items()}


def text(path: Path) -> str:
    """The text of a page."""
    return family_page(path.stem) if path.parent == REFERENCE else method_page(path.stem)


def main() -> None:
    """Writes the pages and the picture of the schedules."""
    shutil.rmtree(REFERENCE, ignore_errors=True)
    for path in paths():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(path))
    picture(REFERENCE / "schedules.png")
    print(f"{REFERENCE.relative_to(ROOT)}: {len(paths())} pages", file=sys.stderr)


if __name__ == "__main__":
    main()
