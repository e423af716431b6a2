"""A shortcut planted in a copy of the corpus, and whether explanations find it.

In the planted copy the head turns and bows with felt pain (`Dials.pain_pose`), so that a model may
tell pain by what of the face is hidden. A second copy is the same but for the dial: the same
people, sequences, expressions, labels and noise, so each of its frames has a partner in the other.

A method finds the shortcut if its maps for a model trained on the planted copy go more to the part
that turning hides than its maps for a model trained on the clean one, on the same pictures, of
people whom neither was trained on. Comparing pictures instead of models would not do: what is
hidden is black in one picture and face in the other, and maps may follow that whatever a model has
learnt. Two things have to be seen beside it. Any two trainings differ, so the same comparison
between two models of the clean copy (other seeds) says how much is nothing. And that the planted
model uses the shortcut is not a matter of maps: turning the heads of faces without pain must raise
its probability of pain, more than the clean model's. Chapter 07.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from paincore.attention.attributions import METHODS, attributions
from paincore.attention.explained import Explained, ExplanationError, explain_all, probabilities
from paincore.attention.faithfulness import patch_shares
from paincore.attention.interventions import (
    Change,
    Rendered,
    check_some_left,
    examined,
    render_again,
    settings_of,
)
from paincore.attention.shares import with_intervals
from paincore.data.corpus import Corpus, open_corpus
from paincore.data.frames import KEYS
from paincore.folds.designs import Fold
from paincore.manifest import ROOT
from paincore.registration.store import FrameStore, registered
from paincore.statistics.bootstrap import interval
from paincore.training.configuration import Configuration
from paincore.training.sweep import Sweep
from paincore.training.vit import PainTransformer
from synthpain.behaviour import ALL_OFF, Dials
from synthpain.corpus import synthesize

PLANTED = Dials(pain_pose=30.0)  # degrees at a felt pain of 10
FRAMES = 600
TURN = 15.0  # degrees by which heads without pain are turned: as the dial does at a pain of 5
AT_MOST = 4  # samples of a person and label that are looked into
MODELS = ("planted", "clean", "clean, another seed")


def planted(
    corpus: Corpus,
    store: FrameStore,
    dials: Dials = PLANTED,
    frames: int = FRAMES,
    results: str | Path | None = None,
    workers: int | None = None,
) -> tuple[Corpus, FrameStore]:
    """A copy of a synthetic corpus with dials turned, and its store; what is there is opened.

    The people are the corpus's (its seed and number of subjects), the backend and size the store's.
    `dials` `ALL_OFF` makes the clean copy. Copies lie under `<results>/planted/`.
    Raises InterventionError for a corpus without truth. Chapter 07.
    """
    made = settings_of(corpus)
    folder = Path(results or ROOT / "results")
    turned = "-".join(f"{name}{value:g}" for name, value in asdict(dials).items() if value)
    root = folder / "planted" / f"synthetic-{frames}-{turned or 'clean'}-seed{made.seed}"
    synthesize(
        root, frames, made.subjects, made.seed, made.width, made.height, workers, dials,
        progress=False,
    )  # fmt: skip
    opened = open_corpus(corpus.dataset.name, root, results=folder, threshold=corpus.threshold)
    meta = store.meta
    return opened, registered(opened, meta["backend"], folder, size=meta["size"], workers=workers)


def clean_copy(
    corpus: Corpus,
    store: FrameStore,
    frames: int = FRAMES,
    results: str | Path | None = None,
    workers: int | None = None,
) -> tuple[Corpus, FrameStore]:
    """The copy with all dials off: the planted one's partner, frame by frame."""
    return planted(corpus, store, ALL_OFF, frames, results, workers)


@dataclass(frozen=True)
class Tried:
    """Whether the shortcut is used, and whether it is found: `shares` of `hidden_shares`, `turned`
    of `turning_effects`, models by `MODELS`; `lost` says which frames were left out of `turned`."""

    shares: pd.DataFrame
    turned: pd.DataFrame
    lost: tuple[str, ...]


