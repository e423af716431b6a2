"""A corpus, opened: its frames table, its entry in the manifest and its fingerprint.

A corpus folder is read and never written to. The frames table is cached under `<results>/index/`,
keyed by the name, size and times of every file of the corpus and by the source of the reader, so
that a changed file or reader has the whole corpus read anew, images and all. Folders that are not
given lie in the repository: `data/synthetic-<frames>` and `results`.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from paincore.data import facs, unbc
from paincore.data import frames as frames_table
from paincore.data.frames import KEYS, SEQUENCE_LABELS, with_derived
from paincore.data.unbc import CorpusError, list_corpus, read_frames
from paincore.files import making, whole_file
from paincore.manifest import ROOT, DataSet, Expected, dataset_named
from paincore.profiles import default_profile, profile_named


@dataclass(frozen=True)
class Corpus:
    """A corpus as the chapters see it.

    `frames` obeys `paincore.data.schema.FRAMES`, a frame being pain if PSPI > `threshold`;
    `ignored` has a sentence for each file of the folder that is in no frame of the table; `truth`,
    of a synthetic corpus, has the columns of `KEYS` and what each frame was made from, else it is
    None. `fingerprint` is a SHA-256 over labels (see `label_fingerprint`) and the images' bytes,
    `landmarks_sha256` one over those of the landmark files, which few results rest on.
    """

    dataset: DataSet
    root: Path
    frames: pd.DataFrame
    ignored: tuple[str, ...]
    fingerprint: str
    landmarks_sha256: str
    truth: pd.DataFrame | None
    threshold: float = 0

    @property
    def label(self) -> str:
        """What the data are, by what is in the folder and not by the name that it was given.

        The title of the manifest's entry only where subjects, sequences and frames are as many as
        the entry expects.
        """
        if self.dataset.synthetic:
            return "synthetic"
        counts = compare_counts(self.frames, self.dataset.expected).set_index("what")
        known = counts.reindex(["subjects", "sequences", "frames"]).dropna()
        if (known["expected"] == known["found"]).all():
            return self.dataset.title
        size = f"{self.frames['subject'].nunique()} subjects, {len(self.frames):,} frames"
        return f"a corpus in UNBC-McMaster's layout ({size}), not the archive itself"


def open_corpus(
    dataset: str | None = None, data_root=None, profile=None, results=None, threshold=0
) -> Corpus:
    """Open a corpus of the manifest; a synthetic one that is not there yet is made.

    `dataset` is its name (None: the profile's), `data_root` its folder (None: only for the
    synthetic corpus), `profile` is one of `PROFILES`, `results` takes the cache, and a frame is
    pain if PSPI > `threshold`. Raises CorpusError naming the folder and what to do.
    """
    profile = profile or default_profile(dataset)
    entry = dataset_named(dataset or profile_named(profile).dataset)
    root = _own_folder(entry, profile) if data_root is None else Path(data_root)
    generator = read_generator(root)
    _check_kind(entry, root, generator)
    frames, ignored, digests = index(root, Path(results or ROOT / "results"))
    read = f"{label_fingerprint(frames, _version(entry, generator))} {digests['image']}"
    fingerprint = hashlib.sha256(read.encode()).hexdigest(), digests["landmarks"]
    truth = pd.read_parquet(root / "Truth" / "frames.parquet") if generator else None
    frames = with_derived(frames, threshold)
    return Corpus(entry, root, frames, tuple(ignored), *fingerprint, truth, threshold)


def _version(entry: DataSet, generator: dict | None) -> str:
    version = f"generator {generator['version']}" if generator else f"release {entry.release}"
    return f"{entry.name} {version}"


def _own_folder(entry: DataSet, profile: str) -> Path:
    """The folder of the profile's synthetic corpus, which is made if it is not whole."""
    frames = profile_named(profile).frames
    if not entry.synthetic or frames is None:
        raise CorpusError(f"{entry.name}: give the corpus folder as data_root. {entry.obtain}")
    root = ROOT / "data" / f"synthetic-{frames}"
    try:
        root.parent.mkdir(exist_ok=True)
        with FileLock(f"{root}.lock"):
            if not read_generator(root):
                from synthpain.corpus import synthesize  # compiles kernels: only if needed

                synthesize(root, frames=frames)
    except OSError as error:
        raise CorpusError(f"{root} cannot be made: {error}. Free it, or name data_root.") from error
    return root


def read_generator(root: Path) -> dict | None:
    """What made a synthetic corpus (version, seed, fps ...), None of any other or unfinished one.

    Raises CorpusError if the file that tells it is damaged.
    """
    path = root / "Truth" / "generator.json"
    try:
        return {"version": None} | json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CorpusError(f"{path} cannot be read ({error}). Make the corpus again.") from error


