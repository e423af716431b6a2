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

from dataclasses import asdict, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore.attention.attributions import attributions
from paincore.attention.explained import Explained, explain, probabilities
from paincore.attention.interventions import Change, render_again, settings_behind
from paincore.attention.maps import patches_along
from paincore.attention.regions import patch_proportions
from paincore.data.corpus import Corpus, open_corpus
from paincore.data.frames import KEYS
from paincore.folds.designs import Fold
from paincore.registration.frame_store import FrameStore
from paincore.registration.store import registered
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
    corpus, meta, results = study.corpus, study.store.meta, study.results
    made, size = settings_behind(corpus), meta["size"]
    turned = "-".join(f"{name}{value:g}" for name, value in asdict(dials).items() if value)
    root = results / "planted" / f"synthetic-{frames}-{turned or 'clean'}-seed{made.seed}"
    people, pixels, workers = (made.subjects, made.seed), (made.width, made.height), study.workers
    synthesize(root, frames, *people, *pixels, workers, dials, progress=False)
    copy = open_corpus(corpus.dataset.name, root, results=results, threshold=corpus.threshold)
    return copy, registered(copy, meta["backend"], results, size=size, workers=workers)


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
    folds, models = study.folds, {}
    frames = min(COPIED, len(study.store.frames))
    for dials, names in ((TURNING, [PLANTED]), (ALL_OFF, [CLEAN, OTHER_SEED])):
        clean, copy = copied(study, dials, frames)
        own = same_people(folds, study.store.frames, copy)
        runs = study.sweep.train_all(copy, [configuration], own, len(names))
        for seed, name in enumerate(names):
            of_seed = runs[seed * len(folds) : (seed + 1) * len(folds)]
            models[name] = [explain(run, copy) for run in of_seed]
    return ShortcutTrial(turning_effects(clean, models), proportions_hidden(models))


def same_people(folds: list[Fold], frames: pd.DataFrame, copy: FrameStore) -> list[Fold]:
    """Folds of a copy with the people that folds of the corpus's `frames` train and test on."""
    enters = copy.usable & copy.frames["pain"].notna().to_numpy()

    def rows(people: list[str]) -> np.ndarray:
        return np.flatnonzero(enters & copy.frames["subject"].isin(people).to_numpy())

    return [
        replace(one, train=rows(one.train_subjects(frames)), test=rows(one.test_subjects(frames)))
        for one in folds
    ]


def partners(one: Explained, other: Explained) -> tuple[Explained, Explained]:
    """Both with the samples alone that end at the same frames of their copies.

    Both were tested on them, so neither model was trained on these people.
    """
    first, second = (pd.MultiIndex.from_frame(each.samples[KEYS]) for each in (one, other))
    return one.only(first.isin(second)), other.only(second.isin(first))


def proportions_hidden(models: dict[str, list[Explained]]) -> pd.DataFrame:
    """How much of each map lies on what turning hides: model, images, method, subject, proportion.

    `models` are those of each fold, by name. A row for each model, kind of images (of the planted
    and of the clean copy), method and sample with pain that both copies hold. The proportion is of
    the map's magnitudes, since gradients have signs.
    """
    tables = []
    for fold, pair in enumerate(zip(models[PLANTED], models[CLEAN], strict=True)):
        planted, clean = (one.some(PER_PERSON) for one in partners(*pair))
        if not len(planted.rows):
            continue  # nobody whom these models were tested on has pain
        images = {PLANTED: planted.frames(), CLEAN: clean.frames()}
        hidden = images[CLEAN].any(axis=-1) & ~images[PLANTED].any(axis=-1)  # black: not seen
        hidden = patch_proportions(hidden, patches_along(planted.model))
        for (model, folds), (kind, frames) in product(models.items(), images.items()):
            for method, maps in attributions(folds[fold].model, frames).items():
                size = np.abs(maps)
                found = (size * hidden).sum(axis=(1, 2, 3)) / size.sum(axis=(1, 2, 3))
                table = pd.DataFrame({"subject": planted.samples["subject"], "proportion": found})
                tables.append(table.assign(model=model, images=kind, method=method))
    return pd.concat(tables, ignore_index=True)


def turning_effects(corpus: Corpus, models: dict[str, list[Explained]]) -> pd.DataFrame:
    """By how much turning the head alone changes the probability of pain: model, subject, change.

    A row for each model and sample without pain of `corpus`, the clean copy; `models` are those of
    each fold, by name. A sample that loses its face by turning is left out.
    """
    ones = [one.some(PER_PERSON, labels=(False,)) for one in models[CLEAN]]
    fold = np.repeat(range(len(ones)), [len(one.rows) for one in ones])
    rows, size = np.concatenate([one.rows for one in ones]), ones[0].model.image_size
    again = render_again(corpus, ones[0].store, rows, [Change(turn=TURN)] * len(rows), size)
    tables = []
    for number, one in enumerate(ones):
        kept = one.only(again.whole[fold == number])
        before, after = kept.frames(), again.frames[again.whole & (fold == number)]
        for name, folds in models.items():
            model = folds[number].model
            change = probabilities(model, after) - probabilities(model, before)
            table = pd.DataFrame({"subject": kept.samples["subject"], "change": change})
            tables.append(table.assign(model=name))
    return pd.concat(tables, ignore_index=True)
