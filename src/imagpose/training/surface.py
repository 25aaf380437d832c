"""Which place of the body each part of a view shows, in cells that latents are made of: the kind ``surface`` of a cache.

A view is padded as `pixels.pad_views` pads it (the picture in the middle) and cut into cells of 8 x 8 pixels; padding
shows nobody. Source: own.
"""

from __future__ import annotations

import numpy as np
import torch

from imagpose.pixels import Padding

CELL = 8
"""Pixels along a stored cell's side; where a latent is larger, cells are pooled (`half_views.fit_surface`)."""
HEAD = 0.6
"""Height on the template's body, metres, above which it is head: 99 % of the tops end below, 95 % of the hair lies above."""
MULTIPLE = 64
"""Sides are padded to multiples of this, as a UNet of four levels needs them: 256x176 becomes 256x192, 32x24 cells."""


def surface_grid(surface: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Mean place and coverage of each cell.

    Args:
        surface: (H, W, 3), place on the template's body, metres (`people.View.surface`).
        foreground: bool (H, W), where the person is.

    Returns:
        float16 (H' / 8, W' / 8, 4): mean place over the person's pixels of the cell, and their share of the cell, 0..1;
        all 0 where there are none.
    """
    height, width = foreground.shape
    padding = Padding.to_multiple(height, width, MULTIPLE)
    seen = (
        np.concatenate([surface.astype(np.float32), np.ones((height, width, 1), np.float32)], -1)
        * foreground[..., None]
    )
    padded = np.pad(seen, [(padding.top, padding.bottom), (padding.left, padding.right), (0, 0)])
    rows, columns = padded.shape[0] // CELL, padded.shape[1] // CELL
    sums = padded.reshape(rows, CELL, columns, CELL, 4).sum((1, 3))
    places = sums[..., :3] / np.maximum(sums[..., 3:], 1)
    return np.concatenate([places, sums[..., 3:] / CELL**2], -1).astype(np.float16)


def pool_surface(grid: torch.Tensor, factor: int = 2) -> torch.Tensor:
    """The grid of cells `factor` times as large, as if it had been made of the view.

    Args:
        grid: (..., rows, columns, 4), both multiples of `factor`; any floating-point type.

    Returns:
        float32 (..., rows / factor, columns / factor, 4).
    """
    values = grid.float()
    weighted = torch.cat([values[..., :3] * values[..., 3:], values[..., 3:]], -1)
    cells = torch.unflatten(torch.unflatten(weighted, -2, (-1, factor)), -4, (-1, factor)).mean((-4, -2))
    coverage = cells[..., 3:]
    return torch.cat([cells[..., :3] / coverage.clamp(min=1e-6), coverage], -1)
