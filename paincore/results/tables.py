"""What chapter 06 says of the results: tables, and sentences that follow this run's numbers.

ViT-1, ViViT-1 and ViViT-2 are `contrasts.counterparts`. An effect is reported with its sign and
interval, whichever way it falls. Only on people's data does the paper's number stand beside it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from paincore import paper
from paincore.ablations.tables import power, steps_of
from paincore.training.configuration import MODELS, Configuration
from paincore.results.contrasts import Contrast
from paincore.ablations.search import Ablation, Nested
from paincore.folds.designs import Fold
from paincore.registration.framestore import FrameStore
from paincore.training.runs import SECONDS
from paincore.training.samples import CLIP
from paincore.statistics.bootstrap import LEVEL, bootstrap, difference, fold_values, interval, on_shared_frames, pooled_value
from paincore.statistics.contrast_tests import CorrectedT, sd_factors
from paincore.statistics.optimism import Optimism, optimism
from paincore.training.tables import SHOWN
from paincore.style import MINUS, bracket, mean_sd, number, signed

NOT_PRINTED = "not printed"
FAILED = "a run failed"
NBSP = "\N{NO-BREAK SPACE}"
SPLITS = rf"(?<=\d) (?=±)|(?<=±) (?=\d)|(?<=,) (?=[+{MINUS}]?\d)"
THEIRS = f"{paper.FOLDS} folds by people, {paper.SUBJECTS} subjects; ± over folds"
UNVERIFIED = "not comparable until verified: split, subjects and ± are the cited work's own"
TABLE_1_COLUMNS = (
    "model",
    "data",
    "F1, folds",
    "F1, pooled",
    "AUC, folds",
    "AUC, pooled",
    "registration",
    "backbone",
    "protocol",
)
SYNTHETIC = (
    "All of this is on synthetic data, on which no result agrees or disagrees with the paper's."
)
CONTRAST_COLUMNS = (
    "frames",
    "F1, mean over folds",
    "p, Holm",
    "called different",
    "detectable, mean over folds",
    "F1, pooled over people",
)


def this_run(corpus, store: FrameStore, folds: Sequence[Fold], profile: str) -> dict[str, str]:
    """What all rows of this run in Table 1 share: data and profile, folds and subjects."""
    people = {name for fold in folds for name in fold.test_subjects(store.frames)}
    design = folds[0].design.replace("_", " ")
    return {
        "data": f"{corpus.label} (this run, profile {profile})",
        "protocol": f"{len(folds)} folds ({design}), {len(people)} subjects; ± over folds",
    }


def table_1(
    here: Mapping[str, str],
    backend: str,
    configurations: Mapping[str, Configuration],
    models: Mapping[str, pd.DataFrame | None],
    baselines: Mapping[str, pd.DataFrame],
    draws: pd.DataFrame,
) -> pd.DataFrame:
    """The paper's Table 1, a row of this run below each row of the paper's own, then baselines.

    `here` is `this_run`, `backend` the registration's; `configurations` and `models` have the names
    of `contrasts.counterparts`. Baselines use neither registered images nor a backbone.
    """
    rows = []
    for row in paper.TABLE_1:
        own = row.name in configurations
        rows.append(_printed(row, own))
        if own:
            one = configurations[row.name]
            made = {"registration": backend, "backbone": one.backbone, **here}
            name = f"{row.name} ({_settings(one)})"
            rows.append({"model": name} | _scores(models[row.name], draws) | made)
    rows += [{"model": name} | _scores(each, draws) | here for name, each in baselines.items()]
    return _unbroken(pd.DataFrame(rows, columns=TABLE_1_COLUMNS).fillna("-"))


def _unbroken(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose intervals and spreads are not split over lines on a phone."""
    return table.replace(SPLITS, NBSP, regex=True)


def _settings(configuration: Configuration) -> str:
    """A configuration without its model, such as "12 layers, 2e-5"."""
    return configuration.title.removeprefix(MODELS[configuration.model]).strip()


def _printed(row: paper.Result, own: bool) -> dict[str, str]:
    """A row of the paper's; what is the paper's own model has its settings."""
    auc = "-" if row.auc is None else number(row.auc)
    cells = {
        "model": f"{row.name} ({_their_settings(row.name)})" if own else row.name,
        "data": "UNBC-McMaster (the paper)",
        "F1, folds": "-" if row.f1 is None else f"{number(row.f1)} ± {number(row.f1_sd)}",
        "F1, pooled": NOT_PRINTED,
        "AUC, folds": f"{auc}, ± {NOT_PRINTED}" if own else auc,
        "AUC, pooled": NOT_PRINTED,
        "protocol": THEIRS if own else UNVERIFIED,
    }
    return cells | ({"registration": "PRNet", "backbone": "ViT-B/16"} if own else {})


