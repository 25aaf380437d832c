"""People: the same seed gives the same person, everybody is an adult and dressed, and the mesh follows the bones."""

import numpy as np
import pytest

from imagpose.people.hair import HAIR_STYLES, sample_hair_style
from imagpose.people.identity import make_identity
from imagpose.people.kinematics import rotation
from imagpose.people.outfit import PART_NAMES, PART_OF_MATERIAL, Material, sample_outfit
from imagpose.people.raster import rasterize
from imagpose.people.skinning import LIMB_NAMES, pose_identity
from imagpose.people.template import ATTRIBUTES
from imagpose.pose import KEYPOINT_NAMES


@pytest.fixture(scope="module")
def people():
    return [make_identity(seed) for seed in range(100, 112)]


def test_the_same_seed_gives_the_same_person(people):
    again = make_identity(100)
    np.testing.assert_array_equal(again.rest_vertices, people[0].rest_vertices)
    assert again.look == people[0].look
    assert len({person.look.outfit.top_print for person in people}) == len(people)
    with pytest.raises(ValueError, match="seed is -1"):
        make_identity(-1)


def test_everybody_is_an_adult_with_a_whole_mesh(people):
    for person in people:
        assert person.age >= 0.78
        assert 1.50 < np.ptp(person.rest_vertices[:, 2]) < 2.15  # shoes, hair and hats included
        assert np.isfinite(person.rest_vertices).all()
        assert person.faces.max() < len(person.rest_vertices) and person.faces.min() >= 0
        np.testing.assert_allclose(np.asarray(person.skin.sum(1)).ravel(), 1, atol=2e-3)
        materials = set(np.unique(person.material))
        assert {Material.SKIN, Material.EYE, Material.TOP, Material.SHOES} <= materials
        assert len(PART_OF_MATERIAL) > max(materials) and PART_OF_MATERIAL.max() < len(PART_NAMES)


def test_nobody_shows_skin_that_clothes_should_cover(people):
    """Looked at from four sides, orthographically: no bare skin between the chest and the upper thighs."""
    z_column, arm_column = ATTRIBUTES.index("z"), ATTRIBUTES.index("arm")
    for person in people:
        mesh = pose_identity(person, {})
        for yaw in (0, 90, 180, 270):
            across, along, up = (mesh.vertices @ rotation((0, 0, 1), yaw).T).T
            buffer = rasterize(np.stack([40 + 60 * across, 120 - 60 * up], 1), along + 5, mesh.faces, 130, 80)
            seen = buffer.triangle[buffer.triangle >= 0]
            bare = seen[mesh.material[seen] == Material.SKIN]
            places = mesh.attributes[mesh.faces[bare]].mean(1)
            trunk = places[places[:, arm_column] < 0.05, z_column]
            assert not ((trunk > -0.20) & (trunk < 0.38)).any()
            assert len(seen) > 500


def test_key_points_lie_inside_the_body_on_the_right_side(people):
    for person in people:
        points = dict(zip(KEYPOINT_NAMES, person.rest_keypoints, strict=True))
        for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "eye", "ear"):
            assert points[f"left_{name}"][0] > 0.02 and points[f"right_{name}"][0] < -0.02
        assert points["nose"][1] < points["left_ear"][1]  # faces -y
        np.testing.assert_allclose(points["neck"], (points["left_shoulder"] + points["right_shoulder"]) / 2, atol=1e-6)
        heights = [points[name][2] for name in ("nose", "neck", "left_hip", "left_knee", "left_ankle")]
        assert heights == sorted(heights, reverse=True)


