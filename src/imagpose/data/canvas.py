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
from imagpose.pixels import pad_views, pictures_to_signed
from imagpose.pose import draw_skeleton

__all__ = ["ViewTensors", "load_views"]


@dataclass(frozen=True, eq=False)
class ViewTensors:
    """v views of H x W pixels.

    Attributes:
        pixels: float32 (v, 3, H, W) in [-1, 1].
        skeletons: uint8 (v, 3, H', W'), with the sides padded to the model's multiple (`pixels.pad_views`).
        foreground: bool (v, H, W); None where a view has no mask.
    """

    pixels: torch.Tensor
    skeletons: torch.Tensor
    foreground: torch.Tensor | None


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
    pictures, skeletons, masks = [], [], []
    for record, change in zip(records, changes, strict=True):
        picture, pose, foreground = record.decode(), record.pose, record.foreground()
        if picture.size != (width, height):
            picture, pose = fit_view(picture, width, height), pose.fit(width, height)
            if foreground is not None:
                foreground = np.asarray(fit_mask(Image.fromarray(foreground), width, height)) > 127
        picture, pose, foreground = change_view(change, picture, pose, foreground)
        pictures.append(picture)
        skeletons.append(np.asarray(draw_skeleton(pose)))
        masks.append(foreground)
    drawn = torch.from_numpy(np.stack(skeletons)).movedim(-1, 1)
    known = [mask for mask in masks if mask is not None]
    return ViewTensors(
        pixels=pictures_to_signed(pictures),
        skeletons=pad_views(drawn, multiple)[0],
        foreground=torch.from_numpy(np.stack(known)) if len(known) == len(masks) else None,
    )
