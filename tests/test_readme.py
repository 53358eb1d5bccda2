"""What README shows runs as it stands there, and so does the example."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SECTIONS = dict(re.findall(r"(?ms)^## (.*?)\n(.*?)(?=^## |\Z)", (ROOT / "README.md").read_text()))

pytestmark = pytest.mark.beside_optax


def snippet(title: str) -> str:
    """The one program under a heading."""
    (block,) = re.findall(r"```python\n(.*?)```", SECTIONS[title], re.DOTALL)
    return block


def test_the_first_ten_lines_run():
    namespace: dict = {}
    exec(snippet("A first optimization, in ten lines"), namespace)
    np.testing.assert_allclose(namespace["w"], 3.0, atol=0.05)


def test_a_visitor_trains_swaps_sweeps_and_animates_by_copying(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    copied: dict = {}
    exec(snippet("Train a model"), copied)
    assert copied["result"].history["val_accuracy"][-1] > 0.95
    assert copied["logits"].shape == (len(copied["validation"][1]), 10)
    capsys.readouterr()

    exec(snippet("Swap the optimizer"), copied)
    accuracy = copied["swapped"].history["val_accuracy"][-1]
    assert accuracy > 0.95 and accuracy != copied["result"].history["val_accuracy"][-1]
    assert f"{accuracy} {copied['tx']}" in capsys.readouterr().out

    exec(snippet("Sweep it"), copied)
    found = copied["found"]
    assert (len(found), found.programs) == (28, 1) and found.best().median < 0.2
    assert 1e-3 <= found.best().hyperparameters["learning_rate"] <= 0.1
    printed = capsys.readouterr().out
    assert f"{found.best().tx}" in printed and "weight_decay" in printed

    exec(snippet("Animate it"), copied)
    assert copied["contest"]["adam"].values.shape == (16, 1, 81)
    assert "heavy_ball" in capsys.readouterr().out
    png = b"\x89PNG"
    begins = {
        "digits.png": png,
        "sweep.png": png,
        "race.gif": b"GIF8",
        "race.html": b"<!doctype html>",
    }
    for name, signature in begins.items():
        assert (tmp_path / name).read_bytes().startswith(signature), name


def test_the_picture_on_the_first_screen_is_there_and_small():
    pictures = re.findall(r'"(docs/pictures/[\w.]+)"', (ROOT / "README.md").read_text())
    assert len(pictures) == 2
    for path in pictures:
        assert 50_000 < (ROOT / path).stat().st_size < 1_500_000, path


def test_the_digits_example_runs(tmp_path):
    main = runpy.run_path(str(ROOT / "examples" / "digits" / "train.py"))["main"]
    assert main(epochs=5, out=str(tmp_path)) > 0.95
    assert {path.name for path in tmp_path.iterdir()} == {
        "digits_example.jsonl",
        "digits_example.png",
    }
