"""What chapter 04 says of its trainings: tables, and sentences that follow this run's numbers.

Tables of predictions are those of `paincore.statistics.bootstrap`. What is higher or lower is said
only where the interval of the difference lies on one side of 0; else the two are not told apart.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel

from paincore.folds.designs import Fold
from paincore.profiles import profile_named
from paincore.registration.framestore import FrameStore
from paincore.statistics.bootstrap import (
    Difference,
    always_pain,
    bootstrap,
    difference,
    fold_values,
    interval,
    on_shared_frames,
    pooled_value,
)
from paincore.statistics.scores import fold_scores, pooled_scores, seeds_of
from paincore.style import bracket, from_to, mean_sd, number, scientific, signed, verdict
from paincore.training import samples as sampling
from paincore.training import vit
from paincore.training.backbones import load_encoder
from paincore.training.comparison import VIEWS
from paincore.training.configuration import ADAM, BATCH, EPOCHS, MODELS, Configuration
from paincore.training.runs import Run, by_setting
from paincore.training.task import Task, select

BASELINES = {
    "landmarks": "66 landmarks",
    "blendshapes": "52 blendshapes",
    "always_pain": "always pain",
    "chance": "chance",
}
SHOWN = {"f1": "F1", "auc": "AUC"}
MARGIN = 0.10  # by which F1 must exceed always-pain's where the engine is right
COLUMNS = {
    "f1": "F1",
    "auc": "AUC",
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
}
NOT_COMPARED = (
    "Backbones and views were not compared: that is done where models start from a backbone of the "
    "demo. From the full-size one it would be 30 trainings that answer no question of the paper."
)
VERDICTS = {"higher": "higher", "lower": "lower", "undecided": "not told apart"}
STATES = ("trained", "frozen")
PROTOCOLS = {"paper": "paper", "released": "released notebook", "both": "both"}


def inferred_table() -> pd.DataFrame:
    """What the paper leaves open about the models, and how it is decided: `vit.INFERRED`."""
    table = pd.DataFrame(vit.INFERRED)
    table["protocol"] = table["protocol"].map(PROTOCOLS)
    table["decision"] = table["decision"].str.replace("`", "")  # a table knows no Markdown
    return table.set_axis(["left open", "protocol", "decided here (inferred)", "because"], axis=1)


def settings_table(configuration: Configuration) -> pd.DataFrame:
    """The settings of a training and who prints them. Sections 3.1 and 3.3 of the paper."""
    b1, b2 = ADAM["betas"]
    adam = f"Adam, β {b1:g} and {b2:g}, ε {scientific(ADAM['eps'])}, no weight decay"
    rows = [
        ("attention layers that train", configuration.unfrozen_layers, "one that the paper tries"),
        ("optimiser", adam, "the paper"),
        ("learning rate", scientific(configuration.learning_rate), "one that the paper tries"),
        ("batch", BATCH, "the paper"),
        ("epochs", EPOCHS, "the paper"),
        ("dropout before the head", f"{vit.DROPOUT:g}", "the paper"),
        ("pain over-sampled", "to half of the draws", "the paper; the half: its authors' notebook"),
        ("loss", "cross-entropy", "this book; the paper names none"),
        ("precision", configuration.precision, "this book"),
    ]
    return pd.DataFrame(rows, columns=["setting", "value", "from"]).astype(str)


def model_of(configuration: Configuration, encoder: ViTModel | None = None) -> vit.PainTransformer:
    """The model of a configuration before it is trained, on `encoder` or its own backbone."""
    encoder = encoder or load_encoder(configuration.backbone)
    frames = sampling.CLIP[configuration.model]
    model = vit.PainTransformer(encoder, frames, torch.Generator())
    vit.freeze(model, configuration.unfrozen_layers, configuration.rules.freezing)
    return model


def count_of(modules: Iterable[nn.Module]) -> str:
    """How many parameters of some modules train and how many are frozen, in words."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    counts = {"trained": 0, "frozen": 0}
    for parameter in parameters:
        counts["trained" if parameter.requires_grad else "frozen"] += parameter.numel()
    return _in_words(counts)


