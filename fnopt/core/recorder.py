"""Callbacks that keep something of one run."""

from __future__ import annotations

from typing import Any

from fnopt.core.checks import positive_integer
from fnopt.core.tracebacks import hides_frames


class Recorder:
    """A callback that keeps something of a run: a record every few steps or epochs.

    A recorder is for one run, which may be ended and resumed.

    Args:
        every: the number of steps or epochs from one record to the next, above 0.
    """

    def __init__(self, every: int) -> None:
        self.every = positive_integer(f"{type(self).__name__}: every", every)

    def recorded_steps(self) -> list[int]:
        """The number of steps taken at each record."""
        raise NotImplementedError

    def check_goes_on(self, step: int) -> None:
        """Refuses a record of an earlier step than the last one, as it is of another run.

        Args:
            step: the number of steps taken at the new record.

        Raises:
            ValueError: it is smaller than that at the last one.
        """
        name, steps = type(self).__name__, self.recorded_steps()
        if steps and step < steps[-1]:
            raise ValueError(
                f"{name}: it has recorded a run up to step {steps[-1]}, and this one is at step"
                f" {step}; take a new recorder for each run, {name}(…). Only a run that goes on"
                " from there keeps its recorder"
            )

    def nothing(self, method: str, cure: str) -> ValueError:
        """The error of a method that needs a record where there is none.

        Args:
            method: the name of the method.
            cure: how one gets a record.
        """
        return ValueError(f"{type(self).__name__}.{method}: nothing is recorded yet{cure}")

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(every={self.every}, records={len(self.recorded_steps())})"


class EpochRecorder(Recorder):
    """A recorder that measures the train state every few epochs; a subclass says what.

    Args:
        every: the number of epochs from one record to the next, above 0.

    Attributes:
        records: a list of what :meth:`measure` returned.
    """

    def __init__(self, every: int) -> None:
        super().__init__(every)
        self.records: list[Any] = []

    def measure(self, state: Any, epoch: int, step: int) -> Any:
        """A record, which has the attribute ``step``.

        Args:
            state: the train state.
            epoch: the number of the epoch.
            step: the number of steps taken.
        """
        raise NotImplementedError

    def recorded_steps(self) -> list[int]:
        """The number of steps taken at each record."""
        return [record.step for record in self.records]

    def on_epoch(self, state: Any, record: dict[str, Any]) -> None:
        """Makes a record after an epoch whose number is a multiple of ``every``.

        Args:
            state: the train state.
            record: the record of the epoch, with its number.
        """
        if record["epoch"] % self.every == 0:
            self.record(state, record["epoch"])

    @hides_frames
    def record(self, state: Any, epoch: int = 0) -> Any:
        """Makes a record of a state: by itself for the start, before the first epoch.

        Args:
            state: the train state.
            epoch: the number of the epoch.

        Returns:
            The record, the last of ``records`` now.

        Raises:
            ValueError: the run is another one than that recorded before, at an earlier step.
        """
        step = int(state.step)
        self.check_goes_on(step)
        self.records.append(self.measure(state, epoch, step))
        return self.records[-1]

    def check_recorded(self, method: str) -> None:
        """Raises ValueError where nothing is recorded yet, for a method that needs a record."""
        if not self.records:
            each = "each epoch" if self.every == 1 else f"every {self.every} epochs"
            raise self.nothing(
                method,
                ", since no epoch with a record was completed; fit(…, callbacks=[recorder]) makes"
                f" one after {each}",
            )