def _their_settings(name: str) -> str:
    """The paper's settings of ViT-1, ViViT-1 or ViViT-2."""
    model, second = name.split("-")[0].lower(), name.endswith("-2")
    return _settings(
        Configuration(model=model, **(paper.CHOSEN_SECOND if second else paper.CHOSEN)[model])
    )


def _scores(predictions: pd.DataFrame | None, draws: pd.DataFrame) -> dict[str, str]:
    """F1 and AUC of this run, over folds and pooled."""
    cells = {}
    for score, label in SHOWN.items():
        if predictions is None:
            cells |= {f"{label}, folds": FAILED, f"{label}, pooled": FAILED}
            continue
        ends = bracket(*interval(bootstrap(predictions, draws, score)))
        cells[f"{label}, folds"] = mean_sd(fold_values(predictions, score))
        cells[f"{label}, pooled"] = f"{number(pooled_value(predictions, score))} {ends}"
    return cells


def spread_sentence(folds: int) -> str:
    """Within which factors a standard deviation over so many folds is known. Chapter 06."""
    low, high = sd_factors(folds - 1)
    return (
        f"A standard deviation over {folds} folds is itself hardly known: were the folds "
        f"independent and normal, its {LEVEL} % interval would go from {low:.1f} to {high:.1f} "
        "times what is found."
    )


def rank_sentence(folds: int) -> str:
    """Why no rank or sign test is made. Chapter 06."""
    return (
        f"No rank or sign test is made: with {folds} folds its smallest two-sided p is "
        f"{2 * 0.5**folds:.4g}, reached only where all folds agree."
    )


