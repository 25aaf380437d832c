"""Views on a joint canvas: the grid, tiling, masks, and the plan that lays sources and targets into canvases.

Source: paper §3.3 (image-level conditioning: joint target, joint mask, joint pose) and §4.1 (scenarios); other grids,
any number of sources and targets: own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from einops import rearrange

if TYPE_CHECKING:
    import torch

Role = Literal["source", "target"]
SCENARIOS = ("T1", "T2", "T3", "star")
_MAX_VIEWS = 32


@dataclass(frozen=True)
class ViewGrid:
    """Rows x columns of a joint canvas; the paper's is 2 x 2.

    Raises:
        ValueError: rows or columns below 1, or more than 32 slots.
    """

    rows: int
    cols: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise ValueError(f"grid {self.rows}x{self.cols}: rows and columns must be at least 1, for example 2x2")
        if self.num_views > _MAX_VIEWS:
            raise ValueError(f"grid {self.rows}x{self.cols}: at most {_MAX_VIEWS} views fit on a canvas")

    @property
    def num_views(self) -> int:
        """Number of slots V."""
        return self.rows * self.cols

    @classmethod
    def parse(cls, text: str) -> ViewGrid:
        """Grid of a text such as ``2x3`` (rows x columns).

        Raises:
            ValueError: the text has another form, or the grid is not legal.
        """
        match = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", text)
        if match is None:
            raise ValueError(f"grid {text!r}: rows x columns expected, for example 2x2")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.rows}x{self.cols}"


def fitting_grid(num_sources: int, num_targets: int) -> ViewGrid:
    """The smallest of 2 x 2, 2 x 3 and 3 x 3 that holds all sources and targets; 3 x 3 where none does."""
    grids = (ViewGrid(2, 2), ViewGrid(2, 3), ViewGrid(3, 3))
    return next((grid for grid in grids if num_sources + num_targets <= grid.num_views), grids[-1])


def tile(views: torch.Tensor, grid: ViewGrid) -> torch.Tensor:
    """Lay views row by row: (b, v, c, h, w) -> (b, c, rows * h, cols * w), any dtype.

    Raises:
        ValueError: v is not the grid's number of slots.
    """
    if views.shape[1] != grid.num_views:
        raise ValueError(f"{views.shape[1]} views do not fill a grid of {grid} = {grid.num_views} slots")
    return rearrange(views, "b (rows cols) c h w -> b c (rows h) (cols w)", rows=grid.rows, cols=grid.cols)


def untile(canvas: torch.Tensor, grid: ViewGrid) -> torch.Tensor:
    """Cut a canvas into its views: (b, c, rows * h, cols * w) -> (b, v, c, h, w); the inverse of `tile`.

    Raises:
        ValueError: the canvas cannot be cut evenly.
    """
    height, width = canvas.shape[-2:]
    if height % grid.rows or width % grid.cols:
        raise ValueError(f"a canvas of {height}x{width} cannot be cut into {grid} equal views")
    return rearrange(canvas, "b c (rows h) (cols w) -> b (rows cols) c h w", rows=grid.rows, cols=grid.cols)


def view_multiple(num_levels: int, factor: int) -> int:
    """Pixels of which a view's sides must be multiples: the VAE's `factor`, twice for each halving of the UNet's levels."""
    multiple: int = factor * 2 ** (num_levels - 1)
    return multiple


def random_mask(num_views: int, generator: torch.Generator, all_masked_share: float | None = None) -> torch.Tensor:
    """Mask of a training canvas: float (v,), 1 = visible source, 0 = masked target; the slots are random.

    The number of masked slots is uniform over 1..V (V masked: no image-level condition; paper §3.3), or with
    `all_masked_share` V in this share of the canvases, and uniform over 1..V - 1 in the others.
    """
    import torch  # here, so that a request is laid out, or refused, before it is imported

    if all_masked_share is None or num_views == 1:
        masked = torch.randint(1, num_views + 1, (1,), generator=generator)
    else:
        all_masked = torch.rand(1, generator=generator) < all_masked_share
        masked = torch.randint(1, num_views, (1,), generator=generator).masked_fill(all_masked, num_views)
    rank = torch.rand(num_views, generator=generator).argsort().argsort()
    return (rank >= masked).float()


def visible_share(num_views: int, all_masked_share: float | None = None) -> float:
    """Expected share of visible slots in `random_mask`: (V - 1) / 2V, or half of the canvases that are not all masked.

    Uniform over 1..V the mean number of masked slots is (V + 1) / 2, over 1..V - 1 it is V / 2.
    """
    if all_masked_share is None or num_views == 1:
        return (num_views - 1) / (2 * num_views)
    return (1 - all_masked_share) / 2


@dataclass(frozen=True)
class Slot:
    """What stands in a slot: the source or the target pose number `index` of the request."""

    role: Role
    index: int


@dataclass(frozen=True)
class Canvas:
    """One joint canvas: a slot for every place of the grid, row by row."""

    slots: tuple[Slot, ...]

    @property
    def mask(self) -> tuple[int, ...]:
        """1 for sources, 0 for targets."""
        return tuple(int(slot.role == "source") for slot in self.slots)


