"""Checkpoints of a run: whole, atomic, and refused where they do not fit.

Each is a folder ``step_00000120``, see :mod:`fnopt.train.checkpoint_file`. It is written into a
folder of another name, flushed, and renamed: a folder of this name is complete at any time.
Check sums detect what a failing disk has cut off since.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from fnopt.core.entry import entry
from fnopt.core.warn import warn_caller
from fnopt.train.arguments import check_state
from fnopt.train.checkpoint_file import MismatchError, Saved, flush, loads, read, write
from fnopt.train.errors import CheckpointError
from fnopt.train.folder_lock import FolderLock
from fnopt.train.state import TrainState

logger = logging.getLogger("fnopt")

_NAME = re.compile(r"step_(\d{8,})")
_UNFINISHED, _OLD, _REPLACED = ".unfinished-", "-old", "-replaced"


class Checkpoints:
    """The checkpoints of one run, in one folder.

    Args:
        folder: folder of the run's checkpoints.
        keep: number of the last ones to keep.
        keep_best: number of those with the best watched metric to keep besides the last ones.
        mode: whether a smaller (``"min"``) or a larger metric (``"max"``) is better.
        monitor: name of the watched metric, by which also those of a run that watched another one
            are compared; None for the metric that each was written with.

    Attributes:
        last: the newest one written or read by this process: its step, and what was done there.

    Raises:
        ValueError: the folder has no name.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        keep: int = 3,
        keep_best: int = 1,
        mode: str = "min",
        monitor: str | None = None,
    ) -> None:
        if not os.fspath(folder):
            raise ValueError("checkpoint_dir must name a folder, got ''; '.' is this one")
        self.folder = Path(folder).absolute()
        self.keep, self.keep_best, self.sign = keep, keep_best, 1 if mode == "min" else -1
        self.monitor = monitor
        self.last: tuple[int, bool, bool] | None = None
        self._metrics: dict[str, float] = {}
        self._lock = FolderLock(self.folder)

    def prepare(self) -> None:
        """Creates the folder if it is missing, and removes unfinished checkpoints.

        Until :meth:`close` no other run can be prepared to write to it.

        Raises:
            OSError: the folder cannot be created or written to, or another run writes to it.
        """
        _check_writable(self.folder)
        self._lock.acquire()
        self._recover()
        for path in self.folder.glob(f"{_UNFINISHED}*"):
            _delete(path)
            if not path.name.endswith((_OLD, _REPLACED)):
                done = "cannot be removed" if os.path.lexists(path) else "removed"
                warn_caller(f"checkpoint {path} was cut off in writing; {done}")

    def close(self) -> None:
        """Lets other runs write to the folder."""
        self._lock.release()

    def __iter__(self) -> Iterator[Path]:
        """Those that were finished, oldest first."""
        paths = self.folder.iterdir() if self.folder.is_dir() else ()
        finished = [path for path in paths if _NAME.fullmatch(path.name)]
        return iter(sorted(finished, key=lambda path: int(path.name.removeprefix("step_"))))

    def save(self, step: int, saved: Saved, metric: float = math.nan) -> Path:
        """Writes a checkpoint, and removes those that are no longer needed.

        Args:
            step: number of steps so far; its name.
            saved: state, metrics and record to write.
            metric: the watched metric of just this state; NaN if it was not evaluated.

        Returns:
            Its folder.

        Raises:
            CheckpointError: it could not be written. The older ones are as they were.
        """
        path = self.folder / f"step_{step:08d}"
        here = _what_is_done(step, saved)
        if here == self.last and path.exists():
            return path
        partial = self.folder / f"{_UNFINISHED}{path.name}"
        try:
            if not self.folder.is_dir():
                logger.warning("%s was deleted, with its checkpoints; created again", self.folder)
                self.folder.mkdir(parents=True)
            _delete(partial)
            partial.mkdir()
            write(partial, saved, metric)
            _replace(path, partial)
            flush(self.folder)
        except Exception as error:  # orbax raises what its storage raises
            _sweep(partial)
            with contextlib.suppress(OSError):
                self._recover()
            raise CheckpointError(self.folder, step, [p.name for p in self], error) from error
        self.last = here
        self._metrics.pop(path.name, None)
        self._thin()
        return path

    def newest(
        self,
        state: TrainState,
        *,
        override: bool = False,
        length: tuple[int | None, int | None] = (None, None),
        only: Path | None = None,
    ) -> Saved | None:
        """The newest good one; None if none was ever finished.

        Damaged checkpoints are skipped with a warning that names them. The hyperparameters in the
        one that is used replace those of ``state``; what differs is logged.

        Args:
            state: the state with which the run would begin; it has the expected structure.
            override: whether to keep the numbers of the values in ``state``.
            length: epochs of the run and steps of each; where they are others than those of the
                run that was saved, the schedules in ``state`` stay.
            only: the one checkpoint to read; None for the newest good one.

        Raises:
            MismatchError: it is of another model or optimizer; names the paths.
            CheckpointError: there are some and none is good.
        """
        paths = list(self) if only is None else [only]
        for path in reversed(paths):
            try:
                saved = read(path, state, override, length)
            except (MismatchError, ImportError):
                raise
            except Exception as error:  # a damaged file makes its reader raise anything
                cause = f"{error}" or type(error).__name__
                cause = cause if len(cause) < 300 else f"{cause[:300]} …"
                warn_caller(f"checkpoint {path} is not good, passed over: {cause}")
                continue
            self.last = _what_is_done(int(path.name.removeprefix("step_")), saved)
            return saved
        if paths:
            raise CheckpointError(self.folder, None, [path.name for path in paths])
        return None

    def _recover(self) -> None:
        """Gives its name back to a checkpoint whose replacement did not get it."""
        for aside in self.folder.glob(f"{_UNFINISHED}*{_REPLACED}"):
            name = aside.name.removeprefix(_UNFINISHED).removesuffix(_REPLACED)
            if not os.path.lexists(path := self.folder / name):
                aside.rename(path)

    def _thin(self) -> None:
        paths = list(self)
        metrics = {path: self._metric(path) for path in paths}
        # The first of equals, as in early stopping: the sort is stable.
        ranked = sorted(
            (path for path in paths if not math.isnan(metrics[path])),
            key=lambda path: self.sign * metrics[path],
        )
        best = ranked[: self.keep_best]
        for path in paths[: -self.keep]:
            if path not in best:
                try:
                    _remove(path)
                except OSError as error:  # the new one is good all the same
                    logger.warning("checkpoint %s cannot be removed: %s", path, error)

    def _metric(self, path: Path) -> float:
        if path.name not in self._metrics:
            try:
                about = loads((path / "about.json").read_text())
                metric = float(about["figure"])  # NaN if it was not evaluated at its step
                if not math.isnan(metric):
                    metric = float(about["tested"].get(self.monitor, metric))
                self._metrics[path.name] = metric
            except Exception:  # damaged: it is not among the best
                self._metrics[path.name] = math.nan
        return self._metrics[path.name]


