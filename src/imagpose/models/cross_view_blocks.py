"""Where cross-view attention sits in a diffusers UNet: beside a block's transformers, reached through its stock forward.

Every site is `<block>.attentions.<i>.cross_view`. The view grid travels in `cross_attention_kwargs`, which diffusers'
blocks hand to each attention: it belongs to one forward call and nothing has to remember it. Source: own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import Transformer2DModel
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.unets.unet_2d_blocks import (
    CrossAttnDownBlock2D,
    CrossAttnUpBlock2D,
    DownBlock2D,
    UNetMidBlock2DCrossAttn,
    UpBlock2D,
)
from torch import nn

from imagpose.models.cross_view import CrossViewAttention
from imagpose.views import ViewGrid

BLOCK_TYPES = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D", "DownBlock2D", "UNetMidBlock2DCrossAttn", "UpBlock2D")
PLACEMENTS = ("cross_attention", "every_block")
VIEW_GRID = "view_grid"

MakeCrossView = Callable[[int], CrossViewAttention]


class CrossViewTransformer2DModel(Transformer2DModel):
    """A `Transformer2DModel` with the same parameters and keys, followed by its `cross_view` child."""

    cross_view: CrossViewAttention

    @classmethod
    def from_transformer(
        cls, transformer: Transformer2DModel, cross_view: CrossViewAttention
    ) -> CrossViewTransformer2DModel:
        """Take over the layers of `transformer` (not copied) and put `cross_view` behind them."""
        with torch.device("meta"):
            module = cls(**{key: value for key, value in transformer.config.items() if not key.startswith("_")})
        for name, child in transformer.named_children():
            setattr(module, name, child)
        module.cross_view = cross_view
        return module

    def forward(
        self,
        hidden_states: torch.Tensor,
        *args: Any,
        cross_attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        grid, others = _take_grid(cross_attention_kwargs)
        hidden_states = super().forward(
            hidden_states, *args, cross_attention_kwargs=others, return_dict=False, **kwargs
        )[0]
        output = self.cross_view(hidden_states, grid)
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)


class CrossViewSite(nn.Module):
    """Cross-view attention where a block has no transformer, called as a block calls one."""

    def __init__(self, cross_view: CrossViewAttention) -> None:
        super().__init__()
        self.cross_view = cross_view

    def forward(
        self, hidden_states: torch.Tensor, cross_attention_kwargs: dict[str, Any], **unused: Any
    ) -> tuple[torch.Tensor]:
        return (self.cross_view(hidden_states, _take_grid(cross_attention_kwargs)[0]),)


def _take_grid(cross_attention_kwargs: dict[str, Any] | None) -> tuple[ViewGrid, dict[str, Any]]:
    others = dict(cross_attention_kwargs or {})
    return others.pop(VIEW_GRID), others


def add_cross_view(block: nn.Module, placement: str, make: MakeCrossView) -> nn.Module:
    """The block with cross-view attention at its sites; all stock keys stay.

    Args:
        block: a down, mid or up block of a UNet2DConditionModel, of one of `BLOCK_TYPES`.
        placement: "cross_attention": behind each transformer (paper §3.4). "every_block": also behind each resnet of
            blocks without attention (released code).
        make: makes the cross-view attention for a number of channels.

    Returns:
        The same block, or for a block without attention that gets sites one with the same layers.
    """
    if isinstance(block, CrossAttnDownBlock2D | CrossAttnUpBlock2D | UNetMidBlock2DCrossAttn):
        for index, transformer in enumerate(block.attentions):
            cross_view = make(transformer.out_channels)
            block.attentions[index] = CrossViewTransformer2DModel.from_transformer(transformer, cross_view)
        attended: nn.Module = block
        return attended
    return block if placement == "cross_attention" else _with_sites(block, make)


def _with_sites(block: DownBlock2D | UpBlock2D, make: MakeCrossView) -> nn.Module:
    """A cross-attention block around the layers of a plain one: its forward calls each site and passes the grid."""
    channels = block.resnets[0].out_channels
    common = {"in_channels": channels, "out_channels": channels, "temb_channels": channels, "num_layers": 0}
    host: nn.Module
    if isinstance(block, DownBlock2D):
        host = CrossAttnDownBlock2D(**common, add_downsample=False)
        host.downsamplers = block.downsamplers
    else:
        host = CrossAttnUpBlock2D(
            **common, prev_output_channel=channels, resolution_idx=block.resolution_idx, add_upsample=False
        )
        host.upsamplers = block.upsamplers
    host.resnets = block.resnets
    host.attentions = nn.ModuleList(CrossViewSite(make(channels)) for _ in block.resnets)
    return host
