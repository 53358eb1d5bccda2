"""Signals that come while data are waited for: the run ends, and keeps what it had come to."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from models import blobs, function_task
from test_train import same

import fnopt
from fnopt.data import Batches
from fnopt.train import fit

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

linear = functools.cache(function_task)  # one program for all runs
SIGNALS = [signal.SIGINT, signal.SIGTERM]


go_on = threading.Event()


def readers() -> list[Any]:
    return [thread for thread in threading.enumerate() if thread.name == "fnopt.data.Batches"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Of those that a signal leaves behind in a loader that waits."""
    go_on.clear()
    yield
    go_on.set()
    for thread in readers():
        thread.join(20)
    assert not readers()


def optimizer() -> Any:
    return fnopt.chain(fnopt.sgd(0.1), fnopt.reduce_on_plateau(0.9, patience=0, monitor="metric"))


def run(data: Any, **options: Any) -> Any:
    options = {"epochs": 3, "validation_data": blobs(20), **options}
    return fit(linear(), optimizer(), data, batch_size=10, **options)


class Waiting:
    """5 batches an epoch; before one of them, once, a signal comes and the loader waits for good.

    Args:
        epoch: in which it waits, 0 for the first.
        at: the number of the batch that does not come; 5 for the end of the epoch.
        number: the signal.
        wait: how it waits.
        count: of batches.
    """

    def __init__(
        self, epoch: int, at: int, number: int = signal.SIGINT, wait: Any = None, count: int = 5
    ):
        self.epoch, self.at, self.number, self.count = epoch, at, number, count
        self.wait, self.passes, self.left = wait or go_on.wait, -1, 0

    def __call__(self) -> Any:
        self.passes += 1
        x, y = blobs(10 * self.count)
        try:
            for i in range(self.count + 1):
                if (self.passes, i) == (self.epoch, self.at):
                    threading.Timer(0.1, os.kill, (os.getpid(), self.number)).start()
                    self.wait(20)  # as good as for ever
                if i < self.count:
                    yield x[10 * i : 10 * i + 10], y[10 * i : 10 * i + 10]
        finally:
            self.left += 1


def plain(loader: Any) -> Any:
    return loader


READ = {"plain": plain, "Batches": Batches, "no thread": lambda x: Batches(x, prefetch=0)}
NEVER = Waiting(-1, -1)


@functools.cache
def whole(eval_every: int | None = None) -> Any:
    return run(NEVER, eval_every=eval_every)


def interrupted(data: Any, **options: Any) -> Any:
    began = time.monotonic()
    handlers = [signal.getsignal(number) for number in SIGNALS]
    result = run(data, **options)
    assert time.monotonic() - began < 15 and result.ended == "interrupted"
    assert [signal.getsignal(number) for number in SIGNALS] == handlers
    return result


