"""What README shows runs as it stands there, and so does the example."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.beside_optax


def test_the_programs_in_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    first, training = (block for block in blocks if ">>>" not in block)
    namespace: dict = {}
    exec(first, namespace)
    np.testing.assert_allclose(namespace["w"], 3.0, atol=0.05)
    exec(training, namespace)
    assert namespace["result"].history["val_accuracy"][-1] > 0.97
    assert (tmp_path / "digits.png").exists()


def test_the_digits_example_runs(tmp_path):
    main = runpy.run_path(str(ROOT / "examples" / "digits" / "train.py"))["main"]
    assert main(epochs=5, out=str(tmp_path)) > 0.95
    assert {path.name for path in tmp_path.iterdir()} == {
        "digits_example.jsonl",
        "digits_example.png",
    }
