"""The surface's grid against plain loops, and where padding lies."""

import numpy as np
import torch

from imagpose.people import make_identity, render_view, sample_view_specs
from imagpose.pixels import pad_views
from imagpose.training.surface import pool_surface, surface_grid


def _by_loop(surface: np.ndarray, foreground: np.ndarray, cell: int) -> np.ndarray:
    """Cell by cell, on a view that `pad_views` has padded; what is padded is told by a picture of ones."""
    padding = pad_views(torch.ones(1, *foreground.shape), 64)[1]
    height, width = (
        foreground.shape[0] + padding.top + padding.bottom,
        foreground.shape[1] + padding.left + padding.right,
    )
    grid = np.zeros((height // cell, width // cell, 4))
    for row in range(height // cell):
        for column in range(width // cell):
            places = [
                surface[y - padding.top, x - padding.left].astype(float)
                for y in range(row * cell, (row + 1) * cell)
                for x in range(column * cell, (column + 1) * cell)
                if padding.top <= y < height - padding.bottom
                and padding.left <= x < width - padding.right
                and foreground[y - padding.top, x - padding.left]
            ]
            if places:
                grid[row, column] = [*np.mean(places, 0), len(places) / cell**2]
    return grid


def test_cells_hold_the_mean_place_and_the_share_of_the_person() -> None:
    rng = np.random.default_rng(0)
    for height, width in ((64, 64), (56, 40), (75, 91)):  # without padding, by whole cells, by parts of cells
        foreground = rng.random((height, width)) < 0.4
        foreground[:16] = False
        surface = (rng.normal(size=(height, width, 3)) * foreground[..., None]).astype(np.float16)
        grid = surface_grid(surface, foreground)
        assert grid.dtype == np.float16
        np.testing.assert_allclose(grid, _by_loop(surface, foreground, 8), atol=2e-3)
        coarse = pool_surface(torch.from_numpy(grid)).numpy()
        np.testing.assert_allclose(coarse, _by_loop(surface, foreground, 16), atol=3e-3)


def test_a_view_of_the_field_s_size_has_32_by_24_cells_and_nobody_in_the_padding() -> None:
    view = render_view(make_identity(3), sample_view_specs(3, 1)[0], 256, 176)
    foreground = np.ones_like(view.foreground)
    grid = surface_grid(view.surface, foreground)
    assert grid.shape == (32, 24, 4)
    assert (grid[:, 0] == 0).all() and (grid[:, -1] == 0).all() and (grid[:, 1:-1, 3] == 1).all()
    heads = surface_grid(view.surface, view.foreground)
    rows = np.flatnonzero(heads[..., 3].max(1) > 0.5)
    columns = heads[rows, heads[rows, :, 3].argmax(1), 2]
    assert columns[0] > 0.6 and columns[-1] < -0.7  # from the head down to the shoes, metres on the template
