"""What the FACS coder wrote down: true, continuous movements become A to E.

Coded intensities are 0 (absent) and 1 to 5 (A to E), AU43 and AU45 0 or 1. An error of the coder
lasts for a whole event, the stretch in which an AU moves without rest. Used by chapter 01.
"""

import numpy as np
import pandas as pd

from synthpain.behaviour import AUS, FPS, HALF_CLOSED, UNSEEN
from synthpain.layout import pspi
from synthpain.temperament import generator

THRESHOLDS = (0.75, 1.5, 2.5, 3.5, 4.5)  # from which intensity A, B, C, D and E are given
MOVING = 1.1 * UNSEEN  # intensity beyond which an AU is in an event; what stirs below is not coded
ERROR = 0.3  # standard deviation of the coder's error, in intensity steps
SHIFTS = (-1, 0, 1, 2)  # frames by which an onset is marked late and an offset early
CLOSED_BEYOND = 0.5  # seconds: FACS codes a longer closure AU43, a shorter one AU45


def code(behaviour: pd.DataFrame, key: tuple[int, ...], label_noise: float = 0.0) -> pd.DataFrame:
    """Coded AUs of one sequence, float64 columns au1..au45 and pspi, a row for each of its frames.

    behaviour: from behaviour.simulate; key: (seed, subject number, sequence number); label_noise:
    standard deviation, in intensity steps, beside the coder's own.
    """
    seed, *numbers = key
    rng = generator(seed, "coder", *numbers)
    coded = {
        f"au{au}": code_intensity(behaviour[f"au{au}"].to_numpy(), rng, label_noise) for au in AUS
    }
    coded |= code_closures(behaviour["au43"].to_numpy(), behaviour["au45"].to_numpy())
    coded["pspi"] = pspi(coded)
    return pd.DataFrame(coded, index=behaviour.index).astype(float)


def code_intensity(
    intensity: np.ndarray, rng: np.random.Generator, label_noise: float = 0.0
) -> np.ndarray:
    """A to E as 1 to 5 of one AU's intensities (n,), 0 where it is not seen."""
    coded = np.zeros(len(intensity))
    for begin, end in runs(intensity > MOVING):
        error = np.hypot(ERROR, label_noise) * rng.normal()
        onset, offset = rng.choice(SHIFTS, size=2)
        marked = np.arange(max(0, begin + onset), min(len(intensity), end - offset))
        if len(marked) == 0:
            continue
        seen = np.linspace(begin, end - 1, len(marked)).round().astype(int)
        coded[marked] = np.maximum(coded[marked], np.digitize(intensity[seen] + error, THRESHOLDS))
    return coded


def code_closures(au43: np.ndarray, au45: np.ndarray) -> dict[str, np.ndarray]:
    """AU43 and AU45, 0 or 1, of lid closures (n,): their length alone tells them apart."""
    coded = {"au43": np.zeros(len(au43)), "au45": np.zeros(len(au43))}
    for begin, end in runs(np.maximum(au43, au45) > HALF_CLOSED):
        long = end - begin > CLOSED_BEYOND * FPS
        coded["au43" if long else "au45"][begin:end] = 1
    return coded


def runs(active: np.ndarray) -> list[tuple[int, int]]:
    """[begin, end) of each stretch of true values in a boolean array (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
