from dataclasses import replace

import numpy as np
import pytest

from paincore.attention import interventions
from paincore.attention.interventions import NEUTRAL, Change, InterventionError
from paincore.registration.store import registered
from tests.helpers.onepatch import SIZE


@pytest.fixture(scope="package")
def usable(store):
    return np.flatnonzero(store.usable)


def render_again(corpus, store, rows, changes, size=SIZE):
    """`interventions.render_again` of samples of one frame each."""
    return interventions.render_again(corpus, store, np.array(rows)[:, None], changes, size)


@pytest.mark.parametrize("backend", ["landmarker", "landmarks"])
def test_an_unchanged_frame_is_the_stored_image_to_the_byte(corpus, backend):
    store = registered(corpus, backend, corpus.root.parent / "results")
    usable = np.flatnonzero(store.usable)
    still = usable[corpus.truth["au43"].to_numpy()[usable] == 0][0]
    rows, changes = ([*usable[[0, 7, 3, -1]], still], [*[Change()] * 4, Change((43,))])
    again = render_again(corpus, store, rows, changes, 224)
    np.testing.assert_array_equal(again.frames[:, 0], store.images[rows])
    assert again.whole.all() and not again.moved.any()  # also where an AU is at rest already


def test_removing_an_au_moves_its_own_part_of_the_face(corpus, store, usable):
    rows = [usable[corpus.truth[f"au{au}"].to_numpy()[usable].argmax()] for au in (43, 12)]
    again = render_again(corpus, store, rows, [Change((43,)), Change((12,))])
    lids, mouth = (np.argwhere(one[0])[:, 0] for one in again.moved)
    assert len(lids) > 10 and lids.mean() < 0.5 * SIZE
    assert len(mouth) > 10 and mouth.mean() > 0.5 * SIZE


def test_changes_do_not_touch_one_another_and_workers_render_what_one_process_does(
    corpus, store, usable, tested
):
    clip = next(usable[n : n + 4] for n in range(20) if usable[n + 3] - usable[n] == 3)
    changes = [NEUTRAL, Change((12,)), Change()]
    clips = interventions.render_again(corpus, store, np.stack([clip] * 3), changes, SIZE)
    assert clips.frames.shape == (3, 4, SIZE, SIZE, 3)
    assert clips.visible.shape == clips.moved.shape == (3, 4, SIZE, SIZE)
    np.testing.assert_array_equal(clips.frames[2], tested.images[clip])
    alone = render_again(corpus, store, [clip[3], usable[-1]], [NEUTRAL, Change(turn=10.0)])
    np.testing.assert_array_equal(alone.frames[0, 0], clips.frames[0, 3])
    np.testing.assert_array_equal(alone.moved[0, 0], clips.moved[0, 3])


def test_a_head_that_is_turned_hides_a_side_and_one_that_is_lost_is_black(corpus, store, usable):
    row = usable[np.abs(corpus.truth["yaw"].to_numpy()[usable]).argmin()]
    changes = [Change(turn=20.0), Change(turn=150.0)]
    again = render_again(corpus, store, [row] * 2, changes, 224)
    hidden = store.images[row].any(axis=-1) & ~again.frames[0, 0].any(axis=-1)
    assert hidden[:, 112:].sum() > 5 * max(1, hidden[:, :112].sum())  # the image's right
    assert again.whole.tolist() == [True, False] and not again.frames[1].any()


def test_an_au_is_active_from_a_trace_on_and_lids_from_half_closed_on(corpus):
    names = [f"au{au}" for au in (4, 6, 7, 9, 10, 43)]
    truth = corpus.truth.copy()
    truth.loc[0, names] = [0.99, 1.0, 5.0, 0.0, 0.0, 0.49]
    truth.loc[1, names] = [1.2, 0.0, 0.0, 0.0, 1.0, 0.5]
    known = replace(corpus, truth=truth)
    assert interventions.active_aus(known, np.array([0, 1])) == [(6, 7), (4, 10, 43)]


def test_what_cannot_be_rendered_again_is_named(corpus, store, usable):
    with pytest.raises(InterventionError, match="dataset=synthetic"):
        render_again(replace(corpus, truth=None), store, usable[:1], [Change()])
    with pytest.raises(InterventionError, match="AU27"):
        render_again(corpus, store, usable[:1], [Change((27,))])
