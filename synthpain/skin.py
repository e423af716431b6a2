"""Skin of a synthetic face: colour, pores, brows, beard, and the wrinkles that action units fold.

Everything is painted once per person on a frontal plane over the head at rest, `PLANE_SCALE` pixels
per decimetre, and moves with the skin because pixels are looked up by their place at rest. Heights
are in decimetres, colours linear RGB. Wrinkles are creases along curves that anatomy gives for each
action unit (Ekman & Friesen 1978): without them AU4, AU6 and AU9 hardly show on a smooth mesh.
"""

from functools import lru_cache

import cv2
import numpy as np

from synthpain.people import Person
from synthpain.shading import PLANE_LEFT, PLANE_SCALE, PLANE_TOP

PLANE_SHAPE = (390, 300)  # rows, columns

# Creases at one side of the face (x > 0; the other side is mirrored): points in dm, depth, width.
CREASES = {
    1: [
        ([(0.00, 7.665), (0.10, 7.655), (0.22, 7.685), (0.36, 7.66)], 0.010, 0.016),
        ([(0.00, 7.755), (0.12, 7.745), (0.26, 7.78), (0.40, 7.75)], 0.010, 0.016),
        ([(0.00, 7.845), (0.12, 7.84), (0.26, 7.87), (0.36, 7.85)], 0.007, 0.016),
    ],
    2: [
        ([(0.22, 7.67), (0.36, 7.70), (0.50, 7.64)], 0.009, 0.016),
        ([(0.26, 7.77), (0.40, 7.80), (0.54, 7.73)], 0.009, 0.016),
        ([(0.28, 7.86), (0.40, 7.88), (0.50, 7.83)], 0.006, 0.016),
    ],
    4: [
        ([(0.050, 7.30), (0.062, 7.40), (0.078, 7.50), (0.085, 7.56)], 0.026, 0.013),
        ([(0.016, 7.36), (0.020, 7.45), (0.022, 7.52)], 0.010, 0.011),
        ([(0.10, 7.535), (0.20, 7.56), (0.30, 7.55)], 0.010, 0.020),
    ],
    6: [
        ([(0.495, 7.285), (0.55, 7.32), (0.61, 7.37)], 0.012, 0.009),
        ([(0.505, 7.262), (0.57, 7.265), (0.64, 7.275)], 0.013, 0.009),
        ([(0.495, 7.238), (0.55, 7.20), (0.61, 7.15)], 0.012, 0.009),
        ([(0.18, 7.155), (0.26, 7.095), (0.36, 7.085), (0.47, 7.13)], 0.020, 0.016),
        ([(0.24, 7.185), (0.33, 7.155), (0.42, 7.175)], 0.009, 0.009),
    ],
    7: [
        ([(0.17, 7.215), (0.25, 7.175), (0.34, 7.165), (0.44, 7.205)], 0.013, 0.010),
        ([(0.20, 7.19), (0.29, 7.140), (0.40, 7.155)], 0.008, 0.010),
    ],
    9: [
        ([(0.00, 7.275), (0.05, 7.270), (0.085, 7.255)], 0.017, 0.011),
        ([(0.00, 7.225), (0.05, 7.222), (0.09, 7.205)], 0.017, 0.011),
        ([(0.00, 7.175), (0.05, 7.172), (0.085, 7.160)], 0.012, 0.011),
        ([(0.080, 7.215), (0.120, 7.15), (0.155, 7.08)], 0.013, 0.011),
        ([(0.105, 7.24), (0.155, 7.17), (0.195, 7.12)], 0.011, 0.010),
        ([(0.140, 6.975), (0.175, 6.925), (0.195, 6.86)], 0.020, 0.017),
    ],
    10: [
        ([(0.140, 6.965), (0.195, 6.885), (0.25, 6.80), (0.295, 6.70)], 0.026, 0.018),
        ([(0.19, 7.09), (0.25, 7.045), (0.33, 7.03)], 0.007, 0.014),
    ],
    12: [
        ([(0.145, 6.95), (0.22, 6.86), (0.30, 6.75), (0.345, 6.62)], 0.026, 0.018),
        ([(0.365, 6.67), (0.385, 6.60), (0.375, 6.53)], 0.011, 0.013),
    ],
    15: [([(0.275, 6.60), (0.305, 6.54), (0.325, 6.45)], 0.018, 0.014)],
    20: [
        ([(0.315, 6.68), (0.345, 6.60), (0.340, 6.51)], 0.014, 0.013),
        ([(0.19, 6.42), (0.28, 6.41), (0.35, 6.45)], 0.006, 0.014),
    ],
}
# Soft bulges (x, y, height, width) in dm: flesh pushed together beside the creases.
BULGES = {
    4: [(0.135, 7.455, 0.022, 0.06)],
    6: [(0.40, 7.02, 0.030, 0.11), (0.33, 7.125, 0.010, 0.04)],
    7: [(0.31, 7.195, 0.010, 0.05)],
    9: [(0.10, 7.02, 0.014, 0.05)],
    10: [(0.20, 6.93, 0.016, 0.06)],
    12: [(0.38, 6.92, 0.024, 0.11)],
}
# Resting lines of age: action unit whose creases stay, share at the greatest age.
LINES_OF_AGE = {1: 0.65, 2: 0.4, 4: 0.35, 6: 0.4, 10: 0.55, 15: 0.5}


