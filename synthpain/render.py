"""Pictures of synthetic people: from action units and a view to an RGB frame.

The picture is drawn one and a half times as large and averaged down, lit in linear RGB, and gets a
camera's noise. Given a person, action units, view and generator state it is the same to the byte on
one machine.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from synthpain.head import (
    EYE,
    LASHES,
    SKIN,
    View,
    load_head,
    rotation,
    to_pixels,
    turn,
)
from synthpain.people import Person, face_vertices
from synthpain.raster import rasterise, vertex_normals
from synthpain.shading import SHADOW_REACH, SHADOW_SIZE, scalp_edge, shade
from synthpain.skin import Skin

SUPERSAMPLING = 1.5


class Renderer:
    """Draws one person; what does not change between frames is made once."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.skin = Skin(person)
        head = load_head()
        lashes = head.parts == LASHES
        self.triangles = np.ascontiguousarray(head.triangles[~lashes])
        self.parts = np.ascontiguousarray(head.parts[~lashes])
        self.lashes = np.ascontiguousarray(head.triangles[lashes])
        eyes = np.unique(self.triangles[self.parts == EYE])
        self.eyes = [
            eyes[side] for side in (head.vertices[eyes, 0] > 0, head.vertices[eyes, 0] <= 0)
        ]
        self.hair = self.hair_offsets()
        self.strands = hair_strands(np.random.default_rng([person.texture_seed, 2]))
        self.cloth = cloth_colour(np.random.default_rng([person.texture_seed, 3]))

    def hair_offsets(self) -> np.ndarray:
        """Offsets (V, 3) that give the hair its volume over the scalp."""
        head, person = load_head(), self.person
        rng = np.random.default_rng([person.texture_seed, 4])
        normals = vertex_normals(person.neutral, head.triangles)
        edge = np.array([scalp_edge(*v, person.hairline) for v in head.vertices.astype(np.float64)])
        thick = np.clip(edge / 4, 0, 1) ** 0.6 * person.hair_volume
        thick[np.setdiff1d(np.arange(len(thick)), head.triangles[head.parts == SKIN])] = 0
        lumps = sum(
            rng.normal(0, 0.07) * np.sin(head.vertices @ rng.normal(0, 5, 3) + rng.uniform(0, 6))
            for _ in range(6)
        )
        return (thick * (1 + lumps))[:, None] * normals

    def render(
        self, aus: Mapping[str, float], view: View, rng: np.random.Generator | None
    ) -> np.ndarray:
        """The frame, uint8 (height, width, 3) RGB; `rng` draws the camera's noise, None has none.

        `aus` as in `people.face_vertices`.
        """
        size = {side: round(getattr(view, side) * SUPERSAMPLING) for side in ("width", "height")}
        fine = replace(view, **size)
        places = turn(face_vertices(self.person, aus) + self.hair, fine)
        light = light_frame(view)
        picture = backdrop(self.person.texture_seed, view.backdrop, fine.width, fine.height).copy()
        depth = self.draw(places, light, aus, fine, picture)
        self.draw_lashes(to_pixels(places, fine), depth, picture)
        small = cv2.resize(picture, (view.width, view.height), interpolation=cv2.INTER_AREA)
        return develop(small, rng)

    def draw(
        self, places: np.ndarray, light: np.ndarray, aus: Mapping, view: View, picture: np.ndarray
    ) -> np.ndarray:
        """Draw the head into `picture` (H, W, 3) float32; returns the depth (H, W)."""
        head, person = load_head(), self.person
        points = to_pixels(places, view)
        front = facing(points, self.triangles)
        triangles, parts = self.triangles[front], self.parts[front]
        nearest, weights, depth = rasterise(points, triangles, view.height, view.width)
        centres = np.stack([places[eye].mean(0) for eye in self.eyes])
        turned = rotation(view.yaw, view.pitch, view.roll)
        gaze = turned @ rotation(view.gaze_yaw, view.gaze_pitch, 0) @ np.array([0, 0, 1.0])
        colours = np.stack([person.skin, person.lips, person.hair, person.iris, self.cloth])
        tint = 1 + view.warmth * np.array([0.10, 0.0, -0.14])
        places32 = places.astype(np.float32)
        normals = vertex_normals(places32, self.triangles)
        values = np.column_stack([head.vertices, normals, places32, head.lips, head.lids])
        shade(
            nearest, weights, triangles, parts, values, self.skin.colour,
            self.skin.relief_at(aus), self.strands, occlusion(depth, view.height),
            shadow_map(places, self.triangles, light), turned, light, centres, gaze, colours,
            person.hairline, view.light_strength, tint, picture,
        )  # fmt: skip
        return depth

    def draw_lashes(self, points: np.ndarray, depth: np.ndarray, picture: np.ndarray) -> None:
        """Darken `picture` thinly where a lash lies before what `depth` has."""
        height, width = depth.shape
        _, _, lash_depth = rasterise(points, self.lashes, height, width)
        shown = lash_depth > depth - 0.01 * height
        picture[shown] = 0.3 * picture[shown] + 0.7 * 0.3 * self.person.hair


