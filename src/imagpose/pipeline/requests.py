"""Brings what a user hands to the pipeline into one checked form; touches no model."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from PIL import Image

from imagpose.pictures import fit_view, load_picture
from imagpose.pose import Pose
from imagpose.views import Plan, ViewGrid, plan


@dataclass(frozen=True)
class Request:
    """One person's sources and target poses, fitted into views of one size, and the plan that lays them out.

    Args:
        sources: S RGB pictures of exactly the view's size.
        source_poses: S poses in the views' frame; `None` where the user gave none (a black skeleton stands there).
        target_poses: T poses in the views' frame.
        plan: the canvases and where each target pose's result is found.
    """

    sources: tuple[Image.Image, ...]
    source_poses: tuple[Pose | None, ...]
    target_poses: tuple[Pose, ...]
    plan: Plan


def read_requests(
    sources: Any,
    target_poses: Any,
    source_poses: Any,
    grid: ViewGrid | str | None,
    scenario: str | None,
    height: int,
    width: int,
) -> tuple[list[Request], bool]:
    """The checked requests, and whether the user gave a batch (`sources` is a list of lists).

    Args:
        sources: a picture (anything `load_picture` takes), a list of S pictures, or a list of such lists; arrays and
            tensors of several pictures as `_as_lists` takes them.
        target_poses: a `Pose`, a list of T, or a list of such lists, one per request.
        source_poses: as `sources`, `None` allowed for all or for single pictures.
        grid: a `ViewGrid`, text like `"2x3"`, or `None` for 2 x 2.
        scenario: a name that `views.plan` knows, or `None`.
        height, width: size of one view in pixels.

    Raises:
        ValueError: no source, no target pose, lists of different length, a pose without a visible key point inside
            its frame, or anything that `load_picture` or `plan` refuses; the message names the request and entry.
    """
    view_grid = _read_grid(grid)
    sources = _as_lists(sources, _is_batch(target_poses))
    if not _is_batch(sources):
        return [_read_request(sources, target_poses, source_poses, view_grid, scenario, height, width)], False
    if not _is_batch(target_poses) or len(target_poses) != len(sources):
        raise ValueError(
            f"sources is a list of {len(sources)} lists (a batch of requests), so target_poses must be a list of"
            f" {len(sources)} lists too"
        )
    if source_poses is None:
        source_poses = [None] * len(sources)
    if not isinstance(source_poses, (list, tuple)) or len(source_poses) != len(sources):
        raise ValueError(f"source_poses must have one entry per request ({len(sources)}), or be None")
    requests = []
    for index, given in enumerate(zip(sources, target_poses, source_poses, strict=True)):
        try:
            requests.append(_read_request(*given, view_grid, scenario, height, width))
        except ValueError as error:
            raise ValueError(f"request {index}: {error}") from error
    return requests, True


def check_size(name: str, value: int) -> int:
    """`value`, if it can be the side of a view: a whole number of pixels from 16 to 4096."""
    if isinstance(value, bool) or not isinstance(value, int) or not 16 <= value <= 4096:
        raise ValueError(f"{name} must be a whole number of pixels from 16 to 4096, got {value!r}")
    return value


def _read_grid(grid: ViewGrid | str | None) -> ViewGrid:
    if grid is None:
        return ViewGrid(2, 2)
    if isinstance(grid, ViewGrid):
        return grid
    if isinstance(grid, str):
        return ViewGrid.parse(grid)
    raise ValueError(f"grid must be a ViewGrid or text like '2x3', got {grid!r}")


def _is_batch(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and isinstance(value[0], (list, tuple))


def _as_lists(sources: Any, is_batch: bool) -> Any:
    """Arrays and tensors of several pictures as lists of single ones; everything else as it is.

    (1, 3, H, W) and (1, H, W, 3) are one picture. Of (n, ...) the n pictures are one request's, or with `is_batch`
    (several lists of poses) one of each of n requests; (n, s, ...) are the s sources of each of n requests.
    """
    dimensions = getattr(sources, "ndim", 0)
    if dimensions == 5:
        return [list(own) for own in sources]
    if dimensions == 4:
        return [[picture] for picture in sources] if is_batch else list(sources)
    if not isinstance(sources, (list, tuple)):
        return sources
    if is_batch:
        return [list(own) if getattr(own, "ndim", 0) == 4 else _as_lists(own, False) for own in sources]
    return [_single(own, index) for index, own in enumerate(sources)]


def _single(source: Any, index: int) -> Any:
    if getattr(source, "ndim", 0) != 4:
        return source
    if len(source) != 1:
        raise ValueError(f"sources[{index}] holds {len(source)} pictures: give them as that many entries of the list")
    return source[0]


def _read_request(
    sources: Any, target_poses: Any, source_poses: Any, grid: ViewGrid, scenario: str | None, height: int, width: int
) -> Request:
    source_list = list(sources) if isinstance(sources, (list, tuple)) else [sources]
    target_list = cast("list[Pose]", _as_poses(target_poses, "target_poses"))  # None only where `optional`
    if not source_list:
        raise ValueError("sources is empty: at least one source picture is needed")
    if not target_list:
        raise ValueError("target_poses is empty: at least one target pose is needed")
    pose_list: Sequence[Pose | None] = [None] * len(source_list)
    if source_poses is not None:
        pose_list = _as_poses(source_poses, "source_poses", optional=True)
    if len(pose_list) != len(source_list):
        raise ValueError(f"source_poses has {len(pose_list)} entries for {len(source_list)} sources")

    layout, targets = lay_out(len(source_list), target_list, grid, scenario, height, width)
    fitted_sources, fitted_poses = [], []
    for index, (source, pose) in enumerate(zip(source_list, pose_list, strict=True)):
        try:
            picture = load_picture(source)
        except ValueError as error:
            raise ValueError(f"sources[{index}]: {error}") from error
        view = fit_view(picture, width, height)
        fitted_sources.append(view)
        on_picture = None if pose is None else pose.resize(*picture.size)
        fitted_poses.append(None if on_picture is None else on_picture.fit(width, height))
    return Request(tuple(fitted_sources), tuple(fitted_poses), targets, layout)


def lay_out(
    num_sources: int, target_poses: Sequence[Pose], grid: ViewGrid, scenario: str | None, height: int, width: int
) -> tuple[Plan, tuple[Pose, ...]]:
    """The plan of a request, and its target poses in views of `height` x `width`; the sources' pixels do not matter.

    Raises:
        ValueError: a pose has no visible key point inside its frame, or as `plan`.

    Warns:
        UserWarning: there are more sources than a canvas has room for.
    """
    layout = plan(num_sources, len(target_poses), grid, scenario)
    room = grid.num_views - 1
    if num_sources > room:
        warnings.warn(
            f"a grid of {grid} has room for {room} sources beside a target: the other {num_sources - room} of"
            f" {num_sources} are not used",
            stacklevel=3,
        )
    targets = [_fit_visible(pose, width, height, f"target_poses[{index}]") for index, pose in enumerate(target_poses)]
    return layout, tuple(targets)


def _as_poses(value: Any, name: str, optional: bool = False) -> list[Pose | None]:
    poses = list(value) if isinstance(value, (list, tuple)) else [value]
    for index, pose in enumerate(poses):
        if not isinstance(pose, Pose) and not (optional and pose is None):
            raise ValueError(
                f"{name}[{index}] must be an imagpose Pose (read_pose reads files), got {type(pose).__name__}"
            )
    return poses


def _fit_visible(pose: Pose, width: int, height: int, name: str) -> Pose:
    if not pose.inside.any():
        raise ValueError(
            f"{name} has no visible key point inside its frame of {pose.height}x{pose.width} (height x width)"
        )
    return pose.fit(width, height)
