"""People: the same seed gives the same person, everybody is an adult and dressed, and the mesh follows the bones."""

from itertools import pairwise

import numpy as np
import pytest

from imagpose.people import identity
from imagpose.people.body import LIMB_NAMES, load_body
from imagpose.people.hair import HAIR_STYLES, sample_hair_style
from imagpose.people.identity import make_identity
from imagpose.people.kinematics import rotation
from imagpose.people.outfit import PART_NAMES, PART_OF_MATERIAL, Material, sample_outfit
from imagpose.people.proportions import Build, apply_build, limb_girths
from imagpose.people.raster import rasterize
from imagpose.people.skinning import pose_identity
from imagpose.people.solids import box
from imagpose.people.template import ATTRIBUTES, load_template
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


def trunk_skin(person):
    """Heights on the template of bare skin of the trunk, looked at from four sides, orthographically."""
    z_column, arm_column = ATTRIBUTES.index("z"), ATTRIBUTES.index("arm")
    mesh = pose_identity(person, {})
    heights = []
    for yaw in (0, 90, 180, 270):
        across, along, up = (mesh.vertices @ rotation((0, 0, 1), yaw).T).T
        buffer = rasterize(np.stack([40 + 60 * across, 120 - 60 * up], 1), along + 5, mesh.faces, 130, 80)
        seen = buffer.triangle[buffer.triangle >= 0]
        bare = seen[mesh.material[seen] == Material.SKIN]
        places = mesh.attributes[mesh.faces[bare]].mean(1)
        heights.append(places[places[:, arm_column] < 0.05, z_column])
        assert len(seen) > 500
    return np.concatenate(heights)


def test_nobody_shows_skin_that_clothes_should_cover(people):
    """No bare skin between the chest and the upper thighs."""
    for person in people:
        trunk = trunk_skin(person)
        assert not ((trunk > -0.20) & (trunk < 0.38)).any()


def test_clothes_cover_the_heaviest_and_the_slimmest(monkeypatch):
    body = load_body()
    waist = [limb_girths(body, body.rest(coefficients))["thigh"] for coefficients in body.coefficients]
    for female in (True, False):
        rows = sorted(np.flatnonzero(body.female == female), key=lambda row: waist[row])
        for row, build in ((rows[-1], Build(1.50, hips=1.1)), (rows[0], Build(1.95, legs=1.1, shoulders=0.9))):
            rest = apply_build(body, body.rest(body.coefficients[row]), build)
            monkeypatch.setattr(identity, "_sample_body", lambda rng, body, female, rest=rest: (rest, 0.8))
            for seed in (0, 1):
                trunk = trunk_skin(make_identity(seed))
                assert not ((trunk > -0.20) & (trunk < 0.38)).any()


def test_bodies_spread_as_adults_do():
    """Two people of one sex differ in proportions by about what surveys find, and nobody is a child."""
    body, ratios = load_body(), {True: [], False: []}
    for seed in range(160):
        female = seed % 2 == 0
        rest, age = identity._sample_body(np.random.default_rng(seed), body, female)
        assert age >= 0.78
        heads = dict(zip(body.bone_names, rest.bone_heads, strict=True))
        stature = float(np.ptp(rest.vertices[body.bare, 2]))
        assert 1.48 <= stature <= 1.97
        leg = heads["upperleg01.L"][2] - heads["foot.L"][2]
        arm = np.linalg.norm(heads["upperarm01.L"] - heads["wrist.L"])
        shoulders = heads["upperarm01.L"][0] - heads["upperarm01.R"][0]
        hips = heads["upperleg01.L"][0] - heads["upperleg01.R"][0]
        trunk = heads["neck01"][2] - heads["upperleg01.L"][2]
        head = rest.vertices[body.bare, 2].max() - heads["head"][2]
        ratios[female].append([leg / trunk, arm / stature, shoulders / stature, hips / stature, head / stature])
    for female in ratios:
        values = np.array(ratios[female])
        spread = values.std(0) / values.mean(0)
        assert (spread > (0.04, 0.03, 0.035, 0.035, 0.025)).all() and (spread < (0.08, 0.06, 0.08, 0.08, 0.06)).all()


def test_what_is_worn_on_the_head_grows_with_it_and_a_bag_goes_out_with_the_hips():
    body, template = load_body(), load_body().template
    origin = template.vertices[0] - load_template().vertices[0]
    glasses = box((0.03, -0.15, 0.735), (0.03, 0.003, 0.02), Material.GLASSES, "head")
    bag = box((0.235, 0.0, -0.02), (0.045, 0.12, 0.10), Material.BAG, "root")
    for solid in (glasses, bag):
        np.testing.assert_allclose(identity._worn(body, template, solid), solid.vertices + origin, atol=1e-5)
    stature = float(np.ptp(template.vertices[body.bare, 2]))
    big = apply_build(body, template, Build(stature, head=1.2))
    before, after = (identity._worn(body, rest, glasses) for rest in (template, big))
    assert np.ptp(after[:, 0]) / np.ptp(before[:, 0]) == pytest.approx(1.2, abs=0.06)
    wide = apply_build(body, template, Build(stature, hips=1.3))
    before, after = (identity._worn(body, rest, bag) for rest in (template, wide))
    np.testing.assert_allclose(np.ptp(after, axis=0), np.ptp(before, axis=0), atol=1e-5)
    assert after[:, 0].min() > before[:, 0].min() + 0.02


def test_two_people_in_one_pose_differ_in_build():
    """Key points of two people with equal rotations, each divided by stature and centred: 0.5 % of it without builds."""
    crowd = [make_identity(seed) for seed in range(24)]
    arms = {"upperarm01.L": rotation((0, 1, 0), 30), "upperarm01.R": rotation((0, 1, 0), -30)}
    shapes = []
    for person in crowd:
        mesh = pose_identity(person, arms)
        flat = mesh.keypoints[:, [0, 2]] / np.ptp(mesh.vertices[:, 2])
        shapes.append(flat - flat.mean(0))
    differences = [np.linalg.norm(a - b, axis=1).mean() for a, b in pairwise(shapes)]
    assert np.mean(differences) > 0.007


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
    assert abs(mesh.vertices[person.carries, 2].min()) < 1e-6
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
