"""The page of the command line: its commands are run, in order, and print what it says."""

from __future__ import annotations

import doctest
import re
import shlex
import sys
from pathlib import Path

import pytest

from fnopt.cli import main

pytestmark = pytest.mark.beside_optax

PAGE = Path(__file__).parent.parent / "docs" / "command_line.md"


@pytest.mark.slow  # what each command does, others test
def test_the_commands_of_the_page_print_what_it_says(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "models", raising=False)  # that of these tests
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "80")
    commands = 0
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.M | re.S):
        named = re.match(r"# (\S+\.py)\n", block)
        if named:
            Path(named[1]).write_text(block)
        elif language == "python":
            exec(block, {})
        else:
            for command, expected in re.findall(r"^\$ fnopt(.*)\n((?:[^$].*\n|\n)*)", block, re.M):
                capsys.readouterr()
                try:
                    main(shlex.split(command))
                    printed = capsys.readouterr().out
                except SystemExit as error:
                    printed = f"{error}\n"
                expected = re.sub(r"(?m)^\.\.\.\n", "...", expected)  # any lines, or none
                same = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)
                assert same, f"fnopt{command} printed:\n{printed}"
                commands += 1
    assert commands == 14
    sys.modules.pop("models", None)
