"""Each section of the page of recipes runs as it stands there, alone."""

from __future__ import annotations

import doctest
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from fnopt.cli import main

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "recipes.md"
PROGRAMS = ROOT / "examples" / "recipes"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
RESUME = "Resume a run that was killed"

pytestmark = pytest.mark.beside_optax


def sections() -> dict[str, str]:
    """The text below each title, of those that have code to run."""
    _, *parts = re.split(r"^###? ", PAGE.read_text(), flags=re.MULTILINE)
    texts = dict(part.split("\n", 1) for part in parts)
    return {title: text for title, text in texts.items() if ">>>" in text}


def run_section(title: str) -> dict:
    """Runs a section with no names but its own, and returns those."""
    names: dict = {}
    test = doctest.DocTestParser().get_doctest(sections()[title], names, title, str(PAGE), 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    result = runner.run(test, out=report.append, clear_globs=False)
    assert result.attempted and not result.failed, "".join(report)
    return test.globs


@pytest.mark.parametrize("title", [title for title in sections() if title != RESUME])
def test_a_section_runs_alone(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_section(title)


KILLED = """
import os, signal

def kill(state, record):
    if record["epoch"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)

run(checkpoint_dir="runs/killed", on_epoch=kill)
"""


@pytest.mark.slow
def test_a_killed_run_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_section(RESUME)
    examples = doctest.DocTestParser().get_examples(sections()[RESUME])
    until_run = next(i for i, part in enumerate(examples) if part.source.startswith("def run("))
    program = "".join(part.source for part in examples[: until_run + 1]) + KILLED
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", program], env=environment, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    rest = names["run"](checkpoint_dir="runs/killed", resume=True)
    assert rest.history["epoch"].tolist() == [1, 2, 3, 4, 5]
    jax.tree.map(np.testing.assert_array_equal, rest.state.params, names["whole"].state.params)


@pytest.mark.slow  # tests/test_cli_page.py runs the same options
def test_the_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in re.findall(r"^\$ fnopt (.*)", PAGE.read_text(), flags=re.MULTILINE):
        main([*command.split(), "--no-plot"])
    assert "resumed at step 40, epoch 20 of 30" in capsys.readouterr().out
    records = (tmp_path / "out" / "wine.jsonl").read_text().splitlines()
    assert len(records) == 30 and json.loads(records[-1])["val_accuracy"] > 0.9


def test_the_page_quotes_the_program_with_a_loader():
    assert f"```python\n{(PROGRAMS / 'torch_loader.py').read_text()}```" in PAGE.read_text()


@pytest.fixture
def program():
    torch = pytest.importorskip("torch", reason="the program uses torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # its threads and XLA's would wait for each other
    yield lambda name: runpy.run_path(str(PROGRAMS / name))["main"]
    torch.set_num_threads(threads)


def test_the_program_with_a_loader_runs(program):
    assert program("torch_loader.py")(epochs=5) > 0.9


def test_the_program_with_torch_weights_runs(program, tmp_path):
    frozen, all_trained = program("torch_weights.py")(epochs=5, out=str(tmp_path))
    assert 0.3 < frozen < all_trained and all_trained > 0.7