def plane_grid() -> tuple[np.ndarray, np.ndarray]:
    """x and y in dm of each pixel of the plane, float32, shapes (1, W) and (H, 1)."""
    rows, columns = PLANE_SHAPE
    x = PLANE_LEFT + np.arange(columns, dtype=np.float32)[None] / PLANE_SCALE
    y = PLANE_TOP - np.arange(rows, dtype=np.float32)[:, None] / PLANE_SCALE
    return x, y


def smooth_curve(points: list, count: int = 40) -> np.ndarray:
    """`count` points (count, 2) along a curve through `points`, a polynomial in x and y."""
    points = np.array(points)
    t = np.linspace(0, 1, len(points))
    degree = min(5 if count > 40 else 3, len(points) - 1)
    fine = np.linspace(0, 1, count)
    return np.stack([np.polyval(np.polyfit(t, points[:, k], degree), fine) for k in (0, 1)], 1)


def crease(points: list, depth: float, width: float) -> np.ndarray:
    """Height map (H, W) of a fold on both sides: a valley that fades at its ends, with two lips."""
    height = np.zeros(PLANE_SHAPE, np.float32)
    mirrored = [(-x, y) for x, y in points]
    if points[0][0] == 0:  # it crosses the middle: one fold, not two that meet
        add_fold(height, smooth_curve(mirrored[:0:-1] + points, 80), depth, width)
    else:
        add_fold(height, smooth_curve(points), depth, width)
        add_fold(height, smooth_curve(mirrored), depth, width)
    return height


def add_fold(height: np.ndarray, curve: np.ndarray, depth: float, width: float) -> None:
    """Press one fold along `curve` (N, 2) into the height map."""
    x, y = plane_grid()
    low, high = curve.min(0) - 0.15, curve.max(0) + 0.15
    columns = (x[0] > low[0]) & (x[0] < high[0])
    rows = (y[:, 0] > low[1]) & (y[:, 0] < high[1])
    dx = x[:, columns][..., None] - curve[:, 0].astype(np.float32)
    dy = y[rows][..., None] - curve[:, 1].astype(np.float32)
    square = dx * dx + dy * dy
    nearest = square.argmin(2)
    s = np.take_along_axis(square, nearest[..., None], 2)[..., 0] / width**2
    fade = np.sin(np.linspace(0.12, np.pi - 0.12, len(curve))) ** 0.5
    height[np.ix_(rows, columns)] -= depth * fade[nearest] * (np.exp(-s) - 0.45 * np.exp(-s / 6))


@lru_cache(maxsize=1)
def wrinkle_heights() -> dict[int, np.ndarray]:
    """Height maps (H, W) float32 in dm of the wrinkles of each action unit at full intensity."""
    x, y = plane_grid()
    heights = {}
    for au, curves in CREASES.items():
        heights[au] = sum(crease(*curve) for curve in curves)
        for bx, by, height, width in BULGES.get(au, ()):
            for side in (-1, 1):
                square = (x - side * bx) ** 2 + (y - by) ** 2
                heights[au] += height * np.exp(-square / width**2)
    return heights


def relief(height: np.ndarray) -> np.ndarray:
    """Slopes and depth of creases (H, W, 3) float32 of a height map: dh/dx, dh/dy, valley 0..1."""
    across = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=PLANE_SCALE / 8)
    down = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=PLANE_SCALE / 8)
    wide = cv2.GaussianBlur(height, (0, 0), 0.03 * PLANE_SCALE)
    return np.dstack([across, -down, np.clip((wide - height) / 0.02, 0, 1)])


def noise(rng: np.random.Generator, size: float) -> np.ndarray:
    """Smooth noise (H, W) float32 of unit variance with features of `size` dm."""
    rows, columns = PLANE_SHAPE
    step = max(1.0, size * PLANE_SCALE)
    shape = (int(rows / step) + 3, int(columns / step) + 3)
    coarse = rng.normal(size=shape).astype(np.float32)
    return cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)


def spot(x0: float, y0: float, width: float, height: float) -> np.ndarray:
    """A soft spot (H, W) on both sides of the face, 1 in its middle."""
    x, y = plane_grid()
    return np.exp(-(((abs(x) - x0) / width) ** 2) - ((y - y0) / height) ** 2)


