"""What a run reports: callbacks, logs as text, the metrics of every step."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import blobs, function_task
from test_damage import linear

import fnopt
from fnopt.train import fit
from fnopt.train.logs import text_line
from fnopt.train.step_history import StepHistory

TX = fnopt.sgd(0.3)
shared_task = functools.cache(function_task)


def run(**options: Any) -> Any:
    """Three epochs of five steps, at most two a call."""
    options = {"epochs": 3, "batch_size": 10, "steps_per_call": 2, **options}
    return fit(shared_task(), options.pop("tx", TX), options.pop("data", blobs()), **options)


# Callbacks


class Both:
    """Notes what it is called with."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    def on_epoch(self, state: Any, record: Any) -> None:
        self.calls.append(("object", record["epoch"]))

    def on_step(self, step: int, metrics: Any) -> None:
        self.calls.append(("step", step))


class Stop:
    """Ends the run after two epochs."""

    def on_epoch(self, state: Any, record: Any) -> bool:
        return record["epoch"] == 2


def test_functions_are_called_first_and_then_objects_in_their_order():
    calls: list[Any] = []

    def first(state: Any, record: Any) -> bool:
        calls.append(("first", record["epoch"]))
        return record["epoch"] == 2

    result = run(
        on_epoch=[first, lambda state, record: calls.append(("second", record["epoch"]))],
        on_step=[lambda step, metrics: calls.append(("function", step))],
        callbacks=[Both(calls)],
        steps_per_call=5,
    )
    assert result.ended == "on_epoch" and len(result.history) == 2
    # Those after one that ends the run are called too.
    of_epoch = ["first", "second", "object"]
    assert calls == [
        *(("function", 5), ("step", 5), *((name, 1) for name in of_epoch)),
        *(("function", 10), ("step", 10), *((name, 2) for name in of_epoch)),
    ]


def test_one_object_or_one_function_is_enough():
    assert len(run(callbacks=Stop()).history) == 2
    assert len(run(callbacks=(Both([]), Stop())).history) == 2
    assert len(run(on_epoch=lambda state, record: True).history) == 1


@pytest.mark.parametrize("name", ["on_epoch", "on_step"])
def test_an_exception_of_any_callback_has_state_and_history(name, tmp_path):
    class Raises:
        pass

    def fail(*arguments: Any) -> None:
        raise RuntimeError("no more")

    callback = Raises()
    setattr(callback, name, fail)
    for options in ({name: [print_nothing, fail]}, {"callbacks": [Both([]), callback]}):
        folder = tmp_path / str(len(options)) / str(next(iter(options)))
        with pytest.raises(RuntimeError, match="no more") as caught:
            run(**options, checkpoint_dir=folder)
        error: Any = caught.value
        steps = 5 if name == "on_epoch" else 2
        assert int(error.state.step) == steps and len(error.history) == steps // 5
        assert len(run(checkpoint_dir=folder, resume=True).history) == 3


class Steps:
    """Notes the steps and the parameters at which it sees the state."""

    def __init__(self, every: Any) -> None:
        self.every, self.seen, self.params = every, [], []

    def on_state(self, state: Any) -> None:
        self.seen.append(int(state.step))
        self.params.append(np.array(state.params["w"]))


@pytest.mark.parametrize("steps_per_call", [1, 4, None])
def test_states_are_seen_before_the_first_step_every_few_and_at_the_end(steps_per_call):
    both = [Steps(4), Steps(5)]
    result = run(callbacks=both, steps_per_call=steps_per_call)
    assert [callback.seen for callback in both] == [[0, 4, 8, 12, 15], [0, 5, 10, 15]]
    np.testing.assert_array_equal(both[0].params[-1], both[1].params[-1])
    np.testing.assert_array_equal(both[0].params[-1], np.array(result.last.params["w"]))
    one_by_one = Steps(1)
    run(callbacks=one_by_one, steps_per_call=1)
    np.testing.assert_array_equal(both[0].params[1], one_by_one.params[4])


def test_states_of_a_run_that_goes_on(tmp_path):
    run(callbacks=Stop(), checkpoint_dir=tmp_path)
    rest = Steps(4)
    run(callbacks=rest, checkpoint_dir=tmp_path, resume=True)
    assert rest.seen == [10, 12, 15]
    again = Steps(4)
    run(callbacks=again, checkpoint_dir=tmp_path, resume=True)
    assert again.seen == [15]


