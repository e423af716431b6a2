"""Writing a synthetic corpus to disk in the layout of UNBC-McMaster, and its truth beside it.

`<out>.partial-<hash of the settings>` grows sequence by sequence and is renamed to `<out>` when
whole, so that a corpus is whole or not there. A sequence is written under `.work` and moved into
place, its pictures last: where these are, it is done, and a run after a kill goes on from there to
the same bytes. All draws depend on (seed, purpose, subject, sequence), none on who draws.

Truth/frames.parquet has a row a frame: subject, sequence, frame; true au1..au45 counted from the
resting face and what else behaviour.simulate gives; coded_au1..coded_au45 and coded_pspi; state,
"ok", "black" or "damaged". Truth/people.parquet has temperament and looks of each subject: with
people.draw_people(subjects, seed)[i] and behaviour.drawn, people.face_vertices gives the 3D
vertices of each frame. Truth/generator.json has the settings, and is written last. Chapter 01.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from synthpain import SynthesisError
from synthpain.behaviour import ALL_OFF, FPS, Dials, drawn, simulate
from synthpain.coder import code
from synthpain.head import View, landmarks66, project
from synthpain.layout import write_facs, write_landmarks, write_number
from synthpain.people import Person, draw_people, face_vertices
from synthpain.plan import Sequence, plan_sequences
from synthpain.render import Renderer
from synthpain.temperament import Temperament, draw_temperaments, generator

GENERATOR_VERSION = 1
TREES = {
    "image": "Images",
    "pspi": "Frame_Labels/PSPI",
    "facs": "Frame_Labels/FACS",
    "landmarks": "AAM_landmarks",
}
PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),  # fixed, and quick: the camera's noise hardly compresses
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB),
)
VIEW = [field.name for field in fields(View) if field.name not in ("width", "height")]


@dataclass(frozen=True)
class Settings:
    """What decides every byte of a corpus; picture size in pixels."""

    frames: int
    subjects: int
    seed: int
    width: int
    height: int
    dials: Dials
    version: int = GENERATOR_VERSION
    fps: int = FPS


def synthesize(
    out: str | Path,
    frames: int = 2000,
    subjects: int = 25,
    seed: int = 0,
    width: int = 320,
    height: int = 240,
    workers: int | None = None,
    dials: Dials = ALL_OFF,
    progress: bool = True,
) -> Path:
    """Make the corpus folder `out`, or finish it, or find it made; returns its path.

    `workers`: processes (None: one for each core); the bytes do not depend on it. Raises
    SynthesisError naming the folder if it holds anything else or cannot be written, ValueError for
    fewer frames than subjects. Used in chapter 01 and by `paincore synthesize`.
    """
    out = Path(out)
    settings = Settings(frames, subjects, seed, width, height, dials)
    plan = plan_sequences(frames, subjects, seed)
    if is_made(out, settings):
        return out
    key = hashlib.sha256(repr(settings).encode()).hexdigest()[:8]
    partial = out.with_name(f"{out.name}.partial-{key}")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{out}.synthesis.lock", timeout=0):
            shutil.rmtree(partial / ".work", ignore_errors=True)  # what a kill left half written
            write_sequences(partial, plan, settings, workers, progress)
            write_truth(partial, plan, settings)
            partial.replace(out)
    except Timeout as error:
        raise SynthesisError(f"{out} is being made by another process. Wait for it.") from error
    except OSError as error:
        raise SynthesisError(
            f"{error.filename or partial} cannot be written ({error.strerror}). "
            "Name an output folder that can, with room for about 0.1 MB a frame."
        ) from error
    return out


def is_made(out: Path, settings: Settings) -> bool:
    """Whether `out` is this corpus, whole. SynthesisError if it is anything but that or empty."""
    try:
        if out.is_dir() and not any(out.iterdir()):
            return False
        made = json.loads((out / "Truth" / "generator.json").read_text("utf-8"))
    except FileNotFoundError:
        if out.exists():
            raise SynthesisError(
                f"{out} holds something else than a synthetic corpus. Name another folder."
            ) from None
        return False
    except (OSError, ValueError) as error:
        raise SynthesisError(f"{out} cannot be read ({error}). Name another folder.") from error
    check_same(out, made, settings)
    return True


def check_same(folder: Path, made: Mapping, settings: Settings) -> None:
    """SynthesisError that names each setting in which a corpus differs from what is asked for."""
    asked = asdict(settings)
    differ = [f"{name} {made.get(name)}, not {asked[name]}" for name in asked
              if made.get(name) != asked[name]]  # fmt: skip
    if differ:
        raise SynthesisError(
            f"{folder} is a different synthetic corpus: {'; '.join(differ)}. Remove it or name "
            "another folder."
        )


def write_sequences(
    partial: Path, plan: list[Sequence], settings: Settings, workers: int | None, progress: bool
) -> None:
    """Write the sequences that are not there yet, the longest first, over `workers` processes."""
    left = [s for s in plan if not (partial / TREES["image"] / s.path).exists()]
    if not left:
        return
    left.sort(key=lambda sequence: -sequence.frames)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not progress
    ) as bar:
        done = settings.frames - sum(sequence.frames for sequence in left)
        task = bar.add_task("Synthetic frames", total=settings.frames, completed=done)
        with processes(workers) as pool:
            drawing = [pool.submit(write_sequence, partial, one, settings) for one in left]
            try:
                for done in as_completed(drawing):
                    bar.advance(task, done.result())
            except BrokenProcessPool as error:
                raise SynthesisError(
                    f"A process that draws {partial} was killed, most likely for lack of memory. "
                    "Run again with fewer workers: what is done is kept."
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def processes(workers: int | None) -> ProcessPoolExecutor:
    """Processes that draw, one for each core if `workers` is None.

    Spawned, not forked: the caller may have threads. Ctrl-C is for the caller alone.
    """
    return ProcessPoolExecutor(
        workers or os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )


def write_sequence(partial: Path, sequence: Sequence, settings: Settings) -> int:
    """Write all files of one sequence, then move them into place; returns its frames.

    Done by a process of its own, in one thread.
    """
    cv2.setNumThreads(1)
    truth = sequence_truth(sequence, settings)
    work = partial / ".work" / sequence.name
    shutil.rmtree(work, ignore_errors=True)  # of a worker that died on it
    for tree in TREES:
        (work / tree).mkdir(parents=True)
    for row, points, picture in draw_frames(truth, sequence, settings):
        stem = f"{sequence.name}{row['frame']:03d}"
        coded = {int(n.removeprefix("coded_au")): v for n, v in row.items() if "coded_au" in n}
        (work / "pspi" / f"{stem}_facs.txt").write_text(write_number(row["coded_pspi"]))
        (work / "facs" / f"{stem}_facs.txt").write_text(write_facs(coded))
        (work / "landmarks" / f"{stem}_aam.txt").write_text(write_landmarks(points))
        (work / "image" / f"{stem}.png").write_bytes(picture)
    for scale, value in sequence_labels(truth, sequence, settings.seed).items():
        folder = partial / "Sequence_Labels" / scale / Path(sequence.path).parent
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{sequence.name}.txt", write_number(value))
    for tree in reversed(TREES):  # the pictures last
        place = partial / TREES[tree] / sequence.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        (work / tree).replace(place)
    work.rmdir()
    return sequence.frames


def sequence_truth(sequence: Sequence, settings: Settings) -> pd.DataFrame:
    """What truly happened in one sequence and how it was coded: the rows of frames.parquet."""
    person = temperaments(settings.subjects, settings.seed)[sequence.subject]
    key = (settings.seed, sequence.subject, sequence.number)
    true = simulate(person, sequence.frames, sequence.affected, key, settings.dials)
    coded = code(true, key, settings.dials.label_noise).add_prefix("coded_")
    table = pd.concat([true, coded], axis=1)
    table.insert(0, "subject", sequence.subject_name)
    table.insert(1, "sequence", sequence.name)
    table.insert(2, "frame", np.arange(1, sequence.frames + 1))
    table["state"] = "ok"
    table.loc[table["frame"] <= sequence.black, "state"] = "black"
    table.loc[table["frame"].isin(sequence.damaged), "state"] = "damaged"
    return table


def draw_frames(
    truth: pd.DataFrame, sequence: Sequence, settings: Settings
) -> Iterator[tuple[dict, np.ndarray, bytes]]:
    """For each frame its row of the truth, landmarks (66, 2) in pixels and the PNG file's bytes."""
    renderer = renderer_of(settings.subjects, settings.seed, sequence.subject)
    person = temperaments(settings.subjects, settings.seed)[sequence.subject]
    camera = generator(settings.seed, "camera", sequence.subject, sequence.number)
    faces = drawn(truth, person.rest).to_dict("records")
    for row, face in zip(truth.to_dict("records"), faces, strict=True):
        size = {"width": settings.width, "height": settings.height}
        view = View(**{name: row[name] for name in VIEW}, **size)
        picture = renderer.render(face, view, camera)
        if row["state"] == "black":
            picture[:] = 0
        _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), PNG)
        content = encoded.tobytes()
        if row["state"] == "damaged":
            content = content[: len(content) * 2 // 3]
        yield row, landmarks66(project(face_vertices(renderer.person, face), view)), content


def sequence_labels(truth: pd.DataFrame, sequence: Sequence, seed: int) -> dict[str, float]:
    """The ratings of one sequence, on the scales of Lucey et al. 2011, each with its own error.

    The person's own follow the strongest pain felt: VAS 0 to 10, SEN and AFF 0 to 15. The
    observer's, OPR 0 to 5, follows what the coder saw.
    """
    rng = generator(seed, "rating", sequence.subject, sequence.number)
    felt, seen = truth["pain"].max(), truth["coded_pspi"].max()
    return {
        "VAS": float(np.clip(felt + rng.normal(0, 0.7), 0, 10).round(1)),
        "SEN": float(np.clip(1.4 * felt + rng.normal(0, 1.2), 0, 15).round()),
        "AFF": float(np.clip(1.2 * felt - 1 + rng.normal(0, 1.2), 0, 15).round()),
        "OPR": float(np.clip(0.5 * seen + rng.normal(0, 0.5), 0, 5).round()),
    }


def write_truth(partial: Path, plan: list[Sequence], settings: Settings) -> None:
    """Write Truth/, generator.json last, and clear the traces of the work."""
    folder = partial / "Truth"
    folder.mkdir(exist_ok=True)
    tables = [sequence_truth(sequence, settings) for sequence in plan]
    truth = pd.concat(tables).sort_values(["subject", "sequence", "frame"], ignore_index=True)
    truth.to_parquet(folder / "frames.parquet", index=False)
    people_table(settings).to_parquet(folder / "people.parquet", index=False)
    shutil.rmtree(partial / ".work")
    notes = asdict(settings) | {"pixels_sha256": pixels_sha256(partial)}
    write_whole(folder / "generator.json", json.dumps(notes, indent=2) + "\n")


def pixels_sha256(root: Path) -> str:
    """SHA-256 over the bytes of all picture files, in the order of their paths."""
    digest = hashlib.sha256()
    for path in sorted((root / TREES["image"]).rglob("*.png")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def people_table(settings: Settings) -> pd.DataFrame:
    """A row a subject: temperament and looks, but for the shape, which the axes stand for."""
    who = settings.subjects, settings.seed
    rows = []
    for i, (person, habits) in enumerate(zip(people(*who), temperaments(*who), strict=True)):
        looks = flat(person)
        del looks["neutral"]
        rows.append({"subject": f"sy{i + 1:03d}"} | flat(habits) | looks)
    return pd.DataFrame(rows)


def flat(person: Person | Temperament) -> dict:
    """Fields as columns: a mapping by AU becomes one column an AU, an array a list."""
    columns = {}
    for field in fields(person):
        value = getattr(person, field.name)
        if isinstance(value, Mapping):
            columns |= {f"{field.name}_au{au}": float(v) for au, v in value.items()}
        else:
            columns[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
    return columns


@lru_cache(maxsize=1)
def temperaments(subjects: int, seed: int) -> list[Temperament]:
    """`draw_temperaments`, once per worker."""
    return draw_temperaments(subjects, seed)


@lru_cache(maxsize=1)
def people(subjects: int, seed: int) -> list[Person]:
    """`draw_people`, once per worker."""
    return draw_people(subjects, seed)


@lru_cache(maxsize=4)  # a renderer holds some megabytes; a worker goes from person to person
def renderer_of(subjects: int, seed: int, subject: int) -> Renderer:
    """The renderer of one subject, kept while a worker draws that person."""
    return Renderer(people(subjects, seed)[subject])


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    half = path.with_name(f".{path.name}.half")
    half.write_text(text, encoding="utf-8")
    half.replace(path)
