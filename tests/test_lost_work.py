"""What happens beside the steps of a run: callbacks, logs and folders that fail lose nothing."""

from __future__ import annotations

import copy
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs
from test_resume import Stop, nnx, run, timeless
from test_train import same

import fnopt
from fnopt.train import CheckpointError, fit
from fnopt.train.evaluate import evaluate_batches
from fnopt.train.plain import dumps, line, loads

pytestmark = pytest.mark.beside_optax

EVALUATIONS = pytest.mark.parametrize("options", [{}, {"eval_every": 5}, {"eval_every": 2}])


class Raises:
    """A callback that raises at its n-th call."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.calls, self.at, self.error = 0, at, error

    def __call__(self, *args: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise self.error


@pytest.mark.parametrize("name", ["on_epoch", "on_step"])
@pytest.mark.parametrize(
    ("error", "options"),
    [
        (Stop(), {}),
        (Stop(), {"eval_every": 5}),
        (Stop(), {"eval_every": 2}),
        (SystemExit(3), {}),
        (KeyboardInterrupt(), {"eval_every": 5}),
    ],
)
def test_a_callback_that_raises_loses_nothing(name, error, options, tmp_path):
    whole = run(**options)
    at = 2 if name == "on_epoch" else 10
    given = {**options, "checkpoint_every": None, "steps_per_call": 1}
    with pytest.raises(type(error)) as caught:
        run(tmp_path, **given, **{name: Raises(at, error)})
    assert int(caught.value.state.step) == 10 and len(caught.value.history) == 2
    assert (tmp_path / "step_00000010").is_dir()
    assert any("step_00000010" in note for note in caught.value.__notes__)
    rest = run(tmp_path, resume=True, **options)
    assert same(rest.state, whole.state) and timeless(rest.history) == timeless(whole.history)
    assert rest.history.evaluations == whole.history.evaluations


def test_without_a_folder_the_state_is_in_the_exception():
    with pytest.raises(Stop) as caught:
        run(on_epoch=Raises(1, Stop()))
    assert same(caught.value.state, run(epochs=1).last)
    (note,) = caught.value.__notes__
    assert "after step 5" in note and "checkpoint" not in note


def second_evaluation_raises(monkeypatch):
    """Makes the second evaluation raise; what is returned counts the evaluations."""
    module = sys.modules["fnopt.train.evaluator"]
    real, failing = module.means_over, Raises(2, MemoryError("no room"))

    def evaluate(*args: Any) -> Any:
        failing()
        return real(*args)

    monkeypatch.setattr(module, "means_over", evaluate)
    return failing


@EVALUATIONS
def test_an_evaluation_that_raises_is_made_when_the_run_goes_on(options, tmp_path, monkeypatch):
    whole = run(**options)
    second_evaluation_raises(monkeypatch)
    with pytest.raises(MemoryError) as caught:
        run(tmp_path, checkpoint_every=None, **options)
    assert caught.value.state is not None
    monkeypatch.undo()
    rest = run(tmp_path, resume=True, **options)
    assert same(rest.state, whole.state) and timeless(rest.history) == timeless(whole.history)
    assert rest.history.evaluations == whole.history.evaluations


def test_what_is_done_when_the_run_goes_on_is_in_its_checkpoint(tmp_path, monkeypatch):
    failing = second_evaluation_raises(monkeypatch)
    with pytest.raises(MemoryError):
        run(tmp_path, epochs=2, checkpoint_every=None)
    epochs = []
    rest = run(tmp_path, epochs=2, resume=True, on_epoch=lambda _, r: epochs.append(r["epoch"]))
    assert epochs == [2] and rest.ended == "epochs" and failing.calls == 3
    again = run(tmp_path, epochs=2, resume=True)
    assert failing.calls == 3 and timeless(again.history) == timeless(rest.history)
    assert int(again.state.evaluations) == 2


def test_a_checkpoint_that_is_not_replaced_is_recovered(tmp_path, monkeypatch):
    module = sys.modules["fnopt.train.evaluator"]
    with monkeypatch.context() as failing:
        failing.setattr(module, "means_over", Raises(1, MemoryError("no room")))
        with pytest.raises(MemoryError):
            run(tmp_path, epochs=1, checkpoint_every=None)
    (before,) = tmp_path.glob("step_*")
    real = Path.rename

    def cut_off(path: Path, target: Any) -> Any:
        if Path(target) == before:  # as where the process ends between the two renames
            raise OSError(errno.EIO, "Input/output error")
        return real(path, target)

    with monkeypatch.context() as failing:
        failing.setattr(Path, "rename", cut_off)
        with pytest.raises(CheckpointError):
            run(tmp_path, epochs=1, resume=True)
    assert not before.exists()
    steps = []
    rest = run(tmp_path, epochs=1, resume=True, on_step=lambda step, _: steps.append(step))
    assert not steps and int(rest.state.step) == 5 and len(rest.history) == 1
    assert [path.name for path in tmp_path.glob("*step_*")] == [before.name]


def test_a_callback_may_end_a_run_whose_epoch_was_recorded_when_it_went_on(tmp_path, monkeypatch):
    module = sys.modules["fnopt.train.evaluator"]
    with monkeypatch.context() as failing:
        failing.setattr(module, "means_over", Raises(1, MemoryError("no room")))
        with pytest.raises(MemoryError):
            run(tmp_path, checkpoint_every=None)
    rest = run(tmp_path, resume=True, on_epoch=lambda *_: True)
    assert rest.ended == "on_epoch" and int(rest.state.step) == 5


@pytest.mark.parametrize("where", ["write", "close"])
def test_a_log_on_a_full_disk_loses_nothing(where, tmp_path, monkeypatch):
    full = Raises(2 if where == "write" else 1, OSError(errno.ENOSPC, "No space left on device"))

    class Full:
        def __init__(self, *args: Any) -> None: ...

        def write(self, record: Any) -> None:
            if where == "write":
                full()

        def close(self) -> None:
            if where == "close":
                full()

    monkeypatch.setattr(sys.modules["fnopt.train.fit"], "TensorBoard", Full)
    with pytest.raises(OSError, match="No space left") as caught:
        run(tmp_path / "kept", tensorboard=tmp_path)
    epochs = 2 if where == "write" else 3
    assert same(caught.value.state, run(epochs=epochs).last)
    assert len(caught.value.history) == epochs
    assert (tmp_path / "kept" / f"step_{5 * epochs:08d}").is_dir()
    monkeypatch.undo()
    assert same(run(tmp_path / "kept", resume=True).state, run().state)


def test_a_log_whose_folder_is_gone_loses_nothing(tmp_path):
    log = tmp_path / "logs" / "log.jsonl"

    def remove(state: Any, record: Any) -> None:
        shutil.rmtree(log.parent)

    with pytest.raises(FileNotFoundError) as caught:
        run(tmp_path / "kept", log=log, on_epoch=remove)
    assert len(caught.value.history) == 2
    assert run(tmp_path / "kept", resume=True, log=log).history["step"].tolist() == [5, 10, 15]
    assert len(log.read_text().splitlines()) == 3


@pytest.mark.parametrize("how", ["deleted", "moved", "a file"])
def test_a_checkpoint_folder_that_goes_away(how, tmp_path, caplog):
    folder = tmp_path / "kept"

    def lose(state: Any, record: Any) -> None:
        if record["epoch"] == 1:
            folder.rename(tmp_path / "elsewhere")
            if how == "deleted":
                shutil.rmtree(tmp_path / "elsewhere")
            if how == "a file":
                folder.write_text("")

    if how == "a file":
        with pytest.raises(CheckpointError, match="could not be written") as caught:
            run(folder, on_epoch=lose)
        assert caught.value.kept == [] and len(caught.value.history) == 2
        return
    result = run(folder, on_epoch=lose)
    assert "was deleted, with its checkpoints; created again" in caplog.text
    assert result.checkpoint.is_dir() and same(run(folder, resume=True).state, run().state)


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_record_may_be_filled_with_anything(tmp_path):
    endless: dict[str, Any] = {}
    endless["itself"] = endless
    things = {
        "array": jnp.arange(3),
        "number": np.float32(0.5),
        "half": jnp.ones((), jnp.bfloat16),
        "nan": float("nan"),
        "path": Path("x"),
        "odd": Odd(),
        "large": np.zeros(10_000),
        "endless": endless,
        ("a", 1): {1, 2},
        "complex": 1j,
    }
    log = tmp_path / "log.jsonl"

    def fill(state: Any, record: dict[Any, Any]) -> None:
        record.update(things)

    run(tmp_path / "kept", epochs=2, on_epoch=fill, log=log)
    result = run(tmp_path / "kept", resume=True, log=log)
    assert len(result.history) == 3
    first = json.loads(log.read_text().splitlines()[0])
    assert (first["array"], first["number"], first["half"], first["nan"]) == (
        [0, 1, 2],
        0.5,
        1,
        None,
    )
    kept = loads(dumps(things))
    assert dumps(kept) == dumps(loads(dumps(kept))) and np.isnan(kept["nan"])
    assert json.loads(line(things))["odd"].startswith("<Odd")


# What jax checks by itself


def test_a_run_under_debug_nans(tmp_path):
    with jax.debug_nans(True):
        plateau = fnopt.reduce_on_plateau(0.5, patience=0, monitor="metric")
        tx = fnopt.chain(fnopt.clip_by_global_norm(1.0), fnopt.adam(1e-2), plateau)
        result = run(tx=tx, epochs=2, average=fnopt.train.ema_of_params(0.9))
        assert len(result.history) == 2
        # One that tells no rate, with data that come in batches.
        stream = [tuple(x[i : i + 10] for x in blobs()) for i in range(0, 50, 10)]
        got = fit(nnx(), optax.adam(1e-2), lambda: iter(stream), epochs=1)
        assert "learning_rate" not in got.history.names()
        state = fnopt.train.TrainState.create(nnx(), optax.adam(1e-2), 0)
        assert "learning_rate" not in fnopt.train.make_train_step(nnx())(state, stream[0])[1]


# Memory


@pytest.mark.slow
def test_fits_with_new_objectives_leave_nothing_behind():
    program = (
        "import gc, jax, fnopt; from models import *; from fnopt.train import *\n"
        "def once():\n"
        "    task = nnx_task()\n"
        "    result = fit(task, fnopt.adam(.1), blobs(), epochs=1, batch_size=25,\n"
        "        validation_data=blobs(20), average=swa(0, 1), early_stopping=early_stopping())\n"
        "    averaged(task, result.state, blobs()); evaluate(task, result.state, blobs())\n"
        "    stream = lambda: iter([blobs(10)])\n"
        "    fit(task, None, stream, epochs=1, state=result.last, validation_data=blobs(20))\n"
        "once(); counts = []\n"
        "for _ in range(3): once(); gc.collect(); counts.append(len(jax.live_arrays()))\n"
        "print(counts)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
    )
    counts = json.loads(done.stdout.splitlines()[-1])
    assert len(set(counts)) == 1 and counts[0] < 10, (counts, done.stderr)


def test_a_copy_of_an_objective_has_programs_of_its_own():
    task = fnopt.train.objective(
        scaled, "squared_error", params=jnp.ones(()), metrics={"error": error}
    )
    data = np.arange(8, dtype=np.float32), np.arange(8, dtype=np.float32)
    fit(task, fnopt.sgd(0.01), data, epochs=1, batch_size=2)
    for again in (copy.copy(task), copy.deepcopy(task)):
        again.function = doubled
        batch = np.ones((1, 2), np.float32), np.ones((1, 2), np.float32)
        got = evaluate_batches(again, jnp.ones(()), {}, batch, jnp.ones((1, 2)))
        assert float(got["loss"]) == 1.0


def scaled(params: Any, x: Any) -> Any:
    return params * x


def doubled(params: Any, x: Any) -> Any:
    return 2 * params * x


@fnopt.train.minimized
def error(outputs: Any, targets: Any) -> Any:
    return jnp.abs(outputs - targets)
