"""The progress bar of a run; not shown where output is no terminal."""

from __future__ import annotations

from typing import Any


class Progress:
    """A rich progress bar over the steps of a run.

    Args:
        show: whether to show it; None shows it on a terminal.
        steps: number of steps of the whole run; None if not known.
        epochs: number of epochs of the whole run.
        done: number of steps done before.
    """

    def __init__(self, show: bool | None, steps: int | None, epochs: int, done: int = 0) -> None:
        self.bar: Any = None
        self.epochs = epochs
        if show is False:
            return
        import rich.console
        import rich.progress as parts
        from rich.table import Column

        console = rich.console.Console(force_terminal=show)
        if show is None and not console.is_terminal:
            return
        fixed, rest = Column(no_wrap=True), Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.bar = parts.Progress(
            parts.TextColumn("epoch {task.fields[epoch]}", table_column=fixed),
            parts.BarColumn(bar_width=16),
            parts.TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            parts.TextColumn("{task.fields[speed]}", table_column=Column(no_wrap=True)),
            parts.TextColumn("[bold]{task.fields[metrics]}", table_column=rest),
            console=console,
            transient=True,
            expand=True,
        )
        self.task = self.bar.add_task(
            "", total=steps, completed=done, epoch=f"0/{epochs}", speed="", metrics="compiling"
        )

    def __enter__(self) -> Progress:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.bar is not None:
            self.bar.stop()

    def show(self, epoch: int, step: int, speed: float, metrics: dict[str, float]) -> None:
        """Shows how far the run is.

        Args:
            epoch: number of the epoch.
            step: number of steps done.
            speed: steps per second.
            metrics: numbers to show, by name.
        """
        if self.bar is not None:
            words = ", ".join(f"{name.replace('_', ' ')} {x:.3g}" for name, x in metrics.items())
            self.bar.update(
                self.task,
                completed=step,
                epoch=f"{epoch}/{self.epochs}",
                speed=f"{speed:,.0f} steps/s",
                metrics=words,
            )
