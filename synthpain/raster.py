"""Rasterisation of triangle meshes with a z-buffer, in compiled kernels.

Pixel (row, column) is sampled at its centre, which has the coordinates x = column, y = row. Depth
grows towards the camera. Where no triangle is, the triangle number is -1.
"""

import math

import numba
import numpy as np


def rasterise(
    points: np.ndarray, triangles: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest triangle of each pixel.

    points float32 (V, 3): x, y in pixels and depth; triangles int32 (T, 3). Returns the triangle's
    number int32 (H, W), the barycentric weights of its first two corners float32 (H, W, 2), and the
    depth float32 (H, W), -inf where nothing is.
    """
    nearest = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 2), np.float32)
    depth = np.full((height, width), -np.inf, np.float32)
    fill_triangles(points, triangles, nearest, weights, depth)
    return nearest, weights, depth


@numba.njit(cache=True, error_model="numpy")
def at(points, v):
    """The three coordinates of point `v`."""
    return points[v, 0], points[v, 1], points[v, 2]


@numba.njit(cache=True, error_model="numpy")
def pixels_between(a, b, c, size):
    """The first and the last of `size` pixels whose centres lie among three coordinates."""
    return whole_pixels(min(a, b, c), max(a, b, c), size)


@numba.njit(cache=True, error_model="numpy")
def whole_pixels(low, high, size):
    """The first and the last of `size` pixels from `low` to `high`. Python's ceil and floor take
    far longer."""
    return max(int(np.ceil(low)), 0), min(int(np.floor(high)), size - 1)


@numba.njit(cache=True, error_model="numpy")
def fill_triangles(points, triangles, nearest, weights, depth):
    """The kernel of `rasterise`: writes into its three last arguments."""
    height, width = nearest.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = at(points, a), at(points, b), at(points, c)
        area = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2)
        if abs(area) < 1e-9:
            continue
        share = 1 / area
        left, right = pixels_between(x0, x1, x2, width)
        top, bottom = pixels_between(y0, y1, y2, height)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w0 = ((y1 - y2) * (x - x2) + (x2 - x1) * (y - y2)) * share
                w1 = ((y2 - y0) * (x - x2) + (x0 - x2) * (y - y2)) * share
                w2 = 1 - w0 - w1
                if w0 < -1e-6 or w1 < -1e-6 or w2 < -1e-6:
                    continue
                z = w0 * z0 + w1 * z1 + w2 * z2
                if z > depth[y, x]:
                    depth[y, x] = z
                    nearest[y, x] = t
                    weights[y, x, 0] = w0
                    weights[y, x, 1] = w1


@numba.njit(cache=True, error_model="numpy")
def vertex_normals(points, triangles):
    """Unit normals float32 (V, 3), each the area-weighted mean over the vertex's triangles."""
    normals = np.zeros(points.shape, np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = (
            points[b, 0] - points[a, 0],
            points[b, 1] - points[a, 1],
            points[b, 2] - points[a, 2],
        )
        vx, vy, vz = (
            points[c, 0] - points[a, 0],
            points[c, 1] - points[a, 1],
            points[c, 2] - points[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(points.shape[0]):
        length = math.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if length > 0:
            for k in range(3):
                normals[v, k] /= length
    return normals
