"""Installs the package with extras and shows what pip does: ``python tools/install.py all``.

On a terminal a line is kept up to date; in a file there is one line in all. What pip itself writes
is shown if it fails.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import threading
import time

FIRST = "Installing into .venv: about a minute and 1 GB, the first time only"
LATER = "Installing into .venv what is missing"


def main(extras: str) -> int:
    """Installs the package in the working directory, into the environment of this interpreter."""
    print(LATER if importlib.util.find_spec("jax") else FIRST, flush=True)
    options = ["--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar=off"]
    pip = [sys.executable, "-m", "pip", "install", *options, "--editable", f".[{extras}]"]
    return run(pip)


def run(command: list[str]) -> int:
    """Runs pip and returns its exit status.

    Args:
        command: the command, with arguments.
    """
    began, lines = time.monotonic(), [""]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
        reader.start()
        work = ""
        while reader.is_alive():
            work = next((words for line in reversed(lines) if (words := describe(line))), "")
            show(f"{time.monotonic() - began:4.0f} s  {work}")
            reader.join(0.2)
    if process.returncode:
        show("")
        print("".join(lines), end="", file=sys.stderr)
    else:
        show(f"{time.monotonic() - began:4.0f} s  done\n")
    return process.returncode


def describe(line: str) -> str:
    """What pip does, by a line of its output; "" for a line that says little."""
    if line.startswith("Installing collected packages"):
        return f"unpacking {line.count(',') + 1} packages"
    found = re.match(
        r"\s*(Collecting|Downloading|Processing) (?:\S*/)?(\w[\w.]*(?:-[A-Za-z]\w*)*)", line
    )
    return f"{found[1].lower()} {found[2]}" if found else ""


def show(text: str) -> None:
    """Replaces the line by another, if this is a terminal."""
    if sys.stdout.isatty():
        print(f"\r\x1b[2K{text}", end="", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
