"""Checkpoints of a run: whole, atomic, and refused where they do not fit.

A checkpoint is a folder ``step_00000120`` of three things: the leaves of the train state as orbax
writes them (``state``), the figures of the epoch under way (``figures.npz``), and ``about.json``,
which a person can read: versions, the shape and dtype at every path, kinds and static fields of the
values, the history, the position, and the size and check sum of every file.

It is written into a folder of another name, flushed, and renamed: what has the name is whole,
whenever the process dies. What a failing disk has cut off since is found by the check sums.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import re
import shutil
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.train.about import VALUES, by_path, describe, differences, is_key
from fnopt.train.errors import CheckpointError
from fnopt.train.state import TrainState, copy

logger = logging.getLogger("fnopt")

_NAME = re.compile(r"step_(\d{8,})")
_UNFINISHED, _OLD = ".unfinished-", "-old"


@dataclasses.dataclass
class Saved:
    """What a checkpoint holds.

    Attributes:
        state: the train state.
        figures: of each step so far of the epoch under way.
        about: the rest; JSON, but for NaN and infinities.
    """

    state: TrainState
    figures: dict[str, np.ndarray]
    about: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, in one folder.

    Args:
        folder: where they are.
        keep: how many of the last to keep.
        keep_best: how many of those with the best figure to keep beside them.
        mode: whether a smaller (``"min"``) or a larger figure (``"max"``) is better.
    """

    def __init__(
        self, folder: str | os.PathLike, keep: int = 3, keep_best: int = 1, mode: str = "min"
    ) -> None:
        self.folder = Path(folder).absolute()
        self.keep, self.keep_best, self.sign = keep, keep_best, 1 if mode == "min" else -1
        self.last: int | None = None  # the step of the newest one written or read by this process
        self._figures: dict[str, float] = {}

    def prepare(self) -> None:
        """Makes the folder if it is missing, and sweeps away what was never finished.

        Raises:
            OSError: the folder cannot be made or written to.
        """
        _check_writable(self.folder)
        for path in self.folder.glob(f"{_UNFINISHED}*"):
            if not path.name.endswith(_OLD):
                warnings.warn(f"checkpoint {path} was cut off in writing; removed", stacklevel=3)
            shutil.rmtree(path, ignore_errors=True)

    def __iter__(self) -> Iterator[Path]:
        """Those that were finished, oldest first."""
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return iter(sorted(found, key=lambda path: int(path.name.removeprefix("step_"))))

    def save(self, step: int, saved: Saved, figure: float = math.nan) -> Path:
        """Writes one, and removes those that need not be kept.

        Args:
            step: the steps gone through so far; its name.
            saved: what it holds.
            figure: of an evaluation of just this state; NaN if there was none.

        Raises:
            CheckpointError: it could not be written. The older ones are as they were.
        """
        path = self.folder / f"step_{step:08d}"
        if step == self.last and path.exists():
            return path
        partial = self.folder / f"{_UNFINISHED}{path.name}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            _write(partial, saved, figure)
            if path.exists():  # of an earlier run, and not good: else this one had begun there
                _remove(path)
            partial.rename(path)
            _flush(self.folder)
        except Exception as error:  # orbax raises what its storage raises
            _sweep(partial)
            raise CheckpointError(self.folder, step, [p.name for p in self], error) from error
        self.last = step
        self._thin()
        return path

    def newest(self, state: TrainState, *, override: bool = False) -> Saved | None:
        """The newest good one; None if none was ever finished.

        One that is cut off is passed over with a warning that names it. Its numbers win over those
        of ``state``; where the optimizer's or the stopping's differ, that is logged.

        Args:
            state: as the run would begin; says what is expected.
            override: keep the numbers of the values in ``state``.

        Raises:
            ValueError: it is of another model or optimizer; names the paths.
            CheckpointError: there are some and none is good.
        """
        for path in reversed(bad := list(self)):
            try:
                about = _checked(path)
            except (OSError, ValueError, KeyError) as error:
                warnings.warn(f"checkpoint {path} is not good, passed over: {error}", stacklevel=3)
                continue
            saved = _read(path, about, state, override)
            self.last = int(path.name.removeprefix("step_"))
            return saved
        if bad:
            raise CheckpointError(self.folder, None, [path.name for path in bad])
        return None

    def _thin(self) -> None:
        paths = list(self)
        figures = {path: self._figure(path) for path in paths}
        # The first of equals, as early stopping has it: the order of a sort is kept.
        ranked = sorted(
            (path for path in paths if not math.isnan(figures[path])),
            key=lambda path: self.sign * figures[path],
        )
        best = ranked[: self.keep_best]
        for path in paths[: -self.keep]:
            if path not in best:
                try:
                    _remove(path)
                except OSError as error:  # the new one is good all the same
                    logger.warning("checkpoint %s cannot be removed: %s", path, error)

    def _figure(self, path: Path) -> float:
        if path.name not in self._figures:
            try:
                about = _loads((path / "about.json").read_text())
                self._figures[path.name] = about["figure"]
            except (OSError, ValueError, KeyError):
                self._figures[path.name] = math.nan
        return self._figures[path.name]


