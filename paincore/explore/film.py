"""A reader's own video: registered, a probability of pain over time, and attention on each face.

What is exported is a video and a table, into the results folder; both say what the model must not
be used for. Nothing leaves the machine. Chapter 08.
"""

import contextlib
import hashlib
import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import ipywidgets
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from paincore import PaincoreError
from paincore.attention.explained import Explained, probabilities
from paincore.attention.figures import MAP_COLOURS, OPACITY, THRESHOLD, overlay
from paincore.attention.interventions import shrunk
from paincore.attention.maps import above, rollout, scaled, to_maps
from paincore.data.corpus import Corpus
from paincore.data.tables import frames_per_second
from paincore.explore.explorer import Explorer, played, remembered, slider
from paincore.manifest import ROOT
from paincore.registration.faces import read_picture
from paincore.registration.figures import READERS_OWN
from paincore.registration.video import register_file
from paincore.style import MUTED, PAIN, THIS, may_be_shown, new_figure, show_face, styled

MOST = 900  # frames of a video that are looked at: half a minute at 30 a second
STRIP = 6  # registered faces in a row
LIMITS = "Research only, not for clinical use: this number says nothing about anybody's pain."
CLOCK = Fraction(1, 60_000)  # seconds; MPEG-4 allows no finer, and it is enough for any rate
ASSUMED_RATE = 25  # images a second, of a corpus that does not say how many it has
NO_CLIP = "no four subsequent images with a face end here"
NO_LANDMARKS = (
    "This model was trained on faces that were posed by the corpus's landmarks (backend "
    "`landmarks`), which a video does not have. Train one on a store of another backend."
)
NO_EXAMPLE = (
    "The faces of this corpus must not be shown, so no example video is made of it. Give the path "
    "of a video of your own."
)


class FilmError(PaincoreError):
    """A video that cannot be watched or written."""


@dataclass(frozen=True)
class Watched:
    """A video as a model saw it.

    frames has a row a frame: seconds from its start, state, problem, yaw in degrees, visible_share,
    probability (NaN where there is none); views uint8 (N, S, S, 3), black where no face was found;
    maps float32 (N, P, P), rollout from 0 to 1, NaN where there is none. `more` says that the video
    goes on. `dataset` and `subject` say whose face it is, as `figures.may_be_shown` takes them.
    """

    path: Path
    frames: pd.DataFrame
    views: np.ndarray
    maps: np.ndarray
    more: bool
    dataset: object
    subject: str


def watch(
    path: str | Path, explained: Explained, corpus: Corpus, subject: str = "", every: int = 1
) -> Watched:
    """Register a video and ask a model about each face: every `every`-th frame, up to `MOST`.

    It is registered by the backend, and at the size, of the store that the model was trained on.
    ViViT is asked where the last four frames all have a face. A video from outside `corpus` is the
    reader's own. Raises VideoError for a file that is no video, FilmError for one without a face
    and for a model that needs landmarks, AssetError or CheckpointError where the backend's files
    are missing.
    """
    meta = explained.store.meta
    if meta["backend"] == "landmarks":
        raise FilmError(NO_LANDMARKS)
    path = Path(path).expanduser()
    inside = path.resolve().is_relative_to(corpus.root.resolve()) or bool(subject)
    dataset = corpus.dataset if inside else corpus.dataset.model_copy(update=READERS_OWN)
    side = meta["size"]
    rows, views = [], []
    found = register_file(path, meta["backend"], side, every)
    for seconds, face in islice(found, MOST):
        rows.append({"seconds": seconds, "state": face.state, "problem": face.problem})
        rows[-1] |= {name: face.measures[name] for name in ("yaw", "visible_share")}
        blank = np.zeros((side, side, 3), np.uint8)
        views.append(blank if face.view is None else face.view.image)
    frames, views = pd.DataFrame(rows), np.stack(views)
    if not (frames["state"] == "ok").any():
        raise FilmError(f"{path}: no face in its {len(frames)} frames. {frames['problem'].iloc[0]}")
    frames["probability"], maps = _asked(explained, views, (frames["state"] == "ok").to_numpy())
    return Watched(path, frames, views, maps, next(found, None) is not None, dataset, subject)


