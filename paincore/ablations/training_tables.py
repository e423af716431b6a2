"""What SAM cost and how much Mixup mixed, from what every run keeps."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from paincore.ablations.search import Ablation
from paincore.style import from_to
from paincore.training.configuration import EPOCHS, MODELS, Configuration


def sam_cost_table(ablations: Mapping[str, Ablation]) -> pd.DataFrame:
    """Seconds of the training loop without and with SAM, and their ratio on the same folds.

    A row a model: medians over folds, seeds averaged within a fold, and the ratio's range over
    folds. Medians, since the first run of a process may also load SAM's library or compile. A side
    of which a run failed has no seconds.
    """
    rows = []
    for ablation in ablations.values():
        with_sam = ablation.step("sam")[0].configuration
        without, sam = (_train_seconds(ablation, one) for one in (ablation.rate, with_sam))
        ratio = (sam / without).dropna()
        rows.append(
            {
                "model": MODELS[ablation.model],
                "without SAM (s)": f"{without.median():.1f}" if len(without) else "failed",
                "with SAM (s)": f"{sam.median():.1f}" if len(sam) else "failed",
                "ratio": f"{ratio.median():.2f}" if len(ratio) else "-",
                "ratio by fold": from_to(ratio, "{:.2f}"),
            }
        )
    return pd.DataFrame(rows)


def _train_seconds(ablation: Ablation, configuration: Configuration) -> pd.Series:
    """Seconds of the training loop by fold, seeds averaged; empty where a run failed."""
    runs = ablation.runs.get(configuration, ())
    folds = [run.rests_on["fold"] for run in runs]
    seconds = [run.environment["train_seconds"] for run in runs]
    return pd.Series(seconds, folds, np.float64).groupby(level=0).mean()


def mixed_table(ablations: Mapping[str, Ablation]) -> pd.DataFrame:
    """How many samples of an epoch Mixup replaced by a blend, and how many had no partner.

    A row a model and fold; ranges are over values of alpha and seeds. A value of alpha of which a
    run failed is left out.
    """
    rows = []
    for ablation in ablations.values():
        alphas = [trial.configuration for trial in ablation.step("mixup")]
        runs = [run for one in alphas for run in ablation.runs.get(one, ())]
        for fold in sorted({run.rests_on["fold"] for run in runs}):
            own = [run.metrics for run in runs if run.rests_on["fold"] == fold]
            samples = np.array([EPOCHS * each["train_samples"] for each in own])
            mixed = np.array([each["mixed"] for each in own])
            rows.append(
                {
                    "model": MODELS[ablation.model],
                    "fold": f"{fold}",
                    "samples": from_to(samples),
                    "mixed": from_to(mixed),
                    "mixed (%)": from_to(100 * mixed / samples, "{:.1f}"),
                    "no partner": from_to([each["mixed_left_out"] for each in own]),
                }
            )
    return pd.DataFrame(rows)
