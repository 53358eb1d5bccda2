"""One checkpoint: a folder that is written whole, and read with everything checked.

It has three things: the leaves of the train state as orbax writes them (``state``), the metrics of
the steps of the current epoch (``figures.npz``), with ``step_history`` those of all steps
(``steps.npz``), and ``about.json``, which a person can read:
versions, the shape and dtype at every path, kinds and static fields of the values, the history, the
position, the size and check sum of every file, and last its own check sum.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.schedule import is_schedule
from fnopt.train.about import by_path, describe, differences, functions, is_key
from fnopt.train.plain import dumps, loads
from fnopt.train.record import Record
from fnopt.train.state import VALUES, TrainState, copy
from fnopt.train.step_history import StepHistory

logger = logging.getLogger("fnopt")

FORMAT = 2
"""Number of the format of ``about.json``. A file without one is older than 2, and has no check sum
of its own."""


@dataclasses.dataclass
class Saved:
    """The contents of a checkpoint.

    Attributes:
        state: the train state.
        metrics: an array for each metric, one value per step of the current epoch so far.
        record: position and records of the run.
    """

    state: TrainState
    metrics: dict[str, np.ndarray]
    record: Record

    @property
    def taken(self) -> np.ndarray:
        """Whether each step of the current epoch so far was taken."""
        if self.record.skipped is None and "skipped" in self.metrics:
            # Older checkpoints say it by a norm that is not finite.
            return np.isfinite(self.metrics["update_norm"])
        taken = np.ones(len(self.metrics.get("loss", ())), np.bool_)
        taken[self.record.skipped or []] = False
        return taken


class MismatchError(ValueError):
    """A good checkpoint that is not one of this run."""


def write(folder: Path, saved: Saved, metric: float) -> None:
    """Writes a checkpoint into an existing folder, and flushes it to the disk.

    Args:
        folder: the folder of this checkpoint alone.
        saved: state, metrics and record to write.
        metric: the watched metric of this state; NaN if it was not evaluated.
    """
    leaves = {
        path: jax.random.key_data(x) if is_key(x) else x
        for path, x in by_path(saved.state).items()
        if np.size(x)  # orbax refuses arrays of no elements, and they hold nothing
    }
    checkpointer("save", folder / "state", leaves)
    np.savez(folder / "figures.npz", **saved.metrics)  # pyright: ignore[reportArgumentType]
    if saved.record.history.steps:
        saved.record.history.steps.write(folder / "steps.npz")
    about = {
        "format": FORMAT,
        **_versions(),
        "step": int(saved.state.step),
        "figure": metric,
        **saved.record.to_json(),
        **{name: repr(getattr(saved.state, name, None)) for name in VALUES},
        "structure": describe(saved.state),
        "functions": functions(saved.state),
        "files": {str(path.relative_to(folder)): _checksum(path) for path in _files(folder)},
    }
    about["checksum"] = _own_checksum(about)
    (folder / "about.json").write_text(dumps(about))
    for path in (*_files(folder), *(p for p in folder.rglob("*") if p.is_dir()), folder):
        flush(path)


def read(
    path: Path,
    state: TrainState,
    override: bool = False,
    length: tuple[int | None, int | None] = (None, None),
) -> Saved:
    """Reads a checkpoint; its numbers win over those of ``state``.

    Args:
        path: path of its folder.
        state: the state with which the run would begin; it has the expected structure.
        override: whether to keep the numbers of the values in ``state``.
        length: epochs of the run and steps of each. A run of another length than the one that was
            saved keeps the schedules in ``state``, which have its length.

    Raises:
        MismatchError: it is of another model or optimizer; names the paths.
        Exception: it is damaged; any error that a reader raises.
    """
    about = checked(path)
    record = Record.from_json(about)
    _compare(path, about, state, override)
    restored = _restored(path, state)
    other = None not in (*record.length, *length) and record.length != length
    restored = _numbers(path, restored, state, override, other)
    with np.load(path / "figures.npz", allow_pickle=False) as metrics:
        saved = Saved(restored, dict(metrics), record)
    if saved.taken.shape != saved.metrics.get("loss", np.zeros(0)).shape:
        raise ValueError("figures.npz has another number of steps than about.json")
    if "steps.npz" in about["files"]:  # since there has been a history of steps, where it is kept
        with np.load(path / "steps.npz", allow_pickle=False) as steps:
            record.history.steps = StepHistory(dict(steps))
    return saved


def checked(path: Path) -> dict[str, Any]:
    """The contents of ``about.json``, after it and all files were compared with their check sums.

    Raises:
        MismatchError: it was written by a newer fnopt.
        Exception: a file is missing or damaged.
    """
    about = loads((path / "about.json").read_text())
    if ("format" in about or "checksum" in about) and about.get("checksum") != _own_checksum(about):
        raise ValueError("about.json is not what was written")
    if about.get("format", 1) > FORMAT:
        raise MismatchError(
            f"checkpoint {path} was written by a newer fnopt, {about.get('fnopt')}; update to it"
        )
    for name, expected in about["files"].items():
        if not (path / name).exists():
            raise ValueError(f"{name} is missing")
        if (checksum := _checksum(path / name)) != expected:
            raise ValueError(
                f"{name} is not what was written ({checksum[0]} bytes of {expected[0]})"
            )
    return about


def flush(path: Path) -> None:
    """Has the disk write a file or a folder now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _compare(path: Path, about: dict[str, Any], state: TrainState, override: bool) -> None:
    if lines := differences(_renamed(about["structure"]), describe(state)):
        raise MismatchError(
            f"checkpoint {path} is of another model or optimizer; give those it is of, or another"
            f" checkpoint_dir:{_first(lines)}"
        )
    lines = differences(about.get("functions", current := functions(state)), current)
    if lines and not override:
        raise MismatchError(
            f"checkpoint {path} was written with other functions, whose numbers it cannot bring"
            " back; give those it was written with, or take the code's by resume='override':"
            f"{_first(lines)}"
        )
    for line in lines:
        logger.warning("%s: %s; the code's is taken", path, line)


