"""Rasterisation of triangle meshes with a z-buffer, in compiled kernels: where each pixel of a view
lies in a frame. Those that render synthetic faces are in `synthpain.raster`.

Pixel (row, column) is sampled at its centre, which has the coordinates x = column, y = row. Depth
grows towards the camera.
"""

import numba
import numpy as np

from synthpain.raster import at, pixels_between, whole_pixels


@numba.njit(cache=True, error_model="numpy")
def source_map(points, triangles, values, width, height):
    """Where each pixel of a view of that width and height lies in the frame.

    points float32 (V, 3): the mesh's places in the view; values float32 (V, 4): x, y, depth and
    the normal's z in the frame. Returns the same for each pixel: x and y (H, W, 2), depth (H, W),
    -inf where no triangle is, and the normal's z (H, W). `rasterise` and a look-up take longer.
    """
    place = np.zeros((height, width, 2), np.float32)
    depth = np.full((height, width), np.float32(-np.inf))
    facing = np.zeros((height, width), np.float32)
    front = np.full((height, width), np.float32(-np.inf))
    for t in range(triangles.shape[0]):
        # Unsigned, or each access would ask whether a corner counts from the end.
        a, b, c = np.uintp(triangles[t, 0]), np.uintp(triangles[t, 1]), np.uintp(triangles[t, 2])
        top, bottom, right, down, steps = edges(points, a, b, c, height, width)
        if top > bottom:
            continue
        x2, y2, z2 = at(points, c)
        z_right, z_down = slope(right, down, points[a, 2], points[b, 2], z2)
        slope0 = slope(right, down, values[a, 0], values[b, 0], values[c, 0])
        slope1 = slope(right, down, values[a, 1], values[b, 1], values[c, 1])
        slope2 = slope(right, down, values[a, 2], values[b, 2], values[c, 2])
        slope3 = slope(right, down, values[a, 3], values[b, 3], values[c, 3])
        for row in range(top, bottom + 1):
            i, y = np.uintp(row), np.float32(row) - y2
            first, last = covered(x2, y, down, steps, width)
            for column in range(first, last + 1):
                j, x = np.uintp(column), np.float32(column) - x2
                z = z2 + z_down * y + z_right * x
                if z > front[i, j]:
                    front[i, j] = z
                    place[i, j, 0] = values[c, 0] + slope0[1] * y + slope0[0] * x
                    place[i, j, 1] = values[c, 1] + slope1[1] * y + slope1[0] * x
                    depth[i, j] = values[c, 2] + slope2[1] * y + slope2[0] * x
                    facing[i, j] = values[c, 3] + slope3[1] * y + slope3[0] * x
    return place, depth, facing


@numba.njit(cache=True, error_model="numpy")
def edges(points, a, b, c, height, width):
    """The first and the last row of pixels of a triangle; how much the weights of its first two
    corners grow a pixel to the right, and down; in how many pixels each corner's grows by 1."""
    (x0, y0, _), (x1, y1, _), (x2, y2, _) = at(points, a), at(points, b), at(points, c)
    area = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2)
    left, end = pixels_between(x0, x1, x2, width)
    top, bottom = pixels_between(y0, y1, y2, height)
    if abs(area) < 1e-9 or left > end:
        bottom = top - 1
    right, down = ((y1 - y2) / area, (y2 - y0) / area), ((x2 - x1) / area, (x0 - x2) / area)
    one = np.float32(1)
    steps = one / right[0], one / right[1], -one / (right[0] + right[1])
    return top, bottom, right, down, steps


@numba.njit(cache=True, error_model="numpy")
def slope(right, down, a, b, c):
    """How much what is a, b and c at a triangle's corners grows a pixel to the right and down."""
    return right[0] * (a - c) + right[1] * (b - c), down[0] * (a - c) + down[1] * (b - c)


@numba.njit(cache=True, error_model="numpy")
def covered(x, y, down, steps, width):
    """The first and the last pixel of a row in a triangle whose third corner has the coordinate
    `x` and lies `y` above the row."""
    one, slack = np.float32(1), np.float32(1e-5)
    u, v = down[0] * y, down[1] * y
    low, high = where_positive(np.float32(-np.inf), np.float32(np.inf), u + slack, steps[0])
    low, high = where_positive(low, high, v + slack, steps[1])
    low, high = where_positive(low, high, one - u - v + slack, steps[2])
    if low > high:
        return 0, -1
    return whole_pixels(low + x, high + x, width)


@numba.njit(cache=True, error_model="numpy")
def where_positive(low, high, start, step):
    """What of `low` to `high` has a positive weight that is `start` at 0; an endless step, along
    an edge, takes nothing away."""
    if step > 0:
        return max(low, -start * step), high
    return low, min(high, -start * step)
