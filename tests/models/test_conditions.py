"""Meaning of the conditions: channel order, mask, black view, null features."""

from __future__ import annotations

import pytest
import torch

from imagpose.models.conditions import null_features, unet_input
from imagpose.views import ViewGrid


@pytest.mark.parametrize(("c", "in_channels"), [(4, 9), (4, 5), (4, 4), (16, 33), (16, 17), (16, 16)])
def test_channels_of_every_slot(c: int, in_channels: int) -> None:
    grid = ViewGrid(2, 3)
    noisy, latents, black = torch.randn(2, 6, c, 3, 2), torch.randn(2, 6, c, 3, 2), torch.randn(c, 3, 2)
    mask = torch.tensor([[1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]]).float()
    canvas = unet_input(noisy, latents, mask, black, grid, in_channels)

    assert canvas.shape == (2, in_channels, 6, 6)
    for sample in range(2):
        for slot in range(6):
            row, col = divmod(slot, 3)
            cell = canvas[sample, :, row * 3 : row * 3 + 3, col * 2 : col * 2 + 2]
            visible = bool(mask[sample, slot])
            assert torch.equal(cell[:c], noisy[sample, slot])
            if in_channels > c + 1:
                assert torch.equal(cell[c : 2 * c], latents[sample, slot] if visible else black)
            if in_channels > c:
                assert torch.equal(cell[-1], torch.full((3, 2), float(visible)))


def test_latents_of_masked_slots_are_not_seen() -> None:
    noisy, latents, black = torch.randn(1, 2, 4, 2, 2), torch.randn(1, 2, 4, 2, 2), torch.zeros(4, 2, 2)
    mask = torch.tensor([[1.0, 0.0]])
    hidden = latents.clone()
    hidden[:, 1] = float("nan")
    given = (mask, black, ViewGrid(1, 2), 9)
    assert torch.equal(unet_input(noisy, hidden, *given), unet_input(noisy, latents, *given))


def test_dtype_is_the_noisy_latents() -> None:
    noisy, latents = torch.randn(1, 2, 4, 2, 2).bfloat16(), torch.randn(1, 2, 4, 2, 2)
    canvas = unet_input(noisy, latents, torch.ones(1, 2), torch.zeros(4, 2, 2), ViewGrid(1, 2), 9)
    assert canvas.dtype == torch.bfloat16


def test_other_numbers_of_channels_are_refused() -> None:
    latents = torch.zeros(1, 2, 4, 2, 2)
    with pytest.raises(ValueError, match="8 input channels"):
        unet_input(latents, latents, torch.ones(1, 2), latents[0, 0], ViewGrid(1, 2), 8)


def test_null_features_are_zeros() -> None:
    features = torch.randn(2, 3, 4)
    assert torch.equal(null_features(features), torch.zeros(2, 3, 4))
