"""Waiting for what another process does, shared by tests that kill or stop one."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object]) -> None:
    """Return when the condition holds; fail if it does not within a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
