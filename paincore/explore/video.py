"""A reader's own video: registered, a probability of pain over time, and attention on each face.

What is exported is a video and a table, into the results folder; both say what the model must not
be used for. Nothing leaves the machine.
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import av
import ipywidgets
import numpy as np
import pandas as pd

from paincore import PaincoreError
from paincore.attention.explained import Explained, probabilities
from paincore.attention.interventions import shrunk
from paincore.attention.maps import patches_along, rollout, scaled, to_maps
from paincore.data.corpus import Corpus
from paincore.data.tables import frames_per_second
from paincore.explore.attention import course_figure
from paincore.explore.explorer import LABELLED, Explorer, Shown, pixels, slider
from paincore.files import key_of, whole_file
from paincore.manifest import ROOT
from paincore.registration.figures import READERS_OWN
from paincore.registration.video import register_file
from paincore.style import may_be_shown, number

MOST_FRAMES = 900  # of a video that are looked at: half a minute at 30 a second
LIMITS = "Research only, not for clinical use: this says nothing about anybody's pain."
CLOCK = Fraction(1, 60_000)  # seconds; MPEG-4 allows no finer, and it is enough for any rate
ASSUMED_RATE = 25  # images a second, of a corpus that does not say how many it has


class Watched(NamedTuple):
    """A video as a model saw it.

    frames has a row a frame: seconds from its start, state, problem, what registration measures,
    probability (NaN where there is none); views uint8 (N, S, S, 3), black where no face was found;
    maps float32 (N, P, P), rollout from 0 to 1, NaN where there is none. `dataset` and `subject`
    say whose face it is, as `style.may_be_shown` takes them.
    """

    path: Path
    frames: pd.DataFrame
    views: np.ndarray
    maps: np.ndarray
    dataset: object
    subject: str = ""


def watch(path: str | Path, explained: Explained, corpus: Corpus, every: int = 1) -> Watched:
    """Register a video and ask a model about each face: every `every`-th frame, up to
    `MOST_FRAMES`.

    A file of the corpus keeps its rules; any other is the reader's own, and may be shown. The
    backend and the size are those of the store that the model was trained on. Raises VideoError
    for a file that is no video, BackendError for a backend that needs landmarks, AssetError or
    CheckpointError where the backend's files are missing.
    """
    path, meta = Path(path).expanduser(), explained.store.meta
    found = register_file(path, meta["backend"], meta["size"], every)
    seconds, faces = zip(*islice(found, MOST_FRAMES), strict=True)
    blank = np.zeros((meta["size"], meta["size"], 3), np.uint8)
    views = np.stack([blank if face.view is None else face.view.image for face in faces])
    frames = pd.DataFrame(
        {"seconds": at, "state": face.state, "problem": face.problem} | face.measures
        for at, face in zip(seconds, faces, strict=True)
    )
    inside = path.resolve().is_relative_to(corpus.root.resolve())
    dataset = corpus.dataset if inside else corpus.dataset.model_copy(update=READERS_OWN)
    return Watched(path, *asked(explained, frames, views), dataset)


def watch_example(explained: Explained, corpus: Corpus, every: int = 1) -> Watched:
    """The test sequence with the most change in PSPI, as a video of the corpus's frame rate, or of
    `ASSUMED_RATE`."""
    store = explained.store
    name = explained.samples.groupby("sequence")["pspi"].std().fillna(0).idxmax()
    own = store.frames[store.frames["sequence"] == name][::every]
    seconds = (own["frame"] - 1) / (frames_per_second(corpus) or ASSUMED_RATE)
    seen = asked(explained, own.assign(seconds=seconds), store.images[own.index])
    return Watched(Path(name), *seen, corpus.dataset, own["subject"].iloc[0])


def asked(explained: Explained, frames: pd.DataFrame, views: np.ndarray) -> tuple:
    """`frames`, `views` and `maps` of `Watched`, of frames that have all but the probability.

    ViViT is asked where the last four frames all have a face.
    """
    model, usable = explained.model, (frames["state"] == "ok").to_numpy()
    samples = np.arange(len(views))[:, None] + np.arange(1 - model.frames, 1)
    samples = samples[(samples >= 0).all(axis=1) & usable[samples].all(axis=1)]
    probability, side = np.full(len(views), np.nan), patches_along(model)
    maps = np.full((len(views), side, side), np.nan, np.float32)
    images = np.stack([shrunk(view, model.image_size) for view in views])[samples]
    if len(samples):
        probability[samples[:, -1]] = probabilities(model, images)
        maps[samples[:, -1]] = scaled(to_maps(rollout(model, images, "max"), model))[:, -1]
    frames = frames.assign(probability=probability).reset_index(drop=True)
    return frames, views, maps


def video_shown(watched: Watched, place: int) -> Shown:
    """One frame: its face with rollout, and the probability over time; in words its probability or
    why there is none, how many frames have a face, and the limits."""
    own, faces = watched.frames.iloc[place], (watched.frames["state"] == "ok").sum()
    text = f"{own['seconds']:.2f} s: probability of pain {number(own['probability'])}; "
    text += f"{own['problem']}; " if own["state"] != "ok" else ""
    text += f"a face in {faces} of the first {len(watched.frames)} images. {LIMITS}"
    course = watched.frames.set_index("seconds")[["probability"]]
    face, values = watched.views[place], watched.maps[place][None]
    figure = partial(course_figure, watched, LIMITS, watched.subject, face, values, course,
                     own["seconds"])  # fmt: skip
    return Shown(text, figure, len(watched.frames))


def write_video(images: Iterable[tuple[float, np.ndarray]], out: Path) -> Path:
    """An MP4 of at least one image uint8 (H, W, 3), sides even, each with its seconds; written
    whole or not."""
    with whole_file(out) as half, av.open(str(half), "w", format="mp4") as video:
        stream = video.add_stream("mpeg4", rate=25)
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        stream.time_base = stream.codec_context.time_base = CLOCK
        for seconds, image in images:
            if (stream.height, stream.width) != image.shape[:2]:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base, frame.pts = CLOCK, round(seconds / CLOCK)
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    return out


def export(watched: Watched, folder: Path) -> str:
    """Write the frames table and, of a face that may be shown, the figures of all frames as a video
    into `folder`; returns what was written.

    The table's first line, after #, states the limits. Files are named by the video and its path,
    so that two videos of one name are kept apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = key_of(path=str(watched.path.resolve()))[:8]
    table = folder / f"{watched.path.stem}-{key}-watched.csv"
    with whole_file(table) as half:
        half.write_text(f"# {LIMITS}\n{watched.frames.to_csv(index=False)}", "utf-8")
    if not may_be_shown(watched.dataset, watched.subject):
        return f"Written: {table}. {watched.path} shows a face that must not be passed on."
    images = (pixels(video_shown(watched, n).render()) for n in range(len(watched.frames)))
    timed = zip(watched.frames["seconds"], images, strict=True)
    return f"Written: {table}, {write_video(timed, table.with_suffix('.mp4'))}"


