"""From files to what the networks say of them: LPIPS of pairs, and the feature vectors of sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from imagpose.evaluation.networks import Network
from imagpose.evaluation.pixel_values import read_field_pair, read_mask, read_rgb
from imagpose.evaluation.store import Files, ValueStore
from imagpose.metrics.field import cubic_resize
from imagpose.pixels import bytes_to_signed, bytes_to_unit

__all__ = ["feature_values", "lpips_values", "set_features"]

_VERSION = "1"  # of what is computed, for the values that are kept
_LPIPS_PART, _FEATURE_PART = 64, 128
_BATCH = 32  # pictures that a network sees at once

Value = TypeVar("Value")
Pixels = Callable[[Sequence[np.ndarray]], torch.Tensor]  # pictures of one shape to (b, 3, H, W)


def lpips_values(store: ValueStore, protocol: str, items: Sequence[Files], network: Network) -> np.ndarray:
    """LPIPS of (generated, reference) files, (n,): pictures in [-1, 1] in the clean protocol, in [0, 1] in the field's.

    Raises:
        ValueError: damaged pictures.
    """
    read, pixels = (_clean_pair, _signed) if protocol == "clean" else (read_field_pair, _unit)
    work = partial(_distances, run=network.run, read=read, pixels=pixels)
    what = f"{protocol}-lpips {_VERSION} {network.identity}"
    return store.values(what, items, _LPIPS_PART, work, shared=False)[:, 0]


def feature_values(store: ValueStore, items: Sequence[Files], network: Network) -> np.ndarray:
    """Distance (n,) in a network's features of (generated, reference, mask) files, inside the mask.

    Raises:
        ValueError: damaged pictures, or a mask that marks nothing.
    """
    what = f"feature-distances {_VERSION} {network.identity}"
    work = partial(_feature_distances, run=network.run)
    return store.values(what, items, _BATCH, work, shared=False)[:, 0]


def _feature_distances(items: Sequence[Files], run: Callable[..., torch.Tensor]) -> np.ndarray:
    found = []
    for batch in _batches([_masked_pair(*item) for item in items], lambda own: own[0].shape):
        generated, references, masks = zip(*batch, strict=True)
        distances = run(_signed(generated), _signed(references), torch.from_numpy(np.stack(masks)))
        found.append(distances.double().numpy())
    return np.concatenate(found)[:, None]


def _masked_pair(generated: Path | None, reference: Path | None, mask: Path | None) -> tuple[np.ndarray, ...]:
    assert mask is not None
    pair = _clean_pair(generated, reference)
    return *pair, read_mask(mask, pair[1])


def set_features(
    store: ValueStore, protocol: str, files: Sequence[Path], network: Network, size: tuple[int, int]
) -> np.ndarray:
    """Feature vectors (n, d) of files: 8-bit pictures as they are in the clean protocol, resized floats in the field's.

    Args:
        size: width and height that the field resizes all pictures to.

    Raises:
        ValueError: damaged pictures.
    """
    resized = partial(_field_picture, width=size[0], height=size[1])
    read, pixels = (read_rgb, _stacked) if protocol == "clean" else (resized, _unit)
    what = f"{protocol}-features {_VERSION} {'' if protocol == 'clean' else size} {network.identity}"
    work = partial(_features, run=network.run, read=read, pixels=pixels)
    return store.values(what, [(file,) for file in files], _FEATURE_PART, work, shared=False)


def _clean_pair(generated: Path | None, reference: Path | None) -> tuple[np.ndarray, np.ndarray]:
    return read_rgb(generated), read_rgb(reference)


def _field_picture(path: Path | None, width: int, height: int) -> np.ndarray:
    return cubic_resize(read_rgb(path), height, width)


def _distances(
    items: Sequence[Files],
    run: Callable[..., torch.Tensor],
    read: Callable[[Path | None, Path | None], tuple[np.ndarray, np.ndarray]],
    pixels: Pixels,
) -> np.ndarray:
    found = []
    for batch in _batches([read(*item) for item in items], lambda pair: pair[0].shape):
        one, other = (_placed(pixels([pair[side] for pair in batch])) for side in (0, 1))
        with torch.inference_mode():
            found.append(run(one, other).double().cpu().numpy())
    return np.concatenate(found)[:, None]


def _features(
    items: Sequence[Files],
    run: Callable[..., torch.Tensor],
    read: Callable[[Path | None], np.ndarray],
    pixels: Pixels,
) -> np.ndarray:
    found = []
    for batch in _batches([read(*item) for item in items], np.shape):
        with torch.inference_mode():
            found.append(run(_placed(pixels(batch))).float().cpu().numpy())
    return np.concatenate(found)


def _batches(values: list[Value], shape: Callable[[Value], tuple[int, ...]]) -> Iterator[list[Value]]:
    """At most 32 neighbours of one shape at a time."""
    for _, equal in groupby(values, shape):
        run = list(equal)
        yield from (run[start : start + _BATCH] for start in range(0, len(run), _BATCH))


def _stacked(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """(b, 3, H, W) of the pictures' number type."""
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1)


def _signed(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    return bytes_to_signed(np.stack(pictures))


def _unit(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    return bytes_to_unit(_stacked(pictures))


def _placed(pixels: torch.Tensor) -> torch.Tensor:
    """The pixels where the networks are; ranges are changed before, on the CPU, so that every machine sees the same."""
    return pixels.contiguous().to("cuda" if torch.cuda.is_available() else "cpu")