def test_skinning_equals_a_plain_loop(people):
    """Bend an elbow and a knee; some vertices and all key points by summing weighted rigid motions, bone by bone."""
    person = people[0]
    bends = {"lowerarm01.L": rotation((0, 1, 0), -60), "upperleg01.R": rotation((1, 0, 0), -40)}
    mesh = pose_identity(person, bends)
    motions = []
    for bone in range(len(person.bone_names)):
        chain = []
        while bone >= 0:
            chain.append(bone)
            bone = person.bone_parents[bone]
        motions.append(chain)

    def move(point, chain):
        for bone in chain:  # from the bone itself up to the root
            head, turn = person.rest_bone_heads[bone], bends.get(person.bone_names[bone], np.eye(3))
            point = turn @ (point - head) + head
        return point

    def blend(point, weights):
        return sum(weight * move(point, chain) for weight, chain in zip(weights, motions, strict=True) if weight)

    chosen = np.random.default_rng(0).choice(len(person.rest_vertices), 40, replace=False)
    expected = np.array([blend(person.rest_vertices[k], person.skin[[k]].toarray()[0]) for k in chosen])
    floor = (expected - mesh.vertices[chosen])[:, 2].mean()
    np.testing.assert_allclose(mesh.vertices[chosen] + (0, 0, floor), expected, atol=2e-4)
    joints = np.array([blend(p, w) for p, w in zip(person.rest_keypoints, person.keypoint_skin.toarray(), strict=True)])
    np.testing.assert_allclose(mesh.keypoints + (0, 0, floor), joints, atol=2e-4)
    assert abs(mesh.vertices[:, 2].min()) < 1e-6
    with pytest.raises(ValueError, match="unknown bone"):
        pose_identity(person, {"elbow": np.eye(3)})


def test_limbs_are_where_their_names_say(people):
    mesh = pose_identity(people[0], {})
    points = dict(zip(KEYPOINT_NAMES, mesh.keypoints, strict=True))
    for limb, joints in {
        "right_forearm": ("right_elbow", "right_wrist"),
        "left_shin": ("left_knee", "left_ankle"),
        "left_thigh": ("left_hip", "left_knee"),
    }.items():
        middle = (points[joints[0]] + points[joints[1]]) / 2
        nearest = np.linalg.norm(mesh.vertices - middle, axis=1).argmin()
        assert LIMB_NAMES[mesh.limbs[nearest]] == limb
    nearest = np.linalg.norm(mesh.vertices - points["nose"], axis=1).argmin()
    assert LIMB_NAMES[mesh.limbs[nearest]] == "head"


def test_there_is_variety():
    rng = np.random.default_rng(0)
    styles = {sample_hair_style(rng, female, hat=False) for female in (True, False) for _ in range(200)}
    assert len(styles) >= 8 and styles <= set(HAIR_STYLES)
    outfits = [sample_outfit(rng, female=True, skin=(0.8, 0.6, 0.5)) for _ in range(300)]
    assert {outfit.bottom for outfit in outfits} == {"trousers", "shorts", "skirt", "dress"}
    assert 0.1 < np.mean([outfit.strap != "none" for outfit in outfits]) < 0.5


def test_sleeve_prints_have_no_seam(people):
    """Where the angle about an arm jumps by a whole turn, pinstripes seen pixel by pixel stay as broad as elsewhere."""
    cos, sin = (ATTRIBUTES.index(f"around_arm_{name}") for name in ("cos", "sin"))
    sleeved = [person for person in people if person.look.outfit.sleeve > 0.9]
    assert sleeved
    for person in sleeved:
        on_sleeve = (person.material == Material.TOP) & (
            person.attributes[person.faces, ATTRIBUTES.index("arm")].min(1) > 0.9
        )
        corners = person.attributes[person.faces[on_sleeve]]
        angles = np.arctan2(corners[..., sin], corners[..., cos])
        across = np.ptp(angles, axis=1) > np.pi
        assert across.sum() > 10  # faces with the jump are there
        middle = corners.mean(1)
        for angle, triple in zip(np.arctan2(middle[:, sin], middle[:, cos])[across], angles[across], strict=True):
            assert abs(np.angle(np.exp(1j * (triple - angle)))).max() < 1.0  # the middle lies between its corners
