"""Heads of a photo moved into another pose: they turn, and show hair where a face is turned away."""

from __future__ import annotations

import numpy as np
import pytest
from standing import (
    BLUE,
    FACE,
    GREEN,
    GREY,
    RED,
    STANDING,
    count,
    drawn,
    from_behind,
    linear,
    looking,
    moved,
    noise,
    pose,
    source,
    warped,
)


def with_face(yaw: float) -> np.ndarray:
    """Somebody whose head is blue, with a red face that has a green stripe down its middle, from the front."""
    picture = drawn(looking(yaw), head=BLUE).copy()
    picture[24:50, 77:99] = RED
    picture[24:50, 87:89] = GREEN
    return picture


@pytest.mark.parametrize("degrees", [30, -30, 60])
def test_a_face_turns_as_a_cylinder_does(degrees: float) -> None:
    """What is in the middle of a cylinder of radius .2 trunks comes to sin(angle) of it.

    Colours come from .95 of their place, less .3 for a quarter turn.
    """
    picture, angle = with_face(0), np.deg2rad(degrees)
    result = warped(pose(looking(angle)), source(picture, pose(looking(0))))
    stripe = np.flatnonzero(result[40][:, 1] > 150)
    assert stripe.mean() + 0.5 == pytest.approx(88 + 14 * np.sin(angle), abs=0.8)
    for x in range(80, 97):
        around = np.arcsin((x + 0.5 - 88) / 14) - angle
        if np.cos(around) > 0.05:
            place = 88 + (0.95 - 0.3 * abs(np.sin(angle))) * 14 * np.sin(around)
            np.testing.assert_allclose(result[40, x], linear(picture[40], place), atol=0.6)


def test_a_face_that_turns_stands_out_before_the_outline_that_it_had() -> None:
    """A chin 10 pixels wide to a side, where the head is 14: in profile it is where the head's front is."""
    picture = with_face(0)
    picture[44:50, :78] = picture[44:50, 98:] = GREY
    result = warped(pose(looking(np.pi / 2)), source(picture, pose(looking(0))))
    assert (result[46, 90:101] != GREY).any(axis=1).all()
    assert (result[46, 104:112] == GREY).all()


def test_a_small_turn_of_a_head_changes_nothing() -> None:
    picture = noise(4)
    result = warped(pose(looking(0.15)), source(picture, pose(looking(0))))
    np.testing.assert_array_equal(result[25:45, 80:96], picture[25:45, 80:96])


def test_the_far_side_of_a_turned_head_is_hair() -> None:
    """Turned by 60 degrees to the right as seen, all that lies left of -sin(30 degrees) was not seen before."""
    result = warped(pose(looking(np.pi / 3)), source(with_face(0), pose(looking(0))))
    assert (result[30:46, 75:80] == BLUE).all()
    assert (result[30:46, 90:98] != BLUE).any(axis=2).all()


def test_a_back_has_hair_in_place_of_the_face() -> None:
    own = source(with_face(0), pose(looking(0)))
    for target in (pose(looking(np.pi, from_behind())), pose(from_behind(), "nose", "left_eye", "right_eye")):
        result = warped(target, own)
        head = result[18:50, 72:104]
        assert count(head, RED) == count(head, GREEN) == 0
        assert tuple(result[36, 88]) == BLUE
    front = warped(pose(looking(0)), own)
    assert count(front[18:50, 72:104], RED) > 200


def test_a_back_has_hair_down_to_the_nape_and_the_neck_below() -> None:
    """What is beside the face below the ears is no hair; a neck stays a neck."""
    picture = with_face(0)
    picture[45:52, 68:108] = RED  # shoulders that are drawn up, as wide as the hair
    picture[53:59, 80:96] = GREEN
    result = warped(pose(looking(np.pi, from_behind())), source(picture, pose(looking(0))))
    assert (result[45:50, 82:94] == BLUE).all()
    assert tuple(result[56, 88]) == GREEN


