"""What chapter 05 says of its ablations: tables, and sentences that follow this run's numbers.

A score is F1 of the pain class by fold, seeds averaged within a fold; mean and sample standard
deviation go over the folds in which it is defined. The best and the next are found by looking, so
what is said of the two is no test. Only on people's data is an optimum set beside the paper's.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from paincore import paper
from paincore.ablations.search import STEPS, Ablation
from paincore.statistics.bootstrap import LEVEL, always_pain, fold_values
from paincore.statistics.contrast_tests import CorrectedT, corrected_t
from paincore.style import bracket, from_to, mean_sd, number, scientific, signed
from paincore.training.configuration import BATCH, MODELS, Configuration

TITLES = {"layers": "layers", "rate": "learning rate", "sam": "SAM", "mixup": "Mixup"}
STARTED_FROM = ("sam", "mixup")  # steps shown beside the configuration that they were added to


class Tried(NamedTuple):
    """One value of a step as it is shown.

    `label` is the value as an axis has it, `name` as a sentence does. `f1` holds F1 by fold, float,
    NaN where a fold has none; it is empty where a run failed. `printed` is the paper's mean, None
    where it prints none. `kept` marks what the next steps start from or, of SAM and Mixup, the
    highest mean.
    """

    label: str
    name: str
    configuration: Configuration
    f1: pd.Series
    printed: float | None
    kept: bool

    @property
    def failed(self) -> bool:
        """Whether a run of it failed, so that it has no score."""
        return self.f1.empty


def tried(ablation: Ablation, step: str) -> list[Tried]:
    """What the figure of one of `experiments.STEPS` shows, in its order. Chapter 05."""
    values = [(trial.value, trial.configuration) for trial in ablation.step(step)]
    if step in STARTED_FROM:
        values = [(None, ablation.rate), *values]
    kept = _kept(ablation, step, [configuration for _, configuration in values])
    return [
        Tried(
            _label(step, value),
            _name(step, value),
            configuration,
            f1_of(ablation, configuration),
            paper.PRINTED_F1.get((ablation.model, step, value)),
            configuration == kept,
        )
        for value, configuration in values
    ]


def _kept(ablation: Ablation, step: str, configurations: list[Configuration]) -> Configuration:
    """What the next steps start from; of the last ones, which no step follows, the best."""
    if step not in STARTED_FROM:
        return {"layers": ablation.layers, "rate": ablation.rate}[step]
    means = {one: f1_of(ablation, one).mean() for one in configurations}
    return max(means, key=lambda one: -np.inf if np.isnan(means[one]) else means[one])


def f1_of(ablation: Ablation, configuration: Configuration) -> pd.Series:
    """F1 by fold, index fold; empty where a run of the configuration failed."""
    return _by_fold(ablation, configuration, "f1")


def _by_fold(ablation: Ablation, configuration: Configuration, score: str) -> pd.Series:
    if configuration not in ablation.predictions:
        return pd.Series(dtype=np.float64)
    return fold_values(ablation.predictions[configuration], score)


def _label(step: str, value: float | None) -> str:
    if value is None:
        return "without"
    if step == "mixup":
        return f"{value:g}" if value == paper.MIXUP_ALPHA else f"{value:g}\n(inferred)"
    return {"layers": f"{value:g}", "rate": scientific(value), "sam": f"with\n(rho {value:g})"}[
        step
    ]


def _name(step: str, value: float | None) -> str:
    if value is None:
        return f"without {TITLES[step]}"
    written = scientific(value) if step == "rate" else f"{value:g}"
    return {
        "layers": f"{written} layers",
        "rate": written,
        "sam": "with SAM",
        "mixup": f"with alpha {written}",
    }[step]


def ranked(values: list[Tried]) -> list[Tried]:
    """Those with a mean F1, the highest first; equals stay in their order."""
    scored = [one for one in values if one.f1.notna().any()]
    return sorted(scored, key=lambda one: -one.f1.mean())


def always_pain_f1(ablation: Ablation) -> float:
    """Mean F1 over folds of always saying pain, on the frames that the model was tested on."""
    predictions = next(iter(ablation.predictions.values()))
    return float(fold_values(always_pain(predictions), "f1").mean())


def step_sentences(ablations: Mapping[str, Ablation], step: str) -> list[str]:
    """What one step showed, a sentence or two for each model. Chapter 05."""
    write = {"sam": _sam_sentence, "mixup": _mixup_sentence}
    sentences = []
    for ablation in ablations.values():
        values = tried(ablation, step)
        said = write[step](values) if step in write else best_sentence(values)
        lost = sum(one.failed for one in values)
        lost = f" {lost} of {len(values)} failed and could not be compared." if lost else ""
        sentences.append(f"{MODELS[ablation.model]}, {TITLES[step]}: {said}{lost}")
    return sentences


def best_sentence(values: list[Tried]) -> str:
    """What is best, by how much beyond the next, and what is kept where that is another."""
    best, *others = ranked(values)
    said = f"highest here is {best.name}, mean F1 {mean_sd(best.f1)} over {best.f1.count()} folds"
    if not others:
        return f"{said}; nothing else has a score."
    kept = next(one for one in values if one.kept)
    other = "" if kept == best else f" Kept is the paper's choice, {kept.name}."
    return f"{said}; next is {others[0].name}, {_margin(best, others[0])}.{other}"


def _margin(best: Tried, other: Tried) -> str:
    """By how much another is below the best, and in how many folds."""
    found = compare(best, other)
    if found.mean == 0:
        return "with the same mean; of equals the first is taken"
    folds = _agreeing(best, other)
    return f"{_size(found.mean)} lower, and lower in {folds} folds"


def _size(difference: float) -> str:
    """A difference without its sign; one that would print as 0.00 in words."""
    return "less than 0.01" if difference < 0.005 else number(difference)


def compare(one: Tried, other: Tried) -> CorrectedT:
    """The corrected resampled t of F1 of `one` less that of `other`, over the same folds."""
    return corrected_t((one.f1 - other.f1).to_numpy())


def _agreeing(one: Tried, other: Tried) -> str:
    """In how many folds the difference has the sign of its mean, as "3 of 5"."""
    differences = (one.f1 - other.f1).dropna()
    return f"{(np.sign(differences) == np.sign(differences.mean())).sum()} of {len(differences)}"


def _sam_sentence(values: list[Tried]) -> str:
    without, sam = values
    return _effect(sam, without)


def _mixup_sentence(values: list[Tried]) -> str:
    without, *mixed = values
    named = next(one for one in mixed if one.printed is not None)
    means = [f"{number(one.f1.mean())} {one.name}" for one in values if not one.failed]
    return f"{_effect(named, without)} Means: {', '.join(means)}."


def _effect(one: Tried, without: Tried) -> str:
    """Sign, interval and folds of what was added, or why there is none."""
    if one.failed or without.failed:
        lost = one if one.failed else without
        return f"{lost.name} has no score, a training of it failed."
    found = compare(one, without)
    said = f"F1 {one.name} less that {without.name}, mean over folds: {signed(found.mean)}"
    if not np.isnan(found.low):
        said += f" {bracket(found.low, found.high, signed)} ({LEVEL} %, corrected t, unadjusted)"
    if not (one.f1 - without.f1).fillna(0).any():
        return f"F1 {one.name} is the same as {without.name}, in every fold."
    side = {1: "higher", -1: "lower", 0: "the same"}.get(np.sign(found.mean), "not defined")
    return f"{said}, {side} in {_agreeing(one, without)} folds."


def paper_steps() -> int:
    """Optimiser steps of an epoch of the paper: four of five folds in batches (section 4)."""
    return int(np.ceil(paper.FRAMES * (paper.FOLDS - 1) / paper.FOLDS / BATCH))


def moves(ablation: Ablation) -> pd.DataFrame:
    """Steps and weight change at each rate: rate, fold, steps, weight_change, seeds averaged.

    The weight change is the norm of what the encoder's trained weights changed by, over their norm.
    """
    rows = [
        (trial.value, run.rests_on["fold"], run.metrics["steps"], run.metrics["weight_change"])
        for trial in ablation.step("rate")
        for run in ablation.runs.get(trial.configuration, ())
    ]
    table = pd.DataFrame(rows, columns=["rate", "fold", "steps", "weight_change"])
    return table.groupby(["rate", "fold"], sort=False, as_index=False).mean()


def steps_of(ablation: Ablation) -> str:
    """How many steps an epoch has here, as "97 to 102" where folds differ."""
    return from_to(moves(ablation)["steps"])


def moves_sentence(ablation: Ablation) -> str:
    """How many steps an epoch has here and in the paper, and how far weights moved."""
    means = moves(ablation).groupby("rate")["weight_change"].mean()
    low, high = means.index.min(), means.index.max()
    return (
        f"{MODELS[ablation.model]} takes {steps_of(ablation)} steps in its epoch, the paper's "
        f"frames make about {paper_steps():,}. At {scientific(low)} the trained weights moved by "
        f"{percent(means[low])} of their norm, at {scientific(high)} by {percent(means[high])}."
    )


def percent(share: float) -> str:
    """A share of any size in per cent, to two digits."""
    exact = f"{100 * share:.2g}"
    return f"{float(exact):,.10g} %"


def two_rates(ablation: Ablation, path: str) -> list[Tried]:
    """The two rates of the paper's Figure 5: the best and the second, here or, on its path, there.

    Fewer where they failed or have no score.
    """
    rates = ranked(tried(ablation, "rate"))
    if path == "greedy":
        return rates[:2]
    theirs = (paper.CHOSEN[ablation.model], paper.CHOSEN_SECOND[ablation.model])
    by_rate = {one.configuration.learning_rate: one for one in rates}
    wanted = (settings["learning_rate"] for settings in theirs)
    return [by_rate[rate] for rate in wanted if rate in by_rate]


def two_rates_sentence(ablations: Mapping[str, Ablation], path: str) -> str:
    """How the two rates differ from fold to fold, or why they are not shown."""
    if reason := not_two_rates(ablations, path):
        return reason
    one, other = two_rates(ablations["vivit"], path)
    differences = (one.f1 - other.f1).dropna()
    said = f"at {one.name} {mean_sd(one.f1)}, at {other.name} {mean_sd(other.f1)}"
    steadier = min(one, other, key=lambda each: each.f1.std())
    return (
        f"ViViT, F1 by fold: {said}; {one.name} is the higher in {(differences > 0).sum()} of "
        f"{len(differences)} folds, the differences go from {signed(differences.min())} to "
        f"{signed(differences.max())}. The spread is the smaller at {steadier.name}."
    )


def not_two_rates(ablations: Mapping[str, Ablation], path: str) -> str:
    """Why two rates of ViViT cannot be shown, empty where they can."""
    if "vivit" not in ablations:
        return "This run trained ViT alone; the figure is of ViViT."
    if len(two_rates(ablations["vivit"], path)) < 2:
        return "Fewer than two of the rates of ViViT have a score here."
    return ""


def trials_table(ablations: Mapping[str, Ablation]) -> pd.DataFrame:
    """Every configuration: its step, F1 and AUC as mean ± sd over folds, and what was kept."""
    rows = []
    for ablation in ablations.values():
        best = ablation.best
        for trial in ablation.trials:
            f1, auc = (_by_fold(ablation, trial.configuration, score) for score in ("f1", "auc"))
            rows.append(
                {
                    "step": TITLES[trial.step],
                    "configuration": trial.configuration.title,
                    "F1": "failed" if f1.empty else mean_sd(f1),
                    "AUC": "failed" if auc.empty else mean_sd(auc),
                    "note": ", ".join(_notes(ablation, trial.configuration, best)),
                }
            )
    return pd.DataFrame(rows)


def _notes(ablation: Ablation, configuration: Configuration, best: Configuration) -> list[str]:
    notes = {
        "layers kept": configuration == ablation.layers,
        "rate kept": configuration == ablation.rate,
        f"best of {len(ablation.trials)}": configuration == best,
    }
    return [note for note, holds in notes.items() if holds]


def failures_table(ablations: Mapping[str, Ablation]) -> pd.DataFrame:
    """Every training that failed and its message; a row of its own for a model without any."""
    rows = []
    for ablation in ablations.values():
        rows += [
            (each.configuration.title, f"{each.fold}", f"{each.seed}", each.message)
            for each in ablation.failures
        ] or [(f"{MODELS[ablation.model]}, all {len(ablation.trials)}", "all", "all", "none")]
    return pd.DataFrame(rows, columns=["configuration", "fold", "seed", "failure"])


def findings(ablations: Mapping[str, Ablation], path: str, synthetic: bool) -> str:
    """The closing sentences of chapter 05, in Markdown, with this run's numbers."""
    sentences = [_overall_sentence(ablation) for ablation in ablations.values()]
    for step in STEPS:
        sentences += step_sentences(ablations, step)
        if step == "rate":
            sentences += [moves_sentence(ablation) for ablation in ablations.values()]
            sentences += [two_rates_sentence(ablations, path)]
    sentences += [_failed_sentence(ablations)]
    if synthetic:
        sentences += [
            "All of this is on synthetic data: where an optimum lies here neither agrees nor "
            "disagrees with the paper."
        ]
    elif path == "greedy":
        sentences += [_kept_sentence(ablation) for ablation in ablations.values()]
    return in_markdown(sentences)


def _kept_sentence(ablation: Ablation) -> str:
    """The layers and the rate that this search arrived at, and the paper's."""
    here, there = ablation.rate, paper.CHOSEN[ablation.model]
    return (
        f"{MODELS[ablation.model]}: kept are {here.unfrozen_layers} layers and "
        f"{scientific(here.learning_rate)}; the paper kept {there['unfrozen_layers']} and "
        f"{scientific(there['learning_rate'])}."
    )


def in_markdown(sentences: list[str]) -> str:
    """Sentences as a list of Markdown."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _overall_sentence(ablation: Ablation) -> str:
    best = ablation.best
    always = number(always_pain_f1(ablation))
    return (
        f"Of {len(ablation.trials)} configurations, {best.title} has the highest mean F1, "
        f"{mean_sd(f1_of(ablation, best))}; always saying pain has {always}. It was chosen on the "
        "folds that it is scored on, which favours it; the next chapter says by how much at least."
    )


def _failed_sentence(ablations: Mapping[str, Ablation]) -> str:
    failed = sum(len(ablation.failures) for ablation in ablations.values())
    if not failed:
        return "No training failed."
    return f"**{failed} training{'s' * (failed > 1)} failed**; the table above has the messages."