def _check_kind(entry: DataSet, root: Path, generator: dict | None) -> None:
    """Refuse synthetic data under a real data set's name, and the reverse."""
    if not entry.synthetic and (root / "Truth").exists():
        raise CorpusError(f"{root} is synthetic, not {entry.title}: name dataset=synthetic.")
    if entry.synthetic and not generator:
        raise CorpusError(f"{root} is not a whole synthetic corpus: paincore synthesize makes one.")
    if entry.generator and entry.generator.version != generator["version"]:
        versions = f"version {generator['version']}, the manifest has {entry.generator.version}"
        raise CorpusError(f"{root} was made by {versions}: remove it and have it made again.")


def index(root: Path, results: Path) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    """The frames table of a corpus folder, a sentence for each file left out, and the digests of
    the trees in `unbc.HASHED` (see `unbc.read_frames`), from the cache where nothing has changed.

    Raises CorpusError for a folder that cannot be read and for `results` that lie inside the
    corpus, FileError where they cannot be written.
    """
    listing = list_corpus(root)
    sources = (Path(module.__file__).read_bytes() for module in (facs, frames_table, unbc))
    made_from = [listing.stamp, hashlib.sha256(b"".join(sources)).hexdigest()]
    folder = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    cache = results.resolve() / "index" / f"{folder}.parquet"
    if cache.is_relative_to(root.resolve()):
        raise CorpusError(f"{results} lies inside the corpus {root}. Name another results folder.")
    try:
        frames = pd.read_parquet(cache)
    except (OSError, ValueError):  # none, or a damaged one: pyarrow's errors are ValueErrors
        frames = pd.DataFrame()
    if frames.attrs.get("made_from") != made_from:
        frames, problems, digests = read_frames(listing)
        ignored = listing.ignored + problems
        frames.attrs = {"made_from": made_from, "ignored": ignored, "digests": digests}
        with making(cache), whole_file(cache) as partial:
            frames.to_parquet(partial)  # with its attrs
    notes, frames.attrs = frames.attrs, {}
    return frames, notes["ignored"], notes["digests"]


def label_fingerprint(frames: pd.DataFrame, version: str) -> str:
    """SHA-256 over frame keys, labels, states and the version of what made them."""
    numbers = sorted(name for name in frames if name.startswith("au"))
    values = frames[["pspi", *numbers, *SEQUENCE_LABELS]].to_numpy("<f8")
    texts = frames[[*KEYS, "state"]].to_csv(index=False, lineterminator="\n")
    digest = hashlib.sha256(f"{version}\n{numbers}\n{texts}".encode())
    digest.update(np.where(np.isnan(values), -1, values).tobytes())  # one NaN, whatever its bits
    return digest.hexdigest()


def differences(corpus: Corpus) -> list[str]:
    """What is wrong with a synthetic corpus, in sentences.

    The images are hashed and compared with what the generator wrote down, the labels of the demo
    corpus with the manifest. Its pixels are not: they may differ in the last bit from one kind of
    processor to another.
    """
    from synthpain.corpus import pixels_sha256  # compiles kernels: only if needed

    made, frozen = read_generator(corpus.root), corpus.dataset.generator
    wrong = []
    if pixels_sha256(corpus.root) != made["pixels_sha256"]:
        wrong.append(f"the images in {corpus.root} are not those that were made: make it again")
    if frozen and made.items() >= frozen.demo.items():
        labels_now = label_fingerprint(corpus.frames, _version(corpus.dataset, made))
        if labels_now != frozen.fingerprint:
            wrong.append(f"labels differ from the manifest's: fingerprint {labels_now}")
    return wrong


def compare_counts(frames: pd.DataFrame, expected: Expected) -> pd.DataFrame:
    """Counts of a corpus beside those that the manifest expects, one row each.

    Columns: what, expected, found, verified (False where the manifest's own number is not certain).
    """
    lengths = frames.groupby(["subject", "sequence"]).size()
    subjects = lengths.groupby("subject").agg(frames="sum", sequences="size")
    found = {"subjects": len(subjects), "sequences": len(lengths), "frames": len(frames)}
    found |= {"shortest_sequence": lengths.min(), "longest_sequence": lengths.max()}
    rows = [(what.replace("_", " "), getattr(expected, what), n, True) for what, n in found.items()]
    if expected.by_subject:
        for subject in sorted({*subjects.index, *expected.by_subject}):
            for part in subjects:
                count = expected.by_subject.get(subject, {}).get(part, 0)
                rows.append((f"{part} of {subject}", count, subjects[part].get(subject, 0), True))
    if expected.pspi:
        for levels, count in expected.pspi.frames.items():
            low, _, high = levels.partition("-")
            among = frames["pspi"].between(int(low), int(high or low)).sum()
            rows.append((f"frames with PSPI {levels}", count, among, expected.pspi.verified))
    table = pd.DataFrame(rows, columns=["what", "expected", "found", "verified"])
    return table.dropna(subset="expected").astype({"expected": int, "found": int})