@pytest.mark.parametrize(
    ("rows", "beside"),
    [((24, 44), GREEN), ((33, 36), GREEN), ((24, 44), (35, 40, 35)), ((24, 44), RED)],
    ids=["glasses and ears", "glasses", "a stain", "ears"],
)
def test_what_stands_out_beside_a_face_is_no_hair(rows: tuple[int, int], beside: tuple[int, int, int]) -> None:
    """Glasses and ears, or a stain of the ground, nearer to the back of a head than its crown is."""
    picture = with_face(0)
    picture[slice(*rows), 70:77] = picture[slice(*rows), 99:106] = beside
    result = warped(pose(looking(np.pi, from_behind())), source(picture, pose(looking(0))))
    assert (result[28:46, 79:97] == BLUE).all()


def test_wide_hair_is_as_wide_from_behind() -> None:
    """The head's blue reaches 18 pixels from its middle, its skull 14."""
    picture = with_face(0)
    result = warped(pose(looking(np.pi, from_behind())), source(picture, pose(looking(0))))
    assert (result[32:38, 72:74] == BLUE).all() and (result[32:38, 102:104] == BLUE).all()
    picture[24:50, 66:74] = picture[24:50, 102:110] = GREY
    result = warped(pose(looking(np.pi, from_behind())), source(picture, pose(looking(0))))
    assert (result[32:38, 71:73] != BLUE).any(axis=2).all() and (result[32:38, 76:100] == BLUE).all()


def test_under_a_hat_is_the_hair_that_shows_at_the_temples() -> None:
    picture = with_face(0)
    hat = picture[:23]
    hat[(hat == BLUE).all(axis=2)] = GREEN
    result = warped(pose(looking(np.pi, from_behind())), source(picture, pose(looking(0))))
    assert (result[19:22, 84:92] == GREEN).all() and (result[34:44, 80:96] == BLUE).all()


def test_who_is_bald_is_bald_from_behind_though_one_side_lies_in_shadow() -> None:
    picture = with_face(0)
    head = picture[:52]
    head[(head != GREY).any(axis=2)] = RED
    picture[24:44, 66:77] = picture[24:44, 99:110] = np.array(RED) // 2
    result = warped(pose(looking(np.pi, from_behind())), source(picture, pose(looking(0))))
    assert (result[26:44, 80:96] == RED).all()


def test_long_hair_falls_as_far_as_it_does_beside_the_neck_and_short_hair_does_not() -> None:
    for falls in (True, False):
        picture = with_face(0)
        picture[50:72, 60:116] = GREY
        picture[50:72, 80:96] = RED  # the neck
        if falls:
            picture[50:66, 70:80] = picture[50:66, 96:106] = BLUE
        result = warped(pose(looking(np.pi, from_behind())), source(picture, pose(looking(0))))
        below = result[53:60, 84:92]
        assert (below == (BLUE if falls else RED)).all()
        assert (result[70, 84:92] != BLUE).any(axis=1).all()


def test_a_source_from_behind_shows_no_face_from_the_front_either() -> None:
    """Its hair is all that is known."""
    behind = looking(np.pi, from_behind())
    result = warped(pose(looking(0)), source(drawn(behind, head=BLUE), pose(behind)))
    assert tuple(result[36, 88]) == BLUE and count(result[20:50, 74:102], RED) == 0


def test_a_head_comes_from_the_source_that_looks_to_the_same_side() -> None:
    """Angles go around: 170 degrees are nearer to -170 than to 100."""
    views = {100: RED, 170: GREEN, -60: BLUE}
    sources = [
        source(drawn(looking(np.deg2rad(angle)), head=colour, trunk=colour), pose(looking(np.deg2rad(angle))))
        for angle, colour in views.items()
    ]
    for angle, colour in ((90, RED), (-170, GREEN), (-80, BLUE)):
        result = warped(pose(looking(np.deg2rad(angle))), *sources)
        assert tuple(result[32, 88]) == colour
        assert tuple(result[95, 88]) == RED  # equally turned: the first


def test_a_missing_neck_is_between_the_shoulders_and_a_missing_face_above_it() -> None:
    own = source(noise(11), pose(STANDING))
    np.testing.assert_array_equal(warped(pose(STANDING), own), warped(pose(STANDING, "neck"), own))
    red = source(drawn(STANDING), pose(STANDING))
    # A head that is somewhere else leaves no second one above the neck.
    bent = warped(pose(moved(40, 0, *FACE)), red)
    assert tuple(bent[34, 128]) == RED and (bent[16:38, 78:98] == 20).all()