def explore_video(corpus: Corpus, explained: Explained, path=None, results=None) -> Explorer:
    """Walk through a video with a model's probability, and export what it said.

    `path` is an image or video; without one, a test sequence of the corpus is shown. What is
    exported goes to `<results>/videos`.
    """
    folder = Path(results or ROOT / "results") / "videos"

    @lru_cache(maxsize=1)
    def watched(file: str, every: int) -> Watched:
        how = (explained, corpus, every)
        return watch(file, *how) if file else watch_example(*how)

    def show(file: str, every: int, place: int) -> Shown:
        video = watched(file, every)
        return video_shown(video, min(place, len(video.frames) - 1))

    def press(button) -> None:
        try:
            beside.value = export(watched(file.value, controls["every"].value), folder)
        except (PaincoreError, OSError) as fault:
            beside.value = str(fault)

    file = ipywidgets.Text(path or "", description="own image or video", **LABELLED)
    controls = {"file": file, "every": slider("every n-th frame", 1, 30, 1, 1)}
    for control in (file, controls["every"]):
        control.continuous_update = False
    controls["place"] = slider("frame", 0, 1, 1, 0)
    button = ipywidgets.Button(description="Export MP4 and CSV", layout={"width": "auto"})
    beside = ipywidgets.Label()
    button.on_click(press)
    return Explorer(controls, show, [ipywidgets.HBox([button, beside])])
