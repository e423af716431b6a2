"""The shading kernel: from what lies under each pixel to linear RGB.

A pixel is looked up at its place on the head at rest, so paint and wrinkles move with the skin.
Skin is lit by one directed light with a shadow map, softened redly as light scatters in skin, by
light from all around, and by a highlight; hair, eyes, teeth and cloth have terms of their own.
"""

import math

import numba

# The frontal plane of the painted skin. Here because numba caches a kernel by the file it is in: a
# constant imported from another file could change without the kernel.
PLANE_SCALE = 150  # pixels per dm
PLANE_LEFT, PLANE_TOP = -1.0, 8.5  # dm, the plane's corner in head coordinates
SHADOW_SIZE = 288
SHADOW_REACH = 1.75  # dm, half the side of the shadow map
IRIS_ANGLE, PUPIL_ANGLE = 26.0, 10.0  # degrees, seen from the eyeball's centre


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def smoothstep(low, high, value):
    """0 up to `low`, 1 from `high`, and a smooth rise between."""
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def corner(plane, row, column):
    """The upper left of the four pixels around a place, and how far beyond it the place lies."""
    row = min(max(row, 0.0), plane.shape[0] - 1.001)
    column = min(max(column, 0.0), plane.shape[1] - 1.001)
    return int(row), int(column), row - int(row), column - int(column)


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def bilinear(plane, r, c, down, across, channel):
    """Value of a plane (H, W, K) between four pixels, see `corner`."""
    upper = plane[r, c, channel] * (1 - across) + plane[r, c + 1, channel] * across
    lower = plane[r + 1, c, channel] * (1 - across) + plane[r + 1, c + 1, channel] * across
    return upper * (1 - down) + lower * down


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def scalp_edge(x, y, z, hairline):
    """Where hair grows: above 0 on the scalp, below on the face; in about 0.06 dm to the edge."""
    ax = abs(x)
    front = y - (
        7.97 + hairline - 0.10 * smoothstep(0.25, 0.45, ax) - 0.30 * smoothstep(0.5, 0.7, ax)
    )
    behind = 0.12 + 0.55 * smoothstep(7.05, 7.35, y) - 0.12 * smoothstep(6.7, 6.2, y)
    side = min(behind - z, (y - 6.55) * 0.6)
    if y < 7.62 and ax > 0.755 - 0.1 * smoothstep(7.3, 7.0, y) and z > -0.12:
        return -9.0  # the ear
    return max(front, side) / 0.06


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def in_shadow(shadow_map, x, y, z, light):
    """Share of the directed light that is held off, 0..1, at a point in camera coordinates."""
    u = x * light[0, 0] + y * light[0, 1] + z * light[0, 2]
    v = x * light[1, 0] + y * light[1, 1] + z * light[1, 2]
    d = x * light[2, 0] + y * light[2, 1] + z * light[2, 2]
    scale = (SHADOW_SIZE / 2 - 1) / SHADOW_REACH
    row, column = int(SHADOW_SIZE / 2 - v * scale + 0.5), int(u * scale + SHADOW_SIZE / 2 + 0.5)
    held = 0.0
    if row < 2 or column < 2 or row > SHADOW_SIZE - 3 or column > SHADOW_SIZE - 3:
        return held
    for i, j in ((0, 0), (-2, -1), (-1, 2), (2, 1), (1, -2)):
        before = shadow_map[row + i, column + j] * 0.01 - d
        if before > 0.035:
            held += min((before - 0.035) * 15, 1.0)
    return held / 5


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def eye_colour(height, nx, ny, nz, gaze, iris):
    """Colour of an eyeball where its normal is (nx, ny, nz), `height` dm above its centre."""
    along = nx * gaze[0] + ny * gaze[1] + nz * gaze[2]
    angle = math.degrees(math.acos(min(max(along, -1.0), 1.0)))
    white = 1 - 0.25 * smoothstep(40.0, 80.0, angle)
    blend = smoothstep(IRIS_ANGLE + 2, IRIS_ANGLE - 1.5, angle)
    rim = 1 - 0.55 * smoothstep(IRIS_ANGLE - 6, IRIS_ANGLE, angle)
    ring = rim * (1.5 - 0.6 * angle / IRIS_ANGLE)
    shade = 1 - 0.97 * smoothstep(PUPIL_ANGLE + 1.5, PUPIL_ANGLE - 1.5, angle)
    shade *= 1 - 0.45 * smoothstep(-0.02, 0.10, height)  # the upper lid's shadow
    red = 0.62 * white * (1 - blend) + blend * ring * iris[0]
    green = 0.56 * white * (1 - blend) + blend * ring * iris[1]
    blue = 0.53 * white * (1 - blend) + blend * ring * iris[2]
    return shade * red, shade * green, shade * blue


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def hair_streaks(x, y, z, strands):
    """Fine and coarse streaks that run down from the crown, of about unit variance."""
    around = math.atan2(x, z - 0.45) / (2 * math.pi) + 0.5
    down = math.sqrt(max(8.6 - y, 0.0)) * 0.55 + 0.15 * abs(x)
    r, c, fr, fc = corner(strands, (down * 90) % 254, (around * 1500) % 254)
    fine = bilinear(strands, r, c, fr, fc, 0)
    r, c, fr, fc = corner(strands, (down * 60) % 254, (around * 400 + 40 * down) % 254)
    return fine, bilinear(strands, r, c, fr, fc, 0)


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def skin_colour(k, painted, frontal, mouth, lid, valley, skin, lips):
    """Channel k of the skin's colour, with lips, lids and the darkness of a crease."""
    colour = skin[k] + frontal * (painted - skin[k])
    colour += mouth * (lips[k] * (0.8 + 0.2 * colour / skin[k]) - colour)
    return colour * (1 - 0.14 * lid) * (1 - (0.30 if k == 0 else 0.42) * valley)


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def lit(k, colour, facing, up, ahead, held, occlusion, strength):
    """Channel k of what a matt surface sends back: directed light, and light from all around."""
    scatter = 0.40 if k == 0 else (0.20 if k == 1 else 0.13)
    wrapped = max(facing + scatter, 0.0) / (1 + scatter)
    direct = 2.3 * strength * wrapped * wrapped * (1 - held * (1 - 0.25 * scatter))
    around = (0.62 + 0.38 * up) * (0.55 + 0.45 * max(ahead, 0.0))
    bounce = occlusion + (1 - occlusion) * 0.35 * scatter
    return colour * direct, colour * 1.35 * (1 - 0.62 * strength) * around * bounce


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def surface(
    part, x, y, z, lip, lid, colour_plane, relief_plane, strands, colours, hairline
):  # fmt: skip
    """Colour (r, g, b), slopes (across, up), wetness and gloss of skin, hair, cloth or mouth."""
    skin, lips, hair, cloth = colours[0], colours[1], colours[2], colours[4]
    if part == 2:
        return 0.55, 0.50, 0.40, 0.0, 0.0, 0.15, 18.0
    if part == 3 or (abs(x) < 0.27 and 6.35 < y < 6.85 and z < 1.36):
        return 0.12, 0.026, 0.024, 0.0, 0.0, 0.04, 18.0  # the tongue and the inside of the mouth
    if y < 5.74 + 0.06 * abs(x):
        weave = 0.92 + 0.08 * math.sin(y * 260) * math.sin(x * 260)
        return cloth[0] * weave, cloth[1] * weave, cloth[2] * weave, 0.0, 0.0, 0.0, 18.0
    plane = colour_plane
    r, c, fr, fc = corner(plane, (PLANE_TOP - y) * PLANE_SCALE, (x - PLANE_LEFT) * PLANE_SCALE)
    frontal, mouth = smoothstep(0.15, 0.7, z), smoothstep(0.15, 0.75, lip)
    across = frontal * bilinear(relief_plane, r, c, fr, fc, 0)
    up = frontal * bilinear(relief_plane, r, c, fr, fc, 1)
    valley = frontal * bilinear(relief_plane, r, c, fr, fc, 2)
    painted = bilinear(plane, r, c, fr, fc, 0)
    red = skin_colour(0, painted, frontal, mouth, lid, valley, skin, lips)
    painted = bilinear(plane, r, c, fr, fc, 1)
    green = skin_colour(1, painted, frontal, mouth, lid, valley, skin, lips)
    painted = bilinear(plane, r, c, fr, fc, 2)
    blue = skin_colour(2, painted, frontal, mouth, lid, valley, skin, lips)
    wet, gloss = 0.055 + 0.10 * mouth, 18.0
    edge = -9.0 if z > 0.85 and y < 7.45 else scalp_edge(x, y, z, hairline)
    if edge > -2.5:
        fine, coarse = hair_streaks(x, y, z, strands)
        share = smoothstep(-0.7, 0.9, edge + 0.55 * fine)
        look = share * max(0.25, 1 + 0.38 * fine + 0.22 * coarse)
        red, green, blue = (
            red * (1 - share) + look * hair[0],
            green * (1 - share) + look * hair[1],
            blue * (1 - share) + look * hair[2],
        )
        wet, gloss = wet * (1 - share) + share * (0.05 + 0.03 * coarse), 18.0 - 8 * share
    return red, green, blue, across, up, wet, gloss


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def unit(x, y, z):
    """A vector of length one."""
    length = math.sqrt(x * x + y * y + z * z) + 1e-9
    return x / length, y / length, z / length


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def mix(values, a, b, c, u, v, k):
    """Column k of per-vertex values at a place in the triangle of the vertices a, b and c."""
    return u * values[a, k] + v * values[b, k] + (1 - u - v) * values[c, k]


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def illuminate(
    red, green, blue, nx, ny, nz, facing, wet, gloss, held, openness, light, strength, tint, pixel
):  # fmt: skip
    """Write a pixel's linear RGB: its colour under all light, and the highlight where it is wet.

    `facing` is the cosine between the normal and the directed light.
    """
    mirror = max(nx * light[3, 0] + ny * light[3, 1] + nz * light[3, 2], 0.0)
    shine = 0.0
    if wet > 0 and mirror > 0.5:
        highlight = mirror / (gloss - gloss * mirror + mirror)  # Schlick 1994, for a power
        shine = wet * highlight * (1 - held) * (0.3 + strength) * openness
    direct, around = lit(0, red, facing, ny, nz, held, openness, strength)
    pixel[0] = (direct + shine) * tint[0] + around
    direct, around = lit(1, green, facing, ny, nz, held, openness, strength)
    pixel[1] = (direct + shine) * tint[1] + around
    direct, around = lit(2, blue, facing, ny, nz, held, openness, strength)
    pixel[2] = (direct + shine) * tint[2] + around


