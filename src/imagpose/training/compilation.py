"""torch.compile of a stage's networks, where there is a compiler."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

# A view grid is a constant of the compiled code; torch's own 8 variants are fewer than the grids up to 3x3.
_VARIANTS = 64


def compile_networks(networks: Iterable[nn.Module], device: torch.device) -> str | None:
    """Compile the networks in place, so that the names of their weights stay.

    Returns:
        None, or why they are left as they are.
    """
    reason = _why_not(device)
    if reason is None:
        torch._dynamo.config.recompile_limit = _VARIANTS
        for network in networks:
            network.compile()
    return reason


def _why_not(device: torch.device) -> str | None:
    try:
        torch.compile(torch.sin, fullgraph=True)(torch.zeros(2, device=device))
    except Exception as error:  # whatever a missing or broken tool chain raises
        return " ".join(str(error).split())[:200] or type(error).__name__
    return None
