"""Which part of a person each pixel shows: from materials, by the majority of the samples of a pixel."""

from collections import Counter

import numpy as np
import pytest

from imagpose.people import TEST_SEEDS, scene
from imagpose.people.camera import Camera, ViewSpec
from imagpose.people.identity import make_identity
from imagpose.people.outfit import PART_NAMES, PART_OF_MATERIAL, Material
from imagpose.pose import KEYPOINT_NAMES

SIDE = scene.SUPERSAMPLING
FRONT = Camera(framing="full", pitch=4.0, distance=5.0, fill=0.9, shift=(0.0, 0.0))


def test_materials_belong_to_the_parts_that_their_names_say():
    found = {material.name.lower(): PART_NAMES[PART_OF_MATERIAL[material]] for material in Material}
    assert found == {
        "skin": "skin", "eye": "skin", "hair": "hair", "top": "top", "inner": "top", "bottom": "bottom", "shoes": "shoes",
        "hat": "accessory", "bag": "accessory", "glasses": "accessory",
    }  # fmt: skip


def test_parts_lie_on_a_standing_person_where_they_are_worn(monkeypatch):
    """Hair above the top, the top above the bottom, shoes at the ankles; skin at the nose."""
    draw = scene.sample_motion
    monkeypatch.setattr(scene, "sample_motion", lambda rng: draw(rng, ("stand",)))
    seen = 0
    for seed in TEST_SEEDS[:6]:
        view = scene.render_view(make_identity(seed), ViewSpec(5, 0.0, FRONT, 0), 192, 128)
        rows = {name: np.nonzero(view.parts == number)[0] for number, name in enumerate(PART_NAMES)}
        height = {name: own.mean() for name, own in rows.items() if len(own) >= 15}
        order = [height[name] for name in ("hair", "top", "bottom", "shoes") if name in height]
        seen += len(order)
        assert order == sorted(order) and height["shoes"] > 160
        x, y = view.pose.keypoints[KEYPOINT_NAMES.index("nose"), :2].astype(int)
        assert PART_NAMES[view.parts[y, x]] == "skin"
    assert seen >= 18


def test_a_pixel_shows_the_part_of_most_samples_where_half_of_them_see_the_person():
    """Against counting sample by sample; of parts that are equally frequent the first counts."""
    rng = np.random.default_rng(0)
    fine = rng.choice(len(PART_NAMES), (40 * SIDE, 30 * SIDE), p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.025, 0.025]).astype(
        np.uint8
    )
    found = scene._majority_part(fine)
    halves = 0
    for row in range(40):
        for column in range(30):
            samples = fine[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE].ravel().tolist()
            person = Counter(sorted(sample for sample in samples if sample))
            halves += 2 * person.total() == len(samples)
            seen = 2 * person.total() >= len(samples)
            assert found[row, column] == (person.most_common(1)[0][0] if seen else 0)
    assert halves > 20


@pytest.mark.parametrize("part", range(1, len(PART_NAMES)))
def test_a_half_covered_pixel_shows_the_person_and_one_covered_less_the_ground(part):
    samples = np.zeros((SIDE, 2 * SIDE), np.uint8)
    half = SIDE * SIDE // 2
    left, right = np.zeros(SIDE * SIDE, np.uint8), np.zeros(SIDE * SIDE, np.uint8)
    left[:half], right[: half - 1] = part, part
    samples[:, :SIDE], samples[:, SIDE:] = left.reshape(SIDE, SIDE), right.reshape(SIDE, SIDE)
    assert scene._majority_part(samples).tolist() == [[part, 0]]
