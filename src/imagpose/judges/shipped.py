"""The judges' weights that ship with the package, and pictures as a judge looks at them.

A judge works at one height of pictures, the one that it was trained at; its weights file says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from imagpose.io import error_line
from imagpose.pixels import bytes_to_signed

_SMALLEST, _HIGHEST = 16, 4096  # pixels of a side, of the height that a file may state
_BATCH = 32  # pictures of 128 pixels' height at a time; fewer of larger ones


class Judge(nn.Module):
    """Base of the judging networks.

    Attributes:
        height: of the pictures that it was trained on, in pixels.
    """

    def __init__(self, height: int = 256) -> None:
        super().__init__()
        self.height = height


def convolutions(before: int, after: int) -> nn.Sequential:
    """Two convolutions of 3 x 3, as on each level of a U-Net; (b, before, h, w) to (b, after, h, w)."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU(),
        nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU(),
    )  # fmt: skip


def descend(blocks: nn.ModuleList, hidden: torch.Tensor) -> list[torch.Tensor]:
    """What each level of a U-Net gives on the way down, the coarsest last: halved by pooling between the blocks."""
    levels = []
    for number, block in enumerate(blocks):
        hidden = block(hidden if number == 0 else functional.max_pool2d(hidden, 2))
        levels.append(hidden)
    return levels


def ascend(blocks: nn.ModuleList, levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """The way up from the coarsest of `levels`: doubled, joined with the next finer level, through that level's block."""
    hidden = levels[-1]
    for block, level in zip(reversed(blocks), levels[-2::-1], strict=True):
        wide = functional.interpolate(hidden, scale_factor=2, mode="bilinear", align_corners=False)
        hidden = block(torch.cat([wide, level], dim=1))
    return hidden


JudgeT = TypeVar("JudgeT", bound=Judge)


def load_judge(kind: type[JudgeT], path: Path) -> JudgeT:
    """A judge with weights that `save_judge` wrote, float32, frozen, in evaluation mode.

    Raises:
        ValueError: the file is no judge's, or another kind's.
    """
    try:
        with safe_open(path, "pt") as file:
            height = (file.metadata() or {}).get("height", "")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a reader, no dictionary
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if not (height.isdecimal() and 0 < int(height) <= _HIGHEST):
        raise ValueError(
            f"{path} does not say at which height of pictures it judges; `imagpose train` writes such files"
        )
    network = kind(int(height))
    try:
        network.load_state_dict(
            {name: own.float() if own.is_floating_point() else own for name, own in weights.items()}
        )
    except RuntimeError as error:
        raise ValueError(f"{path} holds no {kind.__name__}: {error_line(error, 120)}") from None
    return network.eval().requires_grad_(False)


def save_judge(network: Judge, path: Path) -> None:
    """Write a judge's weights in half precision, and the height at which it works."""
    weights = {name: weight.contiguous() for name, weight in network.state_dict().items()}
    half = {name: weight.half() if weight.is_floating_point() else weight for name, weight in weights.items()}
    save_file(half, path, {"height": str(network.height)})


def working_size(size: Sequence[int], working_height: int) -> tuple[int, int]:
    """Height and width in which a judge looks at pictures of a height and width: their aspect is kept."""
    height, width = size
    return working_height, max(_SMALLEST, round(width * working_height / height))


def working_batches(pictures: np.ndarray, working_height: int) -> Iterator[torch.Tensor]:
    """Pictures uint8 (n, H, W, 3) as batches (b, 3, h, w) in [-1, 1], brought to the height in which a judge works."""
    size = working_size(pictures.shape[1:3], working_height)
    count = max(1, _BATCH * 128 * 128 // working_height**2)
    for start in range(0, len(pictures), count):
        pixels = bytes_to_signed(pictures[start : start + count])
        yield resize(pixels, size)


def resize(values: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Values (b, c, H, W) in another size, bilinear, without aliasing; as they are where the size is right."""
    if tuple(values.shape[-2:]) == tuple(size):
        return values
    return functional.interpolate(values, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