@entry("restore(folder, state)")
def restore(folder: str | os.PathLike, state: TrainState, *, override: bool = False) -> TrainState:
    """The state of the newest good checkpoint of a run, or of one of its checkpoints.

    Args:
        folder: the ``checkpoint_dir`` of the run; or a checkpoint in it, such as
            ``result.best.checkpoint``.
        state: the state with which a run would begin, from :meth:`TrainState.create`; it has the
            expected structure.
        override: whether to keep the numbers of the optimizer and of the other values in ``state``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another model or optimizer; names the paths.
    """
    check_state("restore(folder, state)", state)
    path = Path(folder).absolute()
    only = path if _NAME.fullmatch(path.name) and (path / "about.json").exists() else None
    checkpoints, saved = Checkpoints(path.parent if only else path), None
    if path.is_dir():
        saved = checkpoints.newest(state, override=override, only=only)
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


def _delete(path: Path) -> None:
    """Removes a folder, a file or a link, as far as it can be."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    # Renamed first: a partly removed folder must not have the name of a complete one.
    rubbish = path.with_name(f"{_UNFINISHED}{path.name}{_OLD}")
    _delete(rubbish)
    path.rename(rubbish)
    _delete(rubbish)


def _replace(path: Path, new: Path) -> None:
    """Gives a finished checkpoint its name, and removes the one that had it.

    That one is of an earlier run, and not good; or of this run, from before the work that was due
    there was done. If the process ends between the two renames, the next run recovers it.
    """
    aside = path.with_name(f"{_UNFINISHED}{path.name}{_REPLACED}")
    if os.path.lexists(path):
        _delete(aside)
        path.rename(aside)
    new.rename(path)
    _delete(aside)


def _sweep(path: Path) -> None:
    # A thread of orbax's may still be writing, and creates removed folders again: what is left all
    # the same is removed by the next run.
    for _ in range(10):
        shutil.rmtree(path, ignore_errors=True)
        time.sleep(0.1)
        if not path.exists():
            return


def _what_is_done(step: int, saved: Saved) -> tuple[int, bool, bool]:
    """What tells two checkpoints of a run apart: the step, and whether work is due there."""
    position = saved.record.position
    return step, position.evaluated, position.epoch_over
