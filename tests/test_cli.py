"""The command line: what it trains, leaves, says and refuses."""

from __future__ import annotations

import json
import sys

import pytest

from fnopt import cli

pytestmark = pytest.mark.beside_optax


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["fnopt", *map(str, arguments)])
    cli.main()


def test_train_says_what_it_reached_and_leaves_log_and_picture(monkeypatch, capsys, tmp_path):
    out = tmp_path / "new" / "out"
    run(monkeypatch, "train", "--epochs", 8, "--out", out)
    *_, accuracy, speed, pictures = capsys.readouterr().out.splitlines()
    assert accuracy.startswith("validation accuracy 0.9") and speed.endswith("steps per second")
    assert str(out / "digits.png") in pictures
    records = [json.loads(line) for line in (out / "digits.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(1, 9))
    assert records[-1]["val_accuracy"] > 0.95
    assert (out / "digits.png").stat().st_size > 10_000


@pytest.mark.parametrize("schedule", ["constant", "linear", "warmup_cosine", "step", "exponential"])
def test_every_schedule_begins_as_it_says_and_ends_lower(schedule):
    rate = cli.make_optimizer("sgd", schedule, 0.5, 100).learning_rate
    value = rate if callable(rate) else lambda count: rate
    start = 0.0 if schedule == "warmup_cosine" else 0.5
    assert float(value(0)) == start
    assert schedule == "constant" or float(value(99)) < 0.1


def test_a_rate_not_given_is_the_optimizers_own_where_it_has_one():
    for optimizer, rate in {"prodigy": 1.0, "adam": 3e-3, "sgd": 0.1, "lion": 3e-4}.items():
        assert cli.make_optimizer(optimizer, "constant", None, 9).learning_rate == rate
    assert cli.make_optimizer("prodigy", "constant", 0.5, 9).learning_rate == 0.5


def test_the_plateau_schedule_watches_the_metric():
    assert cli.make_optimizer("adam", "plateau", 0.1, 9).transforms[1].monitor == "metric"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--optimizer", "adamv"], "no optimizer 'adamv'; did you mean 'adam'"),
        (["--optimizer", "dpsgd"], "'dpsgd' takes l2_norm_clip, learning_rate, noise_multiplier"),
        (["--optimizer", "polyak_sgd"], "'polyak_sgd' takes no learning_rate"),
        (["--schedule", "cosin"], "no schedule 'cosin'; did you mean 'cosine'"),
        (["--learning-rate", "-1"], r"learning_rate must lie in \[0, inf\), got -1"),
        (["--batch-size", "5000"], "batch_size must be from 1 to the 1437 examples"),
        (["--epochs", "0"], "epochs must be at least 1, got 0"),
        (["--optimizer", "sgd", "--learning-rate", "1e30"], "stopped at step 1"),
    ],
)
def test_bad_arguments_are_told_in_a_line(monkeypatch, tmp_path, arguments, match):
    with pytest.raises(SystemExit, match=match):
        run(monkeypatch, "train", "--out", tmp_path, *arguments)


def test_an_unwritable_folder_is_told_before_the_work(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="file"):
        run(monkeypatch, "train", "--epochs", 10_000, "--out", tmp_path / "file" / "out")


def test_a_run_stops_early_and_resumes(monkeypatch, capsys, tmp_path):
    options = ["--plateau", 0, "--early-stop", 0, "--accumulate", 2, "--precision", "bfloat16"]
    folders = ["--out", tmp_path / "out", "--checkpoint-dir", tmp_path / "kept"]
    # Without a rate to speak of nothing is learnt: the second epoch is no better than the first.
    still = ["--learning-rate", 1e-12, "--schedule", "constant"]
    run(monkeypatch, "train", "--epochs", 1, "--no-plot", *still, *options, *folders)
    assert not (tmp_path / "out" / "digits.png").exists()
    first = (tmp_path / "out" / "digits.jsonl").read_text()
    run(monkeypatch, "train", "--epochs", 9, "--resume", *still, *options, *folders)
    got = capsys.readouterr().out
    assert "after 1 epochs\n" in got and "ended by early stopping" in got
    lines = (tmp_path / "out" / "digits.jsonl").read_text().splitlines()
    assert lines[0] == first.splitlines()[0] and 1 < len(lines) < 9
    with pytest.raises(SystemExit, match=r"resume=True, or give another"):
        run(monkeypatch, "train", "--epochs", 9, *still, *options, *folders)
    with pytest.raises(SystemExit, match="of another model or optimizer"):
        run(monkeypatch, "train", "--epochs", 9, "--resume", "--optimizer", "sgd", *folders)
