"""How a run is stopped: SIGINT and SIGTERM are noted, the step is finished, measuring is cut short."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")
_SHORTLY = 0.05  # seconds


class _CutShort(BaseException):
    """No Exception, so that code which catches those lets it pass."""


class StopRequests:
    """Notes SIGINT and SIGTERM inside its ``with`` block instead of dying of them, however often they come.

    Attributes:
        received: whether one has come.
    """

    def __init__(self) -> None:
        self.received = False
        self._measuring = False
        self._before: list[dict[int, Any]] = []

    def __enter__(self) -> StopRequests:
        """Blocks may be nested: a run does so inside of the one in which it is prepared."""
        self._before.append({number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)})
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.pop().items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True
        if self._measuring:
            self._measuring = False  # once: another signal must not break off what follows
            raise _CutShort

    def unless_stopped(self, measure: Callable[[], Result]) -> Result | None:
        """What `measure` returns; None if a request has come or comes meanwhile, which ends it between two operations.

        Only for what leaves nothing half done: reading weights, drawing pictures, writing files that appear whole.
        """
        hook = sys.unraisablehook

        def raise_again(ignored: sys.UnraisableHookArgs) -> None:
            # Where Python lets nothing be raised, in a destructor or a callback, it is raised again behind that.
            if issubclass(ignored.exc_type, _CutShort):
                self._measuring = True
                threading.Timer(_SHORTLY, _thread.interrupt_main, (signal.SIGTERM,)).start()
            else:
                hook(ignored)

        sys.unraisablehook = raise_again
        try:
            # A request may come between any two lines here: the outer block catches it wherever it is raised.
            try:
                self._measuring = True
                return None if self.received else measure()
            finally:
                self._measuring = False
        except _CutShort:
            return None
        finally:
            sys.unraisablehook = hook


def ignore_stop_requests() -> None:
    """For processes that work for the run: a terminal sends its signals to them too, and the run ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