def test_an_exception_at_a_state_has_state_and_history():
    class Fails(Steps):
        def on_state(self, state: Any) -> None:
            super().on_state(state)
            if len(self.seen) == 3:
                raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more") as caught:
        run(callbacks=Fails(3))
    assert int(caught.value.state.step) == 6 and len(caught.value.history) == 1


def print_nothing(*arguments: Any) -> None:
    pass


class Odd:
    on_epoch = 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"on_epoch": 3}, r"on_epoch must be a function or a list of functions, got 3 \(int\)"),
        ({"on_step": [print, "x"]}, r"on_step must be a function .*, got 'x' \(str\)"),
        ({"on_epoch": Stop()}, r"on_epoch must be a function .*; give it as callbacks=\[…\]"),
        ({"on_epoch": Stop}, r"on_epoch must be a function .* make an object of the class"),
        ({"callbacks": [Stop]}, r"callbacks has the class Stop; give an object of it, Stop\(…\)"),
        (
            {"callbacks": print},
            "without a method on_epoch, on_step or on_state; give a function to on_ep",
        ),
        ({"callbacks": [3]}, "callbacks has 3 without a method .*; define one of them"),
        ({"callbacks": Odd()}, "without a method on_epoch, on_step or on_state; define one"),
        ({"callbacks": Steps("epoch")}, r"every \(steps\) of the callback .* must be an integer"),
        ({"log": 3}, r"log must be a path such as 'run.txt', or a list of paths, got 3 \(int\)"),
    ],
)
def test_what_cannot_be_called_or_written_is_refused(options, says):
    with pytest.raises(TypeError, match=says):
        run(**options)


# Logs


def test_a_line_is_for_people():
    assert text_line({"epoch": 10, "step": 4, "val_loss": 0.5, "val_accuracy": 1.0}, 12) == (
        "epoch 10/12  step 4         val_loss 0.5         val_accuracy 1\n"
    )
    record = {"epoch": 1, "step": 123, "seconds": 12.345, "accuracy": 0.25, "grad_norm": -1.5e-12,
              "loss": float("nan"), "val_loss": 0.5, "added": "by a\ncallback"}  # fmt: skip
    assert text_line(record, 12) == (
        "epoch  1/12  step 123       loss nan         accuracy 0.25        val_loss 0.5       "
        "  added 'by a\\ncallback'  grad_norm -1.5e-12    12.3 s\n"
    )


def test_logs_as_text_and_as_json_have_the_same_records_once(tmp_path):
    logs = [tmp_path / "new" / "run.txt", tmp_path / "run.LOG", tmp_path / "run.jsonl"]
    options: dict[str, Any] = {"validation_data": blobs(20), "eval_every": 4, "log": logs}
    folder = tmp_path / "checkpoints"
    run(**options, checkpoint_dir=folder, epochs=1)
    result = run(**options, checkpoint_dir=folder, resume=True)
    text, other, lines = (log.read_text() for log in logs)
    assert text == other
    assert text == "".join(text_line(record, 3) for record in result.history.in_order())
    assert [json.loads(line)["step"] for line in lines.splitlines()] == [4, 5, 8, 10, 12, 15]
    assert [line.split("  ")[0] for line in text.splitlines()] == [
        "epoch 1/3", "epoch 1/3", "epoch 2/3", "epoch 2/3", "epoch 3/3", "epoch 3/3",
    ]  # fmt: skip
    on = tmp_path / "on.txt"
    fit(shared_task(), None, blobs(), epochs=2, batch_size=10, state=result.last, log=str(on))
    assert [line.split("  ")[0] for line in on.read_text().splitlines()] == [
        "epoch 4/5", "epoch 5/5",
    ]  # fmt: skip


def test_a_path_is_written_by_one_log_alone():
    with pytest.raises(ValueError, match=r"log has 'a\.txt' twice"):
        run(log=["a.txt", Path("a.txt")])


# The metrics of every step


