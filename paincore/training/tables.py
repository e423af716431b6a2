"""The tables of chapter 04. Tables of predictions are those of `paincore.statistics`."""

import pandas as pd
import torch
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.modeling_vit import ViTModel

from paincore.folds.designs import Fold
from paincore.registration.frame_store import FrameStore
from paincore.statistics import bootstrap, scores
from paincore.style import Finding, finding, from_to, mean_sd, number, scientific, with_interval
from paincore.training import samples as sampling
from paincore.training import vit
from paincore.training.backbones import load_encoder
from paincore.training.baselines import FEATURES
from paincore.training.comparison import COMPARED, VIEWS
from paincore.training.configuration import ADAM, BATCH_SIZE, EPOCHS, MODELS, Configuration
from paincore.training.runs import Run, by_setting

SHOWN = {"f1": "F1", "auc": "AUC"}
OTHERS = ("average_precision", "precision", "recall")
ALL_SCORES = SHOWN | {name: name.replace("_", " ") for name in OTHERS}


def parameters_table(configurations: list[Configuration]) -> pd.DataFrame:
    """Image, tokens and parameters of each configuration's model, here and on ViT-B/16."""
    table = {}
    for one in configurations:
        with torch.device("meta"):  # shapes without values
            full = ViTModel(ViTConfig(), add_pooling_layer=False)
        for place, encoder in (("here", load_encoder(one.backbone)), ("on ViT-B/16", full)):
            model = vit.PainTransformer(encoder, sampling.CLIP_LENGTH[one.model], torch.Generator())
            vit.freeze(model, one.unfrozen_layers, one.rules.freezing)
            side, patch = encoder.config.image_size, encoder.config.patch_size
            cells = {"image": f"{side} x {side} px", "tokens": f"{(side // patch) ** 2 + 1}"}
            counts = vit.parameter_counts(model)
            counts.loc["all"] = counts.sum()
            for part, row in counts.iterrows():
                cells[part] = ", ".join(
                    f"{count:,} {state}" for state, count in row.items() if count
                )
            table[f"{MODELS[one.model]} {place}"] = cells
    return pd.DataFrame(table).rename_axis("part of the model").reset_index()


def settings_table() -> pd.DataFrame:
    """The settings of every training that the paper prints, in its sections 3.3 and 4."""
    settings = {
        "Adam's β": "{:g} and {:g}".format(*ADAM["betas"]),
        "Adam's ε": scientific(ADAM["eps"]),
        "weight decay": f"{ADAM['weight_decay']:g}",
        "batch": BATCH_SIZE,
        "epochs": EPOCHS,
        "dropout before the head": vit.DROPOUT,
    }
    return pd.DataFrame(settings.items(), columns=["setting", "value"]).astype(str)


def left_out_table(store: FrameStore, configurations: list[Configuration]) -> pd.DataFrame:
    """Frames that end a sample of each configuration, and those that end none, by reason."""
    columns = {}
    for one in configurations:
        against = [store.frames, store.usable, one.model, one.clip_stride]
        columns[MODELS[one.model]] = pd.Series(sampling.reasons_against(*against)).value_counts()
    rows = [*sampling.REASONS, ""]
    table = pd.DataFrame(columns).reindex(rows).dropna(how="all").fillna(0).astype(int)
    table = table.rename({"": "none: it is the last of a sample"}).map("{:,}".format)
    return table.rename_axis("why a frame ends no sample").reset_index()