@numba.njit(cache=True, error_model="numpy", fastmath=True)
def shade(
    nearest, weights, triangles, parts, values, colour_plane, relief_plane, strands, openness,
    shadow_map, turn, light, eyes, gaze, colours, hairline, strength, tint, out,
):  # fmt: skip
    """Fill `out` float32 (H, W, 3) with linear RGB where a triangle is.

    values float32 (V, 11): place at rest, normal, place, lips, lids; colours float64 (5, 3): skin,
    lips, hair, iris, cloth; light float64 (4, 3): see `render.light_frame`; turn float64 (3, 3):
    the head's rotation; eyes float64 (2, 3): the eyeballs' centres, left first; gaze float64 (3,):
    where they look.
    """
    for i in range(nearest.shape[0]):
        for j in range(nearest.shape[1]):
            t = nearest[i, j]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            at = a, b, c, weights[i, j, 0], weights[i, j, 1]
            x, y, z = mix(values, *at, 0), mix(values, *at, 1), mix(values, *at, 2)
            nx, ny, nz = mix(values, *at, 3), mix(values, *at, 4), mix(values, *at, 5)
            px, py, pz = mix(values, *at, 6), mix(values, *at, 7), mix(values, *at, 8)
            closed = openness[i, j]
            if parts[t] == 1:
                eye = eyes[0] if x > 0 else eyes[1]
                nx, ny, nz = unit(px - eye[0], py - eye[1], pz - eye[2])
                red, green, blue = eye_colour(y - 7.265, nx, ny, nz, gaze, colours[3])
                wet, gloss = 0.9, 120.0
            else:
                lip, lid = mix(values, *at, 9), mix(values, *at, 10)
                red, green, blue, across, up, wet, gloss = surface(
                    parts[t], x, y, z, lip, lid, colour_plane, relief_plane, strands, colours,
                    hairline,
                )  # fmt: skip
                nx, ny, nz = unit(
                    nx - across * turn[0, 0] - up * turn[0, 1],
                    ny - across * turn[1, 0] - up * turn[1, 1],
                    nz - across * turn[2, 0] - up * turn[2, 1],
                )
                if parts[t] == 2 or parts[t] == 3:
                    closed *= 0.5
            facing = nx * light[2, 0] + ny * light[2, 1] + nz * light[2, 2]
            held = in_shadow(shadow_map, px, py, pz, light) if facing > -0.4 else 1.0
            illuminate(
                red, green, blue, nx, ny, nz, facing, wet, gloss, held, closed, light, strength,
                tint, out[i, j],
            )  # fmt: skip
