"""Runs notebooks in the background, each in a process of its own, several at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode

AT_ONCE = min(os.cpu_count() or 1, 8)
"""One notebook for each core, at most eight: more would wait for memory."""
ARGUMENTS = [
    "--InlineBackend.figure_format=retina",
    "--HistoryManager.enabled=False",  # one file for all
    "--InteractiveShell.colors=nocolor",
]
logging.getLogger("traitlets").setLevel(logging.WARNING)  # nbclient's; each start is a line of it


@dataclass
class Run:
    """A notebook that has been run.

    Attributes:
        notebook: it, with its outputs.
        folder: the folder that it ran in, with the files that it left there.
        seconds: the time that it took, with the start of its process.
        cell: the index of the cell that was run last.
        error: what that raised; "" if nothing.
    """

    notebook: NotebookNode
    folder: Path
    seconds: float = 0.0
    cell: int = 0
    error: str = ""


def start(
    notebooks: Mapping[str, NotebookNode], folder: Path, env: Mapping[str, str], timeout: int
) -> dict[str, Future[Run]]:
    """Begins to run notebooks; a process that ends does not wait for them.

    Args:
        notebooks: notebooks by name, run in this order.
        folder: a folder with a short path, for files and sockets.
        env: their environment variables.
        timeout: seconds that a cell may take.

    Returns:
        Their results to be, by name.
    """
    futures: dict[str, Future[Run]] = {name: Future() for name in notebooks}

    async def run_one(number: int, name: str, free: asyncio.Semaphore) -> None:
        own = folder / str(number)
        own.mkdir()
        async with free:
            try:
                run = await _run(notebooks[name], own, folder / f"kernel{number}", env, timeout)
                futures[name].set_result(run)
            except Exception as error:
                futures[name].set_exception(error)

    async def run_all() -> None:
        free = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(run_one(i, name, free) for i, name in enumerate(notebooks)))

    threading.Thread(target=lambda: asyncio.run(run_all()), daemon=True).start()
    return dict(futures)


async def _run(
    notebook: NotebookNode, folder: Path, socket: Path, env: Mapping[str, str], timeout: int
) -> Run:
    run, began = Run(notebook, folder), time.monotonic()

    def note_cell(cell: NotebookNode, cell_index: int) -> None:
        run.cell = cell_index

    # Sockets in files: nobody else reads them, no port is needed, and nothing is left at home.
    manager = AsyncKernelManager(
        kernel_name="python3",
        transport="ipc",
        ip=str(socket),
        connection_file=f"{socket}.json",
    )
    client = NotebookClient(
        notebook,
        km=manager,
        resources={"metadata": {"path": str(folder)}},
        timeout=timeout,
        startup_timeout=timeout,
        record_timing=False,
        extra_arguments=ARGUMENTS,
        on_cell_start=note_cell,
    )
    client.owns_km = True  # so that the client ends it
    try:
        await client.async_execute(env=dict(env))
    except (CellControlSignal, DeadKernelError) as error:
        run.error = str(error).strip()
    run.seconds = time.monotonic() - began
    return run
