from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from paincore.manifest import ROOT
from paincore.registration import accuracy, backends
from paincore.registration import tables as description


def frames(**columns) -> pd.DataFrame:
    table = pd.DataFrame(columns)
    return table.assign(sequence=table.get("sequence", "a"), index=range(10, 10 + len(table)))


def test_the_clip_is_where_pspi_rises_most_over_four_frames():
    table = frames(frame=range(1, 9), pspi=[0, 0, 5, 5, 5, 12, 12, 12]).set_index("index")
    assert description.rising_clip(table)["frame"].tolist() == [3, 4, 5, 6]
    assert description.rising_clip(table).index.tolist() == [12, 13, 14, 15]


def test_no_clip_spans_a_gap_or_two_sequences():
    gap = frames(frame=[1, 2, 3, 5, 6, 7], pspi=range(6))
    assert description.rising_clip(gap).empty
    two = frames(frame=[1, 2, 3, 4, 5, 6], pspi=range(6), sequence=list("aaabbb"))
    assert description.rising_clip(two).empty


def test_a_clip_without_pspi_is_the_last_choice():
    table = frames(frame=range(1, 6), pspi=[None, 0.0, 0.0, 0.0, 0.0])
    assert description.rising_clip(table)["frame"].tolist() == [2, 3, 4, 5]


def test_the_turning_person_is_the_one_with_the_widest_yaw_sorted_by_it():
    table = frames(subject=list("abab"), yaw=[30.0, 5, 35, -5])
    assert description.turning_person(table)["yaw"].tolist() == [-5, 5]


def test_frames_spread_over_yaw_hold_both_ends_and_none_twice():
    table = frames(yaw=[-20.0, -19, -18, 0, 20])
    assert description.spread_over_yaw(table, 3)["yaw"].tolist() == [-20, 0, 20]
    assert len(description.spread_over_yaw(table, 50)) == 5


def test_each_subject_is_shown_once_by_the_frame_turned_most():
    table = frames(subject=list("aabbc"), yaw=[3.0, -30, 8, 2, -1])
    assert description.most_turned(table, 5)["yaw"].tolist() == [-30, -1, 8]
    assert description.most_turned(table, 2)["subject"].tolist() == ["a", "b"]


def test_a_backend_without_its_weights_says_how_to_give_them(monkeypatch, tmp_path):
    monkeypatch.setattr(backends, "ASSETS", tmp_path)
    here = description.backends_here()
    assert [name for name, found in here.items() if isinstance(found, str)] == ["prnet"]
    assert "github.com/yfeng95/PRNet" in here["prnet"]
    sentences = description.backends_list(here)
    assert sentences.count("Ready.") == 3
    assert f"{Path(ROOT)}/" not in sentences


@pytest.fixture(scope="module")
def sample(drawn_corpus, drawn_store):
    return accuracy.inspect(drawn_corpus, drawn_store, backends.load_backend("landmarker"), most=3)


def test_findings_count_what_was_left_out_by_its_reason(drawn_corpus, drawn_store, sample):
    sentences = description.findings(drawn_corpus, drawn_store, sample, None)
    assert "22 of 24 frames were registered; 2 were left out (" in sentences
    assert "1 black" in sentences
    assert "1 truncated" in sentences
    assert "3 frames the mesh lies" in sentences
    assert "true landmarks" in sentences


def test_findings_on_films_claim_no_truth(drawn_corpus, drawn_store, sample):
    films = replace(drawn_corpus, truth=None)
    sentences = description.findings(films, drawn_store, sample, None)
    assert "true" not in sentences
    assert "corpus's own landmarks" in sentences


def test_findings_on_a_corpus_without_a_face_say_so_and_no_more(drawn_corpus, drawn_store, sample):
    store = replace(drawn_store, frames=drawn_store.frames.assign(state="no_face"))
    nothing = replace(sample, errors=sample.errors[:0])
    sentences = description.findings(drawn_corpus, store, nothing, None)
    assert sentences == (
        "- With `landmarker`, 0 of 24 frames were registered; 24 were left out (24 no face)."
    )