@dataclass(frozen=True)
class Plan:
    """How a request is laid into canvases.

    Attributes:
        grid: the grid of all canvases.
        canvases: what stands where.
        results: for each target pose, in order, the (canvas, slot) places of which one is taken; more than one only
            in T1.
    """

    grid: ViewGrid
    canvases: tuple[Canvas, ...]
    results: tuple[tuple[tuple[int, int], ...], ...]


def plan(num_sources: int, num_targets: int, grid: ViewGrid | None = None, scenario: str | None = None) -> Plan:
    """Lay S sources and T target poses into as many canvases as they need.

    With V slots:

    ==========  ==================================  ==========================================  ===================
    scenario    sources on a canvas                 targets on a canvas                         needs
    ==========  ==================================  ==========================================  ===================
    T1          the source                          one pose, V - 1 times; one of them is used  S = 1
    T2          the source, V - 1 times             one pose                                    S = 1
    T3          V - 1 sources, repeated in turn     one pose                                    S <= V - 1
    star        the source                          V - 1 poses (IMAGPose*)                     S = 1
    none        the first min(S, V - 1) sources     the rest                                    --
    ==========  ==================================  ==========================================  ===================

    One source and one pose without a scenario is T1. There, every target slot is a candidate for the result. Elsewhere
    each pose has one place: slots that are left over on a canvas repeat its first target pose and are not returned.
    Sources come first on every canvas; results are in the order of the poses.

    Args:
        num_sources: S >= 1.
        num_targets: T >= 1.
        grid: defaults to the paper's 2 x 2.
        scenario: one of `SCENARIOS` or None.

    Raises:
        ValueError: no source, no target, a grid of one slot, an unknown scenario or too many sources for it.
    """
    grid = grid or ViewGrid(2, 2)
    _check_request(num_sources, num_targets, grid, scenario)
    if scenario is None and num_sources == num_targets == 1:
        scenario = "T1"
    room = grid.num_views - 1
    if scenario == "T2" or scenario == "T3":
        sources = [index % num_sources for index in range(room)]
    else:
        sources = list(range(min(num_sources, room)))
    free = grid.num_views - len(sources)
    per_canvas = 1 if scenario in ("T1", "T2", "T3") else free
    canvases: list[Canvas] = []
    results: list[tuple[tuple[int, int], ...]] = []
    for start in range(0, num_targets, per_canvas):
        poses = list(range(start, min(start + per_canvas, num_targets)))
        filled = poses + [poses[0]] * (free - len(poses))
        slots = [Slot("source", index) for index in sources] + [Slot("target", index) for index in filled]
        for place in range(len(poses)):
            places = range(free) if scenario == "T1" else [place]
            results.append(tuple((len(canvases), len(sources) + slot) for slot in places))
        canvases.append(Canvas(tuple(slots)))
    return Plan(grid, tuple(canvases), tuple(results))


def plan_sequence(
    num_sources: int, num_frames: int, grid: ViewGrid, overlap: int
) -> Iterator[tuple[tuple[int, ...], range]]:
    """Lay the frames of a sequence into canvases that overlap in time.

    A canvas holds all sources, then `overlap` finished frames as further sources, then the next frames as targets: as many
    as fit. The finished frames are the first of the sequence, then the latest: with the latest alone, errors of one
    frame would pass to the next. The first canvas has more targets instead.

    Returns:
        For each canvas the numbers of the finished frames on it, and of those that it makes.

    Raises:
        ValueError: nothing to lay out, a negative overlap, or no room for a frame beside sources and finished frames.
    """
    _check_request(num_sources, num_frames, grid, None)
    if overlap < 0:
        raise ValueError(f"overlap is {overlap}; a number of finished frames from 0 expected")
    room = grid.num_views - num_sources - overlap
    if room < 1:
        raise ValueError(
            f"{num_sources} source(s) and {overlap} finished frame(s) leave no room for a new frame on a grid of {grid}:"
            " give a larger grid, less overlap or fewer sources"
        )
    return _overlapping(num_frames, room, overlap)


def _overlapping(num_frames: int, room: int, overlap: int) -> Iterator[tuple[tuple[int, ...], range]]:
    start = 0
    while start < num_frames:
        latest = range(start - overlap + 1, start)  # never before 1: the first canvas makes more than `overlap`
        finished = (0, *latest) if overlap and start else ()
        stop = min(num_frames, start + room + overlap - len(finished))
        yield finished, range(start, stop)
        start = stop


def _check_request(num_sources: int, num_targets: int, grid: ViewGrid, scenario: str | None) -> None:
    if scenario is not None and scenario not in SCENARIOS:
        raise ValueError(f"scenario {scenario!r}: one of {', '.join(SCENARIOS)} expected, or none")
    if num_sources < 1:
        raise ValueError("no source picture: at least one is needed")
    if num_targets < 1:
        raise ValueError("no target pose: at least one is needed")
    if grid.num_views < 2:
        raise ValueError(f"grid {grid}: a canvas needs at least 2 slots, one source and one target")
    most = {"T1": 1, "T2": 1, "star": 1, "T3": grid.num_views - 1}.get(scenario or "", num_sources)
    if num_sources > most:
        raise ValueError(f"scenario {scenario} on a grid of {grid} takes at most {most} source(s), {num_sources} given")
