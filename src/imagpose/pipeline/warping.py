"""Photos of a person moved into another pose: a first guess at what a target shows, which masked slots may show F_I.

Of each photo, every place of the target is led back to where the photo shows it, by parts and then by a network
(`pose.part_flow`, `models.appearance_flow`). Each place takes its colour from the photo that shows it best, and beyond the
outline that the network draws lies the ground of the first photo, filled in where the person stood. Photos and poses are
fitted into the frame that the network was trained on; colours come from the photos as they are. Source: own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from imagpose.models.appearance_flow import CELL, FRAME, FlowInputs, FoundFlow, load_appearance_flow, sample_at
from imagpose.pictures import fit_view, fitted_box
from imagpose.pixels import bytes_to_signed, signed_to_bytes
from imagpose.pose import Pose
from imagpose.pose.body_parts import Body, find_body
from imagpose.pose.part_flow import PartView, find_part_flow

_SHARPER = 4.0  # how much steeper than the network's the outline is drawn, so that little ground shines through


@dataclass(frozen=True)
class WarpSource:
    """A photo and its pose, prepared once for any number of targets.

    Attributes:
        picture: uint8 (H, W, 3).
        framed: the same in the network's frame, cut into parts.
        ground: uint8 (H, W, 3), the picture with the person filled in.
    """

    picture: np.ndarray
    framed: PartView
    ground: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray, pose: Pose | None) -> WarpSource | None:
        """Of a picture uint8 (H, W, 3) and the pose in its pixels; None where the pose is unknown or has no parts.

        Raises:
            ValueError: the pose's frame has another size than the picture.
        """
        whole = PartView.of(picture, pose)
        if whole is None or pose is None or picture.shape[:2] == FRAME:
            return None if whole is None else cls(picture, whole, whole.ground)
        height, width = FRAME
        framed = PartView.of(np.asarray(fit_view(Image.fromarray(picture), width, height)), pose.fit(width, height))
        return None if framed is None else cls(picture, framed, whole.ground)


def warp(sources: Sequence[WarpSource], target: Pose) -> np.ndarray | None:
    """The person of the sources in a target's pose.

    Args:
        sources: at least one, all of one size.
        target: in a frame of that size.

    Returns:
        uint8 (H, W, 3); None where the target has no parts, or none that a source shows.

    Raises:
        ValueError: no source, or frames of different size.
    """
    if not sources:
        raise ValueError("no source to warp")
    height, width = target.height, target.width
    for source in sources:
        if source.picture.shape[:2] != (height, width):
            raise ValueError(
                f"the target's frame is {height}x{width}, a source {source.picture.shape[0]}x{source.picture.shape[1]}"
            )
    body = find_body(target.fit(FRAME[1], FRAME[0]))
    pairs = [] if body is None else [(source, flow_inputs(source.framed, body)) for source in sources]
    known = [(source.picture, inputs) for source, inputs in pairs if inputs is not None]
    if not known:
        return None
    network = load_appearance_flow()
    # The same picture in training as in sampling, whatever their precision.
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        found = [network(inputs) for _, inputs in known]
    return lay_person(found, [picture for picture, _ in known], sources[0].ground)


def flow_inputs(source: PartView, target: Body) -> FlowInputs | None:
    """The network's inputs (b = 1) of a source and a target in its frame; None where the source shows no part of it."""
    first = find_part_flow(source, target, CELL)
    if first is None:
        return None
    pixels = functional.avg_pool2d(bytes_to_signed(source.picture[None]), CELL)
    own, theirs = (
        torch.tensor([[body.turn, np.sin(body.yaw), np.cos(body.yaw)]], dtype=torch.float32)
        for body in (source.body, target)
    )
    source_parts, flow, target_parts, turned_away, on_part = (
        torch.from_numpy(found)[None]
        for found in (source.parts, first.flow, first.parts, first.turned_away, first.on_part)
    )
    return FlowInputs(pixels, source_parts, flow, target_parts, turned_away, on_part, own, theirs)


def lay_person(found: Sequence[FoundFlow], pictures: Sequence[np.ndarray], ground: np.ndarray) -> np.ndarray:
    """The person of k pictures uint8 (H, W, 3), of each of which a flow was found, over a ground of that size."""
    height, width = ground.shape[:2]
    fitted = fitted_box(width, height, FRAME[1], FRAME[0])
    parts = [
        torch.cat([own.flow, own.outline[:, None], own.visibility[:, None], own.shown, own.painted], dim=1)
        for own in found
    ]
    told = sample_at(torch.cat(parts), _places(height, width, fitted).expand(len(parts), -1, -1, -1))
    flow, outline, visibility, shown, painted = torch.split(told, [2, 1, 1, 1, 3], dim=1)
    colours = sample_at(bytes_to_signed(np.stack(pictures)), _unfitted(flow, height, width, fitted), mode="bicubic")
    colours = torch.lerp(painted, colours, shown)
    best = visibility.argmax(dim=0, keepdim=True).expand(1, 3, -1, -1)
    person = torch.gather(colours, 0, best)
    opacity = ((torch.sigmoid(outline.mean(dim=0, keepdim=True)) - 0.5) * _SHARPER + 0.5).clamp(0, 1)
    return signed_to_bytes(torch.lerp(bytes_to_signed(ground[None]), person, opacity))[0].numpy()


def _places(height: int, width: int, fitted: tuple[int, int, int, int]) -> torch.Tensor:
    """Where the middles of a view's pixels lie in the network's frame: x and y (1, 2, H, W)."""
    fitted_width, fitted_height, left, top = fitted
    x = left + (torch.arange(width) + 0.5) * (fitted_width / width)
    y = top + (torch.arange(height) + 0.5) * (fitted_height / height)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]


def _unfitted(flow: torch.Tensor, height: int, width: int, fitted: tuple[int, int, int, int]) -> torch.Tensor:
    """Places of the network's frame (k, 2, H, W) as `sample_at` wants them of whole views, as if these were its frame."""
    fitted_width, fitted_height, left, top = fitted
    x = (flow[:, 0] - left) * (FRAME[1] / fitted_width)
    y = (flow[:, 1] - top) * (FRAME[0] / fitted_height)
    return torch.stack([x, y], dim=1)