def restore(folder: str | os.PathLike, state: TrainState, *, override: bool = False) -> TrainState:
    """The state of the newest good checkpoint in a folder that a run has left.

    Args:
        folder: the ``checkpoint_dir`` of the run.
        state: as a run would begin, from :meth:`TrainState.create`; says what is expected.
        override: keep the numbers of the optimizer and of the other values in ``state``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another model or optimizer; names the paths.
    """
    saved = Checkpoints(folder).newest(state, override=override) if Path(folder).is_dir() else None
    if saved is None:
        raise FileNotFoundError(f"no checkpoint in {folder}")
    return saved.state


# A folder


def _check_writable(folder: Path) -> None:
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise type(error)(
            error.errno,
            f"{error.strerror}: checkpoints cannot be written there; give another checkpoint_dir",
            str(folder),
        ) from error


def _remove(path: Path) -> None:
    # Renamed first: what is half removed must not have the name of a whole one.
    rubbish = path.with_name(f"{_UNFINISHED}{path.name}{_OLD}")
    shutil.rmtree(rubbish, ignore_errors=True)
    path.rename(rubbish)
    shutil.rmtree(rubbish, ignore_errors=True)


def _sweep(path: Path) -> None:
    # A thread of orbax's may be writing still, and makes folders that are gone anew: what stays
    # none the less is swept away by the next run.
    for _ in range(10):
        shutil.rmtree(path, ignore_errors=True)
        time.sleep(0.1)
        if not path.exists():
            return


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _checksum(path: Path) -> list[int]:
    content = path.read_bytes()
    return [len(content), zlib.crc32(content)]


# One checkpoint


def _write(folder: Path, saved: Saved, figure: float) -> None:
    leaves = {
        path: jax.random.key_data(x) if is_key(x) else x
        for path, x in by_path(saved.state).items()
        if np.size(x)  # orbax refuses arrays of no elements, and they hold nothing
    }
    _checkpointer("save", folder / "state", leaves)
    np.savez(folder / "figures.npz", **saved.figures)  # pyright: ignore[reportArgumentType]
    about = {
        **_versions(),
        "figure": figure,
        **saved.about,
        **{name: repr(getattr(saved.state, name, None)) for name in VALUES},
        "structure": describe(saved.state),
        "files": {str(path.relative_to(folder)): _checksum(path) for path in _files(folder)},
    }
    (folder / "about.json").write_text(_dumps(about))
    for path in (*_files(folder), *(p for p in folder.rglob("*") if p.is_dir()), folder):
        _flush(path)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    told = {}
    for package in ("fnopt", "jax", "optax"):
        try:
            told[package] = version(package)
        except PackageNotFoundError:
            told[package] = "not installed"
    return told