def _first(lines: list[str], most: int = 3) -> str:
    """The first lines, each on a line of its own, and how many more there are."""
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return "".join(f"\n  {line}" for line in [*lines[:most], *more])


_RENAMED = {"Flags{given: ": "Flags{choice: ", "Labels{given: ": "Labels{choice: "}
"""Fields of static values as earlier versions wrote them, and their names today."""


def _renamed(structure: dict[str, str]) -> dict[str, str]:
    """The structure in a checkpoint, in today's names."""
    for old, new in _RENAMED.items():
        structure = {path: words.replace(old, new) for path, words in structure.items()}
    return structure


def _restored(path: Path, state: TrainState) -> TrainState:
    expected = by_path(state)
    data = {name: jax.random.key_data(x) if is_key(x) else x for name, x in expected.items()}
    # An array that is not committed to a device stays so: it is restored through NumPy. A committed
    # one could not be used together with arrays on a mesh.
    targets = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
        if x.committed
        else np.broadcast_to(np.zeros((), x.dtype), x.shape)
        for name, x in data.items()
        if x.size
    }
    arrays = {**data, **checkpointer("restore", path / "state", targets)}
    for name, x in data.items():
        if (arrays[name].shape, arrays[name].dtype) != (x.shape, x.dtype):
            raise ValueError(f"{name} is {arrays[name].dtype}{list(arrays[name].shape)}")
    # Copies: orbax's arrays are not ours to donate.
    leaves = {
        name: jax.random.wrap_key_data(copy(arrays[name]), impl=jax.random.key_impl(x))
        if is_key(x)
        else copy(arrays[name])
        for name, x in expected.items()
    }
    return jax.tree.unflatten(jax.tree.structure(state), list(leaves.values()))


def _numbers(
    path: Path, restored: TrainState, state: TrainState, override: bool, other_length: bool
) -> TrainState:
    """The state with the numbers that win; logs which of the values' differ from the code's."""

    code = "the code's" + " (the run has another length)" * (other_length and not override)

    def choose(saved: Any, current: Any) -> Any:
        return current if override or (other_length and is_schedule(current)) else saved

    for name in VALUES:
        saved, current = getattr(restored, name, None), getattr(state, name, None)
        chosen = jax.tree.map(choose, saved, current, is_leaf=is_schedule)
        rows = zip(*(by_path(x).items() for x in (saved, current, chosen)), strict=True)
        for (leaf, a), (_, b), (_, c) in rows:
            a, b, c = map(_comparable, (a, b, c))
            if not np.array_equal(a, b, equal_nan=True):
                whose = "the checkpoint's" if np.array_equal(a, c, equal_nan=True) else code
                label = f"{name}.{leaf}" if leaf else name
                logger.warning("%s: %s is %s there, %s here; %s is taken", path, label, a, b, whose)
        restored = restored.replace(**{name: chosen})
        if name == "stopping" and override and current is not None and saved is not None:
            # Whether the run has ended is decided again, with the patience in force.
            decided = current.reconsider(restored.stopping_state, saved.patience)
            restored = restored.replace(stopping_state=decided)
    return restored


def _comparable(x: Any) -> np.ndarray:
    x = jax.random.key_data(x) if is_key(x) else jnp.asarray(x)
    return np.asarray(x if jnp.issubdtype(x.dtype, jnp.integer) else x.astype(float))


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("fnopt", "jax", "optax"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _checksum(path: Path) -> list[int]:
    content = path.read_bytes()
    return [len(content), zlib.crc32(content)]


def _own_checksum(about: dict[str, Any]) -> int:
    content = {name: x for name, x in about.items() if name != "checksum"}
    return zlib.crc32(dumps(content).encode())


def checkpointer(do: str, path: Path, leaves: dict[str, Any]) -> Any:
    """Saves leaves by their paths, or restores them, with orbax."""
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise ImportError("checkpoints need orbax: pip install 'fnopt[train]'") from error
    # The plain one, not StandardCheckpointer: that writes in the background, and a step takes
    # over the buffers.
    with orbax.Checkpointer(orbax.StandardCheckpointHandler()) as handler:
        if do == "save":
            return handler.save(path, args=orbax.args.StandardSave(leaves))  # pyright: ignore
        return handler.restore(path, args=orbax.args.StandardRestore(leaves))  # pyright: ignore
