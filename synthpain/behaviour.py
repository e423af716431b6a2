"""What a synthetic person does during one sequence, frame by frame.

A sequence is a range-of-motion test: the arm is raised again and again, and each raise may hurt.
Time runs at FPS frames a second. UNBC-McMaster does not print its rate; ten a second is slow enough
for four frames (0.4 s) to hold the begin and the end of most blinks, which is what the paper's
2x2 grids are for. AU intensities are continuous, 0 to 5, counted from the neutral face; AU43 and
AU45 are lid closures, 0 to 1; a lid counts as closed beyond HALF_CLOSED. Used by chapter 01.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

from synthpain.layout import LID_AUS
from synthpain.temperament import Temperament, generator

FPS = 10
HALF_CLOSED = 0.5
WARM_UP = 8.0  # seconds of life before the first frame, so that a sequence may begin in an episode
LID_SPEED = 0.12  # seconds that lids take to close or to open
LID_FOLLOWS_GAZE = 0.015  # closure for each degree that the eyes look down
AUS = (1, 2, 4, 6, 7, 9, 10, 12, 15, 20, 25, 26)  # those with an intensity
DRAWN = (*AUS, *LID_AUS)  # with all of these at rest, a drawn face is neutral
RAISE_SPREAD = 0.4  # of the logarithm of what one raise hurts, over raises
FELT = 1.0  # of 10: from here on the person would say that it hurts

# Seconds by which an AU follows the first movement of pain: brow and lids first, the mouth last.
PAIN_DELAYS = {4: 0.0, 7: 0.05, 6: 0.12, 9: 0.2, 10: 0.25, 12: 0.3, 20: 0.3, 25: 0.35, 26: 0.4}

# A living face is never still: each AU stirs a little, below what a coder sees.
STIR = 0.2  # standard deviation before the negative half is dropped
UNSEEN = 0.5  # where stirring ends

# AUs that move together when a face does something else than hurt, with their relative strength.
DISTRACTIONS = {
    "brow raise": {1: 1.0, 2: 0.9},
    "inner brow raise": {1: 1.0},
    "polite smile": {12: 1.0},
    "mouth corners down": {15: 1.0},
    "lip stretch": {20: 1.0, 25: 0.4},
    "speech": {25: 1.0, 26: 0.6},
}
FELT_SMILE = {6: 0.8, 12: 1.0, 25: 0.4}
SQUINT = {7: 1.0}


@dataclass(frozen=True)
class Dials:
    """What later chapters turn to build in a shortcut or more noise; all off by default.

    pain_pose: degrees by which the head turns (yaw, to the picture's right) and bows at a felt pain
    of 10; pain_light: 0 to 1, how far the light of a session tells whether it has felt pain;
    label_noise: standard deviation, in intensity steps, that is added to the coder's own error.
    """

    pain_pose: float = 0.0
    pain_light: float = 0.0
    label_noise: float = 0.0


ALL_OFF = Dials()


@dataclass(frozen=True)
class Episode:
    """A movement of the face: start, onset, apex and offset in seconds, peak intensity by AU."""

    name: str
    start: float
    onset: float
    apex: float
    offset: float
    peaks: Mapping[int, float]
    felt: float = 0.0

    def level(self, time: np.ndarray, delay: float = 0.0) -> np.ndarray:
        """Strength 0 to 1 at the times (n,), in seconds."""
        since = time - self.start - delay
        return ease(since / self.onset) * ease((self.length - since) / self.offset)

    @property
    def length(self) -> float:
        return self.onset + self.apex + self.offset


def ease(share: np.ndarray) -> np.ndarray:
    """A smooth step from 0 to 1 while `share` goes from 0 to 1."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def drift(rng: np.random.Generator, frames: int, seconds: float) -> np.ndarray:
    """Stationary smooth noise (frames,), mean 0, variance 1, that forgets itself in `seconds`."""
    sigma = seconds * FPS
    margin = int(4 * sigma) + 1
    white = rng.normal(size=frames + 2 * margin)
    smooth = gaussian_filter1d(white, sigma)[margin : margin + frames]
    return smooth * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def simulate(
    person: Temperament, frames: int, affected: bool, key: tuple[int, ...], dials: Dials = ALL_OFF
) -> pd.DataFrame:
    """One sequence, a row a frame.

    `key` is (seed, subject number, sequence number): every draw depends on it. Columns: au1..au26
    (0..5), au43, au45 (0..1), pain (felt, 0..10), felt_pain, blink, episode (number of the painful
    raise, 0 outside), expression (name of what else the face does), and the fields of head.View
    but its size.
    """
    seed, *numbers = key

    def rng(purpose: str) -> np.random.Generator:
        return generator(seed, purpose, *numbers)

    time = np.arange(frames) / FPS
    raises = list(painful_raises(person, frames / FPS, affected, rng("pain")))
    others = list(other_expressions(person, frames / FPS, rng("expressions")))
    table = muscles(time, raises + others, rng("muscles"))
    table |= eyelids(person, time, raises, rng("lids"))
    table["pain"] = np.max([e.felt * e.level(time) for e in raises], axis=0, initial=0)
    table["felt_pain"] = table["pain"] >= FELT
    table["episode"] = np.max([(i + 1) * (e.level(time) > 0) for i, e in enumerate(raises)], axis=0)
    table["expression"] = named(time, others)
    table |= pose(person, time, rng("pose"))
    table["yaw"] = table["yaw"] + dials.pain_pose * table["pain"] / 10
    table["pitch"] = table["pitch"] - dials.pain_pose * table["pain"] / 10
    table |= light(rng("light"), bool(table["felt_pain"].any()), dials.pain_light)
    table["backdrop"] = int(rng("room").integers(3))
    return pd.DataFrame(table, index=pd.RangeIndex(frames))


def drawn(behaviour: pd.DataFrame, rest: Mapping[int, float]) -> pd.DataFrame:
    """What the renderer draws, columns au1..au45: each movement on top of the resting face."""
    face = behaviour[[f"au{au}" for au in DRAWN]].copy()
    for au in set(rest) - {43}:
        face[f"au{au}"] = (face[f"au{au}"] + rest[au]).clip(upper=5)
    droop = rest[43] + LID_FOLLOWS_GAZE * behaviour["gaze_pitch"].clip(upper=0).abs()
    droop = droop.clip(upper=0.4)  # less than HALF_CLOSED: whoever looks down has open eyes
    face["au43"] = droop + (1 - droop) * face["au43"]
    return face


def painful_raises(
    person: Temperament, seconds: float, affected: bool, rng: np.random.Generator
) -> Iterator[Episode]:
    """Raises of the arm from before the first frame to the last, each with the pain it brings."""
    start = -WARM_UP - rng.uniform(0, person.period)
    while start < seconds:
        hurt = rng.lognormal(-(RAISE_SPREAD**2) / 2, RAISE_SPREAD)
        hurt *= 1 if affected else person.spared
        shown = person.shown * hurt
        yield Episode(
            name="pain",
            start=start,
            onset=rng.uniform(0.3, 1.0),
            apex=rng.lognormal(np.log(0.9), 0.4),
            offset=rng.uniform(0.5, 1.5),
            peaks={
                au: min(5.0, g * shown * rng.lognormal(0, 0.2)) for au, g in person.gains.items()
            },
            felt=min(10.0, person.felt * hurt),
        )
        start += person.period * rng.lognormal(0, 0.12)


def other_expressions(
    person: Temperament, seconds: float, rng: np.random.Generator
) -> Iterator[Episode]:
    """What the face does beside pain: distractions without PSPI, felt smiles and squints."""
    share = person.distractions / len(DISTRACTIONS)
    kinds = [(name, aus, share) for name, aus in DISTRACTIONS.items()]
    kinds += [("felt smile", FELT_SMILE, person.smiles), ("squint", SQUINT, person.squints)]
    for name, aus, rate in kinds:
        for _ in range(rng.poisson(rate * (seconds + WARM_UP))):
            peak = rng.uniform(0.9, 3.2)
            yield Episode(
                name=name,
                start=rng.uniform(-WARM_UP, seconds),
                onset=rng.uniform(0.2, 0.7),
                apex=rng.uniform(0.3, 2.0),
                offset=rng.uniform(0.3, 1.0),
                peaks={au: peak * weight for au, weight in aus.items()},
            )


def muscles(
    time: np.ndarray, episodes: list[Episode], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Intensities of AUS over time: of episodes that overlap, each AU follows the stronger."""
    intensity = {au: np.clip(STIR * drift(rng, len(time), 0.6), 0, UNSEEN) for au in AUS}
    for episode in episodes:
        for au in AUS:
            if au in episode.peaks:
                delay = PAIN_DELAYS.get(au, 0.0) + rng.normal(0, 0.08)
                tremble = 1 + 0.1 * drift(rng, len(time), 0.4)
                moved = np.clip(episode.peaks[au] * tremble * episode.level(time, delay), 0, 5)
                intensity[au] = np.maximum(intensity[au], moved)
    return {f"au{au}": level for au, level in intensity.items()}


def eyelids(
    person: Temperament, time: np.ndarray, raises: list[Episode], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Closures in pain (AU43, well beyond half a second) and blinks (AU45, 0.1 to 0.5 s)."""
    squeezes = [
        (e.start + 0.6 * e.onset, max(0.8, 0.3 * e.onset + e.apex + rng.uniform(0, 0.6) * e.offset))
        for e in raises
        if e.peaks[43] > 0.75
    ]
    blinks = []
    start = -WARM_UP
    while start < time[-1]:
        length = float(np.clip(rng.lognormal(np.log(0.2), 0.4), 0.1, 0.5))
        if all(start > s + n + 0.3 or start + length + 0.3 < s for s, n in squeezes):
            blinks.append((start, length))
        start += length + 0.4 + rng.exponential(1 / person.blinks)
    au43, au45 = closure(time, squeezes), closure(time, blinks)
    return {"au43": au43, "au45": au45, "blink": au45 > HALF_CLOSED}


def closure(time: np.ndarray, intervals: list[tuple[float, float]]) -> np.ndarray:
    """How far the lids are closed, 0 to 1: more than half within each (start, length)."""
    shut = np.zeros(len(time))
    for start, length in intervals:
        depth = np.minimum(time - start, start + length - time) / LID_SPEED + 0.5
        shut = np.maximum(shut, ease(depth))
    return shut


def named(time: np.ndarray, episodes: list[Episode]) -> np.ndarray:
    """The name of the expression at each time, "" where there is none; a later one wins."""
    names = np.full(len(time), "", dtype=object)
    for episode in episodes:
        names[episode.level(time) > 0] = episode.name
    return names


def pose(person: Temperament, time: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Where the head and the eyes are turned, in degrees, and where the head is in the picture."""

    def wander(mean: float, spread: float, seconds: float) -> np.ndarray:
        return mean + spread * (0.8 * drift(rng, len(time), seconds) + 0.6 * rng.normal())

    yaw, pitch, roll = person.pose
    moved = np.cumsum(rng.random(len(time)) < 1 / FPS)  # the eyes jump about once a second
    glances = rng.normal(size=(2, moved[-1] + 1))[:, moved]
    return {
        "yaw": np.clip(wander(yaw, person.yaw_spread, 1.2), -50, 50),
        "pitch": wander(pitch, 4.0, 1.5),
        "roll": wander(roll, 3.0, 2.0),
        "x": wander(0.0, 0.03, 2.5),
        "y": wander(0.0, 0.015, 2.5),
        "scale": np.clip(wander(0.95, 0.04, 4.0), 0.85, 1.05),
        "gaze_yaw": 8.0 * glances[0],
        "gaze_pitch": 5.0 * glances[1] - 3.0,
    }


def light(rng: np.random.Generator, pain: bool, shortcut: float) -> dict[str, float]:
    """The light of one session, constant in it; at `shortcut` 1 it depends on pain alone."""
    own = {
        "light_yaw": rng.uniform(-55, 55),
        "light_pitch": rng.uniform(10, 50),
        "light_strength": rng.uniform(0.35, 0.8),
        "warmth": rng.uniform(-0.6, 0.6),
    }
    side = 1 if pain else -1
    told = {
        "light_yaw": 40.0 * side,
        "light_pitch": 30.0,
        "light_strength": 0.6,
        "warmth": 0.5 * side,
    }
    return {name: (1 - shortcut) * own[name] + shortcut * told[name] for name in own}
