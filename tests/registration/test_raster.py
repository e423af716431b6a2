import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paincore.registration.raster import source_map
from synthpain.raster import rasterise

NEAR = 0.05  # pixels
quarter = st.integers(-20, 100).map(lambda n: n / 4)  # thinner triangles are lost in float32
corner = st.tuples(quarter, quarter, st.floats(-9, 9, width=32))


def plain_rasterise(points, triangles, height, width):
    """Each pixel against each triangle, by solving for the barycentric weights."""
    depth = np.full((height, width), -np.inf)
    for corners in points[triangles].astype(np.float64):
        system = np.vstack([corners[:, :2].T, np.ones(3)])
        if abs(np.linalg.det(system)) < 1e-3:
            continue
        for y in range(height):
            for x in range(width):
                w = np.linalg.solve(system, [x, y, 1.0])
                if w.min() >= 1e-4:  # clear of the edges, where rounding decides
                    depth[y, x] = max(depth[y, x], w @ corners[:, 2])
    return depth


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(corner, corner, corner), min_size=1, max_size=4))
def test_the_nearest_triangle_wins_as_in_a_plain_loop(corners):
    points = np.array(corners, np.float32).reshape(-1, 3)
    triangles = np.arange(len(points), dtype=np.int32).reshape(-1, 3)
    covered = np.isfinite(expected := plain_rasterise(points, triangles, 12, 15))
    nearest, weights, depth = rasterise(points, triangles, 12, 15)
    values = np.column_stack([points, points[:, 2]])  # each point lies where it is drawn
    place, z, facing = source_map(points, triangles, values, 15, 12)
    for found in (depth, z):
        assert np.all(found[covered] >= expected[covered] - NEAR)
    rows, columns = np.nonzero(nearest >= 0)
    w = weights[rows, columns]
    w = np.column_stack([w, 1 - w.sum(1)])
    placed = (w[..., None] * points[triangles[nearest[rows, columns]]]).sum(1)
    assert np.allclose(placed[:, :2], np.column_stack([columns, rows]), atol=NEAR)
    rows, columns = np.nonzero(z > -np.inf)
    assert np.allclose(place[rows, columns], np.column_stack([columns, rows]), atol=NEAR)
    assert np.allclose(facing[rows, columns], z[rows, columns], atol=NEAR)
    assert not place[z == -np.inf].any()


@given(st.floats(0.2, 3.1), st.floats(1, 9), st.floats(1, 9))
def test_triangles_that_share_an_edge_leave_no_hole(angle, x, y):
    centre = np.array([x, y], np.float32)
    turns = angle + np.linspace(0, 2 * np.pi, 7)[:-1]
    ring = 40 * np.column_stack([np.cos(turns), np.sin(turns)])
    points = np.column_stack([np.vstack([centre, ring]), np.zeros(7)]).astype(np.float32)
    fan = np.array([[0, k + 1, (k + 1) % 6 + 1] for k in range(6)], np.int32)
    nearest, _, _ = rasterise(points, fan, 10, 10)
    assert (nearest >= 0).all()
    _, depth, _ = source_map(points, fan, np.column_stack([points, points[:, 2]]), 10, 10)
    assert (depth == 0).all()
