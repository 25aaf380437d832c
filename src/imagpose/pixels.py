"""Pictures as tensors: ranges, padding and cropping, and the inputs of VAE and image encoder.

Three ranges have names here and in every function's: *bytes* are uint8 0..255 with channels last, *signed* are floats in
[-1, 1] with channels first, which the networks take, *unit* are floats in [0, 1]. Training, pipeline and evaluation use
the same functions, so that all see the same pixels. Source: own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

_TEXTURE_MULTIPLE = 128


def bytes_to_signed(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Pictures uint8 (..., H, W, 3) as float32 (..., 3, H, W) in [-1, 1]."""
    values = torch.tensor(pictures) if isinstance(pictures, np.ndarray) else pictures
    return values.movedim(-1, -3).float() / 127.5 - 1.0


def signed_to_bytes(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels (..., 3, H, W) in [-1, 1] (clipped) as uint8 (..., H, W, 3), on their device."""
    return ((pixels.detach().float().clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8).movedim(-3, -1)


def pictures_to_signed(pictures: Iterable[Image.Image]) -> torch.Tensor:
    """RGB pictures of one size as float32 (b, 3, H, W) in [-1, 1]."""
    return bytes_to_signed(np.stack([np.asarray(picture) for picture in pictures]))


def signed_to_pictures(pixels: torch.Tensor) -> list[Image.Image]:
    """Pixels (b, 3, H, W) in [-1, 1] (clipped) as RGB pictures."""
    return [Image.fromarray(picture) for picture in signed_to_bytes(pixels).cpu().numpy()]


def bytes_to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """uint8, or floats in the units of 8 bits, as float32 in [0, 1], the same shape; the pose encoder takes skeletons so."""
    return pixels.float() / 255.0


def pictures_to_unit(pictures: Iterable[Image.Image]) -> torch.Tensor:
    """Pictures of one size and mode as float32 (b, H, W, c) in [0, 1], ComfyUI's IMAGE."""
    return bytes_to_unit(torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])))


def signed_to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """[-1, 1] to [0, 1], not clipped."""
    return pixels / 2 + 0.5


@dataclass(frozen=True)
class Padding:
    """Pixels added on each side of a view, which lies in the middle; of an odd number, one more to the right and below."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def to_multiple(cls, height: int, width: int, multiple: int) -> Padding:
        """What both sides of a view lack to be multiples; see `views.view_multiple`."""
        rows, columns = -height % multiple, -width % multiple
        return cls(columns // 2, rows // 2, columns - columns // 2, rows - rows // 2)

    def pad(self, pixels: torch.Tensor) -> torch.Tensor:
        """Replicate the edges: (..., c, H, W) -> (..., c, top + H + bottom, left + W + right)."""
        flat = pixels.reshape(-1, *pixels.shape[-3:])
        padded = functional.pad(flat, (self.left, self.right, self.top, self.bottom), mode="replicate")
        return padded.reshape(*pixels.shape[:-2], *padded.shape[-2:])

    def crop(self, pixels: torch.Tensor) -> torch.Tensor:
        """Take the padding off again: (..., H', W')."""
        height, width = pixels.shape[-2:]
        return pixels[..., self.top : height - self.bottom, self.left : width - self.right]


def padded_size(height: int, width: int, multiple: int) -> tuple[int, int]:
    """Height and width of a view that has been padded to multiples: 256x176 becomes 256x192 for 64."""
    return height + -height % multiple, width + -width % multiple


def pad_views(pixels: torch.Tensor, multiple: int) -> tuple[torch.Tensor, Padding]:
    """Views (..., c, H, W) padded to multiples, and the padding, whose `crop` undoes it."""
    height, width = pixels.shape[-2:]
    padding = Padding.to_multiple(height, width, multiple)
    return padding.pad(pixels), padding


def encoder_pixels(
    pixels: torch.Tensor, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """Input of the image encoder: resized (bicubic, antialiased) and normalised.

    Args:
        pixels: (b, 3, H, W) in [-1, 1].
        size: height and width that the encoder takes.
        mean, std: of values in [0, 1], per channel.
    """
    pixels = _resize(pixels, size)
    shape = (1, 3, 1, 1)
    return (signed_to_unit(pixels) - pixels.new_tensor(mean).view(shape)) / pixels.new_tensor(std).view(shape)


def texture_pixels(pixels: torch.Tensor, long_side: int) -> torch.Tensor:
    """Input of the VAE for texture tokens: the long side `long_side`, the other a multiple of 128 (at least 128).

    A 16 x 16 kernel on latents takes 128 pixels; small views are enlarged so that it fits (design decision, own).

    Args:
        pixels: (b, 3, H, W) in [-1, 1].
        long_side: a multiple of 128.

    Raises:
        ValueError: `long_side` is no multiple of 128.
    """
    if long_side < _TEXTURE_MULTIPLE or long_side % _TEXTURE_MULTIPLE:
        raise ValueError(f"texture_long_side is {long_side}; a multiple of {_TEXTURE_MULTIPLE} expected")
    longest = max(pixels.shape[-2:])

    def fitted(side: int) -> int:
        return max(1, round(side * long_side / longest / _TEXTURE_MULTIPLE)) * _TEXTURE_MULTIPLE

    return _resize(pixels, (fitted(pixels.shape[-2]), fitted(pixels.shape[-1])))


def _resize(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    resized = functional.interpolate(
        pixels.float(), size=tuple(size), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.clamp(-1, 1).to(pixels.dtype)
