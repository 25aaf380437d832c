"""Cross-view attention against plain loops over views, heads and positions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from imagpose.models.cross_view import CrossViewAttention
from imagpose.views import ViewGrid

CHANNELS, HEADS, GROUPS = 8, 2, 4


def build(**config: object) -> CrossViewAttention:
    torch.manual_seed(0)
    module = CrossViewAttention(CHANNELS, HEADS, norm_num_groups=GROUPS, **config)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def group_norm(view: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    normed = torch.empty_like(view)
    size = CHANNELS // GROUPS
    for group in range(GROUPS):
        part = view[group * size : (group + 1) * size]
        normed[group * size : (group + 1) * size] = (part - part.mean()) / math.sqrt(part.var(unbiased=False) + 1e-6)
    return normed * weight[:, None, None] + bias[:, None, None]


def layer_norm(vector: torch.Tensor, norm: torch.nn.LayerNorm) -> torch.Tensor:
    scaled = (vector - vector.mean()) / math.sqrt(vector.var(unbiased=False) + 1e-5)
    return scaled * norm.weight + norm.bias


def slot_code(slot: int) -> torch.Tensor:
    code = torch.empty(CHANNELS)
    for index in range(0, CHANNELS, 2):
        angle = slot / 10000 ** (index / CHANNELS)
        code[index], code[index + 1] = math.sin(angle), math.cos(angle)
    return code


def attend(tokens: list[torch.Tensor], layer: torch.nn.Module) -> list[torch.Tensor]:
    """Multi-head self-attention among the vectors of one position, head by head."""
    attention, width = layer.attn1, CHANNELS // HEADS
    coded = [layer_norm(token, layer.norm1) + slot_code(slot) for slot, token in enumerate(tokens)]
    result = []
    for query_token, residual in zip(coded, tokens, strict=True):
        heads = []
        for head in range(HEADS):
            rows = slice(head * width, (head + 1) * width)
            query = attention.to_q.weight[rows] @ query_token
            scores = [query @ (attention.to_k.weight[rows] @ key) / math.sqrt(width) for key in coded]
            weights = torch.softmax(torch.stack(scores), dim=0)
            values = [attention.to_v.weight[rows] @ value for value in coded]
            heads.append(sum(weight * value for weight, value in zip(weights, values, strict=True)))
        out = attention.to_out[0]
        result.append(residual + out.weight @ torch.cat(heads) + out.bias)
    return result


def feed_forward(token: torch.Tensor, layer: torch.nn.Module) -> torch.Tensor:
    first, second = layer.ff.net[0].proj, layer.ff.net[2]
    value, gate = (first.weight @ layer_norm(token, layer.norm) + first.bias).chunk(2)
    return token + second.weight @ (value * functional.gelu(gate)) + second.bias


def reference(module: CrossViewAttention, canvas: torch.Tensor, grid: ViewGrid) -> torch.Tensor:
    result = canvas.clone()
    height, width = canvas.shape[-2] // grid.rows, canvas.shape[-1] // grid.cols
    for sample in range(canvas.shape[0]):
        corners = [(row * height, col * width) for row in range(grid.rows) for col in range(grid.cols)]
        views = [canvas[sample, :, top : top + height, left : left + width] for top, left in corners]
        normed = [group_norm(view, module.norm.weight, module.norm.bias) for view in views]
        for y in range(height):
            for x in range(width):
                tokens = [module.proj_in.weight @ view[:, y, x] + module.proj_in.bias for view in normed]
                for layer in module.layers:
                    tokens = attend(tokens, layer)
                if module.feed_forward is not None:
                    tokens = [feed_forward(token, module.feed_forward) for token in tokens]
                for (top, left), token in zip(corners, tokens, strict=True):
                    result[sample, :, top + y, left + x] += module.proj_out.weight @ token + module.proj_out.bias
    return result


@pytest.mark.parametrize("grid", ["2x2", "1x2", "2x3", "3x2"])
@pytest.mark.parametrize("config", [{}, {"depth": 2, "feed_forward": True}], ids=["paper", "released code"])
@torch.no_grad()
def test_equals_plain_loops(grid: str, config: dict) -> None:
    module, view_grid = build(**config), ViewGrid.parse(grid)
    canvas = torch.randn(2, CHANNELS, view_grid.rows * 2, view_grid.cols * 3)
    torch.testing.assert_close(module(canvas, view_grid), reference(module, canvas, view_grid), rtol=1e-4, atol=1e-5)


def test_fresh_module_changes_nothing() -> None:
    canvas = torch.randn(1, CHANNELS, 4, 6)
    module = CrossViewAttention(CHANNELS, HEADS, depth=2, feed_forward=True, norm_num_groups=GROUPS)
    assert torch.equal(module(canvas, ViewGrid(2, 2)), canvas)


@torch.no_grad()
def test_views_along_the_batch_give_the_same() -> None:
    on_canvas, in_batch = build(), build(views_in_batch=True)
    views = torch.randn(2, 6, CHANNELS, 2, 3)
    canvas = torch.stack([torch.cat([torch.cat(list(v[r * 3 : r * 3 + 3]), 2) for r in range(2)], 1) for v in views])
    expected = on_canvas(canvas, ViewGrid(2, 3))
    mixed = in_batch(views.flatten(0, 1), ViewGrid(2, 3)).unflatten(0, (2, 6))
    for slot in range(6):
        row, col = divmod(slot, 3)
        cell = expected[:, :, row * 2 : row * 2 + 2, col * 3 : col * 3 + 3]
        torch.testing.assert_close(mixed[:, slot], cell, rtol=1e-5, atol=1e-6)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide 8 channels"):
        CrossViewAttention(8, 3, norm_num_groups=4)
    with pytest.raises(ValueError, match="32 norm groups do not divide 8"):
        CrossViewAttention(8, 2)
    with pytest.raises(ValueError, match="depth is 0"):
        CrossViewAttention(8, 2, depth=0, norm_num_groups=4)
    with pytest.raises(ValueError, match="more than the 3 views"):
        CrossViewAttention(8, 2, norm_num_groups=4, max_views=3)(torch.zeros(1, 8, 4, 4), ViewGrid(2, 2))
    with pytest.raises(ValueError, match="cannot be cut"):
        build()(torch.zeros(1, 8, 5, 4), ViewGrid(2, 2))
