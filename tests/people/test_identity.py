"""People: the same seed gives the same person, everybody is an adult and dressed, and the mesh follows the bones."""

import numpy as np
import pytest
from scipy.ndimage import binary_opening

from imagpose.people.body import load_body
from imagpose.people.hair import HAIR_STYLES, sample_hair_style
from imagpose.people.identity import make_identity
from imagpose.people.kinematics import rotation
from imagpose.people.outfit import PART_NAMES, PART_OF_MATERIAL, Material, sample_outfit
from imagpose.people.prints import MOTIFS, PATTERNS, Cloth, Print, paint, sample_top_print
from imagpose.people.raster import rasterize
from imagpose.people.shading import _cloth
from imagpose.people.skinning import LIMB_NAMES, pose_identity
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
    prints = [sample_top_print(rng) for _ in range(600)]
    assert len({p.pattern for p in prints}) >= 12 and len(PATTERNS) >= 12
    assert np.mean([p.back != p.chest for p in prints]) > 0.3  # a back view tells something
    styles = {sample_hair_style(rng, female, hat=False) for female in (True, False) for _ in range(200)}
    assert len(styles) >= 8 and styles <= set(HAIR_STYLES)
    outfits = [sample_outfit(rng, female=True) for _ in range(300)]
    assert {outfit.bottom for outfit in outfits} == {"trousers", "shorts", "skirt", "dress"}
    assert 0.1 < np.mean([outfit.strap != "none" for outfit in outfits]) < 0.5


@pytest.mark.parametrize("name", [*PATTERNS, *MOTIFS])
def test_no_print_is_finer_than_a_pixel_at_128x96(name):
    """A standing person takes about 110 pixels, one pixel is 1.6 cm: little is lost where a coin of 1.8 cm must fit."""
    step = 0.002
    around, up = np.meshgrid(np.arange(-0.40, 0.40, step), np.arange(-0.1, 0.55, step))
    flat, zero = around.ravel(), np.zeros(around.size)
    girth = 2 * np.pi * 0.15
    cloth = Cloth(flat, up.ravel(), flat / girth, zero + girth, flat, zero - 1, zero == 0)
    black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    for phase in (0.0, 0.37):
        if name in MOTIFS:
            print_ = Print("plain", (black, black, white), chest=name, motif_size=0.065)
        else:
            print_ = Print(name, (black, white, white), period=0.06, phase=phase)
        colours = paint(print_, cloth)
        assert ((colours >= 0) & (colours <= 1)).all()
        levels = np.unique(colours[:, 0]) if name != "gradient" else []
        assert len(levels) <= 3  # patterns of two or three shades, or a smooth course
        y, x = np.mgrid[-5:6, -5:6]
        coin = x**2 + y**2 <= 20
        for level in levels:
            region = (colours[:, 0] == level).reshape(up.shape)
            kept = binary_opening(np.pad(region, 12, mode="edge"), coin)[12:-12, 12:-12]
            assert kept.sum() > 0.85 * region.sum()


def test_a_motif_is_printed_on_one_side_only():
    x, up = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.15, 0.15, 60), np.linspace(0.2, 0.5, 60)))
    zero = np.zeros_like(x)
    grounds = ((1.0, 1.0, 1.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
    front, back = (
        paint(
            Print("plain", grounds, chest="disc", motif_size=0.07), Cloth(x, up, x, zero + 1, x, zero + side, zero == 0)
        )
        for side in (-1.0, 1.0)
    )
    black = front.sum(1) == 0
    np.testing.assert_array_equal(black, x**2 + (up - 0.36) ** 2 < 0.07**2)
    assert (back == 1).all()


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


def test_patterns_are_measured_in_metres_of_cloth_all_around_the_trunk():
    """A tape around the template's chest: equal steps of the pattern's coordinate are nearly equal lengths of tape."""
    template, body = load_template(), load_body()
    shirt = np.unique(body.faces["tights"])
    ring = shirt[(abs(template.vertices[shirt, 2] - 0.35) < 0.03) & (template.arm[shirt] < 0.2)]
    cloth = _cloth(template.attributes[ring], legs=False)
    order = np.argsort(cloth.turns)
    tape, turns = template.vertices[ring][order, :2], cloth.turns[order]
    bins = np.linspace(-0.4, 0.4, 9)
    places = np.stack([np.interp(bins, turns, tape[:, axis]) for axis in (0, 1)], 1)
    lengths = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert lengths.min() > 0.6 * lengths.mean()
    assert np.interp(0.0, turns, tape[:, 1]) < -0.1  # no turn is the front