def _checked(path: Path) -> dict[str, Any]:
    """What is said about a checkpoint, its files compared with their check sums."""
    about = _loads((path / "about.json").read_text())
    for name, expected in about["files"].items():
        if not (path / name).exists():
            raise ValueError(f"{name} is missing")
        if (found := _checksum(path / name)) != expected:
            raise ValueError(f"{name} is not what was written ({found[0]} bytes of {expected[0]})")
    return about


def _read(path: Path, about: dict[str, Any], state: TrainState, override: bool) -> Saved:
    here = describe(state)
    if told := differences(about["structure"], here):
        raise ValueError(
            f"checkpoint {path} is of another model or optimizer:\n  "
            + "\n  ".join(told)
            + "\nGive another checkpoint_dir, or the model and optimizer it is of."
        )
    expected = by_path(state)
    data = {name: jax.random.key_data(x) if is_key(x) else x for name, x in expected.items()}
    wanted = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
        for name, x in data.items()
        if x.size
    }
    read = {**data, **_checkpointer("restore", path / "state", wanted)}
    # Copies: orbax's arrays are not ours to donate.
    leaves = {
        name: jax.random.wrap_key_data(read[name], impl=jax.random.key_impl(x))
        if is_key(x)
        else copy(read[name])
        for name, x in expected.items()
    }
    restored = jax.tree.unflatten(jax.tree.structure(state), list(leaves.values()))
    restored = _numbers(path, restored, state, override)
    with np.load(path / "figures.npz") as figures:
        return Saved(restored, dict(figures), about)


def _numbers(path: Path, restored: TrainState, state: TrainState, override: bool) -> TrainState:
    """Logs which numbers of the values differ from the code's, and takes those if told to."""
    for name in VALUES:
        there, here = getattr(restored, name, None), getattr(state, name, None)
        for leaf, (a, b) in _pairs(name, there, here).items():
            if not np.array_equal(a, b, equal_nan=True):
                taken = "the code's" if override else "the checkpoint's"
                logger.warning("%s: %s is %s there, %s here; %s is taken", path, leaf, a, b, taken)
        if override and here is not None:
            restored = restored.replace(**{name: jax.tree.map(copy, here)})
    return restored


def _pairs(name: str, there: Any, here: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        f"{name}.{leaf}" if leaf else name: (_plain(a), _plain(b))
        for (leaf, a), b in zip(by_path(there).items(), by_path(here).values(), strict=True)
    }


def _plain(x: Any) -> np.ndarray:
    x = jax.random.key_data(x) if is_key(x) else jnp.asarray(x)
    return np.asarray(x if jnp.issubdtype(x.dtype, jnp.integer) else x.astype(float))


def _checkpointer(do: str, path: Path, leaves: dict[str, Any]) -> Any:
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise ImportError("checkpoints need orbax: pip install 'fnopt[train]'") from error
    # The plain one, not StandardCheckpointer: that writes behind one's back, and a step takes over
    # the buffers.
    with orbax.Checkpointer(orbax.StandardCheckpointHandler()) as checkpointer:
        if do == "save":
            return checkpointer.save(path, args=orbax.args.StandardSave(leaves))  # pyright: ignore
        return checkpointer.restore(path, args=orbax.args.StandardRestore(leaves))  # pyright: ignore


# JSON has no NaN and no infinity.


def _dumps(x: Any) -> str:
    return json.dumps(_named(x), indent=1, allow_nan=False)


def _loads(text: str) -> Any:
    return _unnamed(json.loads(text))


def _named(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _named(y) for name, y in x.items()}
    if isinstance(x, (list, tuple)):
        return [_named(y) for y in x]
    return {"number": repr(x)} if isinstance(x, float) and not math.isfinite(x) else x


def _unnamed(x: Any) -> Any:
    if isinstance(x, dict):
        if x.keys() == {"number"}:
            return float(x["number"])
        return {name: _unnamed(y) for name, y in x.items()}
    return [_unnamed(y) for y in x] if isinstance(x, list) else x
