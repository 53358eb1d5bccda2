"""Messages of the library in the words of the command line."""

from __future__ import annotations

import dataclasses
import inspect
import json

import numpy as np
import pytest

from fnopt.cli.animate_options import AnimateOptions
from fnopt.cli.options import TrainOptions, names
from fnopt.cli.step_log import StepLog
from fnopt.cli.sweep_options import SweepOptions
from fnopt.cli.words import ARGUMENTS, in_options
from fnopt.train import fit

ROWS = {
    "fit: epochs must be at least 1, got 0": "--epochs must be at least 1, got 0",
    "race: steps must be at least 1, got 0": "--steps must be at least 1, got 0",
    "adamw: learning_rate must lie in [0, inf), got -1.0": (
        "--learning-rate must lie in [0, inf), got -1.0"
    ),
    "early_stopping: patience must lie in [0, inf), got -1; the default is 5.0": (
        "--early-stop must lie in [0, inf), got -1"
    ),
    "fit: resume needs checkpoint_dir=, where to go on from": (
        "--resume needs --checkpoint-dir, where to go on from"
    ),
    "go on from them by resume=True, or give another checkpoint_dir": (
        "go on from them by --resume, or give another --checkpoint-dir"
    ),
    "give those it was written with, or take the code's by resume='override':\n  tx: 1 there": (
        "give those it was written with, or take the code's by --resume override:\n  tx: 1 there"
    ),
    "give those it is of, or another checkpoint_dir:\n  tx: 1 there": (
        "give those it is of, or another --checkpoint-dir:\n  tx: 1 there"
    ),
    "10 examples with batch_size=64, and here 9 with batch_size=3; the same data and batch_size": (
        "10 examples with --batch-size 64, and here 9 with --batch-size 3; the same data and"
        " --batch-size"
    ),
    "from 1 to the 9 examples there are, or None for all of them at once; got 10": (
        "from 1 to the 9 examples there are, or all; got 10"
    ),
    "stopped: loss nan. The state before it is this exception's .state. A lower learning rate, a"
    " warm-up or clip_by_global_norm are the usual cures.": (
        "stopped: loss nan. A lower learning rate, a warm-up or --clip-norm are the usual cures."
    ),
    "the data raised (epoch 3; .state is that after the steps before)": "the data raised (epoch 3)",
    "This ended the run after step 5. The state is this exception's .state; checkpoint: /x": (
        "This ended the run after step 5; checkpoint: /x"
    ),
    "no precision 'float31'; did you mean 'float32'? known: a, b; or a Precision(…)": (
        "no precision 'float31'; did you mean 'float32'? known: a, b"
    ),
}


@pytest.mark.parametrize("message", ROWS)
def test_arguments_become_options(message):
    assert in_options(message) == ROWS[message]


@pytest.mark.parametrize(
    "message",
    [
        "there are 3 checkpoints in /tmp/resume=True/batch_size",
        "[Errno 2] No such file or directory: 'batch_size=3 learning_rate'",
        "resumed: adamw(learning_rate=step(batch_size=3), weight_decay=0.1) goes on",
        "3 epochs of the model, whose loss and precision are",
        "tx.learning_rate is 0.1 there, 0.2 here",
    ],
)
def test_paths_quotations_calls_and_words_stay(message):
    assert in_options(message) == message


def test_what_the_user_wrote_stays():
    message = "no checkpoint in my checkpoint_dir is good; give another checkpoint_dir"
    expected = "no checkpoint in my checkpoint_dir is good; give another --checkpoint-dir"
    assert in_options(message, ["train", "my checkpoint_dir"]) == expected


def test_every_argument_of_fit_that_is_an_option_has_its_word():
    options = names(TrainOptions) + names(AnimateOptions) + names(SweepOptions)
    assert set(ARGUMENTS.values()) <= set(options)
    of_fit = {name for name in inspect.signature(fit).parameters}
    fields = {
        field.name
        for group in dataclasses.fields(TrainOptions)
        for field in dataclasses.fields(group.default)
    }
    assert of_fit & fields - {"data", "on_step"} <= set(ARGUMENTS)


def test_a_step_log_has_means_of_every_so_many_steps(tmp_path, capsys):
    path = tmp_path / "steps.jsonl"

    def call(log, first, last):
        steps = np.arange(first, last + 1, dtype=np.float32)
        log(last, {"loss": steps, "learning_rate": steps})

    log = StepLog(3, path, resumed=False)
    call(log, 1, 2)
    assert not path.read_text()
    call(log, 3, 10)
    assert [json.loads(line)["loss"] for line in path.read_text().splitlines()] == [2, 5, 8]
    assert capsys.readouterr().out.splitlines()[0] == "step 3  loss 2.0000  rate 3.0000"
    # A run that continues from step 7 replaces what came after it.
    call(StepLog(3, path, resumed=True), 8, 9)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(record["step"], record["loss"]) for record in records] == [(3, 2), (6, 5), (9, 8.5)]
    call(StepLog(3, path, resumed=False), 1, 3)
    assert len(path.read_text().splitlines()) == 1
