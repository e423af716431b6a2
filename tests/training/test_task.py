import numpy as np
import pytest
import torch

from paincore.training.configuration import configure
from paincore.training.task import Task, select
from tests.helpers.trainable import fold_of, write_store_with_a_signal


@pytest.mark.parametrize(("model", "length"), [("vit", 1), ("vivit", 4)])
def test_labels_shuffled_within_subjects_keep_what_is_a_person_s_and_all_do_not(
    tmp_path, model, length
):
    store = write_store_with_a_signal(tmp_path / "store", subjects=8)
    fold = fold_of(store, 1)

    def selected(shuffled):
        one = configure(model=model, shuffled_labels=shuffled)
        return select(Task(store, one, fold, 0, torch.device("cpu")))

    true, within, across = (selected(how) for how in (False, "within_subjects", "all"))
    assert true.rows.shape[1] == length
    people = store.frames["subject"].to_numpy()[true.rows[true.train, -1]]

    def pain_of(labels):
        return [int(labels[people == person].sum()) for person in np.unique(people)]

    assert pain_of(within.labels) == pain_of(true.labels) != pain_of(across.labels)
    assert within.labels.sum() == across.labels.sum() == true.labels.sum()
    for one in np.unique(people):
        assert (within.labels != true.labels)[people == one].any(), one
    for shuffled in (within, across):  # what is tested stays true
        np.testing.assert_array_equal(shuffled.pain, true.pain)
    np.testing.assert_array_equal(selected("within_subjects").labels, within.labels)
