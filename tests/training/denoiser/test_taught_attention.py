"""Taught attention against a plain loop over tokens, and on networks that are checkpointed, copied and trained."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from imagpose.models.unet import IMAGPoseUNet
from imagpose.training.denoiser.attention import AttentionTeacher, find_correspondence
from imagpose.views import ViewGrid
from small_unet import build_small_unet


def small_unet(**changes) -> IMAGPoseUNet:
    torch.manual_seed(0)
    sizes = {"in_channels": 4, "block_out_channels": (8, 16, 16), "cross_attention_dim": 8}
    return build_small_unet(**{**sizes, **changes})


def case(grid: ViewGrid, height: int = 8, width: int = 8, canvases: int = 2):
    """Surface, mask and the UNet's inputs; the first view of each canvas is the source."""
    generator = torch.Generator().manual_seed(1)
    views = grid.num_views
    places = torch.rand(canvases, views, height, width, 3, generator=generator) * 0.3
    coverage = (torch.rand(canvases, views, height, width, 1, generator=generator) > 0.2).float()
    mask = torch.zeros(canvases, views)
    mask[:, 0] = 1
    sample = torch.randn(canvases, 4, grid.rows * height, grid.cols * width, generator=generator)
    return torch.cat([places, coverage], -1), mask, (sample, 5, torch.randn(canvases, 3, 8, generator=generator))


def test_correspondence_is_a_softmax_over_the_nearest_source_tokens() -> None:
    surface, mask, _ = case(ViewGrid(1, 3), 4, 2)
    surface[..., :3] /= 3
    surface[..., 3] = torch.rand(surface.shape[:-1], generator=torch.Generator().manual_seed(3))
    tokens, visible = surface.flatten(1, 3), mask.repeat_interleave(8, dim=1)
    found = find_correspondence(tokens, visible)
    for n, (points, seen) in enumerate(zip(tokens.tolist(), visible.tolist(), strict=True)):
        sources = [j for j in range(24) if seen[j] and points[j][3] > 0.5]
        for i in range(24):
            distances = [math.dist(points[i][:3], points[j][:3]) for j in sources]
            taught = not seen[i] and points[i][3] > 0.5 and bool(sources) and min(distances) < 0.12
            assert bool(found.taught[n, i]) == taught
            if taught:
                weights = [math.exp(-(d**2) / (2 * 0.03**2)) for d in distances]
                expected = np.zeros(24)
                expected[sources] = np.array(weights) / sum(weights)
                assert found.attention[n, i].numpy() == pytest.approx(expected, abs=1e-5)
    assert found.taught.any()


