"""A corpus in numbers.

All functions read the frames table (`paincore.data.frames`) and leave it as it is. Per cent are of
the frames that have a PSPI label, NaN where there is none. Truth is the table that only a synthetic
corpus has: keys subject, sequence, frame, and what really happened.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from paincore import paper
from paincore.data import facs
from paincore.data.corpus import Corpus, read_generator
from paincore.data.frames import KEYS, STATES
from paincore.style import Finding, verdict


def labelled(frames: pd.DataFrame) -> pd.DataFrame:
    """The frames that have a PSPI label, in the table's order."""
    return frames[frames["pspi"].notna()]


def percent_by_pspi(frames: pd.DataFrame) -> pd.Series:
    """Per cent of frames with PSPI 0, 1-2 and 3-16, the paper's groups (section 3.1)."""
    groups = pd.cut(labelled(frames)["pspi"], [-np.inf, 0, 2, np.inf], labels=["0", "1-2", "3-16"])
    return 100 * groups.value_counts(normalize=True, sort=False)


def pain_counts(frames: pd.DataFrame) -> pd.DataFrame:
    """One row a subject, most pain first: `frames`, `pain_frames` and `percent`, with pain."""
    pain = labelled(frames).groupby("subject")["pain"]
    table = pd.DataFrame({"frames": pain.size(), "pain_frames": pain.sum().astype(int)})
    table["percent"] = 100 * table["pain_frames"] / table["frames"]
    return table.sort_values(["percent", "frames"], ascending=False, kind="stable")


def states_of_frames(frames: pd.DataFrame, meanings=STATES, ignored=()) -> pd.DataFrame:
    """What became of every frame and file: `state`, `meaning`, `count`, `first case`; most first.

    A row for each state of a frame that occurs, with its meaning, and one for `ignored` files.
    """
    cases = frames.groupby("state")["problem"].agg(["size", "first"])
    rows = [(state, meanings[state], *case) for state, case in cases.iterrows()]
    if ignored:
        rows.append(("ignored", "files of no frame", len(ignored), ignored[0]))
    table = pd.DataFrame(rows, columns=["state", "meaning", "count", "first case"])
    return table.sort_values("count", ascending=False, kind="stable", ignore_index=True)


def recomputed(frames: pd.DataFrame) -> pd.DataFrame:
    """Frames by PSPI of the label file (rows, 0..16) and PSPI recomputed from FACS (columns).

    Only frames that have both. On the diagonal the two agree.
    """
    both = frames.dropna(subset=["pspi", "pspi_facs"])
    levels = range(facs.PSPI_MAXIMUM + 1)
    table = pd.crosstab(both["pspi"].astype(int), both["pspi_facs"].astype(int))
    return table.reindex(index=levels, columns=levels, fill_value=0)


def evenly_spaced(frames: pd.DataFrame, most: int) -> pd.DataFrame:
    """Up to `most` of the rows, evenly spaced from the first to the last."""
    return frames.iloc[np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))]


def example_frames(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Up to `count` usable frames of rising PSPI, as in Figure 1 of the paper; chosen by rule.

    Values evenly over those that occur; of each the middle frame of one subject, another each time
    where there are others.
    """
    usable = labelled(frames[frames["state"] == "ok"])
    values = np.unique(usable["pspi"])
    places = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    rows = []
    for number, value in enumerate(values[places]):
        by_subject = [own for _, own in usable[usable["pspi"] == value].groupby("subject")]
        own = by_subject[number % len(by_subject)]
        rows.append(own.iloc[len(own) // 2])
    return pd.DataFrame(rows, columns=usable.columns)


def telling_sequence(frames: pd.DataFrame) -> pd.DataFrame:
    """The frames of the sequence whose PSPI moves most, summed over its frames; the first such."""
    moved = labelled(frames).groupby("sequence")["pspi"].agg(lambda pspi: pspi.diff().abs().sum())
    return frames[frames["sequence"] == moved.idxmax()]


def with_felt_pain(corpus: Corpus) -> pd.DataFrame:
    """The labelled frames of a synthetic corpus with one more column, `felt_pain`."""
    felt = corpus.truth[[*KEYS, "felt_pain"]].astype({"felt_pain": bool})
    return labelled(corpus.frames).merge(felt, on=KEYS, validate="one_to_one")


def blinks(truth: pd.DataFrame) -> pd.DataFrame:
    """One row a whole blink: subject, sequence, `closed` (frames with closed lids), `told`.

    `told`: one clip of `paper.CLIP_FRAMES` frames can hold the open eye before and after it, which
    is what it takes to tell a blink from AU43 by its length. A blink that the first or last frame
    of a sequence cuts is not counted: its length is unknown.
    """
    rows = []
    for (subject, sequence), frames in truth.groupby(["subject", "sequence"], sort=False):
        closed = np.pad(frames.sort_values("frame")["blink"].astype(int), 1)
        begins, ends = np.flatnonzero(np.diff(closed) > 0), np.flatnonzero(np.diff(closed) < 0)
        whole = (begins > 0) & (ends < len(frames))
        rows += [(subject, sequence, length) for length in (ends - begins)[whole]]
    table = pd.DataFrame(rows, columns=["subject", "sequence", "closed"])
    return table.assign(told=table["closed"] <= paper.CLIP_FRAMES - 2)


def frames_per_second(corpus: Corpus) -> float | None:
    """The rate that a synthetic corpus was made at; None for real videos, which do not tell it."""
    generator = read_generator(corpus.root)
    return generator and generator["fps"]


def data_findings(corpus: Corpus) -> Iterator[Finding]:
    """What chapter 01 found, in per cent; intervals over bootstrap resamples of subjects."""
    frames, printed = labelled(corpus.frames), paper.PAIN_SHARE
    question = f"frames with PSPI above 0, against the paper's {printed} %"
    yield _percent(question, frames["pain"], frames, printed)
    frames = frames[frames["pspi_facs"].notna()]
    agree = frames["pspi_difference"] == 0
    yield _percent("labels that follow from their action units, against all", agree, frames)
    if corpus.truth is not None:
        frames = with_felt_pain(corpus)
        pain, felt = frames["pain"].astype(bool), frames["felt_pain"]
        yield _percent("PSPI above 0: pain was felt, against all", felt[pain], frames[pain])
        yield _percent("felt pain: PSPI is above 0, against all", pain[felt], frames[felt])
        whole = blinks(corpus.truth)
        yield _percent("blinks that four frames can tell, against all", whole["told"], whole)


def _percent(question: str, hits: pd.Series, of: pd.DataFrame, null: float = 100) -> Finding:
    """The percentage of hits and its interval, over 2,000 bootstrap resamples of the subjects."""
    table = hits.astype(float).groupby(of["subject"]).agg(["sum", "size"]).to_numpy()
    if not len(table):
        return Finding(question, "-", "undecided")
    chosen = np.random.default_rng(0).integers(len(table), size=(2000, len(table)))
    hit, counted = table[chosen].sum(axis=1).T
    low, high = np.percentile(100 * hit / counted, [2.5, 97.5])
    estimate = f"{100 * hits.mean():.1f} % [{low:.1f}, {high:.1f}]"
    return Finding(question, estimate, "all" if hits.all() else verdict(low, high, null))
