"""The check that a recorder records one run."""

from __future__ import annotations


def check_continues(recorder: str, last: int | None, step: int) -> None:
    """Refuses a record of an earlier step than the last one: that of another run.

    A run that was ended and resumed goes on from its last step.

    Args:
        recorder: the name of the recorder, for the error.
        last: the number of steps taken at the last record; None where there is none.
        step: the number of steps taken at the new one.

    Raises:
        ValueError: the new one is smaller.
    """
    if last is not None and step < last:
        raise ValueError(
            f"{recorder}: it has recorded a run up to step {last}, and this one is at step {step};"
            f" take a new recorder for each run, {recorder}(…). Only a run that goes on from there"
            " keeps its recorder"
        )