def _in_words(counts: Mapping) -> str:
    return ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])


def parameters_table(configurations: Iterable[Configuration]) -> pd.DataFrame:
    """Parameters by part and state: each configuration's model, and the same on ViT-B/16."""
    columns = {}
    for configuration in configurations:
        with torch.device("meta"):  # shapes without values
            full = ViTModel(ViTConfig(), add_pooling_layer=False)
        name = MODELS[configuration.model]
        columns[f"{name} here"] = model_of(configuration)
        columns[f"{name} on ViT-B/16"] = model_of(configuration, full)
    table = {}
    for name, model in columns.items():
        counts = vit.parameter_counts(model).set_index("part")
        counts.loc["all"] = counts.sum()
        table[name] = counts.apply(_in_words, axis=1)
    return pd.DataFrame(table).rename_axis("part of the model").reset_index()


def left_out_table(store: FrameStore, configurations: Iterable[Configuration]) -> pd.DataFrame:
    """Frames that end a sample of each configuration, and those that end none, by reason."""
    columns = {}
    for configuration in configurations:
        left = sampling.left_out(
            store.frames, store.usable, configuration.model, configuration.clip_stride
        ).set_index("meaning")["frames"]
        kept = pd.Series({"none: it is the last of a sample": len(store.frames) - left.sum()})
        columns[MODELS[configuration.model]] = pd.concat([kept, left])
    table = pd.DataFrame(columns)
    table = table[(table > 0).any(axis=1)]
    return table.map("{:,}".format).rename_axis("what keeps a frame out").reset_index()


def draws_table(
    store: FrameStore, configuration: Configuration, folds: Sequence[Fold], seed: int = 0
) -> pd.DataFrame:
    """Per cent of pain among a fold's training samples, its first epoch's draws, its test samples.

    One row a fold: fold, samples, trained, drawn, tested. The draws are those of the training.
    """
    rows = []
    for fold in folds:
        task = Task(store, configuration, fold, seed, torch.device("cpu"))
        samples = select(task)
        drawn = sampling.balanced_draws(samples.labels, task.generator("draws 0"))
        flags = samples.labels, samples.labels[drawn], samples.pain[samples.test]
        rows.append((fold.number, len(samples.train), *(100 * part.mean() for part in flags)))
    return pd.DataFrame(rows, columns=["fold", "samples", "trained", "drawn", "tested"])


def histories(runs: Iterable[Run]) -> pd.DataFrame:
    """Loss and accuracy by step: model, fold, step, loss, accuracy. Seeds are averaged."""
    parts = [
        run.history.assign(model=MODELS[run.configuration.model], fold=run.rests_on["fold"])
        for run in runs
    ]
    keys = ["model", "fold", "step"]
    return pd.concat(parts).groupby(keys, sort=False, as_index=False).mean()


def training_table(runs: Sequence[Run]) -> pd.DataFrame:
    """What each configuration trained on and for how long; a range goes over folds and seeds.

    Seconds are those of the training loop, by the clock of the machine on which it ran.
    """
    rows = []
    for one in dict.fromkeys(run.configuration for run in runs):
        own = [run.metrics | run.environment for run in runs if run.configuration == one]
        rows.append(
            {
                "model": MODELS[one.model],
                "frames a sample": f"{sampling.CLIP[one.model]}",
                "attention layers that train": f"{one.unfrozen_layers}",
                "samples": from_to([each["train_samples"] for each in own]),
                "steps": from_to([each["steps"] for each in own]),
                "seconds": from_to([each["train_seconds"] for each in own], "{:,.1f}"),
            }
        )
    return pd.DataFrame(rows)


def by_model(runs: Iterable[Run]) -> dict[str, pd.DataFrame]:
    """The predictions of runs of one configuration a model, under the names of `MODELS`."""
    return {MODELS[model]: table for model, table in by_setting(runs, "model").items()}


