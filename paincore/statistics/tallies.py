"""What pooled scores are made of, counted by subject, so that a draw of subjects only adds up.

A score is a sum of hits over a sum of what could be hit. For "f1" the sums go over subjects, for
"auc" over pairs of subjects. S is the number of subjects, B of draws; all counts are float64.
"""

import numpy as np
import pandas as pd

from paincore.statistics.scores import called_pain


def classes(predictions: pd.DataFrame, subjects: pd.Index) -> np.ndarray:
    """Painful and painless frames of each subject, (2, S). Used by
    `paincore.statistics.bootstrap`."""
    whose = subjects.get_indexer(predictions["subject"])
    pain = predictions["pain"].to_numpy(bool)
    counts = [np.bincount(whose[flags], minlength=len(subjects)) for flags in (pain, ~pain)]
    return np.array(counts, np.float64)


def both_classes(counted: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Which draws, weights (B, S), hold both classes, of `classes`: bool (B,)."""
    return (counted @ drawn.T > 0).all(axis=0)


def hits(predictions: pd.DataFrame, subjects: pd.Index, score: str) -> np.ndarray:
    """Hits, and what could be hit: (2, S) for "f1", (2, S, S) for "auc"."""
    return {"f1": _f1_hits, "auc": _auc_hits}[score](predictions, subjects)


def _f1_hits(predictions: pd.DataFrame, subjects: pd.Index) -> np.ndarray:
    """Frames of pain called pain, twice; frames of pain and frames called pain, together."""
    whose = subjects.get_indexer(predictions["subject"])
    pain = predictions["pain"].to_numpy(np.float64)
    said = called_pain(predictions["probability"].to_numpy())
    return np.array(
        [np.bincount(whose, each, len(subjects)) for each in (2 * pain * said, pain + said)]
    )


def _auc_hits(predictions: pd.DataFrame, subjects: pd.Index) -> np.ndarray:
    """Pairs of a painful frame of the row's subject and a painless one of the column's.

    First those in which pain has the higher value, half of those with equal ones; then all.
    """
    whose = subjects.get_indexer(predictions["subject"])
    pain = predictions["pain"].to_numpy(bool)
    values = predictions["probability"].to_numpy()
    painful, painless = classes(predictions, subjects)
    won = np.zeros((len(subjects), len(subjects)))
    for column in np.flatnonzero(painless):
        others = np.sort(values[~pain & (whose == column)])
        below = np.searchsorted(others, values[pain], "left")
        ties = np.searchsorted(others, values[pain], "right") - below
        won[:, column] = np.bincount(whose[pain], below + ties / 2, len(subjects))
    return np.array([won, np.outer(painful, painless)])


def added(counted: np.ndarray, drawn: np.ndarray, score: str) -> np.ndarray:
    """`hits` (..., S) or (..., S, S), added up in each draw, weights (B, S): (..., B)."""
    if score == "f1":
        return counted @ drawn.T
    return np.einsum("...bs,bs->...b", drawn @ counted, drawn)


def left_out(drawn: np.ndarray, score: str) -> np.ndarray:
    """In how many draws (B, S) each subject, or for "auc" each pair of them, is not drawn."""
    left = (drawn == 0).astype(np.float64)
    return left.sum(axis=0) if score == "f1" else left.T @ left
