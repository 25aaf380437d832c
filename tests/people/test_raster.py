"""The rasteriser against a plain loop over pixels and triangles, and against the closed form of a slanted plane."""

import numpy as np
import pytest

from imagpose.people.raster import rasterize


def rasterize_by_loop(pixels, depth, faces, height, width):
    """Float64, one pixel and one triangle at a time, signed areas."""
    triangle = np.full((height, width), -1)
    nearest = np.full((height, width), np.inf)
    margin = np.full((height, width), np.inf)
    for row in range(height):
        for column in range(width):
            point = np.array([column + 0.5, row + 0.5])
            for index, face in enumerate(faces):
                a, b, c = pixels[face].astype(np.float64)
                area = np.cross(b - a, c - a)
                if abs(area) < 1e-9:
                    continue
                weights = np.array([np.cross(c - b, point - b), np.cross(a - c, point - c), np.cross(b - a, point - a)])
                weights = weights / area
                margin[row, column] = min(margin[row, column], abs(weights).min())
                if weights.min() < 0:
                    continue
                distance = 1.0 / (weights / depth[face]).sum()
                if distance < nearest[row, column]:
                    triangle[row, column], nearest[row, column] = index, distance
    return triangle, nearest, margin


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_agrees_with_a_plain_loop():
    rng = np.random.default_rng(0)
    pixels = rng.uniform(-4, 28, (40, 2))
    depth = rng.uniform(1, 5, 40)
    faces = rng.integers(0, 40, (25, 3))
    buffer = rasterize(pixels, depth, faces, 20, 24)
    triangle, nearest, margin = rasterize_by_loop(pixels, depth, faces, 20, 24)
    clear = margin > 1e-4  # away from edges, where float32 and float64 may differ
    assert clear.mean() > 0.9 and (triangle[clear] >= 0).mean() > 0.5
    np.testing.assert_array_equal(buffer.triangle[clear], triangle[clear])
    np.testing.assert_allclose(buffer.depth[clear], nearest[clear], rtol=1e-4)


def test_one_sided_triangles_are_seen_from_their_front_only():
    pixels = np.array([[1.0, 1], [15, 1], [1, 15], [15, 15]])
    faces = np.array([[0, 2, 1], [0, 1, 2], [1, 2, 3], [1, 3, 2]])  # each triangle counter-clockwise, then clockwise
    depth = np.full(4, 2.0)
    both = rasterize(pixels, depth, faces[1:2], 16, 16).triangle == 0
    for one_sided, seen in (([True], 0), ([False], both.sum())):
        assert (rasterize(pixels, depth, faces[1:2], 16, 16, np.array(one_sided)).triangle == 0).sum() == seen
    front = rasterize(pixels, depth, faces[:1], 16, 16, np.array([True]))
    np.testing.assert_array_equal(front.triangle == 0, both)
    mixed = rasterize(pixels, depth, faces, 16, 16, np.array([False, True, True, True]))
    assert set(np.unique(mixed.triangle)) == {-1, 0, 2}


def test_barycentric_coordinates_are_perspective_correct():
    # A floor seen in perspective: corners in space, projected by hand with focal length 10.
    corners = np.array([[-1.0, 1.0, 2.0], [1.0, 1.0, 2.0], [0.0, -1.0, 6.0]])
    pixels = 10 * corners[:, :2] / corners[:, 2:] + 8
    buffer = rasterize(pixels, corners[:, 2], np.array([[0, 1, 2]]), 16, 16)
    rows, columns = np.nonzero(buffer.triangle == 0)
    points = buffer.barycentric[rows, columns] @ corners
    np.testing.assert_allclose(10 * points[:, 0] / points[:, 2] + 8, columns + 0.5, atol=1e-3)
    np.testing.assert_allclose(10 * points[:, 1] / points[:, 2] + 8, rows + 0.5, atol=1e-3)
    np.testing.assert_allclose(buffer.depth[rows, columns], points[:, 2], rtol=1e-5)
    assert len(rows) > 20


def test_a_fine_closed_grid_has_no_cracks():
    side = 40
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.linspace(-1, 33, side), np.linspace(-1, 33, side)), -1)
    grid[1:-1, 1:-1] += rng.uniform(-0.2, 0.2, (side - 2, side - 2, 2))
    index = np.arange(side * side).reshape(side, side)
    corner = [index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]]
    faces = np.concatenate(
        [np.stack(corner[:3], -1).reshape(-1, 3), np.stack([corner[1], corner[3], corner[2]], -1).reshape(-1, 3)]
    )
    buffer = rasterize(grid.reshape(-1, 2), np.ones(side * side), faces, 32, 32)
    assert (buffer.triangle >= 0).all()


def test_ties_go_to_the_lower_index_and_what_is_behind_the_camera_is_dropped():
    pixels = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    depth = np.array([2.0, 2.0, 2.0, -1.0, 1.0, 1.0])
    buffer = rasterize(pixels, depth, np.array([[3, 4, 5], [0, 1, 2], [2, 1, 0]]), 8, 8)
    assert set(np.unique(buffer.triangle)) == {-1, 1}
    assert np.isinf(buffer.depth[buffer.triangle < 0]).all()


@pytest.mark.parametrize("apex", [(11.3, 17.8), (-40.0, 9.1), (16.5, 60.0)])
def test_a_fan_of_slivers_leaves_no_gap(apex):
    """Rows are narrowed by the edges before pixels are tested: steep, flat and needle-like triangles lose none."""
    angle = np.linspace(0, 2 * np.pi, 721)
    rim = np.array(apex) + 120 * np.stack([np.cos(angle), np.sin(angle)], 1)
    pixels = np.concatenate([[apex], rim])
    faces = np.array([[0, k, k + 1] for k in range(1, 721)])
    buffer = rasterize(pixels, np.ones(len(pixels)), faces, 32, 32)
    assert (buffer.triangle >= 0).all()
    across = np.stack(np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5), -1) - apex
    sector = (np.arctan2(across[..., 1], across[..., 0]) % (2 * np.pi)) / (2 * np.pi / 720)
    clear = abs(sector - np.rint(sector)) > 0.02
    np.testing.assert_array_equal(buffer.triangle[clear], np.floor(sector[clear]))
