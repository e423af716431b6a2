"""The tables of the results: this run beside the paper's Table 1, contrasts, optimism.

ViT-1, ViViT-1 and ViViT-2 are `contrasts.counterparts`. `resamples` is `resample_subjects` of all
subjects.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from paincore import paper
from paincore.ablations.search import Ablation, Nested
from paincore.ablations.tables import FAILED_RUN, finding_of, steps_of_epoch, with_interval
from paincore.results.contrasts import Contrast, Predictions
from paincore.statistics.contrast_tests import sd_factors
from paincore.statistics.optimism import Optimism, optimism
from paincore.style import Finding, bracket, number, scientific
from paincore.training.configuration import MODELS, Configuration
from paincore.training.samples import CLIP_LENGTH
from paincore.training.tables import comparison_table


def table_1(
    study,
    configurations: Mapping[str, Configuration],
    arms: Mapping[str, Predictions],
    resamples: pd.DataFrame,
) -> pd.DataFrame:
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
    baselines = [name for name in arms if name not in configurations]
    rows += [{"model": name} | scores[name] | here for name in baselines]
    return pd.DataFrame(rows).fillna("-")


def settings_of(configuration: Configuration) -> str:
    """A configuration without its model, such as "12 layers, 2e-5"."""
    return configuration.title.removeprefix(MODELS[configuration.model]).strip()


def contrasts_table(contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """A row a contrast: both quantities, the adjusted p, and what its test could detect."""
    columns = ["frames", "F1, mean over folds", "p, Holm", "detectable", "F1, pooled over people"]
    rows = []
    for one in contrasts:
        cells = [FAILED_RUN] * len(columns)
        if one.pooled is not None:
            folds, pooled = one.over_folds, one.pooled
            ends = [folds.detectable * factor for factor in sd_factors(folds.df)]
            cells = (
                f"{one.frames:,}",
                with_interval(folds.mean, folds.low, folds.high),
                p_value(one.holm),
                f"{number(folds.detectable)} {bracket(*ends)}" if folds.detectable > 0 else "-",
                with_interval(*pooled[:3]),
            )
        rows.append((one.title, *cells))
    return pd.DataFrame(rows, columns=["contrast", *columns])


def p_value(p: float) -> str:
    """A p as the book prints it."""
    if np.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def clips_table(ablations: Mapping[str, Ablation]) -> pd.DataFrame:
    """In what the two sides of the contrast of clips differ."""
    rows = {
        f"{MODELS[model]}-1": {
            "frames in a sample": CLIP_LENGTH[model],
            "clip stride": one.rate.clip_stride,
            "attention layers that train": one.rate.unfrozen_layers,
            "learning rate": scientific(one.rate.learning_rate),
            "optimiser steps a fold": steps_of_epoch(one),
        }
        for model, one in ablations.items()
    }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("model").reset_index()


def optimism_of_choosing(
    ablations: Mapping[str, Ablation], resamples: pd.DataFrame
) -> dict[str, Optimism]:
    """What choosing among all configurations of a model on the test folds adds to F1, by model.

    The choices that led to these configurations are not repeated. A configuration of which a run
    failed cannot be chosen.
    """
    return {
        model: optimism({settings_of(one): t for one, t in each.predictions.items()}, resamples)
        for model, each in ablations.items()
    }


def optimism_table(found: Mapping[str, Optimism]) -> pd.DataFrame:
    """Apparent and corrected F1 of the best configuration of each model."""
    rows = []
    for model, one in found.items():
        scores = number(one.apparent), number(one.corrected)
        added = with_interval(one.difference, one.low, one.high)
        rows.append((MODELS[model], len(one.shares), one.chosen, *scores, added))
    columns = ["model", "best of", "chosen", "apparent F1", "corrected F1", "optimism, understated"]
    return pd.DataFrame(rows, columns=columns)


def nested_cost(ablations: Mapping[str, Ablation], folds: int, seeds: int) -> pd.DataFrame:
    """How many trainings `choose_nested` makes of each model, and how long they take.

    Each takes as long as the runs of the search did on average; inner trainings have fewer people,
    so this is a little too much.
    """
    rows = []
    for model, one in ablations.items():
        trainings = folds * ((folds - 1) * len(one.trials) + 1) * seeds
        runs = [run for group in one.runs.values() for run in group]
        seconds = np.mean([run.seconds for run in runs])
        minutes = f"{trainings * seconds / 60:,.0f}"
        rows.append((MODELS[model], f"{trainings:,}", f"{seconds:.1f}", minutes))
    columns = ["model", "trainings", "seconds each", "minutes, one at a time"]
    return pd.DataFrame(rows, columns=columns)


def nested_table(found: Mapping[str, Nested], resamples: pd.DataFrame) -> pd.DataFrame:
    """Scores of a choice without the tested fold, and what was chosen for each."""
    arms = {MODELS[model]: one.predictions for model, one in found.items()}
    chosen = [
        "; ".join(f"{fold}: {settings_of(each)}" for fold, each in one.chosen.items())
        for one in found.values()
    ]
    return comparison_table(arms, resamples).assign(**{"chosen for fold": chosen})


def results_findings(
    contrasts: Sequence[Contrast], optimisms: Mapping[str, Optimism]
) -> list[Finding]:
    """The planned contrasts, and what choosing on the test folds added to each model."""
    findings = []
    for one in contrasts:
        if t := one.over_folds:
            findings.append(finding_of(one.title, t.mean, t.low, t.high))
        else:
            findings.append(Finding(one.title, FAILED_RUN, "undecided"))
    for model, one in optimisms.items():
        question = f"{MODELS[model]}, apparent − corrected F1 of the best"
        findings.append(finding_of(question, one.difference, one.low, one.high))
    return findings
