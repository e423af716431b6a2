from dataclasses import replace

import numpy as np
import pytest

from paincore.attention import interventions
from paincore.attention.interventions import (
    NEUTRAL,
    UNCHANGED,
    Change,
    InterventionError,
    render_again,
)
from paincore.registration.store import registered
from tests.helpers.onepatch import SIZE


def strongest(corpus, usable, au):
    """The usable row in which an AU acts most."""
    return usable[corpus.truth[f"au{au}"].to_numpy()[usable].argmax()]


@pytest.mark.parametrize("backend", ["landmarker", "landmarks"])
def test_an_unchanged_frame_is_the_stored_image_to_the_byte(corpus, backend):
    store = registered(corpus, backend, corpus.root.parent / "results", workers=1)
    usable = np.flatnonzero(store.usable)
    still = usable[corpus.truth["au43"].to_numpy()[usable] == 0][0]
    rows, changes = ([*usable[[0, 7, 3, -1]], still], [*[UNCHANGED] * 4, Change((43,))])
    again = render_again(corpus, store, np.array(rows)[:, None], changes, 224, workers=1)
    np.testing.assert_array_equal(again.frames[:, 0], store.images[rows])
    assert again.whole.all() and not again.moved.any()  # also where an AU is at rest already


def test_removing_an_au_moves_its_own_part_of_the_face(corpus, store, usable, shrunk_images):
    rows = np.array([strongest(corpus, usable, au) for au in (43, 12)])
    changes = [Change((43,)), Change((12,))]
    again = render_again(corpus, store, rows[:, None], changes, SIZE, workers=1)
    lids, mouth = (np.argwhere(one[0])[:, 0] for one in again.moved)
    assert len(lids) > 10 and lids.mean() < 0.5 * SIZE
    assert len(mouth) > 10 and mouth.mean() > 0.5 * SIZE
    assert (again.frames[:, 0] != shrunk_images[rows]).any()


def test_changes_do_not_touch_one_another_and_two_processes_render_what_one_does(
    corpus, store, usable, shrunk_images
):
    clip = next(usable[n : n + 4] for n in range(20) if usable[n + 3] - usable[n] == 3)
    changes = [NEUTRAL, Change((12,)), UNCHANGED]
    clips = render_again(corpus, store, np.stack([clip] * 3), changes, SIZE, workers=1)
    assert clips.frames.shape == (3, 4, SIZE, SIZE, 3)
    assert clips.visible.shape == clips.moved.shape == (3, 4, SIZE, SIZE)
    np.testing.assert_array_equal(clips.frames[2], shrunk_images[clip])
    rows = np.array([[clip[3]], [usable[-1]]])
    alone = render_again(corpus, store, rows, [NEUTRAL, Change(turn=10.0)], SIZE, workers=2)
    np.testing.assert_array_equal(alone.frames[0, 0], clips.frames[0, 3])
    np.testing.assert_array_equal(alone.moved[0, 0], clips.moved[0, 3])


def test_a_head_that_is_turned_hides_a_side_and_one_that_is_lost_is_black_and_named(
    corpus, store, usable
):
    row = usable[np.abs(corpus.truth["yaw"].to_numpy()[usable]).argmin()]
    changes = [Change(turn=20.0), Change(turn=150.0)]
    again = render_again(corpus, store, [[row]] * 2, changes, 224, workers=1)
    hidden = store.images[row].any(axis=-1) & ~again.frames[0, 0].any(axis=-1)
    assert hidden[:, 112:].sum() > 5 * max(1, hidden[:, :112].sum())  # the image's right
    assert again.whole.tolist() == [True, False] and not again.frames[1].any()
    name = store.frames["sequence"].iloc[row]
    assert name in again.problems[1, 0]
    with pytest.raises(InterventionError, match=name):
        again.check_some_left(np.array([False, False]))
    again.check_some_left(again.whole)


def test_an_au_is_active_from_a_trace_on_and_lids_from_half_closed_on(corpus):
    names = [f"au{au}" for au in (4, 6, 7, 9, 10, 43)]
    truth = corpus.truth.copy()
    truth.loc[0, names] = [0.99, 1.0, 5.0, 0.0, 0.0, 0.49]
    truth.loc[1, names] = [1.2, 0.0, 0.0, 0.0, 1.0, 0.5]
    known = replace(corpus, truth=truth)
    assert interventions.active_aus(known, np.array([0, 1])) == [(6, 7), (4, 10, 43)]


def test_what_cannot_be_rendered_again_is_named(corpus, store, usable):
    def again(corpus=corpus, rows=usable[:1, None], change=UNCHANGED):
        return render_again(corpus, store, rows, [change] * len(rows), SIZE, workers=1)

    with pytest.raises(InterventionError, match="dataset=synthetic"):
        again(corpus=replace(corpus, truth=None))
    with pytest.raises(InterventionError, match="not registered from"):
        again(corpus=replace(corpus, fingerprint="another"))
    with pytest.raises(InterventionError, match="AU27"):
        again(change=Change((27,)))
    with pytest.raises(InterventionError, match="no sample"):
        again(rows=usable[:0, None])
