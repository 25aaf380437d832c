"""Cross-view attention (CVA): every place of a view looks at the same place of the other views.

Source: paper §3.4, Fig. 4. The published code's "motion module" is the case depth 2 with feed-forward
(`official-checkpoints`): group norm per view, sinusoidal code of the view's index added before q, k and v.
"""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from einops import rearrange
from torch import nn

from imagpose.views import ViewGrid, tile, untile

__all__ = ["CrossViewAttention"]


class _ViewAttention(nn.Module):
    """Self-attention along the view axis, with the code of the slot index; residual."""

    def __init__(self, channels: int, num_heads: int, max_views: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.position = SinusoidalPositionalEmbedding(channels, max_seq_length=max_views)
        self.attention = Attention(channels, heads=num_heads, dim_head=channels // num_heads)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.attention(self.position(self.norm(hidden)))


class _FeedForward(nn.Module):
    """GEGLU feed-forward; residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels, activation_fn="geglu")

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.feed_forward(self.norm(hidden))


class CrossViewAttention(nn.Module):
    """Cut into views, normalise, project, attend along the view axis at each place, project, add, tile back.

    The output projection starts at zero: a fresh CVA changes nothing.

    Args:
        channels: c of the feature map.
        num_heads: heads; must divide `channels`.
        depth: attention layers.
        feed_forward: whether a feed-forward layer follows them.
        norm_num_groups: groups of the group norm; must divide `channels`.
        max_views: most views of a grid.

    Raises:
        ValueError: heads or groups do not divide the channels, or depth below 1.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        depth: int = 1,
        feed_forward: bool = False,
        norm_num_groups: int = 32,
        max_views: int = 32,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"cross-view depth is {depth}; at least 1 expected")
        for name, value in (("heads", num_heads), ("norm groups", norm_num_groups)):
            if channels % value:
                raise ValueError(f"{value} {name} do not divide {channels} channels of cross-view attention")
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        layers: list[nn.Module] = [_ViewAttention(channels, num_heads, max_views) for _ in range(depth)]
        if feed_forward:
            layers.append(_FeedForward(channels))
        self.layers = nn.ModuleList(layers)
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, hidden: torch.Tensor, grid: ViewGrid, batched: bool = False) -> torch.Tensor:
        """Exchange between views.

        Args:
            hidden: (b, c, rows * h, cols * w); with `batched` (b * v, c, h, w), the views of a person in a row.
            grid: the view grid.
            batched: whether views lie along the batch axis (M1) instead of on a canvas.

        Returns:
            The same shape.
        """
        if batched:
            views = rearrange(hidden, "(b v) c h w -> b v c h w", v=grid.num_views)
        else:
            views = untile(hidden, grid)
        b, v, _, h, w = views.shape
        normed = self.norm(views.flatten(0, 1))
        tokens = self.proj_in(rearrange(normed, "(b v) c h w -> (b h w) v c", b=b, v=v))
        for layer in self.layers:
            tokens = layer(tokens)
        change = rearrange(self.proj_out(tokens), "(b h w) v c -> b v c h w", b=b, h=h, w=w)
        return hidden + (change.flatten(0, 1) if batched else tile(change, grid))