def _asked(
    explained: Explained, views: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N,) and rollout (N, P, P) of the last frame of each sample that is whole."""
    model = explained.model
    ends = np.arange(model.frames - 1, len(views))
    samples = ends[:, None] + np.arange(1 - model.frames, 1)
    samples = samples[usable[samples].all(axis=1)]
    patches = model.image_size // model.encoder.config.patch_size
    probability = np.full(len(views), np.nan)
    maps = np.full((len(views), patches, patches), np.nan, np.float32)
    small = np.stack([shrunk(view, model.image_size) for view in views])
    for part in np.array_split(samples, -(-len(samples) // 64) or 1):
        if len(part):
            probability[part[:, -1]] = probabilities(model, small[part])
            flow = to_maps(rollout(model, small[part], "max"), model)
            maps[part[:, -1]] = scaled(flow)[:, -1]
    return probability, maps


@styled
def film_figure(watched: Watched, place: int = 0) -> Figure:
    """Registered faces in a strip, the probability over time, and attention at one frame."""
    frames = watched.frames
    figure = new_figure(watched.dataset, watched.path.name, 4.3)
    grid = figure.add_gridspec(2, STRIP, height_ratios=(1, 1.75))
    with_face = np.flatnonzero(frames["state"] == "ok")
    chosen = with_face[np.linspace(0, len(with_face) - 1, min(STRIP, len(with_face))).astype(int)]
    row = [figure.add_subplot(grid[0, column]) for column in range(STRIP)]
    for axes in row:
        axes.set_axis_off()
    for axes, number in zip(row, chosen, strict=False):
        show_face(axes, watched.views[number], watched.dataset, watched.subject)
        axes.set_title(f"{frames['seconds'].iloc[number]:.1f} s", color=MUTED, fontsize=7.5)
    over_time = figure.add_subplot(grid[1, : STRIP - 2])
    one = figure.add_subplot(grid[1, STRIP - 2 :])
    _draw_probability(over_time, frames)
    lost = frames[frames["state"] != "ok"]
    over_time.plot(lost["seconds"], np.zeros(len(lost)), "|", color=PAIN, label="no face")
    over_time.axhline(0.5, color=MUTED, lw=0.6, linestyle="--")
    over_time.axvline(frames["seconds"].iloc[place], color="black", lw=1)
    over_time.set(xlabel="seconds", ylabel="probability of pain", ylim=(-0.02, 1.02))
    over_time.set_title(LIMITS, color=PAIN, fontsize=7)
    if len(lost):
        over_time.legend(fontsize=7)
    one.set_axis_off()
    if np.isnan(watched.maps[place]).any():
        one.text(0.5, 0.5, frames["problem"].iloc[place] or NO_CLIP,
                 ha="center", va="center", wrap=True, fontsize=7.5, color=MUTED)  # fmt: skip
    else:
        values = above(watched.maps[place][None], THRESHOLD)
        overlay(one, watched, watched.views[place], watched.subject, values, Normalize(THRESHOLD))
        one.set_title("rollout, max of heads", color=MUTED, fontsize=8)
    return figure


def _draw_probability(axes: Axes, frames: pd.DataFrame) -> None:
    """A line over time, and a dot where no neighbour has a probability to draw a line to."""
    seconds, probability = frames["seconds"], frames["probability"]
    axes.plot(seconds, probability, color=THIS, lw=1.3)
    alone = probability.notna() & probability.shift().isna() & probability.shift(-1).isna()
    axes.plot(seconds[alone], probability[alone], "o", color=THIS, ms=4)
    if len(frames) == 1:
        axes.set_xticks(seconds)  # a photograph has no time
    if probability.isna().all():
        axes.text(0.5, 0.7, NO_CLIP.replace("end here", "are in this file"), color=MUTED,
                  ha="center", transform=axes.transAxes)  # fmt: skip


def film_sentence(watched: Watched, place: int) -> str:
    """What one frame shows, how much of the video was used, and the limits."""
    frames, own = watched.frames, watched.frames.iloc[place]
    lost = int((frames["state"] != "ok").sum())
    said = f"At {own['seconds']:.2f} s: "
    if np.isnan(own["probability"]):
        said += own["problem"] or NO_CLIP
    else:
        said += f"probability of pain {own['probability']:.2f}"
    said += f". A face was found in {len(frames) - lost} of the {len(frames)} images looked at"
    said += "; the video goes on, and the rest was left out" if watched.more else ""
    return f"{said}. {LIMITS}"


def write_csv(watched: Watched, out: str | Path) -> Path:
    """The frames table, whole or not at all; its first line, after #, states the limits."""
    with _whole(Path(out)) as half:
        half.write_text(f"# {LIMITS}\n{watched.frames.to_csv(index=False)}", "utf-8")
    return Path(out)


