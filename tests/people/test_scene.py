"""Views: projection, visibility, masks, framing, shadows and that the same seed gives the same pixels."""

import math
from dataclasses import replace

import numpy as np
import pytest

from imagpose.people import scene
from imagpose.people.backdrop import paint_backdrop, shade
from imagpose.people.body import LIMB_NAMES
from imagpose.people.camera import Camera, Projection, ViewSpec, frame_person, sample_view_specs, turn
from imagpose.people.identity import make_identity
from imagpose.people.motion import sample_motion
from imagpose.people.raster import VisibilityBuffer
from imagpose.people.shoot import make_shoot, stool
from imagpose.people.skinning import pose_identity
from imagpose.people.template import load_template
from imagpose.people.visibility import keypoint_confidence
from imagpose.pose import KEYPOINT_NAMES

NOSE, RIGHT_EAR, RIGHT_ANKLE, LEFT_ANKLE = (
    KEYPOINT_NAMES.index(name) for name in ("nose", "right_ear", "right_ankle", "left_ankle")
)
FRONT_CAMERA = Camera(framing="full", pitch=4.0, distance=5.0, fill=0.9, shift=(0.0, 0.0))
HEIGHT, WIDTH = 96, 72


@pytest.fixture(scope="module")
def people():
    return [make_identity(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def views(people):
    return [
        scene.render_view(person, spec, HEIGHT, WIDTH)
        for person in people
        for spec in sample_view_specs(person.seed, 6)
    ]


@pytest.fixture
def standing(monkeypatch):
    """Every pose drawn is a plain stand, so that what is seen follows from the yaw alone."""
    draw = scene.sample_motion
    monkeypatch.setattr(scene, "sample_motion", lambda rng: draw(rng, ("stand",)))


def test_projection_is_a_pinhole_camera():
    """Against the textbook's K [R | t] in homogeneous coordinates, with a camera that looks down by 10 degrees."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (30, 3)) + (0, 5, 0)
    tilt = math.radians(10)
    rotation = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    projection = Projection(np.array([0.1, -2.0, 1.5]), rotation, 300.0, np.array([40.0, 50.0]))
    # textbook axes: x right, y down, z forward
    extrinsic = np.stack([rotation[0], -rotation[2], rotation[1]])
    matrix = np.array([[300, 0, 40], [0, 300, 50], [0, 0, 1]]) @ np.c_[extrinsic, -extrinsic @ projection.position]
    expected = np.c_[points, np.ones(30)] @ matrix.T
    pixels, depth = projection.project(points)
    np.testing.assert_allclose(pixels, expected[:, :2] / expected[:, 2:], rtol=1e-9)
    np.testing.assert_allclose(depth, expected[:, 2], rtol=1e-9)
    # The place is painted from the pixels outwards: what each sees must come back to its centre.
    ground = paint_backdrop(make_shoot(0), projection, points, 100, 80)
    seen, _ = projection.project(ground.points.reshape(3, -1).T)
    rows, columns = np.indices((100, 80)) + 0.5
    np.testing.assert_allclose(seen, np.stack([columns.ravel(), rows.ravel()], 1), atol=1e-3)


def test_key_points_lie_where_the_camera_sees_the_joints(people, standing):
    """The pose of a picture against the posed mesh, turned and projected by hand."""
    spec = ViewSpec(pose_seed=3, yaw=30.0, camera=FRONT_CAMERA, background=1)
    view = scene.render_view(people[0], spec, HEIGHT, WIDTH)
    mesh = pose_identity(people[0], scene.pose_motion(people[0], scene.motion_of(spec)).rotations)
    cosine, sine = math.cos(math.radians(30)), math.sin(math.radians(30))
    joints = np.array([[x * cosine - y * sine, x * sine + y * cosine, z] for x, y, z in mesh.keypoints])
    vertices = np.array([[x * cosine - y * sine, x * sine + y * cosine, z] for x, y, z in mesh.vertices])
    expected, _ = frame_person(FRONT_CAMERA, vertices, joints, HEIGHT, WIDTH).project(joints)
    np.testing.assert_allclose(view.pose.keypoints[:, :2], expected, atol=0.01)
    outline, _ = frame_person(FRONT_CAMERA, vertices, joints, HEIGHT, WIDTH).project(vertices)
    rows, columns = np.nonzero(view.foreground)
    np.testing.assert_allclose(
        [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1],
        [*np.sort(outline[:, 0])[[0, -1]], *np.sort(outline[:, 1])[[0, -1]]],
        atol=1.2,
    )


def test_visible_key_points_lie_on_the_person(views):
    for view in views:
        for x, y, confidence in view.pose.keypoints:
            if confidence == 1.0:
                column, row = int(x), int(y)
                assert view.foreground[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].any()
            elif confidence == 0.0:
                assert not (0 <= x < WIDTH and 0 <= y < HEIGHT)
            else:
                assert confidence == 0.5


def test_the_face_is_seen_from_the_front_and_not_from_behind(people, standing):
    for person in people:
        front, behind = (
            scene.render_view(person, ViewSpec(5, yaw, FRONT_CAMERA, 0), 128, 96).pose.keypoints[:, 2]
            for yaw in (0.0, 180.0)
        )
        assert front[NOSE] == 1.0 and behind[NOSE] == 0.5
        assert (front[[RIGHT_ANKLE, LEFT_ANKLE]] == 1.0).all()


def test_masks_agree_and_people_have_skin_and_clothes(views):
    for view in views:
        np.testing.assert_array_equal(view.foreground, view.parts > 0)
        assert view.picture.dtype == np.uint8 and view.picture.shape == (HEIGHT, WIDTH, 3)
        assert 0.03 < view.foreground.mean() < 0.9
        names = {scene.PART_NAMES[part] for part in np.unique(view.parts)}
        assert {"skin", "top"} <= names


def test_framing(people):
    person = people[1]
    for framing, ankles_inside in (("full", True), ("upper", False), ("close", False)):
        view = scene.render_view(
            person, ViewSpec(1, 0.0, replace(FRONT_CAMERA, framing=framing), 0), HEIGHT, WIDTH
        )  # pose 1 is an upright one
        rows = np.flatnonzero(view.foreground.any(1))
        assert rows[0] > 0  # nothing is cut off the head
        assert (view.pose.keypoints[RIGHT_ANKLE, 2] > 0) == ankles_inside
        assert (rows[-1] < HEIGHT - 1) == ankles_inside
    with pytest.raises(ValueError, match="framing"):
        replace(FRONT_CAMERA, framing="feet")


@pytest.mark.parametrize(("framing", "lowest"), [("upper", 0.725), ("close", 1.0875)])
def test_where_the_picture_ends_below(framing, lowest):
    """Half of the way from the hips to the knees, or three quarters of that from the neck to the hips; by hand."""
    keypoints = np.zeros((18, 3))
    keypoints[[1, 2, 5, 8, 11, 9, 12], 2] = (1.5, 1.45, 1.45, 0.95, 0.95, 0.5, 0.5)  # neck, shoulders, hips, knees
    keypoints[[2, 5], 0] = (-0.2, 0.2)
    body = np.array([(x, 0.0, z) for x in (-0.25, 0.25) for z in (0.0, 1.75)])
    camera = Camera(framing, pitch=0.0, distance=5.0, fill=0.9, shift=(0.0, 0.0))
    projection = frame_person(camera, body, keypoints, 100, 70)
    (_, crown), (_, end) = projection.project(np.array([(0.0, 0.0, 1.75), (0.0, 0.0, lowest)]))[0]
    assert crown == pytest.approx(5) and end == pytest.approx(95)


def test_the_same_seed_gives_the_same_pixels(people, views):
    again = scene.render_view(make_identity(0), sample_view_specs(0, 1)[0], HEIGHT, WIDTH)
    np.testing.assert_array_equal(again.picture, views[0].picture)
    np.testing.assert_array_equal(again.pose.keypoints, views[0].pose.keypoints)
    assert (views[6].picture != views[0].picture).mean() > 0.2


def test_specifications_are_a_prefix_and_show_every_side():
    backs = 0
    for seed in range(50):
        specs = sample_view_specs(seed, 8)
        assert specs[:3] == sample_view_specs(seed, 3)
        yaws = [(spec.yaw + 180) % 360 - 180 for spec in specs]
        assert abs(yaws[0]) <= 20 and specs[0].camera.framing == "full"
        for block in (yaws[:4], yaws[4:]):
            assert sorted(round(yaw / 90) % 4 for yaw in block) == [0, 1, 2, 3]
        assert len({spec.background for spec in specs}) == 1
        assert len({spec.pose_seed for spec in specs}) == 8
        backs += any(abs(yaw) > 135 for yaw in yaws[:4])
    assert backs == 50


def test_a_person_darkens_the_floor_under_the_feet_only():
    shoot = replace(make_shoot(3), kind="white", wall_distance=4.0)
    rotation = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    projection = Projection(np.array([0.0, -5.0, 1.0]), rotation, 80.0, np.array([40.0, 30.0]))
    column = np.stack(np.meshgrid([-0.1, 0, 0.1], [-0.1, 0, 0.1], np.linspace(0, 1.7, 60)), -1).reshape(-1, 3)
    with_person = paint_backdrop(shoot, projection, column, 60, 80).picture
    away = paint_backdrop(shoot, projection, column + (50.0, 0, 0), 60, 80).picture
    (feet_x, feet_y), *_ = projection.project(np.array([[0.0, 0.0, 0.0]]))[0]
    row = int(feet_y)
    assert with_person[row, int(feet_x)].mean() < 0.9 * away[row, int(feet_x)].mean()
    assert (with_person <= away + 1e-6).all()
    np.testing.assert_allclose(with_person[:20], away[:20])  # the wall and all above stay as they were


def test_light_falls_on_what_faces_it():
    shoot = make_shoot(1)
    normals = np.stack([shoot.light, -shoot.light * (1, -1, 1)]).astype(np.float32)
    lit, unlit = shade(shoot, normals, np.full((2, 3), 0.5), np.zeros(2), np.array([0.0, 1.0, 0.0]))
    assert lit.mean() > unlit.mean() + 0.15
    # the inner side of open cloth is turned to the camera, so it is lit like the outer one
    inner = shade(shoot, -normals[:1], np.full((1, 3), 0.5), np.zeros(1), np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(inner[0], lit, rtol=1e-5)


def test_who_sits_has_a_stool_that_is_not_part_of_the_person(people, monkeypatch):
    motion = sample_motion(np.random.default_rng(2), ("sit",))
    spec = ViewSpec(2, 90.0, FRONT_CAMERA, 5)
    view = scene.render_view(people[1], spec, 128, 96, motion=motion)
    assert view.kind == "sit"
    monkeypatch.setattr(scene, "_with_seat", lambda mesh: mesh)
    without = scene.render_view(people[1], spec, 128, 96, motion=motion)
    changed = (view.picture.astype(int) - without.picture).__abs__().max(-1) > 30
    assert changed.sum() > 50
    assert view.foreground[changed].mean() < 0.1
    vertices, _, faces = stool(0.5, np.array([1.0, 2.0, 9.9]))
    assert vertices[:, 2].min() == 0 and vertices[:, 2].max() == 0.5 and faces.max() == len(vertices) - 1


def test_confidence_by_limb_and_depth():
    """A picture of three columns: torso, right forearm, nothing; all at 2 m."""
    triangle = np.tile([0, 1, -1], (3, 1))
    depth = np.where(triangle < 0, np.inf, 2.0).astype(np.float32)
    buffer = VisibilityBuffer(triangle, np.zeros((3, 3, 3), np.float32), depth)
    limbs = np.array([LIMB_NAMES.index("torso")] * 3 + [LIMB_NAMES.index("right_forearm")] * 3)
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    column = {"torso": 0.5, "forearm": 1.5, "nothing": 2.5, "outside": 3.5}

    def confidence(name, place, behind, limbs=limbs, part="skin"):
        pixels = np.full((18, 2), 1.5)
        pixels[:, 0] = column[place]
        parts = np.where(triangle < 0, 0, scene.PART_NAMES.index(part))
        values = keypoint_confidence(pixels, np.full(18, 2.0 + behind), buffer, faces, limbs, parts)
        return values[KEYPOINT_NAMES.index(name)]

    assert confidence("right_wrist", "forearm", 0.03) == 1.0
    assert confidence("right_wrist", "forearm", 0.20) == 0.5  # too deep
    assert confidence("right_wrist", "torso", 0.03) == 0.5  # behind the trunk
    assert confidence("left_wrist", "forearm", 0.03) == 0.5  # the other arm is in front
    assert confidence("neck", "torso", 0.10) == 1.0
    assert confidence("nose", "torso", 0.0) == 0.5
    head = np.full(6, LIMB_NAMES.index("head"))
    assert confidence("right_ear", "torso", 0.03, head) == 1.0
    assert confidence("right_ear", "torso", 0.03, head, part="accessory") == 1.0  # under glasses
    assert confidence("right_ear", "torso", 0.03, head, part="hair") == 0.5  # under long hair
    assert confidence("right_ear", "torso", 0.005, head, part="hair") == 1.0  # at the hairline
    assert confidence("right_wrist", "nothing", 0.0) == 0.5
    assert confidence("right_wrist", "outside", 0.0) == 0.0


def test_turning_faces_the_right_edge_at_90_degrees():
    np.testing.assert_allclose(turn(90) @ [0, -1, 0], [1, 0, 0], atol=1e-12)


def test_a_tiny_picture_is_refused(people):
    with pytest.raises(ValueError, match="too small"):
        scene.render_view(people[0], sample_view_specs(0, 1)[0], 8, 64)


def test_one_camera_shows_two_people_from_one_place(people):
    """Through the first person's camera: key points are the second one's joints, projected by hand."""
    spec = ViewSpec(11, 20.0, FRONT_CAMERA, 4)
    first = scene.render_view(people[0], spec, HEIGHT, WIDTH)
    second = scene.render_view(people[1], spec, HEIGHT, WIDTH, projection=first.projection)
    posture = scene.pose_motion(people[1], scene.motion_of(spec))
    joints = pose_identity(people[1], posture.rotations).keypoints @ turn(20.0).T
    expected, _ = first.projection.project(joints)
    np.testing.assert_allclose(second.pose.keypoints[:, :2], expected, atol=0.01)
    assert second.kind == first.kind
    fitted = scene.render_view(people[1], spec, HEIGHT, WIDTH)
    assert np.abs(fitted.pose.keypoints - second.pose.keypoints).max() > 0.3


def test_a_sequence_goes_from_one_motion_to_another_under_one_camera(people):
    person, spec = people[2], ViewSpec(0, 0.0, FRONT_CAMERA, 0)
    first, second = (sample_motion(np.random.default_rng(1), (kind,)) for kind in ("stand", "sit"))
    start = scene.render_view(person, spec, HEIGHT, WIDTH, motion=first)
    heights = []
    for share in (0.0, 0.5, 1.0):
        between = scene.interpolate_motions(person, first, second, share)
        view = scene.render_view(person, spec, HEIGHT, WIDTH, motion=between, projection=start.projection)
        heights.append(view.pose.keypoints[NOSE, 1])
        if share == 0.0:
            np.testing.assert_array_equal(view.picture, start.picture)
        assert between.needs_seat is False
    assert heights[0] < heights[1] - 2 < heights[2] - 4


def test_the_surface_tells_the_place_on_the_template(people):
    """Left is at positive x, feet low and the head high, in metres of the template; key points' pixels agree with joints."""
    joints = load_template().joints
    spec = ViewSpec(0, 0.0, FRONT_CAMERA, 0)
    for person in people:
        motion = sample_motion(np.random.default_rng(3), ("raise",))
        view = scene.render_view(person, spec, 192, 144, motion=motion)
        assert view.surface.shape == (192, 144, 3) and view.surface.dtype == np.float16
        assert (view.surface[~view.foreground] == 0).all()
        assert (np.abs(view.surface[view.foreground]).max(-1) > 0).all()
        for name in ("left_wrist", "right_wrist", "left_knee", "right_ankle", "nose"):
            x, y, confidence = view.pose.keypoints[KEYPOINT_NAMES.index(name)]
            if confidence == 1.0:
                seen = view.surface[int(y), int(x)].astype(float)
                assert np.linalg.norm(seen - joints[name]) < 0.13, name
