"""Checkpoints that are damaged, edited, or of another run than the one that goes on."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from models import CLASSES, CROSS_ENTROPY, FEATURES, blobs, function_task
from test_resume import Stop, names, nnx, optimizer, run, stopping_at, timeless
from test_train import same

import fnopt
from fnopt.train import (
    CheckpointError,
    History,
    TrainState,
    early_stopping,
    ema_of_params,
    fit,
    objective,
    restore,
)
from fnopt.train.checkpoint import Checkpoints
from fnopt.train.checkpoint_file import Saved, checked
from fnopt.train.closures import closure
from fnopt.train.plain import loads
from fnopt.train.record import LastEvaluation, Position, Record

pytestmark = pytest.mark.beside_optax

LAST = "step_00000010"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("good")
    run(folder, epochs=2)
    return folder


def damaged(good: Path, tmp_path: Path) -> Path:
    """A copy, and in it the newest checkpoint."""
    shutil.copytree(good, tmp_path / "kept")
    return tmp_path / "kept" / LAST


linear = functools.cache(function_task)  # one program for all runs


@functools.cache
def begun() -> TrainState:
    """As a run begins; nothing takes over its buffers."""
    return TrainState.create(nnx(), optimizer(), 0, stopping=early_stopping(patience=5))


def passed_over(path: Path) -> None:
    """The one before is read."""
    with pytest.warns(UserWarning, match=f"{path.name} is not good, passed over"):
        saved = Checkpoints(path.parent).newest(begun())
    assert saved is not None and int(saved.state.step) == 5


def test_every_flipped_bit_of_what_is_said_of_a_checkpoint_is_found(good, tmp_path):
    about = damaged(good, tmp_path) / "about.json"
    content = about.read_bytes()
    checked(about.parent)  # good as it is
    draw = random.Random(0)
    digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
    places = [*draw.sample(digits, 300), *draw.sample(range(len(content)), 300)]
    unseen = []
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << draw.randrange(7)
        about.write_bytes(bytes(flipped))
        try:
            got = checked(about.parent)
        except Exception:
            continue
        unseen += [] if got == loads(content.decode()) else [place]  # white space may differ
    assert not unseen


def edit(path: Path, change: Any, old: bool = False) -> None:
    about = json.loads((path / "about.json").read_text())
    if old:  # as it was written before there was a check sum of it
        for name in ("format", "checksum", "functions", "epochs", "data"):
            del about[name]
        for name in ("over", "evaluated"):
            del about["place"][name]
    change(about)
    (path / "about.json").write_text(json.dumps(about))


def test_what_was_written_before_is_read(good, tmp_path):
    path = damaged(good, tmp_path)
    for one in path.parent.iterdir():
        edit(one, lambda about: None, old=True)
    assert same(run(path.parent, resume=True).state, run().state)


STORED = Path(__file__).with_name("checkpoints") / "format_2.zip"


def stored_run(folder: Path | None, **options: Any) -> Any:
    """The run that has left the stored checkpoint after 7 of 15 steps, its fields as they were."""
    tx = fnopt.chain(
        fnopt.clip_by_global_norm(1.0),
        fnopt.adamw(fnopt.cosine_decay_schedule(0.05, 15), mask={"w": True, "b": False}),
        fnopt.reduce_on_plateau(0.5, patience=1, monitor="metric", mode="max"),
    )
    options = {"test_data": blobs(20), "monitor": "test_accuracy", **options}
    return fit(
        linear(), tx, blobs(), epochs=3, batch_size=10, eval_every=3, accumulate=2,
        early_stopping=early_stopping(8, mode="max"), average=ema_of_params(0.9),
        precision="float16", checkpoint_dir=folder, checkpoint_every=None, **options,
    )  # fmt: skip


def test_a_checkpoint_written_by_an_earlier_version_is_read(tmp_path, caplog):
    shutil.unpack_archive(STORED, tmp_path)
    with caplog.at_level("INFO", "fnopt"):
        with pytest.warns(DeprecationWarning, match="test_data= is now validation_data="):
            rest, whole = stored_run(tmp_path, resume=True), stored_run(None)
    assert "resumed at step 7, epoch 1 of 3" in caplog.text and "is taken" not in caplog.text
    assert len(list(tmp_path.iterdir())) == 2  # the old one and that of the end
    for ours, theirs in zip(*map(jax.tree.leaves, (rest.last, whole.last)), strict=True):
        if not jnp.issubdtype(ours.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(np.float64(ours), np.float64(theirs), rtol=1e-4, atol=1e-6)
    for records, others in (
        (timeless(rest.history), timeless(whole.history)),
        (rest.history.evaluations, whole.history.evaluations),
    ):
        assert len(records) == len(others)
        for record, other in zip(records, others, strict=True):
            assert record == pytest.approx(other, rel=1e-4)


def test_steps_skipped_in_a_saved_epoch_do_not_count_in_its_record():
    """Of format 2 without their list, and with it."""
    metrics = {
        "loss": np.arange(3.0),
        "update_norm": np.array([1, np.inf, 1]),
        "skipped": [0, 1, 1],
    }
    for skipped in (None, [1]):
        record = Record(Position(0), History(), LastEvaluation(), skipped=skipped)
        saved = Saved(begun(), metrics, Record.from_json(json.loads(json.dumps(record.to_json()))))
        assert saved.taken.tolist() == [True, False, True]


def deep(about: dict[str, Any]) -> None:
    nested: Any = []
    for _ in range(800):
        nested = [nested]
    about["structure"] = nested


def test_what_was_edited_is_passed_over(good, tmp_path):
    path = damaged(good, tmp_path)
    edit(path, lambda about: about["place"].update(at=3))  # a number as good as another
    with pytest.warns(UserWarning, match=f"{LAST} is not good, passed over: about.json is not"):
        rest = run(path.parent, resume=True)
    assert same(rest.state, run().state) and timeless(rest.history) == timeless(run().history)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda about: about["place"].update(at=400_000),
        lambda about: about["place"].update(base=-5),
        lambda about: about.update(tested=None),
        lambda about: about.update(tested=[1]),
        lambda about: about.update(history=None),
        lambda about: about.update(history=[1]),
        lambda about: about.update(evaluations={"a": 1}),
        lambda about: about.update(files=[]),
        lambda about: about.update(place=[]),
        lambda about: about.update(structure=7),
        lambda about: about["place"].update(at="3"),
        lambda about: about.clear(),
    ],
)
def test_what_cannot_be_is_passed_over(change, old, good, tmp_path):
    path = damaged(good, tmp_path)
    edit(path, change, old)
    passed_over(path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("about.json", b"\xff\xfe"),
        ("about.json", b"[" * 100_000),
        ("about.json", b"[1, 2]"),
        ("about.json", b"null"),
        ("about.json", b""),
        ("figures.npz", b"\x80\x04K\x01."),
        ("figures.npz", b""),
        ("state/_METADATA", b"null"),
    ],
)
def test_whatever_a_reader_raises_a_checkpoint_is_passed_over(file, content, good, tmp_path):
    path = damaged(good, tmp_path)
    (path / file).write_bytes(content)
    if file != "about.json":  # as if its check sum were right

        def agree(about: dict[str, Any]) -> None:
            about["files"][file] = [len(content), zlib.crc32(content)]

        edit(path, agree, old=True)
    passed_over(path)


def test_where_none_is_good_it_is_said_so_whatever_was_raised(good, tmp_path):
    path = damaged(good, tmp_path)
    for one in path.parent.iterdir():
        (one / "about.json").write_text("[" * 100_000)
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="is good"):
        run(path.parent, resume=True)
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="is good"):
        restore(path.parent, begun())


# Of another run


def gone_on(first: Any, then: Any, folder: Path, **options: Any) -> Any:
    """Begun with one optimizer, and gone on with another."""
    fit(linear(), first, blobs(), epochs=1, batch_size=10, checkpoint_dir=folder)
    options = {"resume": True, **options}
    return fit(linear(), then, blobs(), epochs=2, batch_size=10, checkpoint_dir=folder, **options)


def constant(rate: float) -> Any:
    return lambda count: rate


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        (optax.adam(0.1), optax.nadam(0.1), "nesterov=False.* there, .*nesterov=True.* here"),
        (
            optax.chain(optax.clip(1), optax.adam(0.01)),
            optax.chain(optax.clip(9), optax.adam(0.5)),
            "max_delta=1.* there, .*max_delta=9.* here",
        ),
        (fnopt.sgd(constant(0.1)), fnopt.sgd(constant(0.2)), "rate=0.1.* there, .*rate=0.2"),
        (
            fnopt.sgd(optax.linear_schedule(0.1, 0.0, 10)),
            fnopt.sgd(optax.linear_schedule(0.1, 0.0, 20)),
            "transition_steps=10.* there, .*transition_steps=20",
        ),
    ],
)
def test_other_functions_are_refused_and_may_be_told_to_be_taken(
    first, then, says, tmp_path, caplog
):
    with pytest.raises(ValueError, match=f"(?s)other functions.*resume='override':.*{says}"):
        gone_on(first, then, tmp_path / "a")
    gone_on(first, then, tmp_path / "b", resume="override")
    assert "the code's is taken" in caplog.text
    gone_on(first, first, tmp_path / "c")


def test_another_transform_of_optax_is_another_optimizer(tmp_path):
    first, then = optax.clip(1.0), optax.clip_by_global_norm(1.0)
    first, then = (fnopt.chain(clip, fnopt.sgd(0.1)) for clip in (first, then))
    for resume in (True, "override"):
        with pytest.raises(ValueError, match=r"(?s)another model or optimizer.*clip_by_global"):
            gone_on(first, then, tmp_path / str(resume), resume=resume)


def test_a_function_is_described_the_same_in_every_process():
    def again(x: Any) -> Any:
        return again, x

    assert closure(again).endswith("in_every_process.<locals>.again(again=…)")
    text = closure(optax.adamw(optax.cosine_decay_schedule(0.1, 10), mask=constant(1.0)).update)
    assert "0x" not in text and "decay_steps=10" in text


@pytest.mark.parametrize(
    ("examples", "batch_size"),
    [(50, 9), (59, 10), (25, 5)],
)
def test_other_data_are_refused_in_the_middle_of_an_epoch(examples, batch_size, tmp_path):
    def train(examples: int, batch_size: int, **options: Any) -> Any:
        return fit(
            linear(), fnopt.sgd(0.1), blobs(examples), epochs=2, batch_size=batch_size,
            checkpoint_dir=tmp_path, steps_per_call=1, **options
        )  # fmt: skip

    with pytest.raises(Stop):
        train(50, 10, on_step=stopping_at(3))
    with pytest.raises(
        ValueError, match=f"50 examples with batch_size=10, and here it is {examples} examples with"
    ):
        train(examples, batch_size, resume=True)
    train(50, 10, resume=True)
    # Between two epochs other data may come.
    fit(
        linear(), fnopt.sgd(0.1), blobs(examples), epochs=3, batch_size=batch_size,
        checkpoint_dir=tmp_path, resume=True,
    )  # fmt: skip


# The folder


def test_what_was_left_unfinished_is_removed_whatever_it_is(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("")
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / ".unfinished-file").write_text("")
    (folder / ".unfinished-link").symlink_to(elsewhere)
    (folder / ".unfinished-nowhere").symlink_to(tmp_path / "nowhere")
    with pytest.warns(UserWarning, match="cut off in writing; removed") as warned:
        run(folder, epochs=1)
    assert len(warned) == 3 and names(folder) == ["step_00000005"]
    assert names(elsewhere) == ["mine"]


def test_a_folder_has_one_run_at_a_time(tmp_path):
    program = (
        "import sys; from models import *; import fnopt; from fnopt.train import fit\n"
        "def hold(state, record): print('holds', flush=True); sys.stdin.readline()\n"
        "fit(function_task(), fnopt.sgd(.1), blobs(), epochs=2, checkpoint_dir=sys.argv[1],\n"
        "    on_epoch=hold)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == "holds\n"
        with pytest.raises(OSError, match="another run is writing its checkpoints there"):
            run(tmp_path, resume=True)
        assert names(tmp_path) == ["step_00000001"]
        other.kill()
    fit(linear(), fnopt.sgd(0.1), blobs(), epochs=2, checkpoint_dir=tmp_path, resume=True)

    with pytest.raises(OSError, match="another run is writing"):
        run(tmp_path / "nested", on_epoch=lambda *_: run(tmp_path / "nested", resume=True))
    run(tmp_path / "nested", resume=True)  # it was released


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folder": ""}, "checkpoint_dir must name a folder, got ''"),
        ({"epochs": float("nan")}, "fit: epochs must be an integer, got nan"),
        ({"epochs": 2.0}, "fit: epochs must be an integer, got 2.0"),
        ({"epochs": True}, "fit: epochs must be an integer, got True"),
        ({"epochs": 0}, "fit: epochs must be at least 1, got 0"),
        ({"steps_per_call": float("nan")}, "fit: steps_per_call must be an integer"),
        ({"eval_every": 2.5}, "fit: eval_every must be an integer"),
        ({"checkpoint_every": float("inf")}, "fit: checkpoint_every must be an integer"),
        ({"keep": None}, "fit: keep must be an integer"),
        ({"keep_best": 0.5}, "fit: keep_best must be an integer"),
        ({"early_stopping": 5}, "must be fnopt.train.early_stopping"),
        ({"monitor_mode": "maximum"}, "monitor_mode must be 'min', 'max' or None"),
    ],
)
def test_bad_numbers_are_refused(options, says, tmp_path):
    with pytest.raises((TypeError, ValueError), match=says):
        folder = options.get("folder", tmp_path)
        fit(
            linear(), fnopt.sgd(0.1), blobs(), validation_data=blobs(9), checkpoint_dir=folder,
            **{"epochs": 1, **{k: x for k, x in options.items() if k != "folder"}},
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


# On several devices


@pytest.mark.parametrize(
    ("spec", "streamed"),
    [
        (PartitionSpec("devices"), False),
        (PartitionSpec(), True),
        pytest.param(PartitionSpec(), False, marks=pytest.mark.slow),
        pytest.param(PartitionSpec("devices"), True, marks=pytest.mark.slow),
    ],
)
def test_a_run_on_a_mesh_goes_on_to_the_bit(spec, streamed, tmp_path):
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    split, whole_on_each = NamedSharding(mesh, spec), NamedSharding(mesh, PartitionSpec())
    params = {
        "w": jax.device_put(jnp.zeros((FEATURES, CLASSES)), split),
        "b": jax.device_put(jnp.zeros(CLASSES), whole_on_each),
    }
    task = objective(lambda p, x: x @ p["w"] + p["b"], CROSS_ENTROPY, params=params)
    data = jax.device_put(blobs(80), split)

    def batches() -> Any:
        for i in range(0, 80, 16):
            yield jax.device_put(tuple(x[i : i + 16] for x in blobs(80)), split)

    def train(**options: Any) -> Any:
        return fit(
            task, optimizer(), batches if streamed else data, epochs=3, batch_size=16,
            validation_data=data, steps_per_call=1, early_stopping=early_stopping(5),
            average=fnopt.train.ema_of_params(0.9), **options,
        )  # fmt: skip

    whole = train()
    with pytest.raises(Stop):
        train(checkpoint_dir=tmp_path, on_step=stopping_at(7))
    rest = train(checkpoint_dir=tmp_path, resume=True)
    assert same(rest.last, whole.last)
    assert rest.last.params["w"].sharding.is_equivalent_to(split, 2)
    first = TrainState.create(
        task, optimizer(), 0, stopping=early_stopping(5), average=fnopt.train.ema_of_params(0.9)
    )
    state, _ = fnopt.train.make_train_step(task)(restore(tmp_path, first), data)
    assert int(state.step) == 16
