"""Pairs of rendered views whose true flow is known: what the network of appearance flow learns from.

The renderer says which place of the template's body each pixel shows (`people.View.surface`). A cell of a target lies, in
a source, where the source shows the same place; where it shows none near it, the source does not see it. Source: own, as
DensePose is used by Li et al., "Dense intrinsic appearance flow for human pose transfer", CVPR 2019, §3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.nn import functional

from imagpose.models.appearance_flow import CELL, FRAME, FlowInputs
from imagpose.people import View
from imagpose.pipeline.warping import flow_inputs
from imagpose.pixels import bytes_to_signed
from imagpose.pose.keypoints import other_side
from imagpose.pose.part_flow import PART_NUMBERS, PartView

Example = dict[str, torch.Tensor]
"""The fields of `FlowInputs` (b = 1) by name, and what is true of the target, in cells of 2 pixels: ``true_flow``
(1, 2, h, w), x and y in pixels of the source's frame, 0 where the source does not see the place; ``visible`` (1, h, w), 1
where it does; ``coverage`` (1, h, w), the person's share of each cell; ``target_pixels`` (1, 3, h, w) in [-1, 1]."""

_NEAR = 0.025  # metres on the template within which two cells show the same place
_NEIGHBOURS = 4  # cells of the source whose mean is the place, so that it lies between their middles
_BESIDE = 2  # cells from the nearest one up to which others count; further off is another limb or a fold
_SOFT = 0.003  # metres; of cells nearer than this none counts much more than another
_LEAST_CELLS = 16  # that show the person
_MIRRORED = np.arange(1 + len(PART_NUMBERS), dtype=np.uint8)
_MIRRORED[list(PART_NUMBERS.values())] = [PART_NUMBERS[other_side(name)] for name in PART_NUMBERS]


@dataclass(frozen=True)
class FlowView:
    """A rendered view, prepared once for all pairs that it is in.

    Attributes:
        name: of the view, for messages.
        cut: the view cut into parts.
        pixels: (1, 3, h, w) in [-1, 1], in cells.
        coverage: (1, h, w), the person's share of each cell.
        rows, columns: (n,), the cells that show the person.
        places: (n, 3), what they show, metres on the template.
        nearest: finds the nearest of `places`.
    """

    name: str
    cut: PartView
    pixels: torch.Tensor
    coverage: torch.Tensor
    rows: np.ndarray
    columns: np.ndarray
    places: np.ndarray
    nearest: cKDTree

    @classmethod
    def of(cls, view: View, name: str) -> FlowView | None:
        """Of a rendered view of the network's frame; None where it shows nobody, or nobody who has parts."""
        cut = PartView.of(view.picture, view.pose)
        rows, columns = np.nonzero(view.foreground[::CELL, ::CELL])
        if cut is None or len(rows) < _LEAST_CELLS:
            return None
        # What the corner's pixel shows, half a pixel off the middle, in source and target alike: the flow between them is
        # right where a limb keeps direction and size, and a pixel off at most, where it is turned by half a turn.
        places = view.surface[::CELL, ::CELL][rows, columns].astype(np.float32)
        coverage = functional.avg_pool2d(torch.from_numpy(view.foreground)[None].float(), CELL)
        pixels = functional.avg_pool2d(bytes_to_signed(view.picture[None]), CELL)
        return cls(name, cut, pixels, coverage, rows, columns, places, cKDTree(places))


def make_example(source: FlowView, target: FlowView) -> Example | None:
    """The pair of two views of a person; None where the source shows no part of the target."""
    inputs = flow_inputs(source.cut, target.cut.body)
    if inputs is None:
        return None
    true_flow, visible = find_true_flow(source, target)
    return {
        **{field.name: getattr(inputs, field.name) for field in fields(inputs)},
        "true_flow": true_flow,
        "visible": visible,
        "coverage": target.coverage,
        "target_pixels": target.pixels,
    }


def find_true_flow(source: FlowView, target: FlowView) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the cells of a target lie in a source, (1, 2, h, w) in pixels, and which of them it sees, (1, h, w).

    The place is the mean of the source's cells that show the nearest places of the surface, weighted by 1 / (d + .003)^2.
    """
    distances, found = source.nearest.query(target.places, _NEIGHBOURS, distance_upper_bound=_NEAR)
    seen = np.isfinite(distances[:, 0])
    distances, found = distances[seen], np.where(np.isfinite(distances), found, 0)[seen]
    rows, columns = source.rows[found], source.columns[found]
    beside = np.maximum(abs(rows - rows[:, :1]), abs(columns - columns[:, :1])) <= _BESIDE
    weights = np.where(beside & np.isfinite(distances), 1 / (distances + _SOFT) ** 2, 0)
    flow, visible = np.zeros((2, *source.coverage.shape[1:]), np.float32), np.zeros(source.coverage.shape, np.float32)
    here = target.rows[seen], target.columns[seen]
    for axis, cells in enumerate((columns, rows)):
        flow[axis][here] = CELL * ((weights * cells).sum(axis=1) / weights.sum(axis=1) + 0.5)
    visible[0][here] = 1
    return torch.from_numpy(flow)[None], torch.from_numpy(visible)


def mirror(example: Example) -> Example:
    """The pair seen in a mirror, in which a left arm is a right one and a head looks to the other side."""
    views = ("source_view", "target_view")
    flipped = {name: own if name in views else own.flip(-1) for name, own in example.items()}
    across = torch.tensor([-1.0, 1.0])[:, None, None]
    start = torch.tensor([float(FRAME[1]), 0.0])[:, None, None]
    flipped["first_flow"] = start + across * flipped["first_flow"]
    flipped["true_flow"] = (start + across * flipped["true_flow"]) * flipped["visible"][:, None]
    for name in ("source_parts", "target_parts"):
        flipped[name] = torch.from_numpy(_MIRRORED)[flipped[name].long()]
    flipped["on_part"] = across.flip(0) * flipped["on_part"]  # along a part and across it
    for name in views:
        flipped[name] = example[name] * torch.tensor([1.0, -1.0, 1.0])  # turn, sine and cosine of the yaw
    return flipped


def permute_colours(example: Example, order: Sequence[int]) -> Example:
    """The pair with the channels of its pictures in another order."""
    return {name: own[:, list(order)] if name.endswith("pixels") else own for name, own in example.items()}


def inputs_of(batch: Example) -> FlowInputs:
    """The network's inputs of a batch of examples."""
    return FlowInputs(**{field.name: batch[field.name] for field in fields(FlowInputs)})