class Skin:
    """The painted skin of one person: `colour` (H, W, 3), `relief_at(aus)` (H, W, 3)."""

    def __init__(self, person: Person) -> None:
        rng = np.random.default_rng([person.texture_seed, 1])
        self.colour = paint(person, rng)
        heights = wrinkle_heights()
        strength = {au: (0.75 + 0.5 * person.age) * rng.uniform(0.8, 1.2) for au in heights}
        pores = 0.00018 * noise(rng, 0.008) + 0.0003 * noise(rng, 0.02) + 0.0005 * noise(rng, 0.06)
        old = sum(share * person.age**1.5 * heights[au] for au, share in LINES_OF_AGE.items())
        self.resting = relief(pores + old)
        self.folded = {au: relief(strength[au] * height) for au, height in heights.items()}

    def relief_at(self, aus: dict[str, float]) -> np.ndarray:
        """Slopes and valleys (H, W, 3) float32 with the action units' intensities 0..5."""
        total = self.resting.copy()
        for au, folded in self.folded.items():
            intensity = aus.get(f"au{au}", 0.0)
            if intensity > 0:
                cv2.scaleAdd(folded, float((intensity / 5) ** 0.8), total, total)
        return total


def paint(person: Person, rng: np.random.Generator) -> np.ndarray:
    """Colour (H, W, 3) float32, linear RGB, of the face without lips, lids and scalp."""
    blotches = 0.035 * noise(rng, 0.02) + 0.04 * noise(rng, 0.08) + 0.04 * noise(rng, 0.3)
    colour = person.skin * (1 + blotches[..., None])
    blood = 0.55 * spot(0.42, 6.98, 0.18, 0.16) + 0.5 * spot(0, 6.97, 0.13, 0.13)
    blood += 0.3 * spot(0, 6.32, 0.2, 0.1) + 0.35 * spot(0.3, 7.2, 0.14, 0.05)
    blood *= 1 + 0.25 * noise(rng, 0.05)
    colour *= 1 - blood[..., None] * np.array([0.03, 0.22, 0.20])
    tired = spot(0.28, 7.165, 0.12, 0.045) * (0.25 + 0.5 * person.age)
    colour *= 1 - tired[..., None] * np.array([0.22, 0.26, 0.18])
    dots = np.clip(noise(rng, 0.018) - 1.6, 0, 1) * np.clip(blood + 0.3, 0, 1)
    colour *= 1 - person.freckles * dots[..., None] * np.array([0.5, 0.65, 0.75])
    stubble = person.beard * beard_area() * np.clip(0.62 + 0.3 * noise(rng, 0.007), 0, 1)
    dark = 0.6 * person.hair + 0.4 * person.skin * 0.35
    colour += stubble[..., None] * (dark - colour) * 0.8
    brows = brow_hairs(person, rng)[..., None]
    return (colour + brows * (0.8 * person.hair - colour)).astype(np.float32)


@lru_cache(maxsize=1)
def beard_area() -> np.ndarray:
    """Where a beard grows (H, W), 0..1: upper lip, chin and jaw."""
    x, y = plane_grid()
    ax = abs(x)
    upper_lip = np.exp(-(((y - 6.775) / 0.05) ** 4)) * (1 / (1 + np.exp((ax - 0.30) / 0.03)))
    line = 6.50 + 1.0 * np.clip(ax - 0.36, 0, 0.4)  # from the chin up to the sideburns
    jaw = 1 / (1 + np.exp((y - line) / 0.05))
    return np.clip(upper_lip + jaw, 0, 1) / (1 + np.exp((6.16 - y) / 0.05))


def brow_hairs(person: Person, rng: np.random.Generator, hairs: int = 230) -> np.ndarray:
    """Opacity (H, W) float32 of both brows, drawn hair by hair at four times the resolution."""
    fine = 4
    rows, columns = PLANE_SHAPE
    canvas = np.zeros((rows * fine // 2, columns * fine), np.uint8)  # the face's upper half
    arch = rng.normal(0, 0.010)
    spine = [(0.105, 7.435), (0.25, 7.475 + arch / 2), (0.42, 7.485 + arch), (0.575, 7.385)]
    curve = smooth_curve(spine, 100)
    thick = 0.042 * person.brow_width
    for side in (-1, 1):
        for _ in range(int(hairs * (0.75 + 0.4 * person.brow_width))):
            t = rng.beta(1.0, 1.15)
            i = int(t * 98)
            along = curve[i + 1] - curve[i]
            along /= np.linalg.norm(along)
            half = thick * np.clip(1.15 - 0.85 * t, 0.2, 1) * np.clip(t * 8 + 0.45, 0, 1)
            root = curve[i] + np.array([0, rng.uniform(-1, 0.8) * half])
            lift = np.clip(1.1 - 2.2 * t, -0.15, 1.1) + rng.normal(0, 0.15)
            tip = root + rng.uniform(0.035, 0.06) * (along + np.array([0, lift])) / (1 + lift**2)
            ends = [((side * p[0] - PLANE_LEFT), PLANE_TOP - p[1]) for p in (root, tip)]
            a, b = (tuple(int(c * PLANE_SCALE * fine * 16) for c in end) for end in ends)
            cv2.line(canvas, a, b, int(rng.integers(130, 255)), 2, cv2.LINE_AA, shift=4)
    opacity = np.zeros(PLANE_SHAPE, np.float32)
    small = cv2.resize(canvas, (columns, rows // 2), interpolation=cv2.INTER_AREA)
    opacity[: rows // 2] = cv2.GaussianBlur(small.astype(np.float32) / 255, (0, 0), 0.6)
    return np.clip(1.35 * opacity, 0, 0.93)
