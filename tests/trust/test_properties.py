"""Properties of poses, grids, plans and tilings, over inputs that Hypothesis looks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from typing import TypeVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from imagpose.pixels import Padding
from imagpose.pose import Pose, read_poses, write_openpose_json
from imagpose.pose.writing import to_openpose
from imagpose.views import SCENARIOS, ViewGrid, plan, tile, untile, view_multiple

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
sides = st.integers(1, 4000)
Made = TypeVar("Made")
grids = st.builds(ViewGrid, st.integers(1, 5), st.integers(1, 6))


def made_or_refused(make: Callable[[], Made]) -> Made | None:
    """What is made, or None after a ValueError of one line; anything else is an error."""
    try:
        return make()
    except ValueError as error:
        text = str(error)
    assert text and "\n" not in text
    return None


@st.composite
def poses(draw: st.DrawFn, inside: bool = False) -> Pose:
    """A pose in a frame of any size; some points are missing, and lie at zero as files have them."""
    width, height = draw(st.integers(16, 4000)), draw(st.integers(16, 4000))
    shares = draw(arrays.arrays(np.float64, (18, 2), elements=st.floats(0 if inside else -2, 1 if inside else 3)))
    found = draw(arrays.arrays(np.bool_, 18))
    confidence = draw(arrays.arrays(np.float64, 18, elements=st.floats(0.125, 1, width=16)))
    points = np.concatenate([shares * (width, height), confidence[:, None]], 1) * found[:, None]
    return Pose(points.astype(np.float32), width, height)


@quick
@given(poses(), sides, sides)
def test_a_resized_pose_comes_back(pose: Pose, width: int, height: int) -> None:
    back = pose.resize(width, height).resize(pose.width, pose.height)
    scale = max(pose.width, pose.height) * (1 + max(pose.width / width, pose.height / height))
    np.testing.assert_allclose(back.keypoints, pose.keypoints, atol=2e-6 * scale)
    assert (back.visible == pose.visible).all()


@quick
@given(poses())
def test_a_mirrored_pose_comes_back_and_has_left_and_right_exchanged(pose: Pose) -> None:
    mirrored = pose.mirror()
    np.testing.assert_allclose(mirrored.mirror().keypoints, pose.keypoints, atol=1e-5 * pose.width)
    right, left = 2, 5  # shoulders
    across = pose.keypoints[:, 0]
    at_edge = np.minimum(np.abs(across), np.abs(across - pose.width)) < 1e-3 * pose.width  # where rounding decides
    assert mirrored.visible[left] == pose.visible[right]
    assert abs(int(mirrored.inside.sum()) - int(pose.inside.sum())) <= (at_edge & pose.visible).sum()


@quick
@given(poses(inside=True), sides, sides)
def test_a_fitted_pose_stays_inside_its_view_and_keeps_its_shape(pose: Pose, width: int, height: int) -> None:
    fitted = pose.fit(width, height)
    assert (fitted.width, fitted.height) == (width, height)
    found = fitted.keypoints[fitted.visible]
    slack = 1e-3 * max(width, height)
    assert (found[:, :2] >= -slack).all() and (found[:, :2] <= np.array([width, height]) + slack).all()
    assume(min(pose.width, pose.height) * min(width / pose.width, height / pose.height) >= 8)
    spans = np.ptp(pose.keypoints[pose.visible, :2], axis=0) if pose.visible.any() else np.zeros(2)
    new = np.ptp(found[:, :2], axis=0) if len(found) else np.zeros(2)
    assume((spans > 1).all() and (new > 1).all())
    assert new[0] / spans[0] == pytest.approx(new[1] / spans[1], rel=0.15)  # sides are rounded to pixels


@quick
@given(poses(inside=True))
def test_a_written_pose_is_read_again(tmp_path_factory: pytest.TempPathFactory, pose: Pose) -> None:
    assume(pose.visible.any() and (pose.keypoints[pose.visible, :2] > 0.5).all())
    path = tmp_path_factory.mktemp("poses") / "pose.json"
    write_openpose_json(pose, path)
    (read,) = read_poses(path, units="pixels")
    assert (read.width, read.height) == (pose.width, pose.height)
    assert (read.visible == pose.visible).all()
    np.testing.assert_allclose(read.keypoints, pose.keypoints, atol=0.01)
    assert json.loads(path.read_text()) == to_openpose(pose)


@quick
@given(arrays.arrays(np.float64, st.tuples(st.integers(17, 19), st.integers(2, 4))), st.integers(-2, 30_000), sides)
def test_a_pose_is_legal_or_refused(points: np.ndarray, width: int, height: int) -> None:
    pose = made_or_refused(lambda: Pose(points, width, height))
    if pose is None:
        return
    assert pose.keypoints.shape == (18, 3) and np.isfinite(pose.keypoints).all()
    assert ((pose.keypoints[:, 2] >= 0) & (pose.keypoints[:, 2] <= 1)).all() and min(pose.width, pose.height) >= 1


@quick
@given(grids)
def test_a_grid_is_read_from_its_text(grid: ViewGrid) -> None:
    assert ViewGrid.parse(str(grid)) == grid
    assert grid.num_views == grid.rows * grid.cols


@quick
@given(st.text(max_size=12))
def test_a_text_is_a_grid_or_refused(text: str) -> None:
    grid = made_or_refused(lambda: ViewGrid.parse(text))
    assert grid is None or 1 <= grid.num_views <= 32


@settings(quick, max_examples=150)
@given(st.integers(0, 40), st.integers(0, 60), grids, st.sampled_from([None, *SCENARIOS, "T9"]))
def test_a_plan_gives_every_target_its_place_or_is_refused(
    num_sources: int, num_targets: int, grid: ViewGrid, scenario: str | None
) -> None:
    try:
        laid = plan(num_sources, num_targets, grid, scenario)
    except ValueError:
        room = {"T1": 1, "T2": 1, "star": 1, "T3": grid.num_views - 1}.get(scenario or "", num_sources)
        legal = scenario in (None, *SCENARIOS) and grid.num_views >= 2
        assert not legal or num_sources < 1 or num_targets < 1 or num_sources > room
        return
    assert len(laid.results) == num_targets
    assert all(len(canvas.slots) == grid.num_views for canvas in laid.canvases)
    for number, places in enumerate(laid.results):
        assert places
        for canvas, place in places:
            slot = laid.canvases[canvas].slots[place]
            assert (slot.role, slot.index) == ("target", number)
    used = list(chain.from_iterable(laid.results))
    assert len(set(used)) == len(used)  # no slot is the result of two
    for canvas in laid.canvases:
        shown = {slot.index for slot in canvas.slots if slot.role == "source"}
        assert shown == set(range(min(num_sources, grid.num_views - 1)))
        assert 1 <= sum(canvas.mask) < grid.num_views


@quick
@given(grids, st.integers(1, 2), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))
def test_tiling_is_undone_and_puts_views_where_a_loop_puts_them(
    grid: ViewGrid, batch: int, channels: int, height: int, width: int
) -> None:
    shape = (batch, grid.num_views, channels, height, width)
    views = torch.arange(int(np.prod(shape)), dtype=torch.float32).reshape(shape)
    canvas = tile(views, grid)
    assert torch.equal(untile(canvas, grid), views)
    for number in range(grid.num_views):
        row, column = divmod(number, grid.cols)
        part = canvas[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert torch.equal(part, views[:, number])


@quick
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 5), st.sampled_from([1, 4, 8]))
def test_padding_reaches_the_multiple_and_is_cropped_again(height: int, width: int, levels: int, factor: int) -> None:
    multiple = view_multiple(levels, factor)
    padding = Padding.to_multiple(height, width, multiple)
    pixels = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width)
    padded = padding.pad(pixels)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple and padded.shape[-1] - width < multiple
    assert torch.equal(padding.crop(padded), pixels)
    assert set(padded.unique().tolist()) <= set(pixels.unique().tolist())