def try_shortcut(
    corpus: Corpus,
    store: FrameStore,
    sweep: Sweep,
    configuration: Configuration,
    folds: Sequence[Fold],
    frames: int = FRAMES,
    workers: int | None = None,
) -> Tried:
    """Train a configuration on both copies, on folds of the same people, and look into the models.

    The clean copy is trained on with two seeds. `folds` are those of `store`; copies have no more
    frames than the corpus. Raises InterventionError for a corpus without truth. Chapter 07.
    """
    frames = min(frames, len(store.frames))
    _, turning = planted(corpus, store, PLANTED, frames, sweep.results, workers)
    clean, still = clean_copy(corpus, store, frames, sweep.results, workers)
    models = {}
    for name, copy, seeds in (("planted", turning, 1), ("clean", still, 2)):
        runs = sweep.train_all(copy, [configuration], same_people(folds, store, copy), seeds, True)
        models[name] = explain_all(runs, copy, sweep.results)
    models[MODELS[2]] = models["clean"][len(folds) :]
    by_fold = [dict(zip(MODELS, each, strict=True)) for each in zip(*models.values(), strict=False)]
    turned, lost = _turned(clean, still, by_fold, workers)
    shares = [_shares(each) for each in by_fold]
    return Tried(pd.concat(shares, ignore_index=True), turned, lost)


def same_people(folds: Sequence[Fold], store: FrameStore, copy: FrameStore) -> list[Fold]:
    """Folds of a copy with the people that folds of the corpus train and test on."""
    people = copy.frames["subject"]
    enters = copy.usable & copy.frames["pain"].notna().to_numpy()
    return [
        Fold(
            fold.design,
            fold.number,
            np.flatnonzero(enters & people.isin(fold.train_subjects(store.frames)).to_numpy()),
            np.flatnonzero(enters & people.isin(fold.test_subjects(store.frames)).to_numpy()),
        )
        for fold in folds
    ]


def _shares(models: Mapping[str, Explained]) -> pd.DataFrame:
    """`hidden_shares` of one fold, of samples with pain that both copies hold."""
    one, other = models["planted"], models["clean"]
    first, second = partners(one, other)
    chosen = examined(one.samples.iloc[first], AT_MOST)
    pictures = {"planted": one.frames(first[chosen]), "clean": other.frames(second[chosen])}
    side = one.model.image_size // one.model.encoder.config.patch_size
    hidden = hidden_by_turning(pictures["clean"], pictures["planted"], side)
    subjects = one.samples["subject"].to_numpy()[first[chosen]]
    asked = {name: each.model for name, each in models.items()}
    return hidden_shares(asked, pictures, hidden, subjects)


