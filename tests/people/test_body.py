"""The body asset and the geometry made from it, against closed forms and plain loops."""

from itertools import pairwise

import numpy as np
import pytest

from imagpose.people.body import load_body, vertex_normals
from imagpose.people.proportions import Build, apply_build, limb_girths, sample_build
from imagpose.people.surface import cut_surface, signed_distance


def test_the_asset_holds_adults_only():
    body = load_body()
    assert (body.age >= 0.78).all()
    assert len(body.age) == len(body.coefficients) == len(body.female) and 0.2 < body.female.mean() < 0.8
    assert (body.bone_parents < np.arange(len(body.bone_names))).all()  # a parent before its children
    np.testing.assert_allclose(np.asarray(body.skin.sum(1)).ravel(), 1.0, atol=2e-3)


def test_baked_people_have_adult_sizes_and_are_linear_in_their_coefficients():
    body = load_body()
    used = np.unique(body.faces["body"])
    heights = []
    for coefficients in body.coefficients[:20]:
        z = body.rest(coefficients).vertices[used, 2]
        heights.append(np.ptp(z))
    assert min(heights) > 1.45 and max(heights) < 2.10 and np.ptp(heights) > 0.1
    first, second = body.coefficients[:2]
    middle = body.rest((first + second) / 2)
    expected = (body.rest(first).vertices.astype(float) + body.rest(second).vertices) / 2
    np.testing.assert_allclose(middle.vertices, expected, atol=1e-5)
    left, right = (middle.joints[body.joint_names.index(f"{side}_wrist")] for side in ("left", "right"))
    assert left[0] > 0.3 and right[0] < -0.3  # x towards the person's left


def test_vertex_normals_of_a_sphere_point_outwards():
    polar, around = np.meshgrid(np.linspace(0.05, np.pi - 0.05, 40), np.linspace(0, 2 * np.pi, 80), indexing="ij")
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
    index = np.arange(40 * 80).reshape(40, 80)
    a, b, c, d = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    normals = vertex_normals(points.reshape(-1, 3), faces).reshape(40, 80, 3)
    inner = (slice(2, -2), slice(1, -1))
    assert ((normals * points).sum(-1)[inner] > 0.995).all()


def test_cutting_a_square_leaves_the_right_area_and_a_straight_edge():
    side = np.linspace(0, 1, 9)
    points = np.stack([*np.meshgrid(side, side), np.zeros((9, 9))], -1).reshape(-1, 3)
    index = np.arange(81).reshape(9, 9)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    field = points[:, 0] + 0.5 * points[:, 1] - 0.63
    piece = cut_surface(faces, field, 2 * points[:, 0], material=3)
    vertices = points[piece.first] * (1 - piece.alpha[:, None]) + points[piece.second] * piece.alpha[:, None]
    triangles = vertices[piece.faces]
    area = (
        np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1).sum() / 2
    )
    np.testing.assert_allclose(area, 1 - (0.63 + 0.13) / 2, atol=1e-3)  # right of the line from (.63, 0) to (.13, 1)
    assert (vertices[:, 0] + 0.5 * vertices[:, 1] - 0.63).min() > -1e-3
    np.testing.assert_allclose(piece.offset, 2 * vertices[:, 0], atol=1e-3)
    assert len(np.unique(np.round(vertices, 4), axis=0)) == len(vertices)  # corners are merged
    assert piece.material == 3


def test_signed_distance_equals_a_dense_search():
    polygon = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [1.0, 0.4], [0.0, 1.0]])
    edge = np.concatenate([np.linspace(polygon[k], polygon[(k + 1) % 5], 2000) for k in range(5)])
    points = np.random.default_rng(0).uniform(-0.5, 2.5, (200, 2))
    distance = signed_distance(points, polygon)
    dense = np.linalg.norm(points[:, None] - edge, axis=-1).min(1)
    np.testing.assert_allclose(abs(distance), dense, atol=2e-3)
    # inside: above the floor, between the walls, below the two slanted roofs
    x, y = points.T
    roof = np.where(x < 1, 1 - 0.6 * x, 0.4 + 0.6 * (x - 1))
    inside = (x > 0) & (x < 2) & (y > 0) & (y < roof)
    clear = dense > 1e-2
    np.testing.assert_array_equal((distance > 0)[clear], inside[clear])
    assert inside.sum() > 10


