"""The processes of a run, as Accelerate sees them: which one this is, what it runs on, who goes first."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta

import torch
from accelerate import PartialState


def _state() -> PartialState:
    # Rendering or caching may take hours, in which the other processes wait.
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(hours=24))


def this_process() -> tuple[int, int]:
    """Number of this process, and of all."""
    state = _state()
    return state.process_index, state.num_processes


def run_device() -> torch.device:
    """The device of this process."""
    return _state().device


def main_process_first() -> AbstractContextManager[None]:
    """Let the main process make what all processes then find made."""
    return _state().main_process_first()


def wait_for_everyone() -> None:
    """Return when all processes have come here."""
    _state().wait_for_everyone()
