"""Synthetic people: a bounded mix of shapes and a skin, eye and hair colour of their own.

Colours are linear RGB in 0..1. A person depends on the seed and the person's number alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synthpain.head import LANDMARK_VERTICES, load_head

ANCESTRIES = ("african", "asian", "caucasian")
EYE_COLOURS = ((0.09, 0.045, 0.02), (0.14, 0.08, 0.03), (0.10, 0.13, 0.06), (0.12, 0.19, 0.27))
HAIR_COLOURS = (
    (0.012, 0.009, 0.008),
    (0.05, 0.028, 0.016),
    (0.16, 0.09, 0.045),
    (0.33, 0.22, 0.11),
)
LIGHT_SKIN, MEDIUM_SKIN, DARK_SKIN = (0.72, 0.45, 0.34), (0.46, 0.24, 0.15), (0.115, 0.052, 0.032)
GREY_HAIR = (0.40, 0.385, 0.36)


@dataclass(frozen=True)
class Person:
    """One synthetic person.

    neutral float32 (V, 3) in dm; axes float64 (A,) identity coefficients; lid_travel the share of
    the mesh's lid movement that just closes these eyes; asymmetry {au: -1..1}, how much stronger
    the left side moves;
    age 0 (about 25 years) to 1 (about 70); ancestry weights (3,) that sum to one; female; colours
    linear RGB (3,); hairline in dm above the usual one, hair_volume in dm, beard 0..1,
    brow_width relative; texture_seed for pores, freckles and hairs.
    """

    neutral: np.ndarray
    axes: np.ndarray
    lid_travel: float
    asymmetry: Mapping[int, float]
    age: float
    ancestry: np.ndarray
    female: bool
    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    hairline: float
    hair_volume: float
    beard: float
    brow_width: float
    freckles: float
    texture_seed: int


def draw_people(count: int, seed: int) -> list[Person]:
    """`count` people; person i depends on (seed, i) alone, so more people change nobody."""
    return [draw_person(np.random.default_rng([seed, 0x9E09, i])) for i in range(count)]


def draw_person(rng: np.random.Generator) -> Person:
    """One adult, drawn so that no shape leaves what a face may look like."""
    female = bool(rng.random() < 0.5)
    age = float(rng.beta(1.3, 2.0))
    ancestry = rng.dirichlet(np.array([0.22, 0.22, 0.4]))
    axes = draw_axes(rng)
    weight = float(np.clip(rng.normal(0.05, 0.35), -0.6, 0.7))
    skin = draw_skin(ancestry, rng)
    grey = float(np.clip((age - 0.55) * 2.4 + rng.normal(0, 0.12), 0, 0.95))
    fair = ancestry[2] > 0.55
    hair = np.array(HAIR_COLOURS[rng.choice(4, p=(0.3, 0.4, 0.2, 0.1)) if fair else rng.choice(2)])
    beard = 0.0 if female else float(max(0.0, rng.normal(0.25, 0.3)))
    neutral = neutral_shape(axes, ancestry, female, age, weight)
    return Person(
        neutral=neutral,
        axes=axes,
        lid_travel=lid_travel(neutral),
        asymmetry={au: float(rng.normal(0, 0.12)) for au in load_head().au_offsets},
        age=age,
        ancestry=ancestry,
        female=female,
        skin=skin,
        lips=skin * rng.uniform((0.80, 0.50, 0.52), (0.95, 0.66, 0.68)),
        hair=(1 - grey) * hair + grey * np.array(GREY_HAIR),
        iris=np.array(EYE_COLOURS[rng.choice(4, p=(0.25, 0.3, 0.2, 0.25)) if fair else 0]),
        hairline=float(rng.normal(0, 0.06) + (0 if female else 0.16 * age * rng.random())),
        hair_volume=float(rng.uniform(0.10, 0.20) if female else rng.uniform(0.03, 0.12)),
        beard=min(beard, 0.8),
        brow_width=float(rng.uniform(0.7, 0.95) if female else rng.uniform(0.9, 1.25)),
        freckles=float(rng.random() ** 3 * (ancestry[2] > 0.5)),
        texture_seed=int(rng.integers(1 << 31)),
    )


def draw_axes(rng: np.random.Generator) -> np.ndarray:
    """Identity coefficients (A,), each in -1..1, few of them large."""
    count = len(load_head().axis_names)
    strength = np.clip(rng.normal(0, 0.17, count), -0.4, 0.4)
    shapes = [i for i, name in enumerate(load_head().axis_names) if is_head_shape(name)]
    strength[shapes] = 0.0  # one head shape at most: together they would cancel or distort
    strength[rng.choice(shapes)] = rng.uniform(0.05, 0.35)
    return strength


def is_head_shape(axis: str) -> bool:
    """Whether the axis is one of the whole-head outlines, such as head-oval."""
    outlines = "diamond invertedtriangular oval rectangular round square triangular"
    return axis.removeprefix("head-") in outlines.split()


def neutral_shape(
    axes: np.ndarray, ancestry: np.ndarray, female: bool, age: float, weight: float
) -> np.ndarray:
    """Vertices (V, 3) float32 in dm of the face at rest; `weight` from -1 (thin) to 1 (heavy)."""
    head = load_head()
    shape = head.vertices.astype(np.float64)
    sex = "female" if female else "male"
    for years, share in (("young", 1 - age), ("old", age)):
        for name, part in zip(ANCESTRIES, ancestry, strict=True):
            shape += share * part * head.macro_offsets[f"{name}-{sex}-{years}"]
        build = {"averageweight": 1 - abs(weight)}
        build["maxweight" if weight > 0 else "minweight"] = abs(weight)
        for kind, part in build.items():
            universal = head.macro_offsets[f"universal-{sex}-{years}-averagemuscle-{kind}"]
            shape += share * part * universal
    shape += np.tensordot(np.maximum(axes, 0), head.axis_offsets[:, 0], axes=1)
    shape += np.tensordot(np.maximum(-axes, 0), head.axis_offsets[:, 1], axes=1)
    return stand_upright(shape).astype(np.float32)


def stand_upright(shape: np.ndarray) -> np.ndarray:
    """Move the shape so that the eyes are where the base mesh has them: heights of people differ
    by their bodies in MakeHuman, and only the head is kept here."""
    head = load_head()
    eyes = np.unique(head.triangles[head.parts == 1])
    return shape + (head.vertices[eyes].mean(0) - shape[eyes].mean(0))


def lid_travel(neutral: np.ndarray) -> float:
    """Share of the mesh's full lid movement at which the upper lids meet the lower ones."""
    upper = [LANDMARK_VERTICES[i] for i in (37, 38, 43, 44)]
    lower = [LANDMARK_VERTICES[i] for i in (41, 40, 47, 46)]
    move = load_head().au_offsets[43][:, 1]
    return float(((neutral[upper, 1] - neutral[lower, 1]) / (move[lower] - move[upper])).max())