@lru_cache(maxsize=2)
def backdrop(seed: int, number: int, width: int, height: int) -> np.ndarray:
    """A blurred room (H, W, 3) float32, linear RGB."""
    rng = np.random.default_rng([seed, 5, number])
    room = np.full((48, 64, 3), rng.uniform(0.08, 0.42)) * rng.uniform(0.93, 1.06, 3)
    room *= np.linspace(rng.uniform(0.9, 1.3), rng.uniform(0.6, 0.95), 48)[:, None, None]
    for _ in range(rng.integers(1, 5)):
        top, left = rng.integers(0, 40), rng.integers(0, 56)
        bottom, right = top + rng.integers(6, 40), left + rng.integers(4, 30)
        room[top:bottom, left:right] *= rng.uniform(0.6, 1.35) * rng.uniform(0.92, 1.08, 3)
    room = cv2.GaussianBlur(room, (0, 0), 1.3).astype(np.float32)
    return cv2.resize(room, (width, height), interpolation=cv2.INTER_CUBIC)


def facing(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Which triangles (T,) show their outer side, in pixel coordinates (V, 2 or more), y down."""
    x, y = points[triangles, 0], points[triangles, 1]
    across, down = x[:, 1:] - x[:, :1], y[:, 1:] - y[:, :1]
    return across[:, 0] * down[:, 1] < across[:, 1] * down[:, 0]


def cloth_colour(rng: np.random.Generator) -> np.ndarray:
    """A muted colour (3,), linear RGB."""
    grey = rng.uniform(0.03, 0.35)
    return grey * (1 + 0.35 * rng.uniform(-1, 1, 3))


def hair_strands(rng: np.random.Generator) -> np.ndarray:
    """Streaks (256, 256, 1) float32 of unit variance, along the rows' direction."""
    raw = rng.normal(size=(256, 256)).astype(np.float32)
    streaks = cv2.GaussianBlur(raw, (0, 0), sigmaX=1.0, sigmaY=14)
    return (streaks / streaks.std())[..., None]


def light_frame(view: View) -> np.ndarray:
    """Rows in camera coordinates (4, 3): across, up and towards the directed light, and halfway
    between light and camera, where a surface that mirrors the light into the camera faces."""
    yaw, pitch = np.deg2rad([view.light_yaw, view.light_pitch])
    towards = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    across = np.cross([0, 1, 0], towards)
    across /= np.linalg.norm(across)
    halfway = towards + np.array([0, 0, 1])
    halfway /= np.linalg.norm(halfway)
    return np.stack([across, np.cross(towards, across), towards, halfway])


def shadow_map(places: np.ndarray, triangles: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Depth towards the light, in hundredths of a dm, seen from the light."""
    seen = places @ light[:3].T
    scale = (SHADOW_SIZE / 2 - 1) / SHADOW_REACH
    points = np.stack(
        [
            seen[:, 0] * scale + SHADOW_SIZE / 2,
            SHADOW_SIZE / 2 - seen[:, 1] * scale,
            seen[:, 2] * 100,
        ],
        1,
    )
    lit = triangles[facing(points, triangles)]
    return rasterise(points.astype(np.float32), lit, SHADOW_SIZE, SHADOW_SIZE)[2]


def occlusion(depth: np.ndarray, height: int) -> np.ndarray:
    """How open each pixel is to the light around, 0..1: hollows lie behind their surroundings."""
    coarse = np.ascontiguousarray(depth[::2, ::2])  # hollows are soft: half the size is enough
    here = np.isfinite(coarse)
    filled, mask = np.where(here, coarse, 0).astype(np.float32), here.astype(np.float32)
    openness = np.ones_like(filled)
    for width in (0.010, 0.03):
        sigma = width * height / 2
        mean = cv2.GaussianBlur(filled, (0, 0), sigma)
        mean /= np.maximum(cv2.GaussianBlur(mask, (0, 0), sigma), 1e-3)
        openness *= 1 - 0.8 * np.clip((mean - filled) / (1.6 * width * height), 0, 1)
    return cv2.resize(openness, depth.shape[::-1], interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=1)
def sensor_noise() -> np.ndarray:
    """Noise of unit variance (512, 512, 3) float32, of which each frame takes another cutting."""
    return np.random.default_rng(0x5E4502).standard_normal((512, 512, 3), dtype=np.float32)


def develop(linear: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """From linear RGB to a camera's uint8: shoulder, gamma and noise."""
    height, width = linear.shape[:2]
    bright = 255 * cv2.pow(linear / (1 + 0.22 * linear), 1 / 2.2)
    if rng is not None:
        top, left = rng.integers(0, 512, 2)
        noise = sensor_noise().take(np.arange(top, top + height), 0, mode="wrap")
        bright += 2.2 * noise.take(np.arange(left, left + width), 1, mode="wrap")
    return np.clip(bright + 0.5, 0, 255).astype(np.uint8)
