from types import SimpleNamespace

import numpy as np

from paincore.folds.designs import Fold
from paincore.training.comparison import backbones_and_views
from paincore.training.configuration import configure


def test_shared_folds_lose_what_is_not_usable_on_both_sides():
    fold = Fold("balanced", 1, np.array([0, 1, 4]), np.array([2, 3]))
    shared = fold.among(np.array([True, False, True, False, True]))
    assert (shared.train.tolist(), shared.test.tolist()) == ([0, 4], [2])


def test_backbones_are_not_compared_where_training_starts_from_a_full_size_one():
    full = configure(backbone="google/vit-base-patch16-224")
    assert backbones_and_views(SimpleNamespace(), full) == {}
