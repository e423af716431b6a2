from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from paincore.attention import interventions, redrawing
from paincore.attention.interventions import (
    NEUTRAL,
    UNCHANGED,
    Change,
    InterventionError,
    active_aus,
    check_some_left,
    examined,
    render_again,
    settings_of,
)
from paincore.attention.redrawing import LUMINANCE, MOVED
from paincore.data.corpus import open_corpus
from paincore.registration.backends import load_backend
from paincore.registration.faces import Picture, decode, find_faces
from paincore.registration.store import registered
from paincore.training.feed import images_at
from synthpain.behaviour import DRAWN, drawn
from synthpain.corpus import VIEW, renderer_of, synthesize, temperaments
from synthpain.head import View

SIZE = 48


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """30 frames of two people, one of whom closes the eyes and lowers the brow in pain."""
    root = tmp_path_factory.mktemp("interventions") / "corpus"
    synthesize(root, frames=30, subjects=2, seed=17, workers=1, progress=False)
    return open_corpus("synthetic", root, results=root.parent / "results")


@pytest.fixture(scope="module")
def store(corpus):
    return registered(corpus, results=corpus.root.parent / "results", workers=1)


@pytest.fixture(scope="module")
def usable(store):
    return np.flatnonzero(store.usable)


def strongest(corpus, usable, au):
    """The usable row in which an AU acts most."""
    return usable[corpus.truth[f"au{au}"].to_numpy()[usable].argmax()]


def noise_free(corpus, row, removed=()):
    """The frame of a row without noise, drawn by the generator's own parts."""
    truth = corpus.truth.iloc[[row]].assign(**{f"au{au}": 0.0 for au in removed})
    person = int(truth["subject"].iloc[0][2:]) - 1
    face = drawn(truth, temperaments(2, 17)[person].rest).iloc[0].to_dict()
    view = View(**truth.iloc[0][VIEW].to_dict(), width=320, height=240)
    return renderer_of(2, 17, person).render(face, view, None)


@pytest.mark.parametrize("backend", ["landmarker", "landmarks"])
def test_an_unchanged_frame_is_the_stored_picture_to_the_byte(corpus, backend):
    results = corpus.root.parent / "results"
    store = registered(corpus, backend, results, workers=1)
    rows = np.flatnonzero(store.usable)[[0, 7, 3, -1]]
    whole = render_again(corpus, store, rows[:, None], [UNCHANGED] * 4, 224, workers=1)
    np.testing.assert_array_equal(whole.frames[:, 0], store.images[rows])
    small = render_again(corpus, store, rows[:, None], [UNCHANGED] * 4, SIZE, workers=1)
    pictures = images_at(store, SIZE, results / "cache")
    np.testing.assert_array_equal(small.frames[:, 0], pictures[rows])
    assert whole.found.all()
    assert not whole.moved.any()
    assert whole.lost == ()


def test_an_au_that_is_at_rest_already_cannot_be_removed_visibly(corpus, store, usable):
    still = usable[corpus.truth["au43"].to_numpy()[usable] == 0][:2]
    again = render_again(corpus, store, still[:, None], [Change((43,))] * 2, 224, workers=1)
    np.testing.assert_array_equal(again.frames[:, 0], store.images[still])


def test_removing_an_au_moves_its_own_part_of_the_face(corpus, store, usable):
    rows = np.array([strongest(corpus, usable, au) for au in (43, 12)])
    again = render_again(
        corpus, store, rows[:, None], [Change((43,)), Change((12,))], SIZE, workers=1
    )
    lids, mouth = again.moved[:, 0]
    assert lids.sum() > 10
    assert mouth.sum() > 10
    heights = np.arange(SIZE)[:, None]
    assert np.average(heights.repeat(SIZE, 1), weights=lids) < 0.5 * SIZE
    assert np.average(heights.repeat(SIZE, 1), weights=mouth) > 0.5 * SIZE
    assert (
        again.frames[:, 0] != images_at(store, SIZE, corpus.root.parent / "results" / "cache")[rows]
    ).any()


def test_what_moves_is_what_differs_between_pictures_without_noise(corpus, store, usable):
    row = strongest(corpus, usable, 43)
    again = render_again(corpus, store, [[row]], [Change((43,))], SIZE, workers=1)
    backend = load_backend("landmarker")
    path = corpus.root / store.frames["image"].iloc[row]
    [face] = find_faces([Picture("frame", decode(np.fromfile(path, np.uint8)))], backend)
    views = [
        backend.view(noise_free(corpus, row, removed), face.mesh, backend.topology, 224)
        for removed in ((), (43,))
    ]
    small = [cv2.resize(v.image, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for v in views]
    differ = np.abs((small[0] @ LUMINANCE) - (small[1] @ LUMINANCE))
    sure = np.abs(differ - MOVED) > 1  # noise is rounded and clipped with the picture
    np.testing.assert_array_equal(again.moved[0, 0][sure], (differ > MOVED)[sure])
    assert again.moved.sum() > 10
    seen = cv2.resize(views[0].visible.astype(np.float32), (SIZE, SIZE), interpolation=3) >= 0.5
    np.testing.assert_array_equal(again.visible[0, 0], seen)


def test_in_a_clip_all_frames_are_changed_and_changes_do_not_touch_one_another(
    corpus, store, usable
):
    clip = next(usable[n : n + 4] for n in range(20) if usable[n + 3] - usable[n] == 3)
    changes = [NEUTRAL, Change((12,)), UNCHANGED]
    clips = render_again(corpus, store, np.stack([clip] * 3), changes, SIZE, workers=1)
    assert clips.frames.shape == (3, 4, SIZE, SIZE, 3)
    assert clips.visible.shape == clips.moved.shape == (3, 4, SIZE, SIZE)
    for place in (0, 3):
        alone = render_again(corpus, store, [[clip[place]]], [NEUTRAL], SIZE, workers=1)
        np.testing.assert_array_equal(alone.frames[0, 0], clips.frames[0, place])
        np.testing.assert_array_equal(alone.moved[0, 0], clips.moved[0, place])
    stored = images_at(store, SIZE, corpus.root.parent / "results" / "cache")
    np.testing.assert_array_equal(clips.frames[2], stored[clip])


def test_two_processes_draw_what_one_does(corpus, store, usable):
    rows = usable[[0, 5, -1]][:, None]
    how = corpus, store, rows, [NEUTRAL, Change((12,)), Change(turn=10.0)], SIZE
    one, two = (render_again(*how, workers=count) for count in (1, 2))
    for part in ("frames", "moved", "visible", "found"):
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))


