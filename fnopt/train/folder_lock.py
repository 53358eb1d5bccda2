"""A lock on a folder, so that two runs do not write over each other's checkpoints."""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows: there nothing is locked
    fcntl = None


class FolderLock:
    """A lock of one run at a time; the system releases it when the process ends in any way.

    Args:
        folder: a folder that exists when the lock is acquired. Nothing is written into it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock; on a file system that has none, it is taken to be free.

        Raises:
            BlockingIOError: another run holds it.
        """
        if fcntl is None:
            return
        self.descriptor = os.open(self.folder, os.O_RDONLY)
        _held.add(self)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise BlockingIOError(
                error.errno or errno.EAGAIN,
                "another run is writing its checkpoints there; end it, or give another"
                " checkpoint_dir",
                str(self.folder),
            ) from None
        except OSError:
            self.release()

    def release(self) -> None:
        """Releases the lock, if it is held."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _release_in_child() -> None:
    # A lock is held for as long as any process has the descriptor: a loader's worker that outlives
    # its run must not hold it.
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