def draw_skin(ancestry: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Skin colour (3,), linear RGB, along the line from light over medium to dark."""
    tone = float(np.clip(ancestry @ (0.85, 0.32, 0.12) + rng.normal(0, 0.09), 0, 1))
    skin = [
        np.interp(tone, (0, 0.5, 1), c)
        for c in zip(LIGHT_SKIN, MEDIUM_SKIN, DARK_SKIN, strict=True)
    ]
    return np.array(skin) * (1 + rng.normal(0, 0.03, 3))


def face_vertices(person: Person, aus: Mapping[str, float]) -> np.ndarray:
    """The face with action units, float32 (V, 3) in dm.

    `aus` has intensities 0..5 under "au1", "au4", ... and lid closures 0..1 under "au43" and
    "au45"; what is missing is 0. Closing lids leave a squint (AU7) nothing to close.
    """
    head = load_head()
    closure = max(aus.get("au43", 0.0), aus.get("au45", 0.0))
    shape = person.neutral.astype(np.float64)
    side = np.clip(head.vertices[:, :1] / 0.3, -1, 1)
    for au, offsets in head.au_offsets.items():
        amount = closure * person.lid_travel if au == 43 else aus.get(f"au{au}", 0.0) / 5
        if au == 7:
            amount *= 1 - 0.8 * closure
        if au == 26:
            amount *= 0.75  # the target opens as far as a jaw goes; AU26 leaves room for AU27
        if amount:
            lean = 0 if au == 43 else person.asymmetry[au]
            shape += amount * (1 + lean * side) * offsets
    return shape.astype(np.float32)
