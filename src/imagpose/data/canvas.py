"""Stored views as tensors for the slots of a training canvas, changed and drawn as the pipeline would see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from imagpose.data.augment import UNCHANGED, Change, change_view
from imagpose.data.records import ViewRecord, fit_mask
from imagpose.pictures import fit_view
from imagpose.pixels import pictures_to_signed
from imagpose.pose import Pose, draw_skeletons


@dataclass(frozen=True, eq=False)
class ViewTensors:
    """v views of H x W pixels.

    Attributes:
        pixels: float32 (v, 3, H, W) in [-1, 1].
        skeletons: uint8 (v, 3, H', W'), with the sides padded to the model's multiple (`pixels.pad_views`).
    """

    pixels: torch.Tensor
    skeletons: torch.Tensor


def fitted_view(record: ViewRecord, height: int, width: int) -> tuple[Image.Image, Pose]:
    """A stored picture and its pose, brought to a size by `pictures.fit_view`."""
    picture, pose = record.decode(), record.pose
    if picture.size == (width, height):
        return picture, pose
    return fit_view(picture, width, height), pose.fit(width, height)


def fitted_mask(record: ViewRecord, height: int, width: int) -> np.ndarray | None:
    """The person's mask in the fitted picture, bool (H, W); None where it is not known."""
    mask = record.foreground()
    return None if mask is None else np.asarray(fit_mask(Image.fromarray(mask), width, height)) > 127


def load_views(
    records: Sequence[ViewRecord], height: int, width: int, multiple: int, changes: Sequence[Change] | None = None
) -> ViewTensors:
    """Decode views, bring them to one size, change them, draw their skeletons.

    Args:
        records: one per slot; a view that stands in several slots may come several times.
        height, width: size of a view; others are brought to it by `pictures.fit_view`.
        multiple: see `views.view_multiple`.
        changes: one per record; None changes nothing.
    """
    changes = [UNCHANGED] * len(records) if changes is None else changes
    pictures, poses = [], []
    for record, change in zip(records, changes, strict=True):
        picture, pose = change_view(change, *fitted_view(record, height, width))
        pictures.append(picture)
        poses.append(pose)
    return ViewTensors(pictures_to_signed(pictures), draw_skeletons(poses, height, width, multiple))
