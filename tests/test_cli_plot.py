"""``fnopt plot``: what it draws of logs and schedules, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import fnopt
from fnopt.cli import main
from fnopt.cli import plot as plotting
from fnopt.cli.run_log import read_log
from fnopt.lab.curves import plot_curves

pytestmark = pytest.mark.beside_optax


@pytest.fixture
def drawn(monkeypatch, tmp_path, capsys):
    """Runs the command in an empty folder; the arguments with which curves are drawn."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def note(curves, **options):
        calls.append((curves, options))
        return plot_curves(curves, **options)

    monkeypatch.setattr(plotting, "plot_curves", note)
    monkeypatch.setattr("fnopt.lab.schedules.plot_curves", note)

    def run(*words):
        main(["plot", *map(str, words)])
        assert capsys.readouterr().out == f"picture: {calls[-1][1]['path']}\n"
        assert (tmp_path / calls[-1][1]["path"]).stat().st_size > 5_000
        return calls[-1]

    return run


def write(path, losses, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        {"epoch": n, "step": 10 * n, "loss": loss, **more} for n, loss in enumerate(losses, 1)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_each_log_is_a_curve_called_by_what_tells_it_apart(drawn, tmp_path):
    for name in ("sgd", "adam"):
        write(tmp_path / "runs" / name / "digits.jsonl", [2.0, 1.0, 0.2])
    curves, options = drawn("runs/sgd/digits.jsonl", "runs/adam/digits.jsonl", "--theme", "dark")
    assert list(curves) == ["sgd", "adam"]
    at, values = curves["sgd"]
    assert at.tolist() == [1, 2, 3] and values.tolist() == [[2, 1, 0.2]]
    assert options["yscale"] == "log" and options["xlabel"] == "epoch"
    assert options["theme"] == "dark" and str(options["path"]) == "curves.png"
    (label,) = drawn("runs/sgd/digits.jsonl")[0]
    assert label == "digits"


def test_logs_of_one_label_are_runs_of_one_curve(drawn, tmp_path):
    for seed, losses in enumerate(([2.0, 1.0], [3.0, 2.0, 1.0], [4.0, None])):
        write(tmp_path / f"sgd-{seed}.jsonl", losses, val_loss=1.0)
    curves, options = drawn("sgd=sgd-*.jsonl", "--by", "step", "--out", "new/a.png")
    assert list(curves) == ["sgd"] and options["xlabel"] == "step"
    at, values = curves["sgd"]
    assert at.tolist() == [10, 20, 30]
    nan = np.nan
    np.testing.assert_array_equal(values, [[2, 1, nan], [3, 2, 1], [4, nan, nan]])
    curves, options = drawn("a=sgd-0.jsonl", "sgd-1.jsonl", "--metric", "val_loss")
    assert list(curves) == ["sgd-1", "a"] and options["yscale"] == "linear"
    assert drawn("sgd-0.jsonl", "--yscale", "log", "--title", "x")[1]["title"] == "x"


def test_a_log_of_steps(drawn, tmp_path):
    records = [{"step": step, "loss": 1.0} for step in (5, 10)]
    (tmp_path / "a-steps.jsonl").write_text("\n".join(map(json.dumps, records)))
    curves, options = drawn("a-steps.jsonl")
    assert curves["a-steps"][0].tolist() == [5, 10] and options["xlabel"] == "step"


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_log_whose_last_line_was_cut_off(end, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", [3.0, 2.0])
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"epoch": 3, "step": 30, "lo' + end)
    records = read_log("a.jsonl")
    assert [record.number("loss") for record in records] == [3, 2]
    assert capsys.readouterr().err == (
        "a.jsonl, line 3: the last line was cut off; the lines before it are used\n"
    )


def test_schedules(drawn):
    curves, options = drawn("schedule", "cosine", "constant", "--lr", "0.2", "--steps", "50")
    at, values = curves["cosine"]
    cosine = fnopt.cosine_decay_schedule(0.2, 50)
    np.testing.assert_allclose(values, [float(cosine(step)) for step in range(51)], atol=1e-7)
    assert len(at) == 51 and set(curves["constant"][1]) == {np.float32(0.2)}
    assert str(options["path"]) == "schedule.png"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "plot needs logs, as in fnopt plot out/digits.jsonl, or names of schedules"),
        (["schedule"], "plot schedule needs names; there are constant, linear, cosine"),
        (["schedule", "cosin"], "no schedule 'cosin'; did you mean 'cosine'"),
        (["schedule", "cosine", "--steps", "0"], "steps must be at least 1, got 0"),
        (["no.jsonl"], "there is no log no.jsonl; fnopt train leaves one"),
        (["a=no-*.jsonl"], r"there is no log no-\*.jsonl"),
        (["text.log"], "text.log is no log of JSON lines"),
        (["empty.jsonl"], "empty.jsonl has no record yet"),
        (["good.jsonl", "--metric", "los"], "no metric 'los' in these logs; did you mean 'loss'"),
        (["good.jsonl", "other.jsonl", "--metric", "auc"], "the log of 'good' has no auc by epoch"),
        (["good.jsonl", "--theme", "blue"], "--theme must be light or dark, got 'blue'"),
        (["good.jsonl", "--by", "time"], "--by must be epoch or step, got 'time'"),
        (["good.jsonl", "--metrc", "a"], "there is no option '--metrc'; did you mean --metric"),
        (["good.jsonl", "--out", "a.xyz"], "--out must end in .png, .svg or .pdf, got 'a.xyz'"),
        (["no.jsonl", "--out", "a"], "--out must end in .png, .svg or .pdf, got 'a'"),
        (["."], r"^fnopt: \. is a folder; name the logs in it, as \*.jsonl"),
        (["broken.jsonl"], r"broken.jsonl is no log .*: line 2 is '{\"step\": 20"),
        (["words.jsonl"], "words.jsonl, line 2: loss must be a number, got 'x'"),
        (["words.jsonl", "--metric", "late"], "words.jsonl, line 1: late must be a number, got T"),
    ],
)
def test_mistakes(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "good.jsonl", [1.0])
    write(tmp_path / "other.jsonl", [1.0], auc=0.5)
    (tmp_path / "text.log").write_text("epoch 1/3  loss 1.0\n")
    (tmp_path / "empty.jsonl").write_text("")
    good = '{"step": 10, "loss": 1.0, "late": true}\n'
    (tmp_path / "broken.jsonl").write_text(f'{good}{{"step": 20, "lo\n{good}')
    (tmp_path / "words.jsonl").write_text(good + '{"step": 20, "loss": "x"}\n')
    with pytest.raises(SystemExit, match=says) as caught:
        main(["plot", *words])
    assert len(str(caught.value)) < 400 and not (tmp_path / "curves.png").exists()
