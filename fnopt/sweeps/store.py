"""A folder with the finished chunks of a sweep, from which it goes on after an interruption.

``sweep.json`` says what the sweep is, for people and to refuse another one; each ``chunk-….npz``
has the records of the runs of a chunk and the states that are kept. A file is written under another
name first, so that one that is there is whole.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fnopt.sweeps.begin import state_of
from fnopt.sweeps.data import RunRecord
from fnopt.sweeps.identity import bytes_of, difference
from fnopt.sweeps.run import Finished
from fnopt.sweeps.training import Chunk, Training
from fnopt.train.about import is_key
from fnopt.train.checkpoint_file import flush
from fnopt.train.folder_lock import FolderLock
from fnopt.train.plain import dumps, loads
from fnopt.train.state import TrainState


class Store:
    """The folder of a sweep; without one it stores nothing.

    Args:
        folder: path of the folder, created if missing; None for none.
        resume: whether to go on from what is there.
    """

    def __init__(self, folder: str | os.PathLike | None, resume: bool) -> None:
        self.folder = None if folder is None else Path(folder)
        self.resume = resume
        self._lock: FolderLock | None = None

    def __enter__(self) -> Store:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.folder)
            try:
                self._lock.acquire()
            except BlockingIOError as error:
                raise BlockingIOError(
                    error.errno, "another sweep is writing there; end it, or give another folder",
                    str(self.folder),
                ) from None  # fmt: skip
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._lock is not None:
            self._lock.release()

    def open(self, identity_of: Callable[[], dict[str, Any]]) -> None:
        """Begins a sweep, or goes on with it.

        Args:
            identity_of: returns what the sweep is.

        Raises:
            ValueError: there is another sweep; or there is one, and the sweep does not resume.
        """
        if self.folder is None:
            return
        about, identity = self.folder / "sweep.json", loads(dumps(identity_of()))
        if not about.exists():
            self._write(about, dumps(identity).encode())
            return
        if not self.resume:
            raise ValueError(
                f"sweep: there is a sweep in {self.folder}, {finished_runs(self.folder)} runs of it"
                " finished; go on with it by resume=True, or give another folder"
            )
        if words := difference(loads(about.read_text()), identity):
            raise ValueError(
                f"sweep: the folder {self.folder} has another sweep: {words}; give another folder"
            )

    def slots(self, group: Sequence[int]) -> int | None:
        """How many runs went at once in the finished chunks of a group; None for none."""
        for arrays in map(_load, self._chunks()):
            if arrays and set(arrays["numbers"]) <= set(group):
                return int(arrays["slots"])
        return None

    def read(self, training: Training, group: Sequence[int]) -> Finished:
        """The finished runs of a group.

        Args:
            training: what the runs have in common.
            group: numbers of runs of one structure.
        """
        done = Finished([], {})
        for arrays in map(_load, self._chunks()):
            if arrays and set(arrays["numbers"]) <= set(group):
                done.records += _records(training, arrays)
                done.states.update(_states(training, arrays))
        return done

    def write(self, chunk: Chunk, finished: Finished) -> None:
        """Saves a finished chunk.

        Args:
            chunk: the runs.
            finished: their records and states.
        """
        if self.folder is None:
            return
        records = finished.records
        arrays = {
            "numbers": np.asarray(chunk.numbers),
            "slots": np.asarray(chunk.slots),
            "diverged_at": np.asarray([_or(-1, record.diverged_at) for record in records]),
            "stopped_at": np.asarray([_or(-1, record.stopped_at) for record in records]),
            "epochs": records[0].epochs,
        }
        for name in records[0].curves:
            arrays[f"curves/{name}"] = np.stack([record.curves[name] for record in records])
        for number, state in finished.states.items():
            for i, leaf in enumerate(jax.tree.leaves(state)):
                arrays[f"states/{number}/{i}"] = bytes_of(leaf)
        path = self.folder / f"chunk-{chunk.numbers[0]:06d}.npz"
        temporary = path.with_suffix(".part")
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        self._put(temporary, path)

    def _chunks(self) -> list[Path]:
        return [] if self.folder is None else sorted(self.folder.glob("chunk-*.npz"))

    def _write(self, path: Path, content: bytes) -> None:
        temporary = path.with_suffix(".part")
        temporary.write_bytes(content)
        self._put(temporary, path)

    def _put(self, temporary: Path, path: Path) -> None:
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)


def finished_runs(folder: str | os.PathLike) -> int:
    """How many runs of a sweep are finished.

    Args:
        folder: its folder, in which there may be nothing.
    """
    chunks = map(_load, sorted(Path(folder).glob("chunk-*.npz")))
    return sum(len(arrays["numbers"]) for arrays in chunks if arrays)


def _load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a chunk; none of one that is damaged, whose runs are then made again."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            return dict(saved)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


def _records(training: Training, arrays: dict[str, np.ndarray]) -> list[RunRecord]:
    curves = {n.removeprefix("curves/"): x for n, x in arrays.items() if n.startswith("curves/")}
    return [
        RunRecord(
            int(number),
            training.entrants[number],
            training.seeds[training.places[number]],
            arrays["epochs"],
            {name: x[i] for name, x in curves.items()},
            _none(arrays["diverged_at"][i]),
            _none(arrays["stopped_at"][i]),
        )
        for i, number in enumerate(arrays["numbers"])
    ]


def _states(training: Training, arrays: dict[str, np.ndarray]) -> dict[int, TrainState]:
    names = [name.split("/") for name in arrays if name.startswith("states/")]
    states = {}
    for number in {int(number) for _, number, _ in names}:
        shapes = jax.eval_shape(lambda n=number: state_of(training.begin_one(n).states, 0))
        leaves, structure = jax.tree.flatten(shapes)
        restored = [_array(arrays[f"states/{number}/{i}"], x) for i, x in enumerate(leaves)]
        states[number] = structure.unflatten(restored)
    return states


def _array(content: np.ndarray, like: Any) -> jax.Array:
    if is_key(like):
        data = jax.eval_shape(jax.random.key_data, like)
        return jax.random.wrap_key_data(_array(content, data))
    return jax.numpy.asarray(np.frombuffer(content.tobytes(), like.dtype).reshape(like.shape))


def _or(default: int, value: int | None) -> int:
    return default if value is None else value


def _none(value: Any) -> int | None:
    return None if value < 0 else int(value)
