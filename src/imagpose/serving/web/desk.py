"""One request at a time on a device, in the order they came, with room for a few that wait. Knows no model and no page."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

_PATIENCE = 60.0  # seconds without anybody who looks at a job, after which its page is taken for closed


class BusyError(ValueError):
    """No more requests can wait."""


class CancelledError(Exception):
    """The job was cancelled, or nobody waits for it any more."""


class Job:
    """A piece of work and what is known of it.

    Attributes:
        token: by which its owner finds it again; cannot be guessed.
        state: "waiting", "running", "done", "failed" or "cancelled".
        news: what the work says while it runs.
        result: of the work, when it is done.
        error: what it raised, when it failed.
    """

    def __init__(self, work: Callable[[Job], Any]) -> None:
        self.token = secrets.token_urlsafe(16)
        self.state = "waiting"
        self.news: dict[str, Any] = {}
        self.result: Any = None
        self.error: Exception | None = None
        self.ended = threading.Event()
        self._work = work
        self._cancelled = threading.Event()
        self._seen = time.monotonic()

    def cancel(self) -> None:
        """Ask it to end; a running one does at its next `check`."""
        self._cancelled.set()

    def look(self) -> None:
        """Say that somebody still waits for it."""
        self._seen = time.monotonic()

    def check(self) -> None:
        """Called by the work between its steps.

        Raises:
            CancelledError: it is to end.
        """
        if self._cancelled.is_set() or time.monotonic() - self._seen > _PATIENCE:
            raise CancelledError

    def run(self) -> None:
        """Do the work."""
        try:
            self.check()
            self.state = "running"
            self.result = self._work(self)
            self.state = "done"
        except CancelledError:
            self.state = "cancelled"
        except Exception as error:
            self.error, self.state = error, "failed"
        finally:
            self.ended.set()


class Desk:
    """A thread that does jobs one after the other.

    Args:
        waiting: so many jobs may wait beside the one that runs.
    """

    def __init__(self, waiting: int) -> None:
        self._room = waiting
        self._jobs: deque[Job] = deque()  # the first one runs
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="imagpose desk", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Job], Any]) -> Job:
        """Put work at the end of the line.

        Raises:
            BusyError: nobody may wait any more.
        """
        job = Job(work)
        with self._changed:
            if len(self._jobs) > self._room:
                waiting = len(self._jobs) - 1
                said = "1 request is" if waiting == 1 else f"{waiting} requests are"
                raise BusyError(f"busy: {said} waiting already; try again in a minute")
            self._jobs.append(job)
            self._changed.notify()
        return job

    def place(self, job: Job) -> int:
        """How many stand before it; 0 is the one that runs or runs next, or one that ended."""
        with self._changed:
            return self._jobs.index(job) if job in self._jobs else 0

    def cancel(self, token: str) -> bool:
        """Cancel the job of a token; a waiting one leaves the line at once. False where there is none."""
        with self._changed:
            job = next((job for job in self._jobs if job.token == token), None)
            if job is None:
                return False
            job.cancel()
            if job is not self._jobs[0]:
                self._jobs.remove(job)
                job.run()  # ends it as cancelled
            return True

    def close(self) -> None:
        """Cancel all and wait for the thread to end."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.cancel()
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                job = self._jobs[0]
            job.run()
            with self._changed:
                self._jobs.popleft()
