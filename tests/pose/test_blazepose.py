"""BlazePose's geometry by closed forms, its class on stand-in networks, and the real networks where they are installed."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from imagpose.metrics.keypoints import pck
from imagpose.people import TEST_SEEDS, make_identity, render_view, sample_view_specs
from imagpose.pose import KEYPOINT_NAMES, blazepose, read_pose_file
from imagpose.pose.blazepose import ANCHORS, BlazePose, Square, decode_people, refine, square_around
from imagpose.pose.blazepose_files import network_files
from imagpose.serving.detection import detect_files

NOBODY = np.full(2254, -20.0)


def test_anchors_are_the_middles_of_cells_of_three_grids() -> None:
    expected = []
    for stride, count in ((8, 2), (16, 2), (32, 6)):
        for y in range(224 // stride):
            for x in range(224 // stride):
                expected += [((x + 0.5) * stride, (y + 0.5) * stride)] * count
    assert ANCHORS.shape == (2254, 2)
    np.testing.assert_allclose(ANCHORS, expected)


def encoded(person: np.ndarray, anchor: int) -> np.ndarray:
    """What the network says at an anchor of a person (6, 2) in pixels of its input."""
    row = person.copy()
    row[[0, 2, 3, 4, 5]] -= ANCHORS[anchor]
    return row.ravel()


def test_people_are_decoded_and_boxes_that_overlap_are_one() -> None:
    person = np.array([(60, 50), (20, 24), (61, 110), (58, 20), (60, 80), (59, 30)], np.float64)
    other = person + [(90, 10), (4, 0), (90, 10), (90, 10), (90, 10), (90, 10)]
    moved = person.copy()
    moved[0, 0] += 4
    raw, logits = np.zeros((2254, 12)), NOBODY.copy()
    raw[300], logits[300] = encoded(person, 300), math.log(3)  # score 0.75
    raw[1700], logits[1700] = encoded(moved, 1700), 0.0  # score 0.5, the same face
    raw[2000], logits[2000] = encoded(other, 2000), 4.0
    raw[2100], logits[2100] = encoded(other + 60, 2100), -0.1  # not sure enough
    found = decode_people(raw, logits)
    np.testing.assert_allclose(found[0], other)
    np.testing.assert_allclose(found[1], (0.75 * person + 0.5 * moved) / 1.25)
    assert len(found) == 2
    assert decode_people(raw, NOBODY).shape == (0, 6, 2)


def test_the_square_reaches_a_quarter_farther_than_the_person_on_both_sides() -> None:
    square = square_around(np.array([100.0, 200.0]), np.array([130.0, 160.0]))
    assert square.middle == (100, 200)
    assert square.side == pytest.approx(2 * 1.25 * 50)
    assert square.angle == pytest.approx(math.atan2(30, 40))  # leaning to the right: clockwise


@pytest.mark.parametrize("size", [(120, 90), (1200, 900)])
@pytest.mark.parametrize("angle", [0.0, 0.6, -2.5])
def test_points_of_a_cut_lead_back_to_their_place(size: tuple[int, int], angle: float) -> None:
    scale = size[0] / 120
    spot = np.array([70.0, 40.0]) * scale
    rows, columns = np.mgrid[: size[1], : size[0]] + 0.5
    light = 255 * np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / (2 * (3 * scale) ** 2))
    picture = Image.fromarray(light.round().astype(np.uint8)).convert("RGB")
    square = Square((60 * scale, 45 * scale), 100 * scale, angle)
    cut = square.cut(picture, 64)[..., 0]
    assert cut.max() == pytest.approx(1, abs=0.1)
    places = np.mgrid[:64, :64] + 0.5
    seen = np.array([(places[1] * cut).sum(), (places[0] * cut).sum()]) / cut.sum()
    np.testing.assert_allclose(square.to_picture(seen[None], 64)[0], spot, atol=0.3 * scale)
    assert not Square((-300.0 * scale, 45.0), 100 * scale, angle).cut(picture, 64).any()  # outside is black


def test_upright_people_stand_upright_in_their_square() -> None:
    hips, reach = np.array([50.0, 60.0]), np.array([80.0, 90.0])  # head down, to the right
    square = square_around(hips, reach)
    up = square.to_picture(np.array([[128.0, 128.0 - 128 / 1.25]]), 256)[0]
    np.testing.assert_allclose(up, reach)


def test_landmarks_move_to_sure_heat_only() -> None:
    heat = np.full((64, 64, 3), -20.0)
    heat[20, 31, 0] = heat[20, 32, 0] = 3.0
    heat[20, 31, 1] = -1.0  # less than half
    places = np.array([(120.0, 84.0), (120.0, 84.0), (-9.0, 30.0)])
    refined = refine(places, heat)
    np.testing.assert_allclose(refined[0], (31.5 * 4, 20 * 4), atol=1e-3)
    np.testing.assert_allclose(refined[1:], places[1:])


class Networks:
    """Stand-ins: the detector reports `people` (hips, reach in pixels of its input) with `scores`, the landmarks network a
    fixed figure in the middle of whatever square it sees, with `presence` in each pass."""

    def __init__(self, people, scores=(0.99, 0.98, 0.97), presence=(1.0, 1.0, 1.0)) -> None:
        self.people, self.scores, self.presence, self.passes = people, scores, presence, 0

    def load(self, file: Path, _names, _threads):
        return self.find if "detection" in file.name else self.landmarks

    def find(self, picture: np.ndarray) -> list[np.ndarray]:
        assert picture.shape == (224, 224, 3) and picture.min() >= -1 and picture.max() > 0
        raw, logits = np.zeros((2254, 12)), NOBODY.copy()
        for number, (hips, reach) in enumerate(self.people):
            face = np.array(reach) + (0, 10)
            raw[number * 40] = encoded(np.array([face, (8, 8), hips, reach, hips, reach], np.float64), number * 40)
            logits[number * 40] = math.log(self.scores[number] / (1 - self.scores[number]))
        return [raw, logits[:, None]]

    def landmarks(self, picture: np.ndarray) -> list[np.ndarray]:
        assert picture.shape == (256, 256, 3) and picture.min() >= 0 and picture.max() <= 1
        rows = np.zeros((39, 5))
        rows[:, 0] = 128 + np.linspace(-40, 40, 39)
        rows[:, 1] = np.linspace(30, 225, 39)
        rows[:, 3:] = 6.0
        rows[28, 3] = -6.0  # the right ankle is hidden
        rows[33:35, :2] = (128, 128), (128, 128 - 128 / 1.25)  # the same square again
        presence = self.presence[self.passes % 3]
        self.passes += 1
        return [rows.ravel(), np.array([presence]), np.full((64, 64, 39), -20.0)]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch):
    def make(*args, **settings) -> BlazePose:
        monkeypatch.setattr(
            blazepose, "network_files", lambda: (Path("pose_detection.tflite"), Path("pose_landmark_full.tflite"))
        )
        monkeypatch.setattr(blazepose, "_load", Networks(*args, **settings).load)
        return BlazePose()

    return make


GREY = Image.new("RGB", (448, 224), (200, 200, 200))  # the detector's input shows it from row 56 at half the size


def test_key_points_are_where_the_landmarks_lie_in_the_square(stand_in) -> None:
    detector = stand_in([((100.0, 110.0), (100.0, 60.0))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pose = detector(GREY)
    assert (pose.width, pose.height) == (448, 224)
    middle, side = np.array([200.0, (110 - 56) * 2.0]), 2 * 1.25 * 100
    names = {"nose": 0, "left_eye": 2, "left_shoulder": 11, "right_wrist": 16, "left_hip": 23, "left_ankle": 27}
    for name, landmark in names.items():
        place = np.array([128 + np.linspace(-40, 40, 39)[landmark], np.linspace(30, 225, 39)[landmark]])
        expected = middle + (place - 128) * side / 256
        np.testing.assert_allclose(pose.keypoints[KEYPOINT_NAMES.index(name), :2], expected, atol=0.01)
    assert pose.keypoints[KEYPOINT_NAMES.index("right_ankle")].tolist() == [0, 0, 0]
    shoulders = [KEYPOINT_NAMES.index(f"{side}_shoulder") for side in ("left", "right")]
    np.testing.assert_allclose(pose.keypoints[1, :2], pose.keypoints[shoulders, :2].mean(0), atol=0.01)


def test_of_several_people_the_largest_is_first_and_one_found_twice_counts_once(stand_in) -> None:
    small, large = ((50.0, 110.0), (50.0, 95.0)), ((150.0, 112.0), (150.0, 82.0))
    twice = ((151.0, 113.0), (150.0, 60.0 + 23))
    detector = stand_in([small, large, twice])
    sizes = [np.ptp(pose.keypoints[pose.visible, 1]) for pose in detector.people(GREY)]
    assert len(sizes) == 2 and sizes[0] > 1.5 * sizes[1]
    with pytest.warns(UserWarning, match="2 people in the picture; the largest is taken"):
        assert detector(GREY).keypoints[1, 0] > 250


def test_outside_of_the_picture_key_points_are_missing(stand_in) -> None:
    pose = stand_in([((100.0, 160.0), (100.0, 110.0))]).people(GREY)[0]
    assert (
        pose.visible[0] and not pose.visible[[KEYPOINT_NAMES.index(f"{side}_knee") for side in ("left", "right")]].any()
    )


def test_nobody_is_found_where_the_landmarks_network_sees_nobody(stand_in) -> None:
    detector = stand_in([((100.0, 110.0), (100.0, 60.0))], presence=(0.3, 0.4, 0.49))
    assert detector.people(GREY) == [] and detector.in_crop(GREY) is None
    with pytest.raises(ValueError, match="nobody was found in the picture"):
        detector(GREY)


def test_one_pass_that_sees_a_person_is_enough(stand_in) -> None:
    assert len(stand_in([((100.0, 110.0), (100.0, 60.0))], presence=(0.3, 0.6, 0.4)).people(GREY)) == 1


def test_unsure_people_are_looked_at_only_where_nobody_is_sure(stand_in) -> None:
    two = [((50.0, 110.0), (50.0, 80.0)), ((150.0, 112.0), (150.0, 82.0))]
    assert [len(stand_in(two, scores).people(GREY)) for scores in ((0.6, 0.4), (0.4, 0.35), (0.4, 0.2), (0.2, 0.1))] == [
        1, 2, 1, 0,
    ]  # fmt: skip


def test_a_crop_needs_no_detection(stand_in) -> None:
    detector = stand_in([])
    crop = GREY.resize((64, 128))
    assert detector.people(crop) == []
    pose = detector.in_crop(crop)
    expected = 64 + (30 - 128) / 256 * 1.25 * 128
    assert pose.keypoints[0, 1] == pytest.approx(expected, abs=0.01)


@pytest.fixture(scope="module")
def installed() -> BlazePose:
    """The real networks, which `make test` installs."""
    pytest.importorskip("ai_edge_litert", reason="needs the extra pose")
    try:
        network_files()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return BlazePose()


def test_the_astronaut_is_found_and_beside_herself_she_is_two(installed: BlazePose) -> None:
    picture = Image.fromarray(data.astronaut())
    pose = installed(picture)
    # Read off the photograph by eye.
    truth = {"nose": (223, 127), "right_eye": (202, 101), "left_eye": (247, 103), "right_elbow": (45, 420)}
    for name, place in truth.items():
        x, y, confidence = pose.keypoints[KEYPOINT_NAMES.index(name)]
        assert np.hypot(x - place[0], y - place[1]) < 25 and confidence > 0.5
    assert not pose.visible[[KEYPOINT_NAMES.index(name) for name in ("left_knee", "right_ankle")]].any()
    two = Image.new("RGB", (1024, 512))
    two.paste(picture, (0, 0))
    two.paste(picture, (512, 0))
    noses = sorted(pose.keypoints[0, 0] for pose in installed.people(two))
    np.testing.assert_allclose(noses, (pose.keypoints[0, 0], pose.keypoints[0, 0] + 512), atol=25)


def test_a_cat_is_nobody_and_nothing_is_printed(installed: BlazePose, capfd: pytest.CaptureFixture[str]) -> None:
    BlazePose()
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ValueError, match="nobody was found"):
        installed(Image.fromarray(data.chelsea()))


def test_rendered_people_are_found_from_all_sides(installed: BlazePose) -> None:
    seed = TEST_SEEDS[2]
    identity = make_identity(seed)
    shares = []
    for spec in sample_view_specs(seed, 4):
        view = render_view(identity, spec, 256, 192)
        found = installed.people(Image.fromarray(view.picture))[0]
        shares.append(pck(found.keypoints, view.pose.keypoints, view.pose.keypoints[:, 2] == 1))
    assert min(shares) > 0.7 and np.mean(shares) > 0.9, shares


def test_the_commands_files_hold_everybody_and_crops_are_counted(installed: BlazePose, tmp_path: Path) -> None:
    (tmp_path / "in" / "inner").mkdir(parents=True)
    two = Image.new("RGB", (1024, 512))
    for left in (0, 512):
        two.paste(Image.fromarray(data.astronaut()), (left, 0))
    two.save(tmp_path / "in" / "two.png")
    Image.fromarray(data.astronaut()).save(tmp_path / "in" / "inner" / "one.jpg")
    with pytest.warns(UserWarning, match=r"two\.png: 2 people in the picture; all are written"):
        found = detect_files([tmp_path / "in"], tmp_path / "out")
    assert found.files == [tmp_path / "out" / name for name in ("inner/one.json", "two.json")]
    assert len(json.loads((tmp_path / "out" / "two.json").read_text())["people"]) == 2
    pose = read_pose_file(tmp_path / "out" / "inner" / "one.json").poses[0]
    assert (pose.width, pose.height) == (512, 512)
    Image.fromarray(data.moon()).convert("RGB").save(tmp_path / "in" / "moon.png")
    with pytest.raises(ValueError, match=r"moon\.png: nobody was found in the picture"):
        detect_files([tmp_path / "in" / "moon.png"], tmp_path / "none")
    assert not (tmp_path / "none").exists()
    seed = TEST_SEEDS[0]
    view = render_view(make_identity(seed), sample_view_specs(seed, 1)[0], 128, 64)
    (tmp_path / "crops").mkdir()
    Image.fromarray(view.picture).save(tmp_path / "crops" / "0001_c1.png")
    Image.new("RGB", (64, 128), (90, 90, 90)).save(tmp_path / "crops" / "0001_c2.png")
    counted = detect_files([tmp_path / "crops"], tmp_path / "counted", crops=True)
    assert [file.name for file in counted.files] == ["0001_c1.json"]
    assert (tmp_path / "counted" / "unusable.txt").read_text() == f"{tmp_path / 'crops' / '0001_c2.png'}\n"