def test_a_head_that_is_turned_hides_a_side(corpus, store, usable):
    row = usable[np.abs(corpus.truth["yaw"].to_numpy()[usable]).argmin()]
    turned = render_again(corpus, store, [[row]], [Change(turn=20.0)], 224, workers=1)
    seen = turned.frames[0, 0].any(axis=-1)
    before = store.images[row].any(axis=-1)
    lost = before & ~seen
    assert lost[:, 112:].sum() > 5 * max(1, lost[:, :112].sum())  # the picture's right


def test_a_frame_on_which_no_face_is_found_is_black_and_listed(corpus, store, usable):
    rows, changes = usable[[0, 0]][:, None], [UNCHANGED, Change(turn=150.0)]
    again = render_again(corpus, store, rows, changes, SIZE, workers=1)
    assert again.found.tolist() == [[True], [False]]
    assert again.whole.tolist() == [True, False]
    assert not again.frames[1].any()
    [said] = again.lost
    assert "turned by 150 degrees" in said
    assert "no face" in said or "presence" in said


def test_samples_are_spread_evenly_over_each_subject():
    table = pd.DataFrame({"subject": ["a"] * 8 + ["b"] * 2 + ["c"] * 3, "pain": True})
    table.loc[10:, "pain"] = False
    assert examined(table, 2).tolist() == [2, 6, 8, 9]
    assert examined(table, 1).tolist() == [4, 9]
    assert examined(table, 5, pain=False).tolist() == [10, 11, 12]
    assert examined(table[:0], 2).shape == (0,)


def test_an_au_is_active_from_a_trace_on_and_lids_from_half_closed_on(corpus):
    names = [f"au{au}" for au in (4, 6, 7, 9, 10, 43)]
    truth = corpus.truth.copy()
    truth.loc[0, names] = [0.99, 1.0, 5.0, 0.0, 0.0, 0.49]
    truth.loc[1, names] = [1.2, 0.0, 0.0, 0.0, 1.0, 0.5]
    known = replace(corpus, truth=truth)
    assert active_aus(known, np.array([0, 1])) == [(6, 7), (4, 10, 43)]
    assert set(DRAWN) > {4, 6, 7, 9, 10, 43, 45}


def test_what_cannot_be_drawn_again_is_named(corpus, store, usable):
    def again(corpus=corpus, store=store, rows=((1,),), changes=(UNCHANGED,)):
        return render_again(corpus, store, np.array(rows), list(changes), SIZE, workers=1)

    with pytest.raises(InterventionError, match="does not know what its frames were caused by"):
        again(corpus=replace(corpus, truth=None))
    with pytest.raises(InterventionError, match="was not registered from"):
        again(corpus=replace(corpus, fingerprint="another"))
    with pytest.raises(InterventionError, match="AU27 is not drawn; there are 1, 2, 4"):
        again(rows=[[usable[0]]], changes=[Change((27,))])
    with pytest.raises(InterventionError, match="for 2 changes"):
        again(rows=[[usable[0]]], changes=[UNCHANGED] * 2)
    black = np.flatnonzero(~store.usable)[0]
    state = store.frames["state"].iloc[black]
    with pytest.raises(InterventionError, match=rf"no usable face \({state}\)"):
        again(rows=[[black]])
    with pytest.raises(InterventionError, match="not of the same frames"):
        again(corpus=replace(corpus, truth=corpus.truth[1:].reset_index(drop=True)))


def test_nothing_to_draw_is_nothing_drawn(corpus, store):
    nothing = render_again(corpus, store, np.zeros((0, 1), int), [], SIZE)
    assert nothing.frames.shape == (0, 1, SIZE, SIZE, 3)
    assert nothing.whole.shape == (0,)


def test_a_stored_face_that_is_not_found_again_counts_as_lost(corpus, store, usable, monkeypatch):
    """As on another processor; here the backend sees nothing."""
    backend = load_backend("landmarker")
    blind = replace(backend, find=lambda images, landmarks: [None] * len(images))
    monkeypatch.setattr(redrawing, "_loaded", lambda name: blind)
    wanted = [(int(usable[0]), UNCHANGED)]
    [job] = interventions._jobs(corpus, store, corpus.truth, settings_of(corpus), wanted, SIZE)
    [outcome] = redrawing.redraw(job).values()
    assert "no face found" in outcome.problem and not outcome.picture.any()


def test_samples_that_are_all_lost_are_said_by_name(corpus, store, usable):
    again = render_again(corpus, store, usable[:1, None], [Change(turn=150.0)], SIZE, workers=1)
    with pytest.raises(InterventionError, match="None of 1 samples"):
        check_some_left(again.whole, again)
    check_some_left(np.array([True, False]), again)