def collected(result: Any, calls: list[Any]) -> None:
    """Checks the history of steps against what on_step was called with."""
    steps = result.history.steps
    for name in calls[0]:
        expected = np.concatenate([metrics[name] for metrics in calls])
        assert steps[name].dtype == np.float32
        np.testing.assert_array_equal(steps[name], expected)


@pytest.mark.parametrize("data", [blobs(), lambda: [blobs(10)] * 5])
def test_every_step_is_kept(data):
    calls: list[Any] = []
    result = run(data=data, step_history=True, on_step=lambda step, metrics: calls.append(metrics))
    steps = result.history.steps
    assert steps["step"].tolist() == list(range(1, 16))
    assert steps["epoch"].tolist() == [1] * 5 + [2] * 5 + [3] * 5
    assert set(steps) == {"step", "epoch", *calls[0]} and len(steps) == len(set(steps))
    collected(result, calls)
    np.testing.assert_allclose(
        steps["loss"].reshape(3, 5).mean(1), result.history["loss"], rtol=1e-6
    )
    assert repr(steps).startswith("StepHistory(15 steps: step, epoch, ")


def test_nothing_is_kept_without_the_option(tmp_path):
    result = run(checkpoint_dir=tmp_path)
    assert not result.history.steps and repr(result.history.steps) == "StepHistory(not kept)"
    with pytest.raises(KeyError, match=r"'loss' of every step was not kept; it is with fit\(step"):
        result.history.steps["loss"]
    assert not list(tmp_path.rglob("steps.npz"))


def test_a_killed_run_has_every_step_once_it_is_resumed(tmp_path):
    """From any checkpoint, those in the middle of an epoch among them."""
    whole = run(step_history=True, checkpoint_dir=tmp_path / "whole", checkpoint_every=3, keep=9)
    for path in sorted((tmp_path / "whole").iterdir())[:-1]:
        folder = tmp_path / path.name
        shutil.copytree(path, folder / path.name)
        rest = run(step_history=True, checkpoint_dir=folder, resume=True)
        assert list(rest.history.steps) == list(whole.history.steps)
        for name, expected in whole.history.steps.items():
            assert rest.history.steps[name].dtype == expected.dtype
            np.testing.assert_array_equal(rest.history.steps[name], expected)


def test_an_error_has_the_steps_before_it(tmp_path):
    def fail(step: int, metrics: Any) -> None:
        if step > 6:
            raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        run(step_history=True, on_step=fail)
    error: Any = caught.value
    assert error.history.steps["step"].tolist() == list(range(1, 8))


def test_a_checkpoint_without_a_history_of_steps_is_gone_on_with(tmp_path, caplog):
    run(epochs=1, checkpoint_dir=tmp_path)
    rest = run(step_history=True, checkpoint_dir=tmp_path, resume=True)
    assert "the checkpoint has no history of steps; it begins at step 6" in caplog.text
    assert rest.history.steps["step"].tolist() == list(range(6, 16))
    # And one that has it, without the option.
    again = run(epochs=4, checkpoint_dir=tmp_path, resume=True)
    assert not again.history.steps


def test_skipped_steps_are_kept_too():
    task = linear()
    options: dict[str, Any] = {"epochs": 1, "batch_size": 10, "precision": "float16"}
    result = fit(task, TX, blobs(), **options, step_history=True)
    assert result.history.steps["skipped"].shape == (5,)


def test_steps_are_written(tmp_path):
    steps = StepHistory({"step": np.array([1, 2], np.int32), "epoch": np.array([1, 1], np.int32)})
    steps.add(4, 2, {"loss": np.array([0.5, 1e-9])})
    assert steps["step"].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(steps["loss"], np.array([np.nan, np.nan, 0.5, 1e-9], np.float32))
    with pytest.raises(KeyError, match="'los' of every step was not recorded; there are step, epo"):
        steps["los"]
    steps.write(tmp_path / "new" / "steps.csv")
    assert (tmp_path / "new" / "steps.csv").read_text() == (
        "step,epoch,loss\n1,1,nan\n2,1,nan\n3,2,0.5\n4,2,9.99999972e-10\n"
    )
    steps.write(str(tmp_path / "steps.npz"))
    with np.load(tmp_path / "steps.npz") as arrays:
        assert list(arrays) == ["step", "epoch", "loss"] and arrays["epoch"].dtype == np.int32