def checked(tmp_path: Any, step: int, eval_every: int | None = None) -> None:
    """Goes on from a checkpoint of this step, to what the whole run comes to."""
    assert (tmp_path / f"step_{step:08d}").is_dir()
    rest = run(NEVER, checkpoint_dir=tmp_path, resume=True, eval_every=eval_every)
    expected = whole(eval_every)
    assert same(rest.last, expected.last)
    assert rest.history.evaluations == expected.history.evaluations
    for name in ("loss", "val_loss", "step"):
        np.testing.assert_array_equal(rest.history[name], expected.history[name])


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize(
    ("epoch", "at"),
    [(1, 0), (1, 5), *(pytest.param(*x, marks=pytest.mark.slow) for x in ((0, 1), (1, 3), (2, 5)))],
)
def test_a_signal_ends_the_waiting_for_a_batch(read, epoch, at, tmp_path):
    for eval_every in (None, 5):
        folder = tmp_path / str(eval_every)
        loader = Waiting(epoch, at, SIGNALS[at % 2])
        result = interrupted(READ[read](loader), checkpoint_dir=folder, eval_every=eval_every)
        step = 5 * epoch + at
        assert int(result.state.step) == step and len(result.history) == epoch
        checked(folder, step, eval_every)


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("at", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_signal_ends_the_waiting_for_the_place_to_go_on_from(read, at, tmp_path):
    interrupted(Waiting(1, 4), checkpoint_dir=tmp_path)
    loader = Waiting(1, at)
    loader.passes = 0  # the first epoch was before
    interrupted(READ[read](loader), checkpoint_dir=tmp_path, resume=True)
    checked(tmp_path, 9)


@pytest.mark.parametrize(
    "read", [pytest.param(x, marks=pytest.mark.slow if x == "no thread" else ()) for x in READ]
)
def test_a_signal_ends_the_waiting_for_data_to_evaluate(read, tmp_path):
    for eval_every, steps in ((None, 10), (3, 6)):
        folder = tmp_path / str(eval_every)
        tests = READ[read](Waiting(1, 1, count=2))
        result = interrupted(
            NEVER, validation_data=tests, checkpoint_dir=folder, eval_every=eval_every
        )
        assert int(result.state.step) == steps
        expected = run(NEVER, validation_data=Waiting(-1, -1, count=2), eval_every=eval_every)
        rest = run(NEVER, validation_data=Waiting(-1, -1, count=2), checkpoint_dir=folder,
                   resume=True, eval_every=eval_every)  # fmt: skip
        assert same(rest.last, expected.last)
        assert rest.history.evaluations == expected.history.evaluations
        # The same of arrays in memory, which have no loader to say that the epoch is over.
        folder = tmp_path / f"arrays {eval_every}"
        tests = READ[read](Waiting(1, 1, count=2))
        interrupted(blobs(), validation_data=tests, checkpoint_dir=folder, eval_every=eval_every)
        expected = run(blobs(), validation_data=Waiting(-1, -1, count=2), eval_every=eval_every)
        rest = run(blobs(), validation_data=Waiting(-1, -1, count=2), checkpoint_dir=folder,
                   resume=True, eval_every=eval_every)  # fmt: skip
        assert same(rest.last, expected.last) and len(rest.history) == 3


def raises(error: Any) -> Any:
    def wait(seconds: float) -> None:
        try:
            time.sleep(seconds)
        except KeyboardInterrupt:
            raise error from None

    return wait


def ends(seconds: float) -> None:
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        return


WAYS = {
    "sleep": time.sleep,
    "lock": lambda seconds: [(lock := threading.Lock()).acquire(), lock.acquire(timeout=seconds)],
    "computes": lambda seconds: [time.monotonic() for _ in iter(lambda e=[]: (
        e or e.append(time.monotonic() + seconds), time.monotonic() > e[0])[1], True)],
    "pipe": lambda seconds: os.read(os.pipe()[0], 1),
    "raises": raises(RuntimeError("a worker was killed")),
    "gives the batch": ends,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_however_a_loader_waits_in_the_main_thread(way, tmp_path):
    interrupted(Waiting(0, 3, wait=WAYS[way]), checkpoint_dir=tmp_path)
    checked(tmp_path, 3)


def test_a_loader_that_ends_when_it_is_interrupted_has_not_ended_the_epoch(tmp_path):
    def wait(seconds: float) -> None:
        try:
            time.sleep(seconds)
        except KeyboardInterrupt:
            raise GeneratorExit from None

    class Ending(Waiting):
        def __call__(self) -> Any:
            try:
                yield from super().__call__()
            except GeneratorExit:
                return

    interrupted(Ending(0, 3, wait=wait), checkpoint_dir=tmp_path)
    checked(tmp_path, 3)


def test_a_loader_cleans_up_when_it_is_interrupted():
    loader = Waiting(0, 3)
    interrupted(loader)
    assert loader.left == 1


def test_leaving_an_epoch_does_not_wait_for_a_loader_that_waits():
    def loader() -> Any:
        yield np.ones(2)
        go_on.wait(20)
        yield np.ones(2)

    began = time.monotonic()
    epoch = Batches(loader).epoch()
    next(epoch)
    epoch.close()
    assert time.monotonic() - began < 10
    with pytest.raises(StopIteration):
        next(epoch)
    assert len(readers()) == 1  # and it ends once the loader goes on


@pytest.mark.filterwarnings("ignore")  # of threads and fork
def test_a_loader_s_processes_can_be_ended():
    def loader() -> Any:
        context = multiprocessing.get_context("fork")
        worker = context.Process(target=time.sleep, args=(60,), daemon=True)
        worker.start()
        yield blobs(10)
        worker.terminate()
        worker.join(10)
        assert worker.exitcode == -signal.SIGTERM

    fit(linear(), fnopt.sgd(0.1), loader, epochs=1)


PROGRAM = """
import signal, sys, threading, time
import fnopt
from fnopt.data import Batches
from fnopt.train import fit
from models import blobs, function_task

def loader():
    x, y = blobs(50)
    for i in range(5):
        if i == int(sys.argv[2]):
            print("waiting", flush=True)
            if sys.argv[3] == "deaf":  # as in code that knows no signals
                try:
                    time.sleep(60)
                except BaseException:
                    time.sleep(60)
            threading.Event().wait(60)
        yield x[10 * i : 10 * i + 10], y[10 * i : 10 * i + 10]

# In a terminal; a shell in the background has it ignored, and so have its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
data = {"plain": lambda: loader, "Batches": lambda: Batches(loader)}[sys.argv[1]]()
result = fit(function_task(), fnopt.sgd(0.1), data, epochs=1)
print(result.ended, int(result.state.step), flush=True)
"""


@pytest.mark.parametrize(
    ("read", "at", "how", "signals", "printed", "code"),
    [
        ("Batches", 3, "", [signal.SIGTERM], "interrupted 3\n", 0),
        ("plain", 3, "deaf", [signal.SIGTERM, signal.SIGTERM], "", 128 + signal.SIGTERM),
        ("Batches", 0, "", [signal.SIGINT], "", -signal.SIGINT),
    ],
)
def test_the_process_ends(read, at, how, signals, printed, code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, read, str(at), how]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout.readline() == "waiting\n"
            for number in signals:
                time.sleep(0.5)
                process.send_signal(number)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert out == printed and process.returncode == code
