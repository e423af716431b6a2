"""A corpus in numbers, as chapter 01 tells it.

All functions read the frames table (`paincore.data.frames`) and leave it as it is. A share is in
per cent of the frames that have a PSPI label; where there is none it is NaN. Truth is the table
that only a synthetic corpus has: keys subject, sequence, frame, and what really happened.
"""

import numpy as np
import pandas as pd

from paincore import paper
from paincore.data.corpus import Corpus, compare_counts, read_generator
from paincore.data.frames import KEYS, STATES


def labelled(frames: pd.DataFrame) -> pd.DataFrame:
    """The frames that have a PSPI label, in the table's order. Chapter 01."""
    return frames[frames["pspi"].notna()]


def pspi_shares(frames: pd.DataFrame) -> pd.Series:
    """Per cent of frames with PSPI 0, 1-2 and 3-16, in the paper's terms (section 3.1).

    Beside `paper.pspi_shares()` in chapter 01.
    """
    groups = pd.cut(labelled(frames)["pspi"], [-np.inf, 0, 2, np.inf], labels=["0", "1-2", "3-16"])
    return 100 * groups.value_counts(normalize=True, sort=False)


def pain_by_subject(frames: pd.DataFrame) -> pd.DataFrame:
    """One row a subject, most pain first: `frames`, `pain_frames` and `share` (per cent).

    Chapter 01; the folds of section 3.1 of the paper balance these.
    """
    pain = labelled(frames).groupby("subject")["pain"]
    table = pd.DataFrame({"frames": pain.size(), "pain_frames": pain.sum().astype(int)})
    table["share"] = 100 * table["pain_frames"] / table["frames"]
    return table.sort_values(["share", "frames"], ascending=False, kind="stable")


def left_out(corpus: Corpus) -> pd.DataFrame:
    """What became of every frame and file: `what`, `count`, the `first case`; most first.

    A row for each state of a frame that occurs, one for files that belong to no frame. Chapter 01.
    """
    states = corpus.frames.groupby("state", sort=False)["problem"].agg(["size", "first"])
    table = pd.DataFrame(
        {"what": states.index.map(STATES), "count": states["size"], "first case": states["first"]}
    ).sort_values("count", ascending=False, kind="stable")
    if corpus.ignored:
        table.loc["ignored"] = [
            "files that belong to no frame",
            len(corpus.ignored),
            corpus.ignored[0],
        ]
    return table


def recomputed(frames: pd.DataFrame) -> pd.DataFrame:
    """Frames by PSPI of the label file (rows, 0..16) and PSPI recomputed from FACS (columns).

    Only frames that have both. On the diagonal the two agree. Chapter 01.
    """
    both = frames.dropna(subset=["pspi", "pspi_facs"])
    levels = range(paper.PSPI_MAXIMUM + 1)
    table = pd.crosstab(both["pspi"].astype(int), both["pspi_facs"].astype(int))
    return table.reindex(index=levels, columns=levels, fill_value=0)