@torch.no_grad()
def probabilities(attention: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """What an attention layer's heads look at, (n, heads, t, t), by diffusers' own computation."""
    queries, keys = (attention.head_to_batch_dim(linear(hidden)) for linear in (attention.to_q, attention.to_k))
    return attention.get_attention_scores(queries, keys).unflatten(0, (-1, attention.heads))


@pytest.mark.parametrize(("heads", "cross_view"), [(1, False), (2, True)])
def test_the_loss_is_that_of_a_plain_loop(heads: int, cross_view: bool) -> None:
    unet, grid = small_unet(), ViewGrid(2, 2)
    surface, mask, inputs = case(grid)
    mask[1] = 0  # a canvas that has nothing to learn from
    teacher = AttentionTeacher(unet, (1,), heads, cross_view)
    seen: list[tuple[torch.nn.Module, torch.Tensor]] = []
    layers = [*unet.down_blocks[1].attentions, *unet.up_blocks[1].attentions]
    for layer in layers:
        for attention in [layer.transformer_blocks[0].attn1] + [layer.cross_view.layers[0].attn1] * cross_view:
            attention.register_forward_pre_hook(
                lambda module, args, kwargs: seen.append((module, args[0] if args else kwargs["hidden_states"])),
                with_kwargs=True,
            )
    with torch.no_grad():
        unet(*inputs, view_grid=grid)
        loss, share = teacher.loss(surface, mask, grid)
    losses, shares = [], []
    for attention, hidden in seen:
        scores, across = probabilities(attention, hidden), hidden.shape[1] == 4
        for head in range(heads):
            entropy, on_source, count = 0.0, 0.0, 0
            cells = [(view, y, x) for view in range(4) for y in range(4) for x in range(4)]
            place = {}
            for view, y, x in cells:
                block = surface[0, view, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].flatten(0, 1)
                covered = float(block[:, 3].mean())
                position = (block[:, :3] * block[:, 3:]).sum(0) / max(float(block[:, 3].sum()), 1e-6)
                place[view, y, x] = position.tolist(), covered
            for view, y, x in cells[16:]:
                targets = [cell for cell in cells[:16] if not across or cell[1:] == (y, x)]
                targets = [cell for cell in targets if place[cell][1] > 0.5]
                distances = [math.dist(place[cell][0], place[view, y, x][0]) for cell in targets]
                if place[view, y, x][1] <= 0.5 or not targets or min(distances) >= 0.12:
                    continue
                weights = np.exp(-(np.array(distances) ** 2) / (2 * 0.03**2))

                def look(
                    cell: tuple[int, int, int], row=(view, y, x), scores=scores, across=across, head=head
                ) -> float:
                    if across:
                        return float(scores[row[1] * 4 + row[2], head, row[0], cell[0]])
                    first, second = ((c[0] // 2 * 4 + c[1]) * 8 + c[0] % 2 * 4 + c[2] for c in (row, cell))
                    return float(scores[0, head, first, second])

                looked = np.array([look(cell) for cell in targets])
                entropy -= float((weights / weights.sum() * np.log(looked)).sum())
                on_source += looked.sum()
                count += 1
            losses.append(entropy / count / 2)
            shares.append(on_source / count)
    assert len(losses) == heads * (6 if cross_view else 3)
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(share) == pytest.approx(np.mean(shares), rel=1e-4)


def gradient(unet: IMAGPoseUNet, teacher: AttentionTeacher) -> torch.Tensor:
    grid = ViewGrid(1, 2)
    surface, mask, inputs = case(grid)
    output = unet(*inputs, view_grid=grid).sample
    loss, _ = teacher.loss(surface, mask, grid)
    (output.square().mean() + loss).backward()
    return torch.cat([weight.grad.flatten() for weight in unet.parameters() if weight.grad is not None])


def test_nothing_changes_with_gradient_checkpointing_or_in_a_copy() -> None:
    plain = small_unet()
    expected = gradient(plain, AttentionTeacher(plain, (1,), 1, cross_view=True))
    saving = small_unet().train()
    saving.enable_gradient_checkpointing()
    assert torch.allclose(gradient(saving, AttentionTeacher(saving, (1,), 1, cross_view=True)), expected, atol=1e-5)
    pair = small_unet()
    both = copy.deepcopy((pair, AttentionTeacher(pair, (1,), 1, cross_view=True)))
    assert torch.allclose(gradient(*both), expected, atol=1e-6)


def test_only_the_first_head_is_taught() -> None:
    unet, grid = small_unet(), ViewGrid(1, 2)
    surface, mask, inputs = case(grid)
    teacher = AttentionTeacher(unet, (1,), 1, cross_view=False)
    unet(*inputs, view_grid=grid)
    teacher.loss(surface, mask, grid)[0].backward()
    attention = unet.up_blocks[1].attentions[1].transformer_blocks[0].attn1
    for linear in (attention.to_q, attention.to_k):
        assert linear.weight.grad[:8].abs().max() > 0 and linear.weight.grad[8:].abs().max() == 0


def test_a_head_learns_to_look_at_the_place() -> None:
    unet, grid = small_unet(), ViewGrid(1, 2)
    surface, mask, (sample, timestep, features) = case(grid, 16, 16, canvases=1)
    surface[:, 1] = surface[:, 0].flip(2)  # the target is the source mirrored
    surface[..., 3] = 1
    sample[:, :3] = torch.cat([surface[:, 0], surface[:, 1]], 2)[..., :3].movedim(-1, 1) * 10
    teacher = AttentionTeacher(unet, (1,), 1, cross_view=False)
    optimizer, shares = torch.optim.AdamW(unet.parameters(), 5e-3), []
    for _ in range(25):
        unet(sample, timestep, features, view_grid=grid)
        loss, share = teacher.loss(surface, mask, grid)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        shares.append(float(share))
    assert shares[0] < 0.65 and shares[-1] > 0.9


def test_what_cannot_be_taught_is_refused() -> None:
    with pytest.raises(ValueError, match="level 0 of the UNet has no attention"):
        AttentionTeacher(small_unet(), (0,), 1, False)
    with pytest.raises(ValueError, match="level 3 of the UNet has no attention"):
        AttentionTeacher(small_unet(), (3,), 1, False)
    with pytest.raises(ValueError, match="attention_heads is 3; attention at level 1 has 2"):
        AttentionTeacher(small_unet(), (1,), 3, False)
    with pytest.raises(ValueError, match="views lie on a canvas"):
        AttentionTeacher(small_unet(view_layout="batch", cross_view_placement=None), (1,), 1, False)
