"""What a run shows: on terminals of several widths, in a notebook and in a file."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import blobs, function_task
from screen import Screen, terminal

import fnopt
from fnopt.train import fit, progress
from fnopt.train.progress import Progress
from fnopt.train.progress_line import Part, Status, duration, fitting, joined, number, running_line
from fnopt.train.record import Position
from tools import install

SCREENS = Path(__file__).parent / "screens"
TASK = function_task()
EPOCHS = 3


def same_as_kept(name, text):
    """Compares with the text in tests/screens; with KEEP_SCREENS=1 writes it there, to be read."""
    path = SCREENS / f"{name}.txt"
    if os.environ.get("KEEP_SCREENS"):
        path.write_text(text)
    assert text == path.read_text()


def masked(text):
    """The text without what depends on the machine: metrics and seconds."""
    text = re.sub(r"(?<=(?:loss|racy) )[\d.]+", "#", text)
    return re.sub(r"[\d.]+(?: min \d+)? s$", "# s", text, flags=re.MULTILINE)


def run(**options):
    return fit(
        TASK, fnopt.sgd(0.00125), blobs(24), epochs=EPOCHS, batch_size=8,
        **{"validation_data": blobs(8), "eval_batch_size": 8} | options,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """That of a terminal, with what makes programs colour their output everywhere."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: ``clock.now`` is the time in seconds."""
    fake = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: fake.now))
    return fake


# A whole run


@pytest.mark.parametrize("option", [None, True])
def test_in_a_file_there_is_a_line_for_each_epoch(option, monkeypatch, capsys, tmp_path):
    with (tmp_path / "log.txt").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        run(progress=option)
    same_as_kept("fit_file", masked((tmp_path / "log.txt").read_text()))
    assert capsys.readouterr().out == ""


