"""The body asset and the geometry made from it, against closed forms and plain loops."""

import numpy as np
import pytest

from imagpose.people.body import load_body, vertex_normals
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
