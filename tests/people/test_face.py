"""Faces: at the size of a full-body view, features are there on every skin with every hair."""

import math

import numpy as np
import pytest

from imagpose.people import face as face_module
from imagpose.people import scene
from imagpose.people.camera import Camera, ViewSpec
from imagpose.people.face import (
    BEARDS,
    HAIRS,
    MOUTHS,
    SKINS,
    Face,
    calm_normals,
    facial_hair,
    lip_colour,
    outlined,
    paint_skin,
    sample_face,
)
from imagpose.people.identity import make_identity
from imagpose.pose import KEYPOINT_NAMES

PIXEL = 0.008  # metres, a full-body view at 256x176
LUMA = np.array((0.2126, 0.7152, 0.0722))
EYE_X, EYE_Z = face_module._landmarks().eye
MOUTH_Z = face_module._landmarks().mouth


def _face(skin, hair, tint=0.0, mouth="neutral", beard="none"):
    return Face(
        skin=skin,
        brow=facial_hair(hair, skin),
        beard_colour=facial_hair(hair, skin),
        iris=(0.07, 0.26, 0.52),
        lips=lip_colour(skin, tint),
        mouth=mouth,
        beard=beard,
        brow_height=0.0,
        brow_tilt=0.1,
        eye_scale=0.94,
    )


def _picture(face, shift=0.0):
    """Luma of the flat front of a face with pixels of `PIXEL`, sampled 2x2 as the renderer does; rows go down.

    Returns the picture (rows, columns) and the metres of its pixel centres: x (columns,), z (rows,).
    """
    rows, columns = 28, 20
    x = (np.arange(2 * columns) + 0.5) * PIXEL / 2 - columns * PIXEL / 2 + shift
    z = 0.82 - (np.arange(2 * rows) + 0.5) * PIXEL / 2 + shift
    grid_x, grid_z = np.meshgrid(x, z)
    places = np.stack([grid_x.ravel(), np.full(grid_x.size, -0.13), grid_z.ravel()], 1)
    luma = (paint_skin(face, places) @ LUMA).reshape(rows, 2, columns, 2).mean((1, 3))
    return luma, x.reshape(-1, 2).mean(1), z.reshape(-1, 2).mean(1)


def _within(x, z, left, right, bottom, top):
    return ((x > left) & (x < right))[None] & ((z > bottom) & (z < top))[:, None]


@pytest.mark.parametrize("skin", SKINS)
@pytest.mark.parametrize("shift", [0.0, 0.003])
def test_eyes_brows_and_mouth_stand_out_on_every_skin(skin, shift):
    """Each feature has pixels whose luma differs from the skin's by 0.10 or more, wherever the pixel grid falls."""
    skin_luma = float(LUMA @ skin)
    for hair in HAIRS:
        for tint in (0.0, 1.0):
            for mouth in MOUTHS:
                luma, x, z = _picture(_face(skin, hair, tint, mouth), shift)
                for side in (-1, 1):
                    middle = side * EYE_X
                    eye = luma[_within(x, z, middle - 0.025, middle + 0.025, EYE_Z - 0.014, EYE_Z + 0.014)]
                    assert eye.min() < 0.35  # dark within white: a contrast of its own on any skin
                    assert eye.max() - eye.min() > 0.30
                    brow = luma[_within(x, z, middle - 0.02, middle + 0.02, EYE_Z + 0.020, EYE_Z + 0.036)]
                    assert (abs(brow - skin_luma) > 0.10).sum() >= 4
                lips = luma[_within(x, z, -0.03, 0.03, MOUTH_Z - 0.012, MOUTH_Z + 0.012)]
                assert (abs(lips - skin_luma) > 0.10).sum() >= 4


@pytest.mark.parametrize("feature", ["eye", "brow", "mouth"])
def test_features_are_at_least_12_mm_high(feature):
    """Height of what differs from the skin in the column through the feature's middle, in steps of half a millimetre."""
    face = _face(SKINS[2], HAIRS[0])
    x, low, high = {
        "eye": (EYE_X, EYE_Z - 0.02, EYE_Z + 0.018),
        "brow": (EYE_X, EYE_Z + 0.019, EYE_Z + 0.04),
        "mouth": (0.0, MOUTH_Z - 0.012, MOUTH_Z + 0.012),
    }[feature]
    z = np.arange(low, high, 0.0005)
    painted = paint_skin(face, np.stack([np.full_like(z, x), np.full_like(z, -0.13), z], 1))
    differs = abs(painted - face.skin).max(1) > 0.06
    if feature == "eye":  # between the lids, not with their dark rim
        differs &= abs(painted - np.multiply(face.skin, 0.25)).max(1) > 0.02
    assert differs.sum() * 0.0005 >= 0.012


def test_beards_differ_from_each_other_and_from_bare_skin():
    for skin in SKINS:
        for hair in HAIRS:
            pictures = [_picture(_face(skin, hair, beard=beard))[0] for beard in BEARDS]
            for first in range(len(BEARDS)):
                for second in range(first):
                    assert (abs(pictures[first] - pictures[second]) > 0.06).sum() >= 5


def test_sampled_hair_has_an_outline_against_the_skin():
    rng = np.random.default_rng(0)
    faces = [sample_face(rng, female=bool(index % 2)) for index in range(400)]
    assert all(outlined(hair, face.skin) for face, hair in faces)
    assert {face.skin for face, _ in faces} == set(SKINS) and {hair for _, hair in faces} == set(HAIRS)
    assert {face.beard for face, _ in faces[1::2]} == {"none"}
    assert {face.beard for face, _ in faces[::2]} == set(BEARDS)
    assert len({face.mouth for face, _ in faces}) == len(MOUTHS)


def test_normals_are_calm_at_the_eyes_and_untouched_elsewhere():
    down = np.array([[0.0, -math.sqrt(0.5), -math.sqrt(0.5)]])
    eye, cheek, back = (
        np.array([place]) for place in ((EYE_X, -0.13, EYE_Z), (0.06, -0.1, 0.66), (EYE_X, 0.08, EYE_Z))
    )
    calm = calm_normals(down, eye)
    np.testing.assert_allclose(np.linalg.norm(calm), 1, rtol=1e-6)
    assert calm[0, 2] > 0.1 and calm[0, 1] < -0.8
    np.testing.assert_allclose(calm_normals(down, cheek), down, rtol=1e-6)
    np.testing.assert_allclose(calm_normals(down, back), down, rtol=1e-6)


def test_eyes_of_rendered_people_are_dark_in_white_at_256x176(monkeypatch):
    """Full-body front views, lit: around each visible eye's key point luma spans 0.3 or more within 5x5 pixels."""
    draw = scene.sample_motion
    monkeypatch.setattr(scene, "sample_motion", lambda rng: draw(rng, ("stand",)))
    camera = Camera(framing="full", pitch=4.0, distance=5.0, fill=0.9, shift=(0.0, 0.0))
    people = [person for person in map(make_identity, range(20)) if person.look.accessories.glasses == "none"]
    assert len({person.look.face.skin for person in people}) >= 5
    for person in people:
        view = scene.render_view(
            person, ViewSpec(pose_seed=1, yaw=0.0, camera=camera, background=person.seed), 256, 176
        )
        luma = view.picture @ LUMA / 255
        for name in ("left_eye", "right_eye"):
            x, y, confidence = view.pose.keypoints[KEYPOINT_NAMES.index(name)]
            if confidence == 1.0:
                around = luma[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3]
                assert np.ptp(around) > 0.3
