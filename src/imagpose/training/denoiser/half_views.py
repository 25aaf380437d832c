"""Views at half their size, for low-resolution steps: pictures, skeletons and surfaces, padded as the UNet needs them.

A half view goes through the same autoencoder; its sides are padded to the same multiple as a whole view's.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from imagpose.pixels import Padding, pad_views
from imagpose.training.surface import CELL, MULTIPLE, pool_surface


def halve_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """Means of 2 x 2 pixels: (b, c, H, W) -> (b, c, H / 2, W / 2)."""
    return functional.avg_pool2d(pixels, 2)


def halve_skeletons(skeletons: torch.Tensor, height: int, width: int, multiple: int) -> torch.Tensor:
    """Padded drawings uint8 (b, 3, H', W') of views of `height` x `width`, at half the size and padded again.

    To a grey level they are what `draw_skeleton` draws at half the size, which averages a larger drawing down as well.
    """
    own = Padding.to_multiple(height, width, multiple).crop(skeletons)
    return pad_views(halve_pixels(own.float()).round().to(torch.uint8), multiple)[0]


def fit_surface(surface: torch.Tensor, height: int, width: int, multiple: int, factor: int, half: bool) -> torch.Tensor:
    """Surface (b, h, w, 4) with one cell per latent of a view as the UNet sees it; what is padding has no coverage.

    Args:
        surface: (b, H' / 8, W' / 8, 4), see `surface.surface_grid`, padded to multiples of 64 pixels.
        height, width: of the view, before padding.
        multiple: of pixels, that the UNet's views are padded to.
        factor: pixels per latent, of the VAE.
        half: whether the views have half their size.

    Raises:
        ValueError: cells of the UNet's views do not consist of whole cells.
    """
    part = 2 if half else 1
    side = part * factor  # of a latent's cell, in pixels of the whole view
    stored, own = (
        Padding.to_multiple(height, width, MULTIPLE),
        Padding.to_multiple(height // part, width // part, multiple),
    )
    sides = ((stored.left, own.left), (stored.right, own.right), (stored.top, own.top), (stored.bottom, own.bottom))
    margins = [divmod(part * there - here, side) for here, there in sides]
    if side % CELL or any(rest for _, rest in margins):
        raise ValueError(
            f"views of {height}x{width}: {'half views' if half else 'views'} padded to multiples of {multiple}, with"
            f" {factor} pixels a latent, do not meet the cells of their surfaces: leave attention_weight at 0,"
            " person_weight at 1 and head_weight out"
        )
    pooled = pool_surface(surface, side // CELL).movedim(-1, 1)
    return functional.pad(pooled, [cells for cells, _ in margins]).movedim(1, -1)