def example_frames(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Up to `count` usable frames of rising PSPI, as in Figure 1 of the paper; chosen by rule.

    The PSPI values that occur are spread evenly over; of each, the middle frame of the subject
    shown least so far (the first in the table among equals). Chapter 01 and the title page.
    """
    usable = labelled(frames[frames["state"] == "ok"])
    values = np.unique(usable["pspi"])
    spread = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    shown = pd.Series(0, index=usable["subject"].unique())
    rows = []
    for value in values[spread]:
        candidates = usable[usable["pspi"] == value]
        subject = shown[candidates["subject"].unique()].idxmin()
        shown[subject] += 1
        of_subject = candidates[candidates["subject"] == subject]
        rows.append(of_subject.iloc[len(of_subject) // 2])
    return pd.DataFrame(rows, columns=usable.columns)


def telling_sequence(frames: pd.DataFrame) -> pd.DataFrame:
    """The frames of the sequence whose PSPI moves most, summed over its frames. Chapter 01.

    The first among equals.
    """
    moved = labelled(frames).groupby("sequence")["pspi"].agg(lambda pspi: pspi.diff().abs().sum())
    return frames[frames["sequence"] == moved.idxmax()]


def felt_pain_by_pspi(frames: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """One row a coded PSPI that occurs: `frames`, and `felt`, per cent of them with felt pain.

    Only a synthetic corpus knows what was felt. Chapter 01.
    """
    both = _with_truth(frames, truth)
    felt = both.groupby(both["pspi"].astype(int))["felt_pain"]
    return pd.DataFrame({"frames": felt.size(), "felt": 100 * felt.mean()})


def pspi_as_a_test(frames: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """How well PSPI > 0 tells felt pain, both in per cent.

    `precision`: of the frames the label calls pain, those with felt pain. `recall`: of the frames
    with felt pain, those the label calls pain. NaN where there is no such frame. Chapter 01.
    """
    both = _with_truth(frames, truth)
    pain, felt = both["pain"].astype(bool), both["felt_pain"]
    return {"precision": 100 * felt[pain].mean(), "recall": 100 * pain[felt].mean()}


def _with_truth(frames: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    felt = truth[[*KEYS, "felt_pain"]].astype({"felt_pain": bool})
    return labelled(frames).merge(felt, on=KEYS, validate="one_to_one")


def blinks(truth: pd.DataFrame) -> pd.DataFrame:
    """One row a whole blink: subject, sequence, `closed` (frames with closed lids), `told`.

    `told`: one window of `paper.CLIP_FRAMES` frames can hold the open eye before and after it,
    which is what it takes to tell a blink from AU43 by its length. Blinks cut by the first or last
    frame of a sequence are left out, their length being unknown. Section 3.1 of the paper; chapter
    01.
    """
    rows = []
    for (subject, sequence), frames in truth.groupby(["subject", "sequence"], sort=False):
        closed = np.concatenate([[0], frames.sort_values("frame")["blink"].astype(int), [0]])
        begins, ends = np.flatnonzero(np.diff(closed) > 0), np.flatnonzero(np.diff(closed) < 0)
        whole = (begins > 0) & (ends < len(frames))
        rows += [(subject, sequence, length) for length in (ends - begins)[whole]]
    table = pd.DataFrame(rows, columns=["subject", "sequence", "closed"])
    return table.assign(told=table["closed"] <= paper.CLIP_FRAMES - 2)


def frames_per_second(corpus: Corpus) -> float | None:
    """The rate that a synthetic corpus was made at; None for films, whose rate is not in the data.

    Chapter 01.
    """
    generator = read_generator(corpus.root) if corpus.truth is not None else None
    return generator and generator["fps"]


def findings(corpus: Corpus) -> str:
    """The closing sentences of chapter 01, in Markdown, with this corpus's numbers."""
    frames, subjects = corpus.frames, pain_by_subject(corpus.frames)
    pain = subjects["pain_frames"].sum() / subjects["frames"].sum()
    five = subjects["pain_frames"].nlargest(5).sum() / max(1, subjects["pain_frames"].sum())
    compared = frames["pspi_difference"].dropna()
    aside, never = (frames["state"] != "ok").sum(), (subjects["pain_frames"] == 0).sum()
    sentences = [
        f"The corpus has {len(frames):,} frames of {frames['subject'].nunique()} people in "
        f"{frames['sequence'].nunique()} sequences; frames set aside: {aside}.",
        _counts_met(corpus),
        f"PSPI is above 0 in {100 * pain:.1f} % of the labelled frames; the paper's share is "
        f"{paper.pain_share():.1f} %. Always answering pain would score an F1 of "
        f"{2 * pain / (1 + pain):.2f} here, always answering no pain 0.",
        f"Of {len(subjects)} people {never} never have a PSPI above 0, and the five with the most "
        f"painful frames hold {100 * five:.0f} % of them all.",
        f"Label file and formula agree in {(compared == 0).sum():,} of {len(compared):,} frames.",
    ]
    return "\n".join(f"- {sentence}" for sentence in sentences + _findings_in_truth(corpus))


def _counts_met(corpus: Corpus) -> str:
    counts = compare_counts(corpus.frames, corpus.dataset.expected)
    missed = counts[counts["expected"] != counts["found"]].itertuples()
    differing = [f"{row.what}: {row.found}, not {row.expected}" for row in missed]
    sentence = (
        f"Of the counts that the data manifest expects, {len(counts) - len(differing)} of "
        f"{len(counts)} are met"
    )
    more = [f"and {len(differing) - 3} more, which `paincore data verify` lists"]
    return f"{'; '.join([sentence, *differing[:3], *more[: len(differing) > 3]])}."


def _findings_in_truth(corpus: Corpus) -> list[str]:
    if corpus.truth is None:
        return ["What was felt, and which closures were blinks, this corpus does not say."]
    test, told = pspi_as_a_test(corpus.frames, corpus.truth), blinks(corpus.truth)["told"]
    return [
        f"Of the frames with PSPI above 0, pain was felt in {test['precision']:.0f} %; of those "
        f"with felt pain, {test['recall']:.0f} % have PSPI above 0.",
        f"This corpus has {frames_per_second(corpus)} frames a second; four of them can tell "
        f"{100 * told.mean():.0f} % of {len(told)} whole blinks from AU43.",
    ]
