import numpy as np
import pytest

from imagpose.pose import LIMBS, Pose, draw_skeleton

# ControlNet's colours, R G B, in its order.
PUBLISHED = [
    tuple(int(part) for part in colour.split())
    for colour in (
        "255 0 0,255 85 0,255 170 0,255 255 0,170 255 0,85 255 0,0 255 0,0 255 85,0 255 170,0 255 255,0 170 255,"
        "0 85 255,0 0 255,85 0 255,170 0 255,255 0 255,255 0 170,255 0 85"
    ).split(",")
]


def drawn_by_loops(pose: Pose, finer: int) -> np.ndarray:
    """The skeleton from the equations of its ellipses and discs, `finer` x `finer` samples a pixel; float (H, W, 3)."""
    radius = 4 * pose.height / 512
    rows, columns = np.mgrid[: pose.height * finer, : pose.width * finer]
    x, y = (columns + 0.5) / finer, (rows + 0.5) / finer
    picture = np.zeros((*x.shape, 3))
    for number, (start, end) in enumerate(LIMBS):
        (x0, y0, found0), (x1, y1, found1) = pose.keypoints[start].tolist(), pose.keypoints[end].tolist()
        if not (found0 and found1):
            continue
        length, angle = np.hypot(x1 - x0, y1 - y0), np.arctan2(y1 - y0, x1 - x0)
        dx, dy = x - (x0 + x1) / 2, y - (y0 + y1) / 2
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        inside = (along / (length / 2)) ** 2 + (across / radius) ** 2 <= 1
        picture[inside] = np.array(PUBLISHED[number]) * 0.6
    for number, (joint_x, joint_y, found) in enumerate(pose.keypoints.tolist()):
        if found:
            picture[(x - joint_x) ** 2 + (y - joint_y) ** 2 <= radius**2] = PUBLISHED[number]
    return picture.reshape(pose.height, finer, pose.width, finer, 3).mean((1, 3))


def test_colours_at_known_pixels(standing):
    picture = draw_skeleton(standing)
    assert (picture.size, picture.mode) == ((384, 512), "RGB")
    for joint, (x, y, _) in enumerate(standing.keypoints.astype(int).tolist()):
        assert picture.getpixel((x, y)) == PUBLISHED[joint], joint
    for number, (start, end) in enumerate(LIMBS):
        x, y = standing.keypoints[[start, end], :2].mean(0).astype(int).tolist()
        assert picture.getpixel((x, y)) == tuple(int(0.6 * part) for part in PUBLISHED[number]), number
    # The right forearm is yellow, red first: R and B have not changed places.
    assert picture.getpixel((110, 215)) == (153, 153, 0)
    assert picture.getpixel((5, 5)) == (0, 0, 0)


@pytest.mark.parametrize(("size", "finer"), [((96, 128), 4), ((176, 256), 2), ((150, 400), 2)])
def test_equals_the_equations(standing, size, finer):
    pose = standing.resize(*size)
    drawing, truth = np.asarray(draw_skeleton(pose), float), drawn_by_loops(pose, finer)
    assert np.abs(drawing - truth).max(2).sum() < 0.1 * truth.max(2).sum()
    assert drawing.max(2).sum() == pytest.approx(truth.max(2).sum(), rel=0.03)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_looks_alike_at_any_resolution(standing, factor):
    small = np.asarray(draw_skeleton(standing, 96, 128), float)
    shrunk = np.asarray(draw_skeleton(standing, 96 * factor, 128 * factor).reduce(factor), float)
    assert np.abs(small - shrunk).sum() < 0.09 * small.sum()


def test_missing_points_and_their_limbs_are_left_out(standing):
    points = standing.keypoints.copy()
    points[3, 2] = 0  # right elbow
    points[4, 2] = 0.5  # right wrist: occluded, drawn like the others
    picture = draw_skeleton(Pose(points, 384, 512))
    assert picture.getpixel((120, 180)) == (0, 0, 0)
    assert picture.getpixel((110, 215)) == (0, 0, 0)
    assert picture.getpixel((132, 146)) == (0, 0, 0)
    assert picture.getpixel((100, 250)) == PUBLISHED[4]


def test_what_lies_outside_the_frame_is_cut_off(standing):
    whole = np.asarray(draw_skeleton(standing))
    part = np.asarray(draw_skeleton(standing.crop(150, 0, 384, 512)))
    np.testing.assert_array_equal(part[:, :200], whole[:, 150:350])


def test_mirrored_pose_is_drawn_mirrored(standing):
    mirrored = np.asarray(draw_skeleton(standing.mirror())).max(2) > 0
    flipped = np.asarray(draw_skeleton(standing)).max(2)[:, ::-1] > 0
    assert (mirrored ^ flipped).sum() < 0.15 * flipped.sum()
    left_elbow = standing.mirror().keypoints[6, :2].astype(int).tolist()
    assert draw_skeleton(standing.mirror()).getpixel(tuple(left_elbow)) == PUBLISHED[6]
    assert left_elbow == [384 - 120, 180]  # where the right elbow was


def test_extreme_frames_stay_cheap(standing):
    assert draw_skeleton(standing, 20_000, 16).size == (20_000, 16)
