"""The tables of the results: this run beside the paper's Table 1, contrasts, optimism.

ViT-1, ViViT-1 and ViViT-2 are `contrasts.counterparts`. `resamples` is `resample_subjects` of all
subjects.
"""

import numpy as np
import pandas as pd

from paincore import paper
from paincore.ablations.search import Ablation
from paincore.ablations.tables import FAILED_RUN, steps_of_epoch
from paincore.results.contrasts import Contrast
from paincore.statistics.contrast_tests import sd_factors
from paincore.statistics.optimism import Optimism, optimism
from paincore.style import Finding, finding, number, scientific, with_interval
from paincore.training.configuration import MODELS, Configuration
from paincore.training.samples import CLIP_LENGTH
from paincore.training.tables import comparison_table


def table_1(study, configurations: dict, arms: dict, resamples: pd.DataFrame) -> pd.DataFrame:
    """The paper's Table 1, this run's counterpart below each row of its own, then baselines.

    `configurations` is `contrasts.counterparts`. `arms` holds their predictions, and those of the
    baselines, which use neither registered images nor a backbone.
    """
    whole = {name: each for name, each in arms.items() if each is not None}
    scores = comparison_table(whole, resamples).drop(columns="frames").set_index("predicted by")
    scores = scores.reindex([*arms], fill_value=FAILED_RUN).to_dict("index")
    people = {name for fold in study.folds for name in fold.test_subjects(study.store.frames)}
    design = study.folds[0].design.replace("_", " ")
    here = {
        "data": f"{study.corpus.label} (this run, profile {study.profile.name})",
        "protocol": f"{len(study.folds)} folds ({design}), {len(people)} subjects; ± over folds",
    }
    rows = []
    for row in paper.TABLE_1:
        rows.append(row.cells())
        if one := configurations.get(row.name):
            made = {"registration": study.store.meta["backend"], "backbone": one.backbone}
            name = {"model": f"{row.name} ({settings_of(one)})"}
            rows.append(name | scores[row.name] | made | here)
    rows += [{"model": name} | scores[name] | here for name in arms if name not in configurations]
    return pd.DataFrame(rows).fillna("-")


def settings_of(configuration: Configuration) -> str:
    """A configuration without its model, such as "12 layers, 2e-5"."""
    return configuration.title.removeprefix(MODELS[configuration.model]).strip()


def contrasts_table(contrasts: list[Contrast]) -> pd.DataFrame:
    """A row a contrast: both quantities, the adjusted p, and what its test could detect."""
    columns = ["frames", "F1, mean over folds", "p, Holm", "detectable", "F1, pooled over people"]
    rows = []
    for title, frames, pooled, folds, p in contrasts:
        cells = [FAILED_RUN] * len(columns)
        if pooled is not None:
            ends = (folds.detectable * factor for factor in sd_factors(folds.df))
            detectable = with_interval(folds.detectable, *ends, number)
            mean = with_interval(folds.mean, folds.low, folds.high)
            cells = f"{frames:,}", mean, p_value(p), detectable, with_interval(*pooled[:3])
        rows.append((title, *cells))
    return pd.DataFrame(rows, columns=["contrast", *columns])


def p_value(p: float) -> str:
    """A p as the book prints it."""
    if np.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def clips_table(ablations: dict[str, Ablation]) -> pd.DataFrame:
    """In what the two sides of the contrast of clips differ."""
    columns = ["model", "frames in a sample", "clip stride", "attention layers that train"]
    columns += ["learning rate", "optimiser steps a fold"]
    rows = []
    for model, ablation in ablations.items():
        one = ablation.kept["rate"]
        settings = one.clip_stride, one.unfrozen_layers, scientific(one.learning_rate)
        name, steps = f"{MODELS[model]}-1", steps_of_epoch(ablation)
        rows.append((name, CLIP_LENGTH[model], *settings, steps))
    return pd.DataFrame(rows, columns=columns)


def optimism_of_choosing(ablations: dict, resamples: pd.DataFrame) -> dict[str, Optimism]:
    """What choosing among all configurations of a model on the test folds adds to F1, by model.

    The choices that led to these configurations are not repeated. A configuration of which a run
    failed cannot be chosen.
    """
    return {
        model: optimism({settings_of(one): t for one, t in each.predictions.items()}, resamples)
        for model, each in ablations.items()
    }


def optimism_table(found: dict[str, Optimism]) -> pd.DataFrame:
    """Apparent and corrected F1 of the best configuration of each model."""
    rows = []
    for model, one in found.items():
        scores = number(one.apparent), number(one.corrected)
        added = with_interval(one.difference, one.low, one.high)
        rows.append((MODELS[model], len(one.shares), one.chosen, *scores, added))
    columns = ["model", "best of", "chosen", "apparent F1", "corrected F1", "optimism, understated"]
    return pd.DataFrame(rows, columns=columns)


def nested_table(found: dict[str, tuple], resamples: pd.DataFrame) -> pd.DataFrame:
    """Scores of what `choose_nested` found for each model, and what was chosen for each fold."""
    arms = {MODELS[model]: predictions for model, (_, predictions) in found.items()}
    chosen = [
        "; ".join(f"{fold}: {settings_of(one)}" for fold, one in by_fold.items())
        for by_fold, _ in found.values()
    ]
    return comparison_table(arms, resamples).assign(**{"chosen for fold": chosen})


def results_findings(contrasts: list[Contrast], optimisms: dict[str, Optimism]) -> list[Finding]:
    """The planned contrasts, and what choosing on the test folds added to each model."""
    findings = []
    for one in contrasts:
        t = one.over_folds
        ends = (t.mean, t.low, t.high) if t else [np.nan] * 3  # a run failed
        findings.append(finding(one.title, *ends))
    for model, one in optimisms.items():
        question = f"{MODELS[model]}, apparent − corrected F1 of the best"
        findings.append(finding(question, one.difference, one.low, one.high))
    return findings
