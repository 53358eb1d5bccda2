"""Runs that are killed, cut off or short of room, and gone on with."""

from __future__ import annotations

import errno
import functools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs, function_task, linen_task, nnx_task
from test_train import same

import fnopt
from fnopt.data import digits
from fnopt.train import (
    CheckpointError,
    TrainState,
    checkpoint_file,
    early_stopping,
    fit,
    import_optax_state,
    restore,
)
from fnopt.train import checkpoint as checkpoint_module

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

SCRIPT = Path(__file__).with_name("resumed.py")


def started(*arguments: Any) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def killed(data: Path, folder: Path, draw: random.Random, most: int, in_writing: bool) -> int:
    """Lets the run go on for a while and kills it; the step it had reached."""
    operations = [draw.randint(20, 30 * most)] if in_writing else []
    with started(data, "never", folder, *operations) as process:
        told = ["0"]
        if not in_writing:
            told += [process.stdout.readline() for _ in range(draw.randint(1, most))]
            time.sleep(draw.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    return int(told[-1])


@pytest.mark.parametrize(("kills", "most"), [(2, 12), pytest.param(20, 4, marks=pytest.mark.slow)])
def test_a_run_that_was_killed_is_the_run_that_was_not(kills, most, tmp_path):
    (x, y), (test_x, test_y) = digits()
    data = tmp_path / "digits.npz"
    np.savez(data, x=x[:300], y=y[:300], test_x=test_x[:100], test_y=test_y[:100])
    folder, draw = tmp_path / "checkpoints", random.Random(kills)
    with started(data, tmp_path / "whole") as whole:
        reached = [killed(data, folder, draw, most, kill % 3 == 1) for kill in range(kills)]
        with started(data, tmp_path / "parts", folder) as rest:
            first = int(rest.stdout.readline())
            rest.stdout.read()
    assert whole.returncode == rest.returncode == 0
    # It was gone on with, and killed in the middle of epochs of 9 steps.
    assert 4 < first <= max(reached) + 4 and any(step % 9 for step in reached)
    with np.load(tmp_path / "whole.npz") as a, np.load(tmp_path / "parts.npz") as b:
        assert a.files == b.files
        for name in a.files:
            assert a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes(), name
        ended, history = str(a["ended"]), json.loads(str(a["history"]))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert ended == "early stopping" and lines[-1]["step"] == history[-1]["step"] > max(reached)
    assert [{k: v for k, v in line.items() if k != "seconds"} for line in lines] == history


# In one process


nnx = functools.cache(nnx_task)  # one program for all runs


def run(folder: Any = None, task: Any = None, tx: Any = None, **options: Any) -> Any:
    """15 steps in 3 epochs, with batch statistics, dropout, plateau and early stopping."""
    options = {"epochs": 3, "checkpoint_dir": folder, **options}
    return fit(
        task or nnx(),
        tx or optimizer(),
        blobs(),
        batch_size=10,
        validation_data=blobs(20, seed=1),
        early_stopping=early_stopping(patience=5),
        **options,
    )


def optimizer(rate: float = 1e-2) -> Any:
    plateau = fnopt.reduce_on_plateau(0.5, patience=0, monitor="metric")
    return fnopt.chain(fnopt.adam(rate), plateau)


def timeless(history: Any) -> Any:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in history.records]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Stop(Exception):
    pass


def stopping_at(step: int) -> Any:
    def on_step(reached: int, metrics: Any) -> None:
        if reached >= step:
            raise Stop

    return on_step