def test_nothing_is_shown_on_request(capsys):
    run(progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_the_lines_stay_and_the_bar_goes(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    with terminal(columns) as (stream, screen):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        run(on_epoch=lambda state, record: print(f"printed after epoch {record['epoch']}"))
        print("printed after the run")
        monkeypatch.undo()
    same_as_kept(f"fit_{columns}", masked(str(screen)))


def test_what_a_program_prints_into_a_file_goes_there(monkeypatch, tmp_path):
    """Rich would lead it to the terminal of the bar."""
    with (tmp_path / "out.txt").open("w") as out, terminal(80) as (stream, screen):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", out)
        run(on_epoch=lambda state, record: print("mine"))
        monkeypatch.undo()
    assert (tmp_path / "out.txt").read_text() == "mine\n" * EPOCHS
    assert "mine" not in str(screen) and f"epoch {EPOCHS}/{EPOCHS}" in str(screen)


def test_a_run_that_continues_counts_epochs_as_its_history_does(capsys):
    first = run(progress=False)
    result = fit(TASK, None, blobs(24), state=first.last, epochs=2, batch_size=8, steps_per_call=1)
    numbers = re.findall(r"^epoch (\d/\d)  loss", capsys.readouterr().err, re.MULTILINE)
    assert numbers == ["4/5", "5/5"]
    assert list(result.history["epoch"]) == [4, 5]


# The line while it runs


class Terminal(io.StringIO):
    """A terminal that remembers what was written to it."""

    encoding = "utf-8"

    def isatty(self):
        return True


def drive(clock, look):
    """Shows all phases of a run, looking at each.

    Args:
        clock: the clock of the run.
        look: called with a title, after each change.
    """
    at = Position(0, steps_per_epoch=1000)
    with Progress(None, 30, at) as shown:
        with shown.phase("compiling"):
            look("begin", shown)
            clock.now += 12.3
            look("a long compilation", shown)
        training = {"accuracy": 0.51, "loss": 1.25, "learning_rate": 0.003}
        at.epoch_step = at.steps_done = 16
        shown.show_steps(at, 0.84, training, {})
        look("the first steps", shown)
        at.epoch_step = at.steps_done = 1000
        clock.now += 20
        evaluation = {"val_accuracy": 0.9722, "val_loss": 0.1234}
        with shown.phase("evaluating"):
            look("evaluating", shown)
        at.close_epoch()
        shown.show_epoch(at, 20.25, training, evaluation)
        look("an epoch over", shown)
        with shown.phase("saving"):
            clock.now += 2
            look("saving", shown)
        at.epoch_step, at.steps_done, clock.now = 400, 11400, clock.now + 200
        at.epochs_done = 11
        training = {"accuracy": 0.5, "loss": 1.2e-7, "learning_rate": 1.25e-4}
        shown.show_steps(at, 51234.5, training, evaluation)
        look("further on", shown)
        shown.show_steps(at, 51234.5, training | {"loss": 0.25}, evaluation)
        look("a shorter number leaves the others where they are", shown)
        broken = {"val_accuracy": float("nan"), "val_loss": float("inf")}
        shown.show_steps(at, 51234.5, training | {"loss": float("nan")}, broken)
        look("not a number", shown)
        long = {"val_mean_average_precision_at_50_of_all_classes": 0.5, "val_top5": 0.75}
        shown.show_steps(at, 51234.5, training | {"loss": 123456.7}, long)
        look("a long name", shown)
        many = {f"val_metric{i}": i / 10 for i in range(20)}
        shown.show_steps(at, 51234.5, training, many)
        look("many metrics", shown)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_bar_shows_what_fits_the_width(columns, monkeypatch, clock):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream, parts = Terminal(), []
    monkeypatch.setattr(sys, "stderr", stream)

    def look(title, shown):
        shown.display.live.refresh()
        screen = Screen(columns)
        screen.write(stream.getvalue().replace("\n", "\r\n"))
        assert max(map(len, screen.lines)) <= columns
        parts.append(f"# {title}\n{screen}")

    drive(clock, look)
    same_as_kept(f"running_{columns}", "\n".join(parts))


def test_a_terminal_may_change_its_width(monkeypatch, clock):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    at = Position(0, steps_done=50, steps_per_epoch=100)
    with Progress(None, 1, at) as shown:
        metrics = {"loss": 0.5, "accuracy": 0.75, "learning_rate": 0.01}
        shown.show_steps(at, 12.0, metrics, {})
        seen = []
        for columns in (120, 30, 9, 4, 80):
            shown.display.live.console.width = columns
            stream.seek(0)
            stream.truncate()
            shown.display.live.refresh()
            screen = Screen(columns)
            screen.write(stream.getvalue())
            (line,) = str(screen).splitlines()
            seen.append(line)
    assert seen == [
        "epoch 1/1  ━━━━━━━━────────  loss 0.5000  accuracy 0.7500  rate 0.01  12 steps/s",
        "epoch 1/1  loss 0.5000",
        "epoch 1/1",
        "",
        "epoch 1/1  ━━━━━━━━────────  loss 0.5000  accuracy 0.7500  rate 0.01  12 steps/s",
    ]


def test_the_bar_needs_no_unicode(monkeypatch):
    stream = Terminal()
    stream.encoding = "ascii"
    monkeypatch.setattr(sys, "stderr", stream)
    at = Position(0, steps_done=3, steps_per_epoch=4)
    with Progress(None, 1, at):
        pass
    assert "############" in stream.getvalue() and stream.getvalue().isascii()


def test_the_length_of_a_stream_is_known_after_an_epoch(clock, capsys):
    at = Position(0)
    with Progress(None, 3, at) as shown:
        at.epoch_step = at.steps_done = 1234
        shown.show_steps(at, 5.0, {"loss": 1.0}, {})
        before = joined(running_line(shown._status))
        at.close_epoch()
        shown.show_epoch(at, 1.0, {"loss": 1.0}, {})
        at.steps_done, clock.now = 1851, clock.now + 10
        shown.show_steps(at, 5.0, {"loss": 1.0}, {})
        after = joined(running_line(shown._status))
    assert before == "epoch 1/3  step 1,234  loss 1.0000  5 steps/s"
    assert after == "epoch 2/3  ━━━━━━━━────────  0:30 left  loss 1.0000  5 steps/s"


# Lines


def epochs_shown(clock, text, epochs, seconds, option=None):
    """The epochs of a run that leave a line, by their numbers."""
    at = Position(0, steps_per_epoch=1)
    with Progress(option, epochs, at) as shown:
        for _ in range(epochs):
            at.steps_done += 1
            clock.now += seconds
            shown.show_steps(at, 1.0, {"loss": 1.0}, {})
            at.close_epoch()
            shown.show_epoch(at, seconds, {"loss": 1.0}, {})
    return [int(n) for n in re.findall(r"^epoch +(\d+)/", text(), re.MULTILINE)]


def test_of_very_many_epochs_about_one_a_second_leaves_a_line(clock, capsys):
    lines = epochs_shown(clock, lambda: capsys.readouterr().err, 1000, 1 / 128)
    assert lines == [*range(1, 1000, 128), 1000]
    assert len(epochs_shown(clock, lambda: capsys.readouterr().err, 150, 2.0)) == 150
    assert len(epochs_shown(clock, lambda: capsys.readouterr().err, 100, 0.001)) == 100
    assert len(epochs_shown(clock, lambda: capsys.readouterr().err, 101, 0.001, True)) == 101


def test_a_long_epoch_gives_a_sign_of_life_each_minute(clock, capsys):
    at = Position(0, steps_per_epoch=7200)
    with Progress(None, 1, at) as shown:
        for at.steps_done in range(1, 200):
            clock.now += 1
            shown.show_steps(at, 1.0, {"loss": 0.5}, {})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "epoch 1/1  step 61/7,200  1:58:59 left  loss 0.5000  1 steps/s"


def test_a_terminal_without_a_cursor_gets_lines(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "dumb")
    run(validation_data=None)
    assert len(stream.getvalue().splitlines()) == EPOCHS and "\x1b" not in stream.getvalue()


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("closed", [None, True, False])
def test_a_run_does_not_depend_on_its_lines(closed, monkeypatch):
    stream = closed if closed is None else Full()
    if closed:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert len(run(validation_data=None).history) == EPOCHS


def test_without_rich_a_terminal_gets_lines(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setitem(sys.modules, "fnopt.train.progress_bar", None)
    with Progress(None, 1, Position(0, steps_per_epoch=1)) as shown:
        assert type(shown.display).__name__ == "Lines"
    assert stream.getvalue() == ""


def test_a_notebook_has_an_output_that_is_updated_and_the_lines(monkeypatch, clock, capsys):
    shown = []
    output = types.SimpleNamespace(update=lambda content, raw: shown.append(content["text/plain"]))

    def display(content, raw, display_id):
        output.update(content, raw)
        return output

    shell = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    run()
    assert shown[0] == "epoch 1/3  ────────────────" and shown[1].endswith("compiling")
    assert shown[-1] == ""
    out, err = capsys.readouterr()
    same_as_kept("fit_notebook", masked(out))
    assert err == ""


# Text

names = st.text("abc_", min_size=1, max_size=60)
numbers = st.floats(width=32)
metrics = st.dictionaries(names, numbers, max_size=8).map(lambda x: {"loss": 0.5} | x)


@given(metrics, metrics, st.integers(0, 200), st.integers(1, 10**9), st.none() | st.just(10**9))
def test_no_line_is_wider_than_its_width_and_no_part_is_cut(shown, measured, width, step, steps):
    status = Status(3, 30, step, steps, shown, measured, 12.5, 7.0)
    parts = running_line(status)
    chosen = fitting(parts, width)
    assert len(joined(chosen)) <= width
    assert [part for part in parts if part in chosen] == chosen
    missing = [part for part in parts if part not in chosen]
    room = width - len(joined(chosen))
    assert all(len(part.text) + 2 * bool(chosen) > room for part in missing)


def test_the_most_important_part_comes_first():
    parts = [Part("a", "aaaa", 2), Part("b", "bbbb", 0), Part("c", "cc", 1)]
    assert [joined(fitting(parts, width)) for width in (3, 4, 7, 8, 14)] == [
        "cc",
        "bbbb",
        "bbbb",
        "bbbb  cc",
        "aaaa  bbbb  cc",
    ]


def test_numbers_and_durations_are_short():
    numbers = [0.0, 0.98765, 1.0, -0.5, 12.3456, 123456.7, 1e6, 0.00123, 1.234e-5]
    assert [number(x) for x in [*numbers, float("nan"), -float("inf")]] == [
        *("0", "0.9877", "1.0000", "-0.5000", "12.346", "123457", "1e+06", "0.00123", "1.23e-05"),
        *("nan", "-inf"),
    ]
    assert [duration(x) for x in (0.0123, 12.34, 12, 59.96, 125.4, 3599.7, 12000)] == [
        *("0.012 s", "12.3 s", "12 s", "1 min 0 s", "2 min 5 s", "1 h 0 min", "3 h 20 min")
    ]


# Installing

PIP = """\
Collecting jax>=0.10 (from fnopt==0.1.0)
  Downloading https://host/jax-0.10.2-py3-none-any.whl.metadata (13 kB)
WARNING: something
Installing collected packages: a, b, c
"""


def test_what_pip_does_is_said_in_words():
    assert [install.describe(line) for line in PIP.splitlines()] == [
        *("collecting jax", "downloading jax", "", "unpacking 3 packages")
    ]


@pytest.mark.parametrize("status", [0, 1])
def test_installing_shows_the_output_of_pip_if_it_fails(status, capsys):
    command = [sys.executable, "-S", "-c", f"print({PIP!r}, end=''); raise SystemExit({status})"]
    assert install.run(command) == status
    assert capsys.readouterr() == ("", PIP * status)


def test_installing_keeps_a_line_up_to_date_on_a_terminal(monkeypatch):
    program = f"import time; print({PIP!r}, flush=True); time.sleep(0.3)"
    stream = Terminal()
    with contextlib.redirect_stdout(stream):
        install.run([sys.executable, "-S", "-c", program])
    screen = Screen(80)
    screen.write(stream.getvalue())
    assert re.fullmatch(r" +\d s  done\n", str(screen))
    assert "unpacking 3 packages" in stream.getvalue()
