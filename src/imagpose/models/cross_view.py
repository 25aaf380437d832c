"""Cross-view attention (CVA): every place of a view looks at the same place of the other views.

Source: paper §3.4, Fig. 4. The published code's "motion module" is the case depth 2 with feed-forward: group norm per
view, sinusoidal code of the slot index added to the normalised input of q, k and v.
"""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from einops import rearrange
from torch import nn

from imagpose.models.diffusers_hooks import CheckpointedModule
from imagpose.views import ViewGrid, tile, untile


class SlotEncoding(nn.Module):
    """Sinusoidal codes of the slot index, one table per attention layer, all alike when fresh.

    They are stored beside the weights, as in the published code, whose files hold a table for each layer.
    """

    pe: torch.Tensor

    def __init__(self, channels: int, depth: int, max_views: int) -> None:
        super().__init__()
        table = SinusoidalPositionalEmbedding(channels, max_seq_length=max_views).pe
        self.register_buffer("pe", table.repeat(depth, 1, 1))

    def forward(self, num_views: int) -> torch.Tensor:
        """Codes (depth, num_views, c)."""
        return self.pe[:, :num_views]


class CrossViewLayer(nn.Module):
    """Self-attention along the view axis, with the codes of the slots; residual: (n, v, c) -> (n, v, c)."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        # "attn1" is what diffusers' loaders take for self-attention (IP-Adapter gives every other name image tokens).
        self.attn1 = Attention(channels, heads=num_heads, dim_head=channels // num_heads, bias=False)

    def forward(self, tokens: torch.Tensor, slot_codes: torch.Tensor) -> torch.Tensor:
        attended: torch.Tensor = tokens + self.attn1(self.norm1(tokens) + slot_codes)
        return attended


class CrossViewFeedForward(nn.Module):
    """GEGLU feed-forward; residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.ff = FeedForward(channels, activation_fn="geglu")

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = tokens + self.ff(self.norm(tokens))
        return output


class CrossViewAttention(CheckpointedModule):
    """Cut into views, normalise, project, attend along the view axis at each place, project, add, tile back.

    The output projection starts at zero: a fresh CVA changes nothing.

    Args:
        channels: c of the feature map.
        num_heads: heads; must divide `channels`.
        depth: attention layers.
        feed_forward: whether a GEGLU feed-forward follows them.
        norm_num_groups: groups of the group norm; must divide `channels`.
        max_views: most views of a grid.
        views_in_batch: the views lie along the batch axis (M1) instead of on a canvas.

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
        views_in_batch: bool = False,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"cross-view depth is {depth}; at least 1 expected")
        for name, value in (("heads", num_heads), ("norm groups", norm_num_groups)):
            if channels % value:
                raise ValueError(f"{value} {name} do not divide {channels} channels of cross-view attention")
        self.max_views = max_views
        self.views_in_batch = views_in_batch
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.slot_encoding = SlotEncoding(channels, depth, max_views)
        self.layers = nn.ModuleList(CrossViewLayer(channels, num_heads) for _ in range(depth))
        self.feed_forward = CrossViewFeedForward(channels) if feed_forward else None
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, hidden: torch.Tensor, grid: ViewGrid) -> torch.Tensor:
        """Exchange between the views of a feature map.

        Args:
            hidden: (b, c, rows * h, cols * w); with `views_in_batch` (b * v, c, h, w), the views of a canvas in a row.
            grid: the view grid; slots are numbered row by row.

        Returns:
            The same shape.

        Raises:
            ValueError: the map cannot be cut into the grid, or the grid has more than `max_views` slots.
        """
        if grid.num_views > self.max_views:
            raise ValueError(f"a grid of {grid} has more than the {self.max_views} views of this cross-view attention")
        return hidden + self.checkpointed(self._change, hidden, grid)

    def _change(self, hidden: torch.Tensor, grid: ViewGrid) -> torch.Tensor:
        views = torch.unflatten(hidden, 0, (-1, grid.num_views)) if self.views_in_batch else untile(hidden, grid)
        b, _, _, h, w = views.shape
        normed = self.norm(views.flatten(0, 1))
        # Fig. 4: of each place a sequence of its own, as long as there are views; no place sees another.
        tokens = self.proj_in(rearrange(normed, "(b v) c h w -> (b h w) v c", b=b))
        for layer, slot_codes in zip(self.layers, self.slot_encoding(grid.num_views), strict=True):
            tokens = layer(tokens, slot_codes)
        if self.feed_forward is not None:
            tokens = self.feed_forward(tokens)
        change = rearrange(self.proj_out(tokens), "(b h w) v c -> b v c h w", b=b, h=h, w=w)
        return change.flatten(0, 1) if self.views_in_batch else tile(change, grid)
