"""Deep features of a UNet kept for some steps, in which only the layers next to its input and output are computed.

    d = deep(x_k) at step k;  out_j = last(d, skips(x_j)) at the steps j behind it

What the deep levels say changes little from one step to the next; the last layers and their skips follow the noise. Source:
Ma, Fang and Wang, "DeepCache: accelerating diffusion models for free", 2024; where the network is cut is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from imagpose.models.unet import IMAGPoseUNet

_SHALLOW = 2
"""Layers of the last up block that are always computed. With one, `mini`'s pictures lose sharpness for little time."""


class KeptFeatures:
    """For a UNet's calls over the steps of a sampling: every so many-th computes all layers, the others few.

    Args:
        unet: of which.
        every: calls from one that computes all layers to the next; 1: all do.
    """

    def __init__(self, unet: IMAGPoseUNet, every: int) -> None:
        self._every, self._age = every, 0
        self._deep = _deep_modules(unet) if every > 1 else []
        self._outputs: dict[nn.Module, Any] = {}

    def renew(self) -> None:
        """Let the next call compute all layers: it is for other canvases."""
        self._age = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call of the UNet; elsewhere it is as it was."""
        is_fresh = self._age % self._every == 0
        own = {module: module.__dict__.get("forward") for module in self._deep}  # of hooks, such as diffusers'

        def forward(module: nn.Module, compute: Any, *arguments: Any, **named: Any) -> Any:
            if is_fresh:
                self._outputs[module] = compute(*arguments, **named)
            return self._outputs[module]

        for module in self._deep:
            module.forward = partial(forward, module, module.forward)
        try:
            yield
        finally:
            for module, before in own.items():
                del module.forward
                if before is not None:
                    module.forward = before
        self._age += 1


def _deep_modules(unet: IMAGPoseUNet) -> list[nn.Module]:
    """Resnets, transformers and samplers but those of the last layers and of the skips that these take.

    The last layer takes its skip from conv_in, the one before it from the first layer, and so on.
    """

    def layers(blocks: Any) -> list[list[nn.Module]]:
        return [
            [resnet, *getattr(block, "attentions", [])[number : number + 1]]
            for block in blocks
            for number, resnet in enumerate(block.resnets)
        ]

    middle = [] if unet.mid_block is None else [unet.mid_block]
    samplers = [
        sampler
        for blocks, kind in ((unet.down_blocks, "downsamplers"), (unet.up_blocks, "upsamplers"))
        for block in blocks
        for sampler in getattr(block, kind) or []
    ]
    deep = [*layers(unet.down_blocks)[_SHALLOW - 1 :], middle, samplers, *layers(unet.up_blocks)[:-_SHALLOW]]
    return [module for layer in deep for module in layer]
