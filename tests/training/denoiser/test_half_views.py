"""Half views and packed skeletons against drawing and cutting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imagpose.pixels import Padding, pad_views
from imagpose.pose import Pose, draw_skeleton
from imagpose.training.denoiser.cache import pack_skeletons, unpack_skeletons
from imagpose.training.denoiser.half_views import fit_surface, halve_skeletons
from imagpose.training.surface import surface_grid


def random_pose(seed: int, height: int = 256, width: int = 176) -> Pose:
    points = np.random.default_rng(seed).random((18, 3)).astype(np.float32) * np.float32([width, height, 0])
    points[:, 2] = 1
    return Pose(points, width, height)


def drawn(pose: Pose) -> torch.Tensor:
    """uint8 (1, 3, H', W'), padded to multiples of 64."""
    return pad_views(torch.from_numpy(np.array(draw_skeleton(pose))).movedim(-1, 0)[None], 64)[0]


def test_packed_skeletons_come_out_as_they_went_in() -> None:
    skeletons = torch.cat([drawn(random_pose(seed)) for seed in range(3)] + [torch.zeros(1, 3, 256, 192).byte()])
    packed = pack_skeletons(skeletons.unflatten(0, (2, 2)))
    assert packed.shape[:2] == (2, 2) and packed.shape[2] < skeletons[0].numel() / 10
    longer = torch.cat([packed[1, 1], torch.zeros(7, dtype=torch.uint8)])
    rows = [*packed.flatten(0, 1)[:3], longer]
    assert torch.equal(unpack_skeletons(rows, 256, 192), skeletons)


def test_half_skeletons_are_drawn_at_half_the_size() -> None:
    pose = random_pose(5)
    half = halve_skeletons(drawn(pose), 256, 176, 64)
    expected = drawn(pose.resize(88, 128))
    assert half.shape == expected.shape == (1, 3, 128, 128)
    assert expected.max() > 200 and (half.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize(("half", "factor"), [(False, 8), (True, 8), (False, 16), (True, 16)])
def test_surface_lies_where_the_view_lies(half: bool, factor: int) -> None:
    """Beside what `surface_grid` makes of the view at the size and with the padding that the UNet sees."""
    rng = np.random.default_rng(0)
    places, person = rng.normal(size=(256, 176, 3)).astype(np.float32), np.zeros((256, 176), bool)
    person[40:231, 60:121] = True
    found = fit_surface(torch.from_numpy(surface_grid(places, person))[None], 256, 176, 64, factor, half)[0]
    cell = 2 * factor if half else factor
    side = Padding.to_multiple(256 // 2, 176 // 2, 64).left * 2 if half else Padding.to_multiple(256, 176, 64).left
    assert found.shape == ((256 // cell, 256 // cell, 4) if half else (256 // cell, 192 // cell, 4))
    for row, column in np.ndindex(found.shape[:2]):
        rows = slice(row * cell, (row + 1) * cell)
        columns = slice(max(column * cell - side, 0), max((column + 1) * cell - side, 0))
        inside = person[rows, columns]
        assert float(found[row, column, 3]) == pytest.approx(inside.sum() / cell**2, abs=1e-3)
        if inside.any():
            expected = places[rows, columns][inside].mean(axis=0)
            assert found[row, column, :3].numpy() == pytest.approx(expected, abs=5e-3)


def test_smaller_padding_cuts_the_surface() -> None:
    surface = surface_grid(np.ones((128, 96, 3), np.float32), np.ones((128, 96), bool))
    assert surface.shape == (16, 16, 4)
    cut = fit_surface(torch.from_numpy(surface)[None], 128, 96, 32, factor=8, half=False)
    assert torch.equal(cut, torch.ones(1, 16, 12, 4))
    with pytest.raises(ValueError, match="views of 128x82: half views .*attention_weight"):
        fit_surface(torch.zeros(1, 16, 16, 4), 128, 82, 64, factor=8, half=True)
    with pytest.raises(ValueError, match="with 4 pixels a latent"):
        fit_surface(torch.zeros(1, 16, 16, 4), 128, 96, 64, factor=4, half=False)
