"""The tables of "Which optimizer?" are those of the log."""

from __future__ import annotations

import json
import statistics
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


def test_the_figures_in_prose_are_those_of_the_log(choice_report):
    records = [json.loads(line) for line in LOG.read_text().splitlines()]
    found = choice_report.results(records)
    page = " ".join((ROOT / "docs" / "which_optimizer.md").read_text().split())

    def steps(*tasks: str, of: str) -> str:
        fewest = [min(x for x in found[task][of].steps if x is not None) for task in tasks]
        return " and ".join(f"{x:.0f}" for x in fewest)

    networks, convex = ("mlp", "convolutional"), ("logistic", "least_squares")
    free, adamw = (steps(*networks, of=name) for name in ("schedule_free_adamw", "adamw"))
    assert f"{free} (AdamW with cosine: {adamw})" in page
    gradients = " and ".join(f"{found[task]['lbfgs'].gradients:.0f}" for task in convex)
    assert f"{steps(*convex, of='lbfgs')} steps ({gradients} gradients)" in page
    assert f"Adam at its best rate {steps(*convex, of='adam')}" in page
    assert f"{steps(*convex, of='trust_newton')} steps" in page
    assert f"{steps('least_squares', of='nesterov')} steps; heavy ball and Adam 81" in page
    by_task = {r["task"]: r["final"]["accuracy"] for r in records if r.get("method") == "prodigy"
               and r["task"] in networks}  # fmt: skip
    rates = next(r["rates"] for r in records if r.get("method") == "prodigy")
    at_one = [statistics.fmean(s[rates.index(1.0)] for s in x) for x in by_task.values()]
    assert f"at 1 it has {100 * at_one[0]:.1f} and {100 * at_one[1]:.1f} %" in page
    assert all(x is not None for task in convex for x in found[task]["rprop"].steps)


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