@pytest.mark.parametrize("group", ["body", "tights", "skirt", "hair", "eyes"])
def test_every_group_of_faces_is_there(group):
    body = load_body()
    faces = body.faces[group]
    assert faces.shape[1] == 3 and len(faces) > 100 and faces.max() < body.skin.shape[0]


def lengths(body, rest):
    """Lengths between joints, metres, and the body's height."""
    joints = dict(zip(body.joint_names, rest.joints.astype(float), strict=True))
    heads = dict(zip(body.bone_names, rest.bone_heads.astype(float), strict=True))

    def between(*names):
        return sum(np.linalg.norm(joints[a] - joints[b]) for a, b in pairwise(names))

    top = rest.vertices[body.bare, 2].max()
    return {
        "legs": np.linalg.norm(heads["upperleg01.L"] - heads["lowerleg01.L"])
        + np.linalg.norm(heads["lowerleg01.L"] - heads["foot.L"]),
        "arms": np.linalg.norm(heads["upperarm01.R"] - heads["lowerarm01.R"])
        + np.linalg.norm(heads["lowerarm01.R"] - heads["wrist.R"]),
        "shoulders": between("left_shoulder", "right_shoulder"),
        "hips": between("left_hip", "right_hip"),
        "head": top - heads["head"][2],
        "trunk": heads["spine01"][2] - heads["upperleg01.L"][2],
        "stature": float(np.ptp(rest.vertices[body.bare, 2])),
    }


@pytest.mark.parametrize("part", ["legs", "arms", "shoulders", "hips", "head"])
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_build_scales_one_part_against_the_trunk_and_no_other(part, factor):
    body = load_body()
    shape = body.rest(body.coefficients[3])
    plain = lengths(body, shape)
    built = apply_build(body, shape, Build(1.70, **{part: factor}))
    changed = lengths(body, built)
    np.testing.assert_allclose(changed["stature"], 1.70, atol=1e-4)
    for name in ("legs", "arms", "shoulders", "hips", "head"):
        ratio = (changed[name] / changed["trunk"]) / (plain[name] / plain["trunk"])
        expected = factor if name == part else 1.0
        assert ratio == pytest.approx(expected, abs=0.025), name


def test_a_build_of_ones_changes_nothing_but_the_stature():
    body = load_body()
    shape = body.rest(body.coefficients[8])
    size = 1.80 / float(np.ptp(shape.vertices[body.bare, 2]))
    built = apply_build(body, shape, Build(1.80))
    np.testing.assert_allclose(
        built.vertices, size * shape.vertices, atol=2e-3
    )  # rows of skin weights sum to 1 +- 0.002
    np.testing.assert_allclose(built.bone_heads, size * shape.bone_heads, atol=1e-5)
    girths = limb_girths(body, built)
    assert all(0.6 < girth < 1.6 for girth in girths.values())
    assert limb_girths(body, body.template) == dict.fromkeys(girths, pytest.approx(1.0))


@pytest.mark.parametrize(("female", "mean", "deviation"), [(True, 1.629, 0.064), (False, 1.756, 0.069)])
def test_statures_follow_the_survey(female, mean, deviation):
    rng = np.random.default_rng(0)
    statures = np.array([sample_build(rng, female).stature for _ in range(4000)])
    assert statures.min() >= 1.50 and statures.max() <= 1.95
    assert statures.mean() == pytest.approx(mean, abs=0.008)
    assert statures.std() == pytest.approx(deviation, abs=0.007)