@pytest.mark.parametrize(
    "options", [{}, {"eval_every": 4}, {"checkpoint_every": 3}, {"checkpoint_every": None}]
)
def test_gone_on_with_in_the_middle_of_an_epoch(options, tmp_path):
    whole = run(**{"eval_every": options.get("eval_every")})
    options = {"checkpoint_every": 2, "steps_per_call": 3, "resume": True, **options}
    with pytest.raises(Stop):
        run(tmp_path / "run", on_step=stopping_at(8), **options)
    log = tmp_path / "log.jsonl"
    rest = run(tmp_path / "run", log=log, **options)
    assert same(rest.state, whole.state) and timeless(rest.history) == timeless(whole.history)
    assert rest.history.evaluations == whole.history.evaluations
    assert len(log.read_text().splitlines()) == 3 + len(whole.history.evaluations)
    # Once it is over there is nothing to do.
    steps = []
    again = run(tmp_path / "run", on_step=lambda step, _: steps.append(step), **options)
    assert not steps and same(again.state, whole.state)
    assert timeless(again.history) == timeless(whole.history)
    # And more epochs are more of the same.
    longer = run(epochs=4, eval_every=options.get("eval_every"))
    assert same(run(tmp_path / "run", **options | {"epochs": 4}).state, longer.state)


def test_the_last_and_the_best_are_kept(tmp_path):
    for mode, sign in (("min", 1), ("max", -1)):
        folder = tmp_path / mode
        tx = fnopt.chain(fnopt.adam(0.1))
        result = run(folder, tx=tx, epochs=6, keep=2, monitor="val_accuracy", monitor_mode=mode)
        accuracies = sign * result.history["val_accuracy"]
        best = 5 * (1 + int(np.argmin(accuracies)))
        assert best < 25  # else the last are the best, and nothing is shown
        assert names(folder) == [f"step_{step:08d}" for step in (best, 25, 30)]
        assert result.checkpoint == folder / "step_00000030"
    about = json.loads((result.checkpoint / "about.json").read_text())
    assert about["tx"] == repr(result.state.tx) and about["structure"]["tx"] == "chain"
    assert about["structure"]["params.dense.kernel.value"] == "(8, 16) float32"


def test_only_what_was_evaluated_can_be_best(tmp_path):
    run(tmp_path, epochs=4, keep=1, keep_best=9, checkpoint_every=2)
    # Of every second step those at the end of an epoch of 5.
    assert names(tmp_path) == ["step_00000010", "step_00000020"]


def cut(path: Path, file: str = "state/d/*") -> None:
    """Truncates a file of a checkpoint."""
    (found,) = sorted(path.glob(file))[:1]
    found.write_bytes(found.read_bytes()[:-7])


@pytest.mark.parametrize("file", ["state/d/*", "state/_METADATA", "figures.npz", "about.json"])
def test_a_checkpoint_that_is_cut_off_is_passed_over(file, tmp_path):
    whole = run()
    run(tmp_path, epochs=2)
    cut(tmp_path / "step_00000010", file)
    with pytest.warns(UserWarning, match="step_00000010 is not good, passed over") as warned:
        rest = run(tmp_path, resume=True)
    assert len(warned) == 1
    assert same(rest.state, whole.state) and timeless(rest.history) == timeless(whole.history)
    # The run has written it anew.
    assert same(run(tmp_path, resume=True, epochs=3).state, whole.state)


def test_one_that_was_never_finished_is_passed_over_and_swept_away(tmp_path):
    run(tmp_path, epochs=1)
    (tmp_path / ".unfinished-step_00000099" / "state").mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"unfinished-step_00000099 was cut off in writing"):
        run(tmp_path, epochs=1, resume=True)
    assert names(tmp_path) == ["step_00000005"]


def test_where_none_is_good_the_run_does_not_begin_anew(tmp_path):
    run(tmp_path, epochs=1)
    cut(tmp_path / "step_00000005")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="step_00000005; repair"):
        run(tmp_path, epochs=1, resume=True)


