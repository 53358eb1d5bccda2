"""Messages of the library in the words of the command line: ``--resume``, not ``resume=True``."""

from __future__ import annotations

import re
from collections.abc import Iterable

ARGUMENTS = {
    "accumulate": "--accumulate",
    "batch_size": "--batch-size",
    "checkpoint_dir": "--checkpoint-dir",
    "clip_by_global_norm": "--clip-norm",
    "clip_norm": "--clip-norm",
    "early_stopping": "--early-stop",
    "epochs": "--epochs",
    "folder": "--folder",
    "learning_rate": "--learning-rate",
    "learning_rates": "--learning-rates",
    "loss": "--loss",
    "memory": "--memory",
    "model": "--model",
    "monitor": "--monitor",
    "patience": "--early-stop",
    "precision": "--precision",
    "resume": "--resume",
    "scale": "--noise",
    "seconds": "--seconds",
    "seeds": "--seeds",
    "starts": "--starts",
    "steps": "--steps",
    "weight_decay": "--weight-decay",
}
"""The arguments that a message of the library may name, and the option of each."""
VALUES = {"True": "", "False": "no", "None": "none"}
"""Values that have another word as the value of an option."""
PHRASES = {
    r"\bno metric monitor=": "no metric ",
    r"; or a Precision\(…\)": "",
    r"^(patience must .*); the default is .*": r"\1",
    r"\bor None for all of them at once\b": "or all",
    r" The state before it is this exception's \.state\.": "",
    r"[.;] The state is this exception's \.state": "",
    r" \((epoch \d+); \.state is that after the steps before\)": r" (\1)",
    r"; an iterator can be read once, pass a function that returns one": "",
}
"""What is of use to a program alone, and what stands for it here."""
FUNCTIONS = (
    r"^(?:fit|objective|evaluate|[a-z_0-9]+): (?=(?:[a-z_]+) must\b)|^(?:fit|objective|sweep): "
)
"""The name of the function that a message begins with."""


def in_options(message: str, as_it_is: Iterable[str] = ()) -> str:
    """A message with options instead of arguments.

    Args:
        message: what an error or a warning says.
        as_it_is: what the user has written, such as paths, which stays. So does what stands in
            quotes, what has a slash in it, and a call such as ``adamw(learning_rate=0.1)``.

    >>> in_options("fit: batch_size must be at least 1, got 0; resume with resume='override'")
    '--batch-size must be at least 1, got 0; resume with --resume override'
    """
    message = re.sub(FUNCTIONS, "", message)
    for pattern, words in PHRASES.items():
        message = re.sub(pattern, words, message)
    names = "|".join(ARGUMENTS)
    identifiers = "|".join(name for name in ARGUMENTS if "_" in name)
    kept = "|".join(re.escape(text) for text in as_it_is if text)
    parts = [
        rf"(?P<kept>{kept})" if kept else "",
        rf"(?P<given>\b(?P<name>{names})=(?P<value>'\w+'|[\w.+-]*\w)?)(?![(\w])",
        r"(?P<quoted>(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|\S*/\S*|\w\([^()]*(?:\([^()]*\)[^()]*)*\))",
        rf"(?P<first>^(?:{names})\b(?= (?:must|needs)\b))",
        rf"(?P<bare>(?<![\w.'-])(?:{identifiers})(?![\w.=(]))",
    ]
    return re.sub("|".join(part for part in parts if part), _translated, message)


def _translated(match: re.Match[str]) -> str:
    groups = match.groupdict()
    if groups["given"]:
        value = VALUES.get(groups["value"], (groups["value"] or "").strip("'"))
        return f"{ARGUMENTS[groups['name']]} {value}".rstrip()
    name = groups["first"] or groups["bare"]
    return ARGUMENTS[name] if name else match[0]