def _turned(
    clean: Corpus,
    store: FrameStore,
    by_fold: Sequence[Mapping[str, Explained]],
    workers: int | None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """`turning_effects` of all folds, of samples of the clean copy without pain."""
    ones = [models["clean"] for models in by_fold]
    chosen = [examined(one.samples, AT_MOST, pain=False) for one in ones]
    rows = np.concatenate([one.rows[some] for one, some in zip(ones, chosen, strict=True)])
    changes = [Change(turn=TURN)] * len(rows)
    again = render_again(clean, store, rows, changes, ones[0].model.image_size, workers)
    check_some_left(again.whole, again)
    ends = np.cumsum([0, *map(len, chosen)])
    tables = []
    for place, (models, one, some) in enumerate(zip(by_fold, ones, chosen, strict=True)):
        part = again.of(np.arange(ends[place], ends[place + 1]))
        asked = {name: each.model for name, each in models.items()}
        subjects = one.samples["subject"].to_numpy()[some]
        tables.append(turning_effects(asked, one.frames(some), part, subjects))
    return pd.concat(tables, ignore_index=True), again.lost


def partners(one: Explained, other: Explained) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, in each, of the samples that end at the same frames of two copies: int64 (K,) each.

    Both were tested on them, so neither model was trained on these people. Raises ExplanationError
    where there are none.
    """
    keys = (pd.MultiIndex.from_frame(each.run.predictions[KEYS]) for each in (one, other))
    first, second = keys
    places = second.get_indexer(first)
    both = np.flatnonzero(places >= 0)
    if not len(both):
        raise ExplanationError(
            f"{one.run.folder} and {other.run.folder} were tested on no common frame: take runs of "
            "two copies of one corpus, on the same fold."
        )
    return both, places[both]


def hidden_by_turning(clean: np.ndarray, turned: np.ndarray, side: int) -> np.ndarray:
    """The share of each patch that shows the face in a clean frame and is hidden in its partner.

    `clean` and `turned` are uint8 (K, F, S, S, 3), with black where the camera saw no face; `side`
    is P, the patches along a side. float32 (K, F, P, P).
    """
    return patch_shares(clean.any(axis=-1) & ~turned.any(axis=-1), side)


def hidden_shares(
    models: Mapping[str, PainTransformer],
    pictures: Mapping[str, np.ndarray],
    hidden: np.ndarray,
    subjects: np.ndarray,
    methods: Sequence[str] = METHODS,
) -> pd.DataFrame:
    """How much of each map lies on what turning hides: model, pictures, method, subject, share,
    area, a row for each model, kind of pictures, method and sample.

    `pictures` has the same K samples of each copy, uint8 (K, F, S, S, 3); `hidden` is theirs from
    `hidden_by_turning`, `subjects` (K,) their people. `share` is of the map's magnitudes, since
    gradients have signs; `area` of the picture: what a map that is equal everywhere has.
    """
    tables = []
    area = hidden.mean(axis=(1, 2, 3))
    for model_name, model in models.items():
        for kind, frames in pictures.items():
            for method, maps in attributions(model, frames, methods).items():
                size = np.abs(maps)
                total = size.sum(axis=(1, 2, 3))
                on_it = (size * hidden).sum(axis=(1, 2, 3))
                share = np.divide(on_it, total, out=np.full(len(maps), np.nan), where=total > 0)
                names = {"model": model_name, "pictures": kind, "method": method}
                table = {"subject": np.asarray(subjects), "share": share, "area": area}
                tables.append(pd.DataFrame(table).assign(**names))
    whole = pd.concat(tables, ignore_index=True)
    return whole[["model", "pictures", "method", "subject", "share", "area"]]


def finds(
    shares: pd.DataFrame, draws: pd.DataFrame, model: str = "planted", against: str = "clean"
) -> pd.DataFrame:
    """Whether maps of `model` lie more on what turning hides than those of `against`.

    `shares` comes from `hidden_shares`, `draws` of subjects from `resample_subjects`. A row for
    each kind of pictures and method: pictures, method, difference (mean over subjects of the
    mean share of each), low, high, found (the whole interval is above 0). By chance alone one row
    in 40 is found, so one of 16 (8 methods, 2 kinds of pictures) often is: what counts is a method
    that finds it on both kinds, by a difference larger than that between two models of the clean
    copy with other seeds, which this function gives too.
    """
    means = shares.groupby(["model", "pictures", "method", "subject"])["share"].mean()
    change = (means[model] - means[against]).unstack("subject")
    weights = draws[change.columns].to_numpy(np.float64)
    some = weights.sum(axis=1) > 0  # a draw may hold none of these people
    weights = weights[some] / weights[some].sum(axis=1, keepdims=True)
    rows = []
    for (kind, method), values in change.iterrows():
        low, high = interval(weights @ values.to_numpy())
        rows.append((kind, method, float(values.mean()), low, high, low > 0))
    names = ["pictures", "method", "difference", "low", "high", "found"]
    return pd.DataFrame(rows, columns=names)


def changes(tried: Tried, draws: pd.DataFrame) -> pd.DataFrame:
    """By how much turning a head raises the probability of pain: mean, low, high, people, by model
    of `MODELS`, and "planted less clean". Values are means over people. Chapter 07."""
    rise = tried.turned.assign(change=tried.turned["after"] - tried.turned["before"])
    each = rise.pivot_table(values="change", index="subject", columns="model")
    each["planted less clean"] = each["planted"] - each["clean"]
    return with_intervals(each, draws)


def turning_effects(
    models: Mapping[str, PainTransformer],
    frames: np.ndarray,
    again: Rendered,
    subjects: np.ndarray,
) -> pd.DataFrame:
    """What turning the head alone does to predictions: a row for each model and sample.

    `frames` uint8 (K, F, S, S, 3) are samples of the clean copy without pain, `again` the same
    drawn again with a `Change` of turn, once for all models and folds. Columns: model, subject,
    sample (0 to K - 1), before, after: probabilities of pain. Samples on which a face was lost are
    left out; `again.lost` lists them.
    """
    kept = np.flatnonzero(again.whole)
    names = {"subject": np.asarray(subjects)[kept], "sample": kept}
    tables = []
    for name, model in models.items():
        before, after = (probabilities(model, part[kept]) for part in (frames, again.frames))
        tables.append(pd.DataFrame({"model": name, **names, "before": before, "after": after}))
    return pd.concat(tables, ignore_index=True)