def contrasts_table(contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """A row a contrast: both estimands, what is called different, what could be. Chapter 06."""
    rows = []
    for one in contrasts:
        cells = dict.fromkeys(CONTRAST_COLUMNS, FAILED)
        if one.pooled is not None:
            pooled, folds = one.pooled, one.over_folds
            values = (
                f"{one.frames:,}",
                _with_interval(folds.mean, folds.low, folds.high),
                p_value(one.holm),
                "yes" if one.different else "no",
                _detectable(folds),
                _with_interval(pooled.pooled, pooled.low, pooled.high),
            )
            cells = dict(zip(CONTRAST_COLUMNS, values, strict=True))
        rows.append({"contrast": f"{one.name} {MINUS} {one.than}"} | cells)
    return _unbroken(pd.DataFrame(rows))


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{signed(value)} {bracket(low, high, signed)}"


def _detectable(found: CorrectedT) -> str:
    """A detectable difference and its interval, since it rests on an estimated spread of folds.

    A dash where folds do not differ, and so tell nothing.
    """
    if not found.detectable > 0:
        return "-"
    ends = (found.detectable * factor for factor in sd_factors(found.df))
    return f"{number(found.detectable)} {bracket(*ends)}"


def clips_table(ablations: Mapping[str, Ablation]) -> pd.DataFrame:
    """In what the two sides of the contrast of clips and frames differ. Chapter 06."""
    rows = [
        {
            "model": f"{MODELS[model]}-1",
            "frames in a sample": f"{CLIP[model]}",
            "clip stride": f"{one.rate.clip_stride}",
            "attention layers that train": f"{one.rate.unfrozen_layers}",
            "learning rate": power(one.rate.learning_rate),
            "optimiser steps a fold": steps_of(one),
        }
        for model, one in ablations.items()
    ]
    return pd.DataFrame(rows)


def p_value(p: float) -> str:
    """A p as the book prints it."""
    if np.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def contrast_sentence(one: Contrast) -> str:
    """What a planned contrast showed, whichever way it fell."""
    name = f"{one.name} {MINUS} {one.than}"
    if one.pooled is None:
        return f"{name}: not tested, a run of one side failed."
    folds = one.over_folds
    left_out = f", {folds.left_out} without an F1 left out" if folds.left_out else ""
    found = f"{name}, F1, mean over folds{left_out}: {signed(folds.mean)}"
    if np.isnan(folds.p):
        return f"{found}. Fewer than two folds have an F1 on both sides, so there is no test."
    return (
        f"{found} {bracket(folds.low, folds.high, signed)}, p by Holm {p_value(one.holm)}: "
        f"{'called different' if one.different else 'not called different'}."
    )


def chosen_among(ablation: Ablation, draws: pd.DataFrame) -> Optimism:
    """What choosing among all configurations of a model on the test folds adds to F1. Chapter 06.

    The choices that led to these configurations are not repeated. Those with a failed run cannot be
    chosen.
    """
    candidates = {_settings(one): table for one, table in ablation.predictions.items()}
    return optimism(candidates, draws)


def optimism_table(found: Mapping[str, Optimism]) -> pd.DataFrame:
    """Apparent and corrected F1 of the best configuration of each model. Chapter 06."""
    rows = [
        {
            "model": MODELS[model],
            "best of": f"{len(one.shares)}",
            "chosen": one.chosen,
            "apparent F1": number(one.apparent),
            "corrected F1": number(one.corrected),
            "optimism, understated": _with_interval(one.difference, one.low, one.high),
        }
        for model, one in found.items()
    ]
    return pd.DataFrame(rows)


def optimism_sentence(model: str, found: Optimism) -> str:
    """What choosing on the test folds added, and how sure the choice is."""
    share = 100 * found.shares[found.chosen]
    most = found.shares.idxmax()
    other = ""
    if most != found.chosen:
        other = f"; most often it is {most}, in {100 * found.shares[most]:.0f} %"
    return (
        f"{MODELS[model]}: the best of {len(found.shares)} by pooled F1, {found.chosen}, has "
        f"{number(found.apparent)}; corrected for this last choice alone, "
        f"{number(found.corrected)}. It added "
        f"{_with_interval(found.difference, found.low, found.high)}. With these people drawn anew "
        f"the same configuration is chosen in {share:.0f} % of draws{other}."
    )


def findings(
    models: Mapping[str, pd.DataFrame | None],
    baselines: Mapping[str, pd.DataFrame],
    contrasts: Sequence[Contrast],
    optimisms: Mapping[str, Optimism],
    draws: pd.DataFrame,
    synthetic: bool,
) -> str:
    """The closing sentences of chapter 06, in Markdown, with this run's numbers."""
    theirs = {} if synthetic else {row.name: row for row in paper.TABLE_1}
    sentences = [
        _score_sentence(name, table, theirs.get(name))
        for name, table in models.items()
        if table is not None
    ]
    sentences += [
        _difference_sentence(name, baseline, *on_shared_frames(models[name], table), draws)
        for name in ("ViT-1", "ViViT-1")
        for baseline, table in baselines.items()
        if baseline != "chance" and models[name] is not None
    ]
    sentences += [contrast_sentence(one) for one in contrasts]
    sentences += [optimism_sentence(model, one) for model, one in optimisms.items()]
    sentences += [SYNTHETIC] if synthetic else []
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _difference_sentence(
    name: str, baseline: str, one: pd.DataFrame, other: pd.DataFrame, draws: pd.DataFrame
) -> str:
    """How far a model is from a baseline, with no verdict: it was not planned to be tested."""
    found = difference(one, other, draws, "f1")
    return (
        f"{name} {MINUS} {baseline}, F1, pooled over people: "
        f"{_with_interval(found.pooled, found.low, found.high)}, unadjusted."
    )


def _score_sentence(name: str, predictions: pd.DataFrame, theirs: paper.Result | None) -> str:
    f1, auc = (fold_values(predictions, score) for score in SHOWN)
    printed = ""
    if theirs:
        printed = f" The paper prints {number(theirs.f1)} ± {number(theirs.f1_sd)} for F1"
        printed += f" and {number(theirs.auc)} for AUC."
    return (
        f"{name} of this run: F1 {mean_sd(f1)}, AUC {mean_sd(auc)} (mean and sample standard "
        f"deviation over {f1.count()} folds).{printed}"
    )


def nested_cost(ablations: Mapping[str, Ablation], folds: int, seeds: int) -> pd.DataFrame:
    """How many trainings `choose_nested` makes of each model, and how long they take. Chapter 06.

    Each takes as long as the runs of the search did on average, which is a little too much: the
    inner trainings have fewer people.
    """
    rows = []
    for model, one in ablations.items():
        trainings = folds * ((folds - 1) * len(one.trials) + 1) * seeds
        runs = [run for runs in one.runs.values() for run in runs]
        seconds = np.mean([sum(run.environment[name] for name in SECONDS) for run in runs])
        cells = (f"{trainings:,}", f"{seconds:.1f}", f"{trainings * seconds / 60:,.0f}")
        rows.append((MODELS[model], *cells))
    columns = ["model", "trainings", "seconds each", "minutes, one at a time"]
    return pd.DataFrame(rows, columns=columns)


def nested_sentences(found: Mapping[str, Nested], draws: pd.DataFrame) -> str:
    """What choosing without the tested fold gives, in Markdown, or that it was not asked for."""
    if not found:
        return "It was not asked for here."
    sentences = []
    for model, one in found.items():
        ends = bracket(*interval(bootstrap(one.predictions, draws, "f1")))
        titles = ", ".join(f"{fold}: {_settings(each)}" for fold, each in one.chosen.items())
        sentences.append(
            f"{MODELS[model]}, chosen for each fold on the people of the other folds alone: F1 "
            f"{mean_sd(fold_values(one.predictions, 'f1'))} over folds, "
            f"{number(pooled_value(one.predictions, 'f1'))} {ends} pooled. Chosen were, by fold, "
            f"{titles}."
        )
    return "\n".join(f"- {sentence}" for sentence in sentences)
