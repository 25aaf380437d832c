"""Picture, pose and mask are changed alike: values by hand, and a spot of light that must stay under its key point."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from imagpose.data.augment import UNCHANGED, AugmentSettings, Change, change_view, draw_changes
from imagpose.pose import KEYPOINT_NAMES, Pose

WIDTH, HEIGHT = 40, 60


def pose_with(**points: tuple[float, float, float]) -> Pose:
    keypoints = np.zeros((18, 3), np.float32)
    for name, values in points.items():
        keypoints[KEYPOINT_NAMES.index(name)] = values
    return Pose(keypoints, WIDTH, HEIGHT)


def of(pose: Pose, name: str) -> list[float]:
    return pose.keypoints[KEYPOINT_NAMES.index(name)].tolist()


def spot(x: float, y: float) -> Image.Image:
    """A soft spot of light at (x, y); pixel i covers i to i + 1."""
    columns, rows = np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5
    light = np.exp(-((columns[None] - x) ** 2 + (rows[:, None] - y) ** 2) / (2 * 2.0**2))
    return Image.fromarray((light * 255).round().astype(np.uint8)).convert("RGB")


def centre_of_light(values: np.ndarray) -> tuple[float, float]:
    values = values.astype(np.float64)
    columns, rows = np.arange(values.shape[1]) + 0.5, np.arange(values.shape[0]) + 0.5
    return float((values * columns).sum() / values.sum()), float((values * rows[:, None]).sum() / values.sum())


def test_mirrored_pose_by_hand() -> None:
    pose = pose_with(
        nose=(12, 5, 1), right_shoulder=(10, 20, 0.75), left_shoulder=(30, 22, 0.5), right_wrist=(3, 40, 1)
    )
    picture = spot(3, 40)
    mirrored, changed = change_view(Change(mirror=True), picture, pose)
    assert of(changed, "nose") == [28, 5, 1]
    assert of(changed, "left_shoulder") == [30, 20, 0.75]
    assert of(changed, "right_shoulder") == [10, 22, 0.5]
    assert of(changed, "left_wrist") == [37, 40, 1]
    assert of(changed, "right_wrist") == [0, 0, 0]
    assert np.array_equal(np.asarray(mirrored), np.asarray(picture)[:, ::-1])


def test_zoom_and_shift_by_hand() -> None:
    """Twice as large around (24, 24): x -> 2 (x - 24) + 20, y -> 2 (y - 24) + 30."""
    pose = pose_with(nose=(24, 24, 1), neck=(30, 30, 0.5))
    _, changed = change_view(Change(zoom=2.0, shift_x=0.1, shift_y=-0.1), spot(24, 24), pose)
    assert of(changed, "nose") == pytest.approx([20, 30, 1])
    assert of(changed, "neck") == pytest.approx([32, 42, 0.5])
    assert of(changed, "left_ear") == [0, 0, 0]
    assert (changed.width, changed.height) == (WIDTH, HEIGHT)


def test_light_stays_under_the_key_point() -> None:
    rng = np.random.default_rng(0)
    for number in range(30):
        x, y = float(rng.uniform(14, 26)), float(rng.uniform(20, 40))
        change = Change(bool(number % 2), float(rng.uniform(0.8, 1.3)), *rng.uniform(-0.1, 0.1, 2).tolist())
        before = spot(x, y)
        picture, pose = change_view(change, before, pose_with(nose=(x, y, 1)))
        assert picture.size == (WIDTH, HEIGHT)
        assert centre_of_light(np.asarray(picture)[..., 0]) == pytest.approx(of(pose, "nose")[:2], abs=0.1)
        lit = [(np.asarray(shown)[..., 0] > 127).sum() for shown in (before, picture)]
        assert lit[1] == pytest.approx(lit[0] * change.zoom**2, rel=0.35)


def test_edges_are_replicated() -> None:
    """Half the size: a quarter of the width on either side shows the edge's colour."""
    values = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    values[:, :20], values[:, 20:] = (200, 0, 0), (0, 0, 100)
    picture = np.asarray(change_view(Change(zoom=0.5), Image.fromarray(values), pose_with(nose=(1, 1, 1)))[0])
    assert (picture[:, :18] == (200, 0, 0)).all() and (picture[:, 22:] == (0, 0, 100)).all()
    far = np.asarray(change_view(Change(shift_x=0.5), Image.fromarray(values), pose_with(nose=(1, 1, 1)))[0])
    assert (far == (0, 0, 100)).all()


def test_unchanged_is_the_same() -> None:
    pose, picture = pose_with(nose=(5, 6, 1)), spot(5, 6)
    same_picture, same_pose = change_view(UNCHANGED, picture, pose)
    assert np.array_equal(np.asarray(same_picture), np.asarray(picture))
    assert np.array_equal(same_pose.keypoints, pose.keypoints)


def test_draws_stay_in_their_ranges_and_mirror_a_canvas_as_a_whole() -> None:
    settings = AugmentSettings(mirror=0.25, zoom=0.2, shift=0.1)
    canvases = [draw_changes(settings, np.random.default_rng(seed), 4) for seed in range(2000)]
    assert all(len({change.mirror for change in changes}) == 1 for changes in canvases)
    assert np.mean([changes[0].mirror for changes in canvases]) == pytest.approx(0.25, abs=0.03)
    zooms = np.log([change.zoom for changes in canvases for change in changes])
    assert abs(zooms).max() <= math.log(1.2) and abs(zooms.mean()) < 0.005
    assert zooms.std() == pytest.approx(math.log(1.2) / math.sqrt(3), rel=0.05)
    for axis in ("shift_x", "shift_y"):
        shifts = np.array([getattr(change, axis) for changes in canvases for change in changes])
        assert abs(shifts).max() <= 0.1 and shifts.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)
    assert len({change.zoom for change in canvases[0]}) == 4


def test_draws_depend_on_the_generator_only() -> None:
    settings = AugmentSettings(mirror=0.5, zoom=0.1, shift=0.05)
    one, same, other = (draw_changes(settings, np.random.default_rng(seed), 4) for seed in (1, 1, 2))
    assert one == same != other
    still = draw_changes(AugmentSettings(), np.random.default_rng(1), 2)
    assert still == [UNCHANGED, UNCHANGED]


@pytest.mark.parametrize("wrong", [{"mirror": 1.5}, {"zoom": -0.1}, {"shift": 0.6}])
def test_settings_outside_their_ranges(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} is {wrong[name]}; 0 to"):
        AugmentSettings(**wrong)
