"""The tables of "Which optimizer?" are those of the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOG = ROOT / "benchmarks" / "logs" / "choice-cpu-2core.jsonl"


@pytest.fixture
def choice_report(monkeypatch):
    if not LOG.exists():
        pytest.skip("the logs are not in this distribution")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import choice_report

    return choice_report


def test_the_tables_are_those_of_the_log(choice_report):
    records = [json.loads(line) for line in LOG.read_text().splitlines()]
    page = (ROOT / "docs" / "which_optimizer.md").read_text()
    assert "\n".join(choice_report.summary(records)) in page
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert "\n".join(choice_report.report(records)).strip() in readme


def test_what_not_every_seed_reaches_has_no_steps(choice_report):
    record = {
        "rates": [0.1, 1.0],
        "steps": [[5.0, 3.0], [7.0, None]],
        "gradients": [[5.0, 3.0], [7.0, None]],
        "final": {"accuracy": [[0.5, 0.9], [0.7, None]]},
    }
    found = choice_report.result(record, "accuracy")
    assert found.steps == [6.0, None] and found.fastest == 0 and found.gradients == 6.0
    assert found.rate == 0.1 and found.scores == [0.5, 0.7]
