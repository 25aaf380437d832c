"""How far a job is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_LINE_EVERY = 60.0  # seconds


class _Rate(ProgressColumn):
    """Items a second, of the last seconds."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s")


class Counter:
    """Counts items that are done."""

    def __init__(self, what: str, total: int, progress: Progress) -> None:
        self.what, self.total, self.done, self.failed = what, total, 0, 0
        self._progress, self._task = progress, progress.add_task(what, total=total, failed="")
        self._started = self._said = time.monotonic()

    def add(self, count: int, failed: bool = False) -> None:
        """Count some more."""
        self.done += count
        self.failed += count if failed else 0
        self._progress.update(self._task, advance=count, failed=f"{self.failed:,} failed" if self.failed else "")
        now = time.monotonic()
        if not self._progress.console.is_terminal and now - self._said >= _LINE_EVERY:
            self._said = now
            self._progress.console.print(self.line(now - self._started))

    def line(self, seconds: float) -> str:
        """Done so far, rate and time left."""
        rate = self.done / seconds
        left = (self.total - self.done) / rate / 60
        return (
            f"{self.what}: {self.done:,} of {self.total:,}, {self.failed:,} failed, {rate:,.1f}/s, {left:,.0f} min left"
        )


@contextmanager
def counted(what: str, total: int) -> Iterator[Counter]:
    """A counter, shown while the block runs."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Counter(what, total, progress)