def named(baselines: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The baselines that there are under the names that the book gives them."""
    return {name: baselines[key] for key, name in BASELINES.items() if key in baselines}


def scores_table(tested: dict[str, pd.DataFrame], draws: pd.DataFrame) -> pd.DataFrame:
    """Scores of each model: a row a fold, mean ± sd over folds, and pooled with an interval."""
    rows = []
    for model, predictions in tested.items():
        scores, pooled = fold_scores(predictions), pooled_scores(predictions)
        for row in scores.to_dict("records"):
            cells = {label: number(row[score]) for score, label in COLUMNS.items()}
            rows.append({"model": model, "fold": f"{row['fold']:.0f}", "pain": _share(row)} | cells)
        cells = {label: mean_sd(scores[score]) for score, label in COLUMNS.items()}
        rows.append({"model": model, "fold": "mean ± sd", "pain": ""} | cells)
        cells = {label: number(pooled[score]) for score, label in COLUMNS.items()}
        cells |= {label: _pooled(predictions, draws, score) for score, label in SHOWN.items()}
        rows.append({"model": model, "fold": "pooled", "pain": _share(pooled)} | cells)
    return pd.DataFrame(rows)


def _share(scores: Mapping) -> str:
    return f"{scores['pain']:,.0f} of {scores['frames']:,.0f}"


def _pooled(predictions: pd.DataFrame, draws: pd.DataFrame, score: str) -> str:
    ends = bracket(*interval(bootstrap(predictions, draws, score)))
    return f"{number(pooled_value(predictions, score))} {ends}"


def comparison_table(arms: dict[str, pd.DataFrame], draws: pd.DataFrame) -> pd.DataFrame:
    """F1 and AUC of named predictions: mean ± sd over folds, and pooled with an interval."""
    rows = []
    for name, predictions in arms.items():
        cells = {}
        for score, label in SHOWN.items():
            cells[f"{label}, folds"] = mean_sd(fold_values(predictions, score))
            cells[f"{label}, pooled"] = _pooled(predictions, draws, score)
        frames = sum(len(part) for part in seeds_of(predictions)[:1])
        rows.append({"predicted by": name, "frames": f"{frames:,}"} | cells)
    return pd.DataFrame(rows)


def findings(
    tested: dict[str, pd.DataFrame],
    baselines: dict[str, pd.DataFrame],
    views: dict[tuple[str, str], pd.DataFrame] | None,
    control: pd.DataFrame,
    draws: pd.DataFrame,
) -> str:
    """The closing sentences of chapter 04, in Markdown, with this run's numbers.

    `tested` holds predictions by the names of `MODELS`, `baselines` those of `BASELINES` that there
    are, `views` comes from `backbones_and_views`, `control` was trained on shuffled labels.
    """
    sentences = [_scores_sentence(name, table) for name, table in tested.items()]
    sentences += [margin_sentence("ViT", tested["ViT"])]
    sentences += [
        difference_sentence("ViT", BASELINES[name], tested["ViT"], baselines[name], draws)
        for name in ("landmarks", "blendshapes")
        if name in baselines
    ]
    shared = on_shared_frames(tested["ViViT"], tested["ViT"])
    both = f"ViT, on the {len(seeds_of(shared[0])[0]):,} frames that both predict"
    sentences += [difference_sentence("ViViT", both, *shared, draws)]
    sentences += views_sentences(views, draws) if views else [NOT_COMPARED]
    sentences += [control_sentence(control, draws)]
    sentences += [calibration_sentence(name, table) for name, table in tested.items()]
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _scores_sentence(name: str, predictions: pd.DataFrame) -> str:
    f1, auc = (fold_values(predictions, score) for score in SHOWN)
    return (
        f"{name} on people it had not seen: F1 {mean_sd(f1)}, AUC {mean_sd(auc)} (mean and sample "
        f"standard deviation over {f1.count()} folds)."
    )


def margin_sentence(name: str, predictions: pd.DataFrame) -> str:
    """How far a model's F1 is from always saying pain, and whether that is enough."""
    scores, always = (fold_values(part, "f1") for part in (predictions, always_pain(predictions)))
    margins = (scores - always).dropna()
    mean = margins.mean()
    here = "it is" if mean >= MARGIN else "**it is not**"
    return (
        f"{name}'s F1 lies {abs(mean):.2f} {'above' if mean > 0 else 'below'} that of always "
        f"saying pain ({number(always.mean())}), on average over folds, and above it in "
        f"{(margins > 0).sum()} of {len(margins)}. A check of this software asks for at least "
        f"{MARGIN:.2f} above on the {profile_named('demo').frames:,} frames of the demo; here, on "
        f"{len(seeds_of(predictions)[0]):,}, {here}."
    )


def difference_sentence(
    name: str, than: str, one: pd.DataFrame, other: pd.DataFrame, draws: pd.DataFrame
) -> str:
    """Sign, interval and spread over folds of the difference of two models in both scores."""
    parts = []
    for score, label in SHOWN.items():
        found = difference(one, other, draws, score)
        parts.append(f"{label} {_with_spread(found)}: {VERDICTS[verdict(found.low, found.high)]}")
    return f"{name} less {than}, pooled: {'; '.join(parts)}."


def _with_spread(found: Difference) -> str:
    return (
        f"{signed(found.pooled)} {bracket(found.low, found.high, signed)}, by fold from "
        f"{signed(np.nanmin(found.folds))} to {signed(np.nanmax(found.folds))}"
    )


def views_sentences(views: dict[tuple[str, str], pd.DataFrame], draws: pd.DataFrame) -> list[str]:
    """What frontal views change and whether a backbone beats always-pain, marked where the answer
    changes with the backbone."""
    frontal, crop = VIEWS
    backbones = list(dict.fromkeys(backbone for backbone, _ in views))
    sentences = []
    for score, label in SHOWN.items():
        found = {b: difference(views[b, frontal], views[b, crop], draws, score) for b in backbones}
        parts = [f"`{b}` {_with_spread(d)}" for b, d in found.items()]
        sentences.append(
            f"{frontal.capitalize()} less {crop}, pooled {label}: {'; '.join(parts)}. {mark(found)}"
        )
    for view in VIEWS:
        found = {
            b: difference(views[b, view], always_pain(views[b, view]), draws, "f1")
            for b in backbones
        }
        parts = [
            f"`{b}` {signed(d.pooled)} {bracket(d.low, d.high, signed)}" for b, d in found.items()
        ]
        sentences.append(
            f"Pooled F1 less that of always saying pain, on {view}: {'; '.join(parts)}. "
            f"{mark(found)}"
        )
    return sentences


def mark(found: dict[str, Difference]) -> str:
    """Whether what the differences say is the same with each backbone."""
    verdicts = {verdict(each.low, each.high) for each in found.values()}
    signs = {np.sign(each.pooled) for each in found.values()}
    if verdicts == {"undecided"}:
        sign = "sign changes with the backbone" if len(signs) > 1 else "sign is the same with all"
        return f"With no backbone the two can be told apart; the {sign}."
    if len(verdicts) == 1:
        return f"With every backbone it is {verdicts.pop()}."
    said = (f"{VERDICTS[verdict(d.low, d.high)]} with `{b}`" for b, d in found.items())
    return f"By backbone: {', '.join(said)}; whether backbones differ was not tested."


def control_sentence(control: pd.DataFrame, draws: pd.DataFrame) -> str:
    """Whether a model trained on shuffled labels has learned nothing, as it must."""
    low, high = interval(bootstrap(control, draws, "auc"))
    auc = f"{number(pooled_value(control, 'auc'))} {bracket(low, high)}"
    inside = "0.5 lies within, as expected" if low <= 0.5 <= high else "**0.5 lies outside**"
    return f"Trained on shuffled labels, ViT has a pooled AUC of {auc}: {inside}."


def calibration_sentence(name: str, predictions: pd.DataFrame) -> str:
    """How much pain a model's probabilities announce, raw and corrected, and what there is."""
    raw, corrected = (pooled_scores(predictions, c)["brier"] for c in ("probability", "corrected"))
    said = predictions[["probability", "corrected"]].mean()
    return (
        f"Trained on half pain, {name} gives pain a probability of {100 * said['probability']:.0f} "
        f"% on average, where {100 * predictions['pain'].mean():.0f} % of the samples are pain; "
        f"corrected for that, {100 * said['corrected']:.0f} %. Its Brier score goes from "
        f"{number(raw)} to {number(corrected)}."
    )