def write_film(watched: Watched, out: str | Path) -> Path:
    """An MP4 of the registered faces with attention and probability, each frame at its own time.

    Whole or not at all. Raises FilmError for a face that may not be shown.
    """
    if not may_be_shown(watched.dataset, watched.subject):
        raise FilmError(f"{watched.path} shows a face that must not be passed on.")
    pictures = zip(watched.frames["seconds"], _pictures(watched), strict=True)
    return write_frames(pictures, out)


def write_frames(pictures: Iterator[tuple[float, np.ndarray]], out: str | Path) -> Path:
    """An MP4 of pictures uint8 (H, W, 3), sides even, each with its seconds; written whole.

    Raises FilmError where there is no picture.
    """
    with _whole(Path(out)) as half, av.open(str(half), "w", format="mp4") as film:
        stream = None
        for seconds, picture in pictures:
            if stream is None:
                stream = film.add_stream("mpeg4", rate=25)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
                stream.time_base = stream.codec_context.time_base = CLOCK
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = CLOCK, round(seconds / CLOCK)
            film.mux(stream.encode(frame))
        if stream is None:
            raise FilmError(f"{out}: there is no image to write.")
        film.mux(stream.encode())
    return Path(out)


@contextlib.contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `out` once it is whole, and else is removed."""
    half = out.with_name(f".{out.name}.half")
    try:
        yield half
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)


def export(watched: Watched, folder: Path) -> str:
    """Write the table and, of a face that may be shown, the video into `folder`; says which.

    Files are named by the video and its path, so that two videos of one name are kept apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(str(watched.path.resolve()).encode()).hexdigest()[:8]
    stem = f"{watched.path.stem}-{key}-watched"
    said = f"Written: {write_csv(watched, folder / f'{stem}.csv')}"
    try:
        return f"{said}, {write_film(watched, folder / f'{stem}.mp4')}"
    except FilmError as fault:
        return f"{said}. {fault}"


def _pictures(watched: Watched) -> Iterator[np.ndarray]:
    """Each face with its map, and below it the probability as a bar and the limits in words."""
    side = watched.views.shape[1] // 2 * 2
    for number, view in enumerate(watched.views):
        picture = np.full((side + 56, side, 3), 255, np.uint8)
        face = view[:side, :side].astype(np.float32)
        values = watched.maps[number]
        if not np.isnan(values).any():
            values = cv2.resize(values, (side, side), interpolation=cv2.INTER_NEAREST)
            colours = 255 * MAP_COLOURS((values - THRESHOLD) / (1 - THRESHOLD))[..., :3]
            coloured = (values >= THRESHOLD)[..., None] * OPACITY
            face = (1 - coloured) * face + coloured * colours
        picture[:side] = np.round(face)
        own = watched.frames.iloc[number]
        words = [f"{own['seconds']:.2f} s: " + _number(own["probability"]), *LIMITS.split(": ")]
        for line, text in enumerate(words):
            cv2.putText(picture, text, (4, side + 14 + 16 * line), cv2.FONT_HERSHEY_SIMPLEX,
                        0.33, (40, 40, 40), 1, cv2.LINE_AA)  # fmt: skip
        yield picture


def _number(probability: float) -> str:
    return "no prediction" if np.isnan(probability) else f"probability of pain {probability:.2f}"


