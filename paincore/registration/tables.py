"""A registered corpus in words and by rule: which frames chapter 02 shows, and what it found.

Frames are rows of a frame store; their index is the image's number there. Where several frames fit
a rule equally well, the first in the table is taken.
"""

import numpy as np
import pandas as pd

from paincore import PaincoreError, paper
from paincore.data.corpus import Corpus
from paincore.manifest import ROOT
from paincore.registration.accuracy import Sample, pose_errors
from paincore.registration.backends import BACKENDS, Backend, load_backend
from paincore.registration.framestore import FrameStore

BACKEND_MESHES = {
    "landmarker": "a mesh of 468 points by Google's FaceLandmarker, on any photograph",
    "prnet": "the paper's: a dense mesh of 43,867 points by PRNet",
    "landmarks": "the canonical face, posed by the landmarks that come with the corpus",
    "none": "the landmarker's face, moved, turned in the plane and scaled, but not made frontal",
}


def rising_clip(frames: pd.DataFrame) -> pd.DataFrame:
    """Of the registered frames, the four subsequent ones over which PSPI rises most.

    No row where no four frames follow one another. Section 3.1 of the paper; chapter 02.
    """
    last, first = frames, frames.shift(paper.CLIP_FRAMES - 1)
    together = (last["sequence"] == first["sequence"]) & (
        last["frame"] == first["frame"] + paper.CLIP_FRAMES - 1
    )
    if not together.any():
        return frames.iloc[:0]
    rise = (last["pspi"] - first["pspi"])[together].fillna(-np.inf)
    end = frames.index.get_loc(rise.idxmax())
    return frames.iloc[end - paper.CLIP_FRAMES + 1 : end + 1]


def turning_person(frames: pd.DataFrame) -> pd.DataFrame:
    """The registered frames, by yaw, of the subject whose yaw varies most. Chapter 02."""
    if frames.empty:
        return frames
    spread = frames.groupby("subject")["yaw"].agg(np.ptp)
    return frames[frames["subject"] == spread.idxmax()].sort_values("yaw", kind="stable")


def spread_over_yaw(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Up to `count` rows of frames sorted by yaw, nearest to angles spread evenly. Chapter 02."""
    if frames.empty:
        return frames
    yaw = frames["yaw"].to_numpy()
    angles = np.linspace(yaw[0], yaw[-1], count)
    return frames.iloc[np.unique(np.abs(yaw[None] - angles[:, None]).argmin(1))]


def most_turned(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Each subject's most turned frame, by yaw; `count` of them, spread evenly. Chapter 02."""
    each = frames.loc[frames["yaw"].abs().groupby(frames["subject"]).idxmax()].sort_values("yaw")
    return each.iloc[np.linspace(0, len(each) - 1, min(count, len(each))).round().astype(int)]


def backends_here(device: str = "cpu") -> dict[str, Backend | str]:
    """Every backend by name, ready to run, or the sentence that says what it lacks. Chapter 02."""
    found = {}
    for name in BACKENDS:
        try:
            found[name] = load_backend(name, device)
        except PaincoreError as fault:
            found[name] = str(fault).replace(f"{ROOT}/", "")  # pages travel
    return found


def findings(corpus: Corpus, store: FrameStore, sample: Sample, turned: pd.DataFrame | None) -> str:
    """The closing sentences of chapter 02, in Markdown, with this run's numbers.

    `turned` is `accuracy.turned_table`, None on a corpus of films.
    """
    frames = store.frames[store.usable]
    sentences = [_left_out(store)]
    if len(frames):
        yaw = frames["yaw"].abs()
        sentences += [
            f"Half of the heads are turned by less than {yaw.median():.0f}°, the most by "
            f"{yaw.max():.0f}°; {frames['extreme_yaw'].sum()} frames are flagged as extreme and "
            "kept.",
            f"A frontal view shows {100 * frames['visible_share'].mean():.0f} % of the face on "
            f"average, and {100 * frames['visible_share'].min():.0f} % at worst.",
        ]
    if sample.lost:
        sentences.append(
            f"In {len(sample.lost)} of {len(sample.lost) + sample.count} frames that were "
            f"registered a second time no face was found any more; the first: {sample.lost[0]}."
        )
    if len(sample.errors):
        true = "true" if corpus.truth is not None else "corpus's own"
        sentences.append(
            f"In {len(sample.errors)} frames the mesh lies {sample.errors['inner'].mean():.1f} % "
            f"of the face's size away from the {true} landmarks without the jaw, and "
            f"{sample.errors['all'].mean():.1f} % with it."
        )
    if corpus.truth is not None and len(frames):
        sentences.append(_pose_sentence(pose_errors(frames, corpus.truth)))
    if turned is not None and (turned["yaw"].abs() == 30).any():
        sentences.append(_turned_sentence(turned))
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _left_out(store: FrameStore) -> str:
    left = store.frames.loc[~store.usable, "state"].value_counts()
    why = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in left.items())
    return (
        f"With `{store.meta['backend']}`, {store.usable.sum()} of {len(store.frames)} frames were "
        f"registered; {left.sum()} were left out{f' ({why})' if why else ''}."
    )


def _pose_sentence(errors: pd.DataFrame) -> str:
    constant = errors["pitch"].median()
    spread = (errors - errors.median()).abs().median()
    return (
        f"The yaw is off by {errors['yaw'].abs().median():.1f}° (median), the roll by "
        f"{errors['roll'].abs().median():.1f}°; the pitch by {spread['pitch']:.1f}° around a "
        f"constant of {constant:z.1f}°, in part a matter of what counts as level, in part the "
        "backend's own tilt."
    )


def _turned_sentence(turned: pd.DataFrame) -> str:
    mean = turned[turned["yaw"].abs() == 30][["view", "crop_face", "crop"]].mean()
    return (
        f"A turn by 30° changes a frontal view by {mean['view']:.0f} grey levels, a plain crop by "
        f"{mean['crop']:.0f}: {mean['crop'] / mean['view']:.1f} times as much, and "
        f"{mean['crop_face'] / mean['view']:.1f} times on the face alone."
    )


def backends_list(here: dict[str, Backend | str]) -> str:
    """What each backend is and whether it can run here, in Markdown; `here` as `backends_here`.

    Chapter 02.
    """
    return "\n".join(
        f"- `{name}`: {BACKEND_MESHES[name]}. {found if isinstance(found, str) else 'Ready.'}"
        for name, found in here.items()
    )
