"""Which device networks run on, and in which precision by default: chosen here for everything that runs a network.

Where several processes are started together, Accelerate gives each of them its own GPU. Source: own.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState

DEVICES = ("cuda", "mps", "cpu")


def choose_device(name: str | None = None) -> str:
    """The device to run on.

    Args:
        name: one of `DEVICES`, or "cuda:1" and so on; None: "cuda" where there is one, else "cpu". Apple's "mps" runs
            where it is asked for.

    Raises:
        ValueError: no such device, or it is not in this machine.
    """
    kind, colon, number = (name or "").partition(":")
    if name is not None and (kind not in DEVICES or (colon and not (kind == "cuda" and number.isdecimal()))):
        raise ValueError(f"device {name!r}: one of {', '.join(DEVICES)}, or cuda:0, cuda:1, ... expected")
    if name == "cpu":
        return name
    import torch  # here, so that a wrong name is refused, and the CPU chosen, before it is imported

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    if int(number or 0) >= count:
        raise ValueError(
            f"device {name!r}: this machine has {count} of this kind; another of {', '.join(DEVICES)} expected"
        )
    return name


def process_state() -> PartialState:
    """What Accelerate knows of this process and those started with it: its number, their count, and its device.

    The device is the CPU where `choose_device` says so. Processes wait for one another for up to a day, since rendering,
    caching and measuring may take hours.
    """
    from accelerate import PartialState

    return PartialState(cpu=choose_device() == "cpu", timeout=timedelta(hours=24))


def multiplies_bf16(device: str) -> bool:
    """Whether a device is a CPU with instructions for products of bfloat16 (AVX-512 or AMX), known on Linux only."""
    if device != "cpu":
        return False
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("flags"):
                return not {"avx512_bf16", "amx_bf16"}.isdisjoint(line.split())
    return False
