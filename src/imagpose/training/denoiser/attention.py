"""Attention taught by the renderer: some heads learn to look at the place of the body that they are to paint.

The renderer knows which point of the body, on a body at rest, each cell of a view shows. For a target's token i and the
visible sources' tokens j of its canvas, d_ij is their distance on that body, and the taught heads learn
p_ij = softmax_j(-d_ij^2 / 2 s^2) by cross-entropy, where the nearest source token is near enough. Heads are the first ones
of self-attention layers that exist anyway: no parameter is added, and nothing changes at inference. Source: own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import nn
from torch.nn import functional

from imagpose.models.unet import IMAGPoseUNet
from imagpose.training.surface import pool_surface
from imagpose.views import ViewGrid, tile

_SPREAD = 0.03  # s in metres
_REACH = 0.12  # metres; a target further from all sources shows what no source shows
_COVERED = 0.5  # share of a cell that must show the person


@dataclass(frozen=True)
class Correspondence:
    """Where the tokens of n sequences of t tokens should look.

    Attributes:
        attention: (n, t, t) each row a distribution over source tokens; without meaning where not `taught`.
        taught: bool (n, t), target tokens that have a place to look at.
        sources: bool (n, t), tokens of visible views that show the person.
    """

    attention: torch.Tensor
    taught: torch.Tensor
    sources: torch.Tensor


def find_correspondence(surface: torch.Tensor, visible: torch.Tensor) -> Correspondence:
    """The correspondence of tokens by their places on the body.

    Args:
        surface: (n, t, 4) place on the body at rest in metres, and coverage.
        visible: (n, t), 1 = token of a visible source.
    """
    points, covered = surface[..., :3].float(), surface[..., 3] > _COVERED
    sources = covered & (visible > 0)
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    distances = distances.masked_fill(~sources[:, None], 1e3)
    taught = covered & (visible <= 0) & (distances.amin(dim=-1) < _REACH)
    return Correspondence(torch.softmax(-distances.square() / (2 * _SPREAD**2), dim=-1), taught, sources)


class _Site:
    """One attention layer whose first heads are taught."""

    def __init__(self, attention: nn.Module, level: int, across_views: bool, heads: int) -> None:
        assert isinstance(attention, Attention)
        if heads > attention.heads:
            raise ValueError(f"attention_heads is {heads}; attention at level {level} has {attention.heads}")
        self.level, self.across_views, self.heads = level, across_views, heads
        self.scale, self.head_size = attention.scale, attention.inner_dim // attention.heads
        self.seen: tuple[torch.Tensor, torch.Tensor] | None = None
        attention.register_forward_pre_hook(self.watch, with_kwargs=True)

    def watch(self, attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep queries and keys of the taught heads, in the layer's own call, where its weights are at hand.

        Training mode alone decides, so that gradient checkpointing, which calls again in the backward pass, repeats it.
        """
        if not attention.training:
            return
        hidden = args[0] if args else kwargs["hidden_states"]
        assert isinstance(attention.to_q, nn.Linear) and isinstance(attention.to_k, nn.Linear)
        width = self.heads * self.head_size
        weights = (linear.weight[:width] for linear in (attention.to_q, attention.to_k))
        queries, keys = (torch.unflatten(functional.linear(hidden, weight), -1, (self.heads, -1)) for weight in weights)
        self.seen = queries.transpose(1, 2), keys.transpose(1, 2)

    def log_attention(self) -> torch.Tensor:
        """Logarithm of the attention (n, heads, t, t) of the last call."""
        assert self.seen is not None
        queries, keys = self.seen
        self.seen = None
        return torch.log_softmax((queries @ keys.transpose(-1, -2)).float() * self.scale, dim=-1)


class AttentionTeacher:
    """Watches a UNet's attention in training mode and says how far it is from where it should look."""

    def __init__(self, unet: IMAGPoseUNet, levels: Sequence[int], heads: int, cross_view: bool) -> None:
        """Hook into the attention layers.

        Args:
            unet: with views on a canvas.
            levels: of the down and up blocks whose attention is taught; 0 is the finest.
            heads: the first heads of each layer are taught.
            cross_view: also teach cross-view attention, where a place looks at the same place of other views.

        Raises:
            ValueError: a level has no attention, a layer has fewer heads, or the views lie along the batch axis.
        """
        if unet.config.view_layout != "canvas":
            raise ValueError("attention can be taught only where the views lie on a canvas: set attention_weight to 0")
        self._sites: list[_Site] = []
        depth = len(unet.down_blocks)
        for level in levels:
            blocks = (unet.down_blocks[level], unet.up_blocks[depth - 1 - level]) if level < depth else ()
            transformers = [layer for block in blocks for layer in getattr(block, "attentions", [])]
            attentions = [layer for layer in transformers if hasattr(layer, "transformer_blocks")]
            if not attentions:
                raise ValueError(f"attention_levels: level {level} of the UNet has no attention")
            for layer in attentions:
                self._sites.append(_Site(layer.transformer_blocks[0].attn1, level, False, heads))
                if cross_view:
                    self._sites.append(_Site(layer.cross_view.layers[0].attn1, level, True, heads))

    def loss(self, surface: torch.Tensor, mask: torch.Tensor, grid: ViewGrid) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy of the taught heads in the last call, and the share of their attention on the person in sources.

        Each canvas counts alike, as the mean over its taught tokens; one without any counts 0 in the loss and not at all
        in the share.

        Args:
            surface: (b, v, h, w, 4), see `find_correspondence`, one cell per latent.
            mask: (b, v), 1 = visible source.
            grid: the view grid.

        Returns:
            Two scalars; the second without gradient.
        """
        found: dict[tuple[int, bool], Correspondence] = {}
        losses, shares = [], []
        for site in self._sites:
            key = site.level, site.across_views
            if key not in found:
                found[key] = find_correspondence(*_tokens(surface, mask, grid, *key))
            wanted, log_attention = found[key], site.log_attention()
            entropy = -(wanted.attention[:, None] * log_attention).sum(dim=-1).mean(dim=1)
            on_sources = (log_attention.detach().exp() * wanted.sources[:, None, None]).sum(dim=-1).mean(dim=1)
            taught = wanted.taught.reshape(len(mask), -1)
            counts = taught.sum(dim=1)
            losses.append(((entropy.reshape_as(taught) * taught).sum(dim=1) / counts.clamp(min=1)).mean())
            share = (on_sources.reshape_as(taught) * taught).sum(dim=1) / counts.clamp(min=1)
            shares.append(share.sum() / (counts > 0).sum().clamp(min=1))
        return torch.stack(losses).mean(), torch.stack(shares).mean()


def _tokens(
    surface: torch.Tensor, mask: torch.Tensor, grid: ViewGrid, level: int, across_views: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Surface (n, t, 4) and visibility (n, t) of the tokens as an attention layer of a level sees them."""
    surface = pool_surface(surface, 2**level)
    _, _, height, width, _ = surface.shape
    cells = torch.cat([surface, mask[:, :, None, None, None].expand(-1, -1, height, width, 1).to(surface)], dim=-1)
    if across_views:
        tokens = rearrange(cells, "b v h w c -> (b h w) v c")
    else:
        tokens = tile(rearrange(cells, "b v h w c -> b v c h w"), grid).flatten(2).transpose(1, 2)
    return tokens[..., :4], tokens[..., 4]