def test_with_nothing_there_a_run_begins_and_one_that_is_there_is_not_written_over(tmp_path):
    begun = run(tmp_path / "a" / "b", epochs=1, resume=True)
    assert same(begun.state, run(epochs=1).state)
    with pytest.raises(ValueError, match=r"there are 1 checkpoints of a run in .*resume=True"):
        run(tmp_path / "a" / "b", epochs=1)
    with pytest.raises(ValueError, match="resume needs checkpoint_dir"):
        run(resume=True)
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        restore(tmp_path / "nowhere", begun.state)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": linen_task()}, r"params\.BatchNorm_0\.bias: missing there, \(16,\) float32"),
        ({"tx": fnopt.sgd(0.1)}, r"tx: chain there, sgd here"),
        (
            {"tx": fnopt.chain(fnopt.adam(1e-2), fnopt.reduce_on_plateau(monitor="value"))},
            r"tx\.transforms\.1\.monitor: metric there, value here",
        ),
        ({"key": jax.random.key(0, impl="rbg")}, r"key: \(\) key<fry> there, \(\) key<rbg> here"),
    ],
)
def test_another_model_or_optimizer_is_refused_with_the_paths(options, says, tmp_path):
    run(tmp_path, epochs=1)
    with pytest.raises(
        ValueError, match=f"(?s)is of another model or optimizer; .*{says}"
    ) as caught:
        run(tmp_path, resume=True, **options)
    assert len(f"{caught.value}".splitlines()) <= 5


def test_the_numbers_of_the_checkpoint_win_unless_told_otherwise(tmp_path, caplog):
    run(tmp_path, epochs=1)
    with caplog.at_level(logging.WARNING, "fnopt"):
        kept = run(tmp_path, tx=optimizer(1e-3), epochs=1, resume=True)
    assert float(kept.state.tx.transforms[0].learning_rate) == np.float32(1e-2)
    (message,) = [record.getMessage() for record in caplog.records]
    assert (
        "tx.transforms.0.learning_rate is 0.01 there, 0.001 here" in message
        and "the checkpoint's is taken" in message
    )
    taken = run(tmp_path, tx=optimizer(1e-3), epochs=1, resume="override")
    assert float(taken.state.tx.transforms[0].learning_rate) == np.float32(1e-3)
    assert same(taken.state.opt_state, kept.state.opt_state)


def test_another_batch_size_is_refused_in_the_middle_of_an_epoch(tmp_path):
    with pytest.raises(Stop):
        fit(function_task(), fnopt.sgd(0.1), blobs(), epochs=1, batch_size=10,
            checkpoint_dir=tmp_path, checkpoint_every=2, steps_per_call=1,
            on_step=stopping_at(3))  # fmt: skip
    with pytest.raises(ValueError, match="of step 3 of an epoch of 5, and here an epoch has 2"):
        fit(function_task(), fnopt.sgd(0.1), blobs(), epochs=1, batch_size=25,
            checkpoint_dir=tmp_path, resume=True)  # fmt: skip


# What the disk refuses


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    steps = []
    for option in ("checkpoint_dir", "log"):
        with pytest.raises(OSError, match="file"):
            run(**{option: tmp_path / "file" / "sub"}, on_step=lambda *told: steps.append(told))
    with pytest.raises(NotADirectoryError, match="give another checkpoint_dir"):
        run(tmp_path / "file" / "sub")
    assert not steps


@pytest.mark.parametrize("where", ["checkpointer", "flush", "dumps"])
def test_a_full_disk_loses_nothing(where, tmp_path, monkeypatch):
    real = getattr(checkpoint_file, where)

    def full(*args: Any) -> Any:
        if len(names(tmp_path)) > 1:  # the first is whole, the second begun
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args)

    monkeypatch.setattr(checkpoint_file, where, full)
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        run(tmp_path)
    error = caught.value
    assert error.errno == errno.ENOSPC and str(tmp_path) in str(error)
    assert error.kept == ["step_00000005"] == names(tmp_path)
    assert "the checkpoint of step 10" in str(error) and "Kept there: step_00000005" in str(error)
    monkeypatch.undo()
    assert same(error.state, run(epochs=2).last) and len(error.history) == 2
    assert same(run(tmp_path, resume=True).state, run().state)