def example_film(corpus: Corpus, explained: Explained, folder: str | Path) -> tuple[Path, str]:
    """A video of the test sequence with the most change in PSPI, and whose face it is.

    Only people whose faces may be shown are taken. The file, in `folder`, is named by the corpus
    and written anew each time, at the corpus's frame rate or `ASSUMED_RATE`. Raises FilmError where
    nobody may be shown.
    """
    samples, dataset = explained.samples, corpus.dataset
    shown = samples[[may_be_shown(dataset, subject) for subject in samples["subject"]]]
    if shown.empty:
        raise FilmError(NO_EXAMPLE)
    name = shown.groupby("sequence")["pspi"].std().fillna(0).idxmax()
    frames = corpus.frames[(corpus.frames["sequence"] == name) & (corpus.frames["state"] == "ok")]
    path = Path(folder) / f"{dataset.name}-{corpus.fingerprint[:12]}-{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    read = (read_picture(corpus.root, row, "landmarker") for row in frames.itertuples())
    seconds = (frames["frame"] - 1) / (frames_per_second(corpus) or ASSUMED_RATE)
    pictures = ((s, p.image) for s, p in zip(seconds, read, strict=True) if p.state == "ok")
    return write_frames(pictures, path), frames["subject"].iloc[0]


def explore_film(
    corpus: Corpus,
    explained: Explained,
    path: str | Path | None = None,
    results: str | Path | None = None,
) -> Explorer:
    """Walk through a video with a model's probability, and export what it said.

    `path` is an image or video; None means `example_film`. Another path can be typed in. What is
    made and exported goes to `<results>/videos`. Chapter 08.
    """
    folder = Path(results or ROOT / "results") / "videos"
    begin, subject, without = _begin(corpus, explained, path, folder)
    place = slider("frame", 0, 1, 1, 0)
    file = ipywidgets.Text(
        begin, description="video", continuous_update=False,
        style={"description_width": "8.5em"}, layout={"width": "34em", "max_width": "100%"},
    )  # fmt: skip
    every = slider("every n-th frame", 1, 30, 1, 1, continuous_update=False)

    @remembered
    def watched(file: str, every: int) -> Watched:
        if not file:
            raise FilmError(without)
        return watch(file, explained, corpus, subject if file == begin else "", every)

    def fit(change=None) -> None:
        exported.children[1].value = ""  # was said of another file
        with contextlib.suppress(PaincoreError):  # the explorer says it
            place.max = len(watched(file.value, every.value).frames) - 1

    def draw(file: str, every: int, place: int) -> Figure:
        film = watched(file, every)
        return film_figure(film, min(place, len(film.frames) - 1))

    def say(file: str, every: int, place: int) -> str:
        film = watched(file, every)
        return film_sentence(film, min(place, len(film.frames) - 1))

    exported = _button(lambda: export(watched(file.value, every.value), folder))
    fit()
    file.observe(fit, "value")
    every.observe(fit, "value")
    arranged = ipywidgets.VBox([file, every, played(place, 100), exported])
    controls = {"file": file, "every": every, "place": place}
    return Explorer(controls, draw, say, arranged=arranged)


def _button(write: Callable[[], str]) -> ipywidgets.HBox:
    """A button that exports, and beside it what `write` says or why it fails."""
    button = ipywidgets.Button(description="Export MP4 and CSV", layout={"width": "auto"})
    beside = ipywidgets.HTML()

    def press(button) -> None:
        try:
            beside.value = html.escape(write())
        except (PaincoreError, OSError) as fault:
            beside.value = html.escape(str(fault))

    button.on_click(press)
    return ipywidgets.HBox([button, beside])


def _begin(
    corpus: Corpus, explained: Explained, path: str | Path | None, folder: Path
) -> tuple[str, str, str]:
    """The first file, whose face it shows, and what is said where there is no file."""
    if path:
        return str(path), "", "Give the path of a video."
    try:
        example, subject = example_film(corpus, explained, folder)
    except FilmError as fault:
        return "", "", str(fault)
    return str(example), subject, "Give the path of a video."
