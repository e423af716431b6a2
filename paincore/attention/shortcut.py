"""A shortcut planted in a copy of the corpus, and whether explanations find it.

In the planted copy the head turns and bows with felt pain (`Dials.pain_pose`), so that a model may
tell pain by what of the face is hidden. A second copy is the same but for the dial: the same
people, sequences, expressions, labels and noise, so each of its frames has a partner in the other.

A method finds the shortcut if its maps for a model trained on the planted copy go more to the part
that turning hides than its maps for a model trained on the clean one, on the same images, of people
whom neither was trained on. Comparing images instead of models would not do: what is hidden is
black in one image and face in the other, and maps may follow that whatever a model has learnt. Two
things have to be seen beside it. Any two trainings differ, so the same comparison between two
models of the clean copy (other seeds) says how much is nothing. And that the planted model uses the
shortcut is not a matter of maps: turning the heads of faces without pain must raise its probability
of pain, more than the clean model's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore.attention.attributions import attributions
from paincore.attention.explained import Explained, explain_all, probabilities
from paincore.attention.faithfulness import patch_proportions
from paincore.attention.interventions import Change, render_again, settings_of
from paincore.attention.maps import patches_along
from paincore.data.corpus import Corpus, open_corpus
from paincore.data.frames import KEYS
from paincore.folds.designs import Fold
from paincore.registration.store import FrameStore, registered
from paincore.training.configuration import Configuration
from synthpain.behaviour import ALL_OFF, Dials
from synthpain.corpus import synthesize

TURNING = Dials(pain_pose=30.0)  # degrees at a felt pain of 10
COPIED = 600  # frames of a copy
TURN = 15.0  # degrees by which heads without pain are turned: as the dial does at a pain of 5
PER_PERSON = 4  # samples of a person and label that are looked into
PLANTED, CLEAN, OTHER_SEED = "planted", "clean", "clean, another seed"


def copied(study, dials: Dials, frames: int) -> tuple[Corpus, FrameStore]:
    """A copy of a study's synthetic corpus with dials turned, and its store, opened or made.

    The people are the corpus's (its seed and number of subjects), the backend and size the store's.
    `ALL_OFF` makes the clean copy. Copies lie under `<results>/planted/`. Raises InterventionError
    for a corpus without truth.
    """
    made, meta, results = settings_of(study.corpus), study.store.meta, study.results
    turned = "-".join(f"{name}{value:g}" for name, value in asdict(dials).items() if value)
    root = results / "planted" / f"synthetic-{frames}-{turned or 'clean'}-seed{made.seed}"
    people, pixels, workers = (made.subjects, made.seed), (made.width, made.height), study.workers
    synthesize(root, frames, *people, *pixels, workers, dials, progress=False)
    entry = study.corpus.dataset.name
    opened = open_corpus(entry, root, results=results, threshold=study.corpus.threshold)
    return opened, registered(opened, meta["backend"], results, size=meta["size"], workers=workers)


class ShortcutTrial(NamedTuple):
    """Whether the shortcut is used, by `turning_effects`, and whether maps find it, by
    `proportions_hidden`."""

    turned: pd.DataFrame
    hidden: pd.DataFrame


def try_shortcut(study, configuration: Configuration) -> ShortcutTrial | None:
    """Train a configuration on both copies, on folds of the same people, and look into the models.

    `study` is a `paincore.study.Study`. The clean copy is trained on with two seeds. Copies have no
    more frames than the corpus. None for a corpus without truth, which cannot be copied.
    """
    if study.corpus.truth is None:
        return None
    store, folds = study.store, study.folds
    frames, models = min(COPIED, len(store.frames)), {}
    for name, dials, seeds in ((PLANTED, TURNING, 1), (CLEAN, ALL_OFF, 2)):
        clean, copy = copied(study, dials, frames)
        own = same_people(folds, store, copy)
        runs = study.sweep.train_all(copy, [configuration], own, seeds, keep_weights=True)
        models[name] = explain_all(runs, copy, study.results)
    models[CLEAN], models[OTHER_SEED] = models[CLEAN][: len(folds)], models[CLEAN][len(folds) :]
    by_fold = [dict(zip(models, each, strict=True)) for each in zip(*models.values(), strict=True)]
    hidden = [proportions_hidden(each) for each in by_fold]
    turned = turning_effects(clean, by_fold, study.workers)
    return ShortcutTrial(turned, pd.concat(hidden, ignore_index=True))


def same_people(folds: Sequence[Fold], store: FrameStore, copy: FrameStore) -> list[Fold]:
    """Folds of a copy with the people that folds of the corpus train and test on."""
    enters = copy.usable & copy.frames["pain"].notna().to_numpy()

    def rows(people: Sequence[str]) -> np.ndarray:
        return np.flatnonzero(enters & copy.frames["subject"].isin(people).to_numpy())

    sides = [(one.train_subjects(store.frames), one.test_subjects(store.frames)) for one in folds]
    pairs = zip(folds, sides, strict=True)
    return [replace(fold, train=rows(train), test=rows(test)) for fold, (train, test) in pairs]


def partners(one: Explained, other: Explained) -> tuple[Explained, Explained]:
    """Both with the samples alone that end at the same frames of their copies.

    Both were tested on them, so neither model was trained on these people.
    """
    first, second = (pd.MultiIndex.from_frame(each.samples[KEYS]) for each in (one, other))
    places = second.get_indexer(first)
    return one.only(np.flatnonzero(places >= 0)), other.only(places[places >= 0])


def hidden_by_turning(clean: np.ndarray, turned: np.ndarray, side: int) -> np.ndarray:
    """The proportion of each patch that shows the face in a clean frame and not in its partner.

    `clean` and `turned` are uint8 (K, F, S, S, 3), with black where the camera saw no face; `side`
    is P, the patches along a side. float32 (K, F, P, P).
    """
    return patch_proportions(clean.any(axis=-1) & ~turned.any(axis=-1), side)


def proportions_hidden(models: Mapping[str, Explained]) -> pd.DataFrame:
    """How much of each map lies on what turning hides: model, images, method, subject, proportion.

    A row for each model of one fold, kind of images (of the planted and of the clean copy), method
    and sample with pain that both copies hold. The proportion is of the map's magnitudes, since
    gradients have signs; NaN where a map is 0.
    """
    both = partners(models[PLANTED], models[CLEAN])
    planted, clean = (one.some(PER_PERSON) for one in both)
    images, side = {PLANTED: planted.frames(), CLEAN: clean.frames()}, patches_along(planted.model)
    hidden, tables = hidden_by_turning(images[CLEAN], images[PLANTED], side), []
    for model, one in models.items():
        for kind, frames in images.items():
            for method, maps in attributions(one.model, frames).items():
                size = np.abs(maps)
                total, on_it = (part.sum(axis=(1, 2, 3)) for part in (size, size * hidden))
                found = on_it / np.where(total > 0, total, np.nan)
                table = pd.DataFrame({"subject": planted.samples["subject"], "proportion": found})
                tables.append(table.assign(model=model, images=kind, method=method))
    return pd.concat(tables, ignore_index=True)


def turning_effects(
    corpus: Corpus, by_fold: Sequence[Mapping[str, Explained]], workers: int | None = None
) -> pd.DataFrame:
    """By how much turning the head alone changes the probability of pain: model, subject, change.

    A row for each model and sample without pain of `corpus`, the clean copy; `by_fold` has the
    models of each fold. A sample that loses its face by turning is left out; raises
    InterventionError if all are.
    """
    ones = [models[CLEAN].some(PER_PERSON, labels=(False,)) for models in by_fold]
    rows, size = np.concatenate([one.rows for one in ones]), ones[0].model.image_size
    changes = [Change(turn=TURN)] * len(rows)
    again = render_again(corpus, ones[0].store, rows, changes, size, workers)
    again.check_some_left(again.whole)
    tables, end = [], 0
    for models, one in zip(by_fold, ones, strict=True):
        part = slice(end, end := end + len(one.rows))
        whole = again.whole[part]
        before, after = one.frames()[whole], again.frames[part][whole]
        for name, each in models.items():
            change = probabilities(each.model, after) - probabilities(each.model, before)
            table = {"model": name, "subject": one.samples["subject"][whole], "change": change}
            tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)