def test_storage_that_refuses_is_told_of_too(tmp_path):
    """Not Python's own files: those of orbax's storage, at a limit on the size of a file."""
    program = (
        "import resource, signal, sys; from models import *; import fnopt;"
        "from fnopt.train import fit, CheckpointError;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "limit = lambda *told: resource.setrlimit(resource.RLIMIT_FSIZE, (700, -1));"
        "run = lambda: fit(nnx_task(), fnopt.adam(.1), blobs(), epochs=2,"
        " checkpoint_dir=sys.argv[1], on_epoch=limit)\n"
        "try: run()\n"
        "except CheckpointError as e: sys.exit(str(e) if e.state is not None else 1)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(
        [sys.executable, "-c", program, tmp_path], env=environment, capture_output=True, text=True
    )
    assert "Kept there: step_00000001" in told.stderr, told.stderr
    # A thread of orbax's that outlives the error may leave something, under no good name.
    assert [name for name in names(tmp_path) if ".unfinished" not in name] == ["step_00000001"]


def test_what_is_written_after_a_failure_is_swept_away(tmp_path, monkeypatch):
    """A thread of the storage's that goes on for a while makes the folder anew."""
    written = []

    def failing(do, path, leaves):
        def late(seconds):
            if len(written) < 3:
                path.mkdir(parents=True)
                written.append(path)

        monkeypatch.setattr(checkpoint_module.time, "sleep", late)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint_file, "checkpointer", failing)
    with pytest.raises(CheckpointError, match="No space left"):
        run(tmp_path)
    assert len(written) == 3 and names(tmp_path) == []


# Beside a run


def test_the_state_is_restored_without_a_run(tmp_path):
    task = nnx()
    result = run(tmp_path)
    fresh = TrainState.create(task, optimizer(), 1, stopping=early_stopping(patience=5))
    restored = restore(tmp_path, fresh)
    assert same(restored, result.last)
    assert jax.tree.structure(restored) == jax.tree.structure(result.last)
    # Every buffer is its own: a step takes them over.
    fnopt.train.make_train_step(task)(restored, blobs())


def test_training_is_imported_without_orbax():
    program = "import fnopt.train, sys; sys.exit(any('orbax' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (fnopt.adam(1e-2), optax.adam(1e-2)),
        (fnopt.adamw(fnopt.cosine_decay_schedule(1e-2, 9)),
         optax.adamw(optax.cosine_decay_schedule(1e-2, 9))),
        (fnopt.sgd(1e-2, momentum=0.9), optax.sgd(1e-2, momentum=0.9)),
        (fnopt.rmsprop(1e-2, centered=True), optax.rmsprop(1e-2, centered=True)),
        (fnopt.lion(1e-3), optax.lion(1e-3)),
        (fnopt.chain(fnopt.clip_by_global_norm(1.0), fnopt.adam(1e-2)),
         optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))),
        (fnopt.lars(1e-2), optax.lars(1e-2)),
    ],
    ids=lambda tx: type(tx).__name__,
)  # fmt: skip
def test_a_run_of_optax_goes_on_with_fnopt(ours, theirs):
    params = {"w": jnp.ones((3, 2)), "b": [jnp.ones(2), jnp.full(2, 3.0)]}
    grads = jax.tree.map(lambda x: 0.3 * x, params)
    state = theirs.init(params)
    for _ in range(3):
        updates, state = theirs.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    imported = import_optax_state(ours, state, params)
    assert jax.tree.structure(imported) == jax.tree.structure(ours.init(params))
    expected, _ = theirs.update(grads, state, params)
    got, _ = ours.update(grads, imported, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7), got, expected)


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        (fnopt.adam(1e-2), optax.lion(1e-2), r"nu\['w'\]: missing there"),
        (fnopt.sgd(1e-2), optax.adam(1e-2), r"mu\['w'\]: .* missing here"),
        (fnopt.sgd(1e-2, momentum=0.9), optax.sgd(1e-2), r"trace\['w'\]: missing there"),
    ],
)
def test_the_state_of_another_method_is_refused(ours, theirs, says):
    params = {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match=f"(?s)import_optax_state.*{says}"):
        import_optax_state(ours, theirs.init(params), params)
    with pytest.raises(ValueError, match=r"mu\['w'\]: \(3,\) .* there, \(2,\) .* here"):
        state = optax.adam(1.0).init({"w": jnp.ones(3)})
        import_optax_state(fnopt.adam(1e-2), state, params)
