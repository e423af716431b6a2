"""How one synthetic person tends to behave: pain, expressions, resting face, pose and blinking.

AU intensities are continuous, 0 to 5 (FACS A to E are 1 to 5), and count from the person's own
neutral face, as FACS scores them. Lid closures are 0 to 1, rates per second, angles in degrees.
Every draw comes from a generator of its own, seeded by (seed, purpose, numbers).
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import lognorm

STILL = 0.08  # share of people (2 of 25) who neither show pain, nor smile for joy, nor squint
NEVER_SHOWN = 0.16  # share of people (4 of 25, the still ones among them) who never show pain
MEDIAN_SHOWN = 1.2  # typical AU intensity at the peak of a painful raise of the affected limb
SPREAD_SHOWN = 0.70  # of its logarithm over people: a few show a great deal, many very little

# Mean gain and spread of its logarithm over people: the personal signature of pain. Orbital
# tightening and eye closure lead, brow and levator are rarer, as the counts of coded AUs in
# UNBC-McMaster have it (Lucey et al. 2011, Table 1); the last four do not enter PSPI.
PAIN_GAINS = {
    4: (0.50, 0.60),
    6: (0.95, 0.30),
    7: (0.85, 0.35),
    9: (0.22, 0.70),
    10: (0.26, 0.70),
    43: (0.55, 0.60),
    12: (0.60, 0.70),
    20: (0.20, 0.70),
    25: (0.35, 0.60),
    26: (0.25, 0.70),
}

# Half-normal spread of what a resting face carries for good: a furrowed or raised brow, drooping
# lids, mouth corners up or down, parted lips. A coder takes it as neutral and does not score it.
REST_SPREAD = {1: 0.2, 4: 0.5, 7: 0.35, 10: 0.15, 12: 0.35, 15: 0.3, 25: 0.3, 43: 0.09}


@dataclass(frozen=True)
class Temperament:
    """One person's habits.

    shown: AU intensity at the peak of a painful raise, 0 for one who never shows pain; felt: pain
    at that peak, 0 to 10; spared: what the unaffected limb hurts in parts of the affected one;
    period: seconds from one raise of the arm to the next; gains and rest by AU number; smiles,
    squints, distractions, blinks: rates; pose: mean yaw, pitch, roll; yaw_spread: of its drift.
    """

    shown: float
    felt: float
    spared: float
    period: float
    gains: Mapping[int, float]
    rest: Mapping[int, float]
    smiles: float
    squints: float
    distractions: float
    blinks: float
    pose: tuple[float, float, float]
    yaw_spread: float


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """A random generator that serves one purpose only."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *numbers])


def draw_temperaments(count: int, seed: int) -> list[Temperament]:
    """Temperaments of `count` people.

    How much people show is heavy-tailed. Its quantiles are dealt out, one to each person, so that
    25 people cover the distribution in every corpus; all else depends on (seed, person) alone.
    """
    rank = generator(seed, "expressiveness").permutation(count)
    return [_draw((r + 0.5) / count, generator(seed, "temperament", i)) for i, r in enumerate(rank)]


def shown_at(quantile: float) -> float:
    """AU intensity at the peak of pain that this share of people stays below."""
    if quantile < NEVER_SHOWN:
        return 0.0
    among_showing = (quantile - NEVER_SHOWN) / (1 - NEVER_SHOWN)
    return float(lognorm.ppf(among_showing, SPREAD_SHOWN, scale=MEDIAN_SHOWN))


def _draw(quantile: float, rng: np.random.Generator) -> Temperament:
    shown = shown_at(quantile)
    joy = float(quantile >= STILL)
    expressiveness = rng.lognormal(np.log(0.4), 0.3)  # AU intensity for each point of felt pain
    return Temperament(
        shown=shown,
        felt=float(np.clip(shown / expressiveness, 0.5, 9)) if shown else float(rng.uniform(1, 7)),
        spared=float(rng.uniform(0.1, 0.5)),
        period=float(rng.uniform(4.0, 7.0)),
        gains={au: float(m * rng.lognormal(-s * s / 2, s)) for au, (m, s) in PAIN_GAINS.items()},
        rest={au: float(abs(rng.normal(0, s))) for au, s in REST_SPREAD.items()},
        smiles=joy * float(0.015 * rng.lognormal(0, 0.5)),
        squints=joy * float(0.015 * rng.lognormal(0, 0.5)),
        distractions=float(0.14 * rng.lognormal(0, 0.5)),
        blinks=float(np.clip(0.28 * rng.lognormal(0, 0.5), 0.08, 0.8)),
        pose=tuple(float(a) for a in rng.normal((0, 0, 0), (6, 4, 2.5))),
        yaw_spread=float(rng.uniform(5, 15)),
    )