def balance_table(store, configuration: Configuration, folds: list[Fold], seed=0) -> pd.DataFrame:
    """Pain in per cent, by fold: of its training samples, after the balanced sampling of the
    training's first epoch, and of its test samples."""
    rows = {}
    for fold in folds:
        task = sampling.Task(store, configuration, fold, seed, torch.device("cpu"))
        samples = sampling.fold_samples(task)
        balanced = sampling.balanced_sample(samples.labels, task.generator("draws 0"))
        rows[fold.number] = {
            "training samples": 100 * samples.labels.mean(),
            "balanced training samples": 100 * samples.labels[balanced].mean(),
            "test samples": 100 * samples.pain[samples.test].mean(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fold")


def training_table(runs: list[Run]) -> pd.DataFrame:
    """What each model trained on and for how long, lowest to highest over folds and seeds.

    Seconds are those of the training loop, by the clock of the machine on which it ran.
    """
    rows = [{"model": run.configuration.model} | run.metrics | run.environment for run in runs]
    groups = pd.DataFrame(rows).groupby("model", sort=False)
    table = groups[["train_samples", "steps", "train_seconds"]].agg(from_to)
    table = table.rename(index=MODELS).reset_index()
    return table.set_axis(["model", "training samples", "steps", "seconds"], axis=1)


def by_model(runs: list[Run]) -> dict[str, pd.DataFrame]:
    """The predictions of runs of one configuration a model, under the names of `MODELS`."""
    return {MODELS[model]: table for model, table in by_setting(runs, "model").items()}


def fold_table(tested: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Scores of each model: a row a fold, one for all folds pooled, and mean ± sd over folds."""
    rows = []
    for model, predictions in tested.items():
        by_fold = scores.fold_scores(predictions)
        parts = {f"{row['fold']:.0f}": row for row in by_fold.to_dict("records")}
        for fold, row in {**parts, "pooled": scores.pooled_scores(predictions)}.items():
            cells = {label: number(row[score]) for score, label in ALL_SCORES.items()}
            pain = f"{row['pain']:,.0f} of {row['frames']:,.0f}"
            rows.append({"model": model, "fold": fold, "pain": pain} | cells)
        cells = {label: mean_sd(by_fold[score]) for score, label in ALL_SCORES.items()}
        rows.append({"model": model, "fold": "mean ± sd", "pain": ""} | cells)
    return pd.DataFrame(rows)


def comparison_table(arms: dict[str, pd.DataFrame], resamples: pd.DataFrame) -> pd.DataFrame:
    """F1 and AUC of named predictions: mean ± sd over folds, and pooled with an interval."""
    rows = []
    for name, predictions in arms.items():
        row = {"predicted by": name, "frames": f"{len(scores.seeds_of(predictions)[0]):,}"}
        for score, label in SHOWN.items():
            pooled = bootstrap.estimate_of(predictions, resamples, score)
            row[f"{label}, folds"] = mean_sd(bootstrap.fold_values(predictions, score))
            row[f"{label}, pooled"] = with_interval(*pooled, number)
        rows.append(row)
    return pd.DataFrame(rows)


def training_findings(
    tested: dict, baselines: dict, views: dict, control: pd.DataFrame, resamples: pd.DataFrame
) -> list[Finding]:
    """The rows of the chapter's last table; a baseline or view that is missing has none.

    `tested` holds predictions by the names of `MODELS`, `baselines` and
    `views` come from `baselines.predictions` and `backbones_and_views`; `control` was trained on
    shuffled labels.
    """
    frames, clips = tested["ViT"], tested["ViViT"]
    pairs = {"ViT − always pain": (frames, bootstrap.always_pain(frames))}
    for name in FEATURES:
        if name in baselines:
            pairs[f"ViT − regression on {name}"] = frames, baselines[name]
    pairs["ViViT − ViT"] = clips, frames
    if views:
        names = [f"{COMPARED[0]}, {view}" for view in VIEWS]
        pairs[f"ViT from {names[0]} − {VIEWS[1]}"] = views[names[0]], views[names[1]]
    rows = []
    for asked, pair in pairs.items():
        found = bootstrap.difference(*bootstrap.on_shared_frames(*pair), resamples, "f1")
        rows.append(finding(f"F1, {asked}", *found[:3]))
    auc = bootstrap.estimate_of(control, resamples, "auc")
    asked = "AUC, ViT trained on shuffled labels, against 0.5"
    return [*rows, finding(asked, *auc, number, null=0.5)]
