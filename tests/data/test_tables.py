from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from paincore.data import tables as description
from paincore.data.corpus import Corpus, open_corpus
from tests.helpers.miniature import SEQUENCE, Miniature


@pytest.fixture
def corpus(miniature: Miniature, tmp_path) -> Corpus:
    return open_corpus("unbc", miniature.root, results=tmp_path / "results")


def blinking(*sequences: str) -> pd.DataFrame:
    """A truth table from texts such as "..##.", a letter a frame, # a closed lid."""
    parts = [
        pd.DataFrame({"sequence": f"s{i}", "blink": [letter == "#" for letter in sequence]})
        for i, sequence in enumerate(sequences)
    ]
    return pd.concat(parts).reset_index(names="frame").assign(subject="sy001")


def test_shares_are_of_labelled_frames_in_the_papers_groups(corpus):
    frames = corpus.frames.assign(pspi=[0, 0, 0, 1, 2, 3, 16, np.nan, 0, 0, 0, 0])
    shares = description.percent_by_pspi(frames)
    assert shares.to_dict() == pytest.approx({"0": 700 / 11, "1-2": 200 / 11, "3-16": 200 / 11})


def test_the_subject_with_the_largest_share_of_pain_comes_first(corpus):
    table = description.pain_counts(corpus.frames)
    assert table.index.tolist() == ["ll042", "tv095"]
    assert table.to_numpy().tolist() == [[9, 2, pytest.approx(200 / 9)], [3, 0, 0]]


def test_what_is_left_out_is_counted_with_its_first_case(miniature, tmp_path):
    miniature.picture(2).write_bytes(miniature.picture(2).read_bytes()[:-4])
    (miniature.root / "Images" / "042-ll042" / SEQUENCE / "notes.png").touch()
    corpus = open_corpus("unbc", miniature.root, results=tmp_path / "results")
    table = description.states_of_frames(corpus.frames, ignored=corpus.ignored).set_index("state")
    assert table["count"].to_dict() == {"ok": 11, "truncated": 1, "ignored": 1}
    assert f"{SEQUENCE}002.png" in table.loc["truncated", "first case"]
    assert "notes.png" in table.loc["ignored", "first case"]


def test_frames_whose_label_contradicts_facs_lie_beside_the_diagonal(miniature, tmp_path):
    miniature.pspi(3).write_text("   5.0000000e+00\n")
    corpus = open_corpus("unbc", miniature.root, results=tmp_path / "results")
    table = description.recomputed(corpus.frames)
    assert table.loc[5, 6] == 1
    assert table.to_numpy().sum() - np.trace(table.to_numpy()) == 1


def test_examples_rise_in_pspi_and_change_subject_when_they_can(corpus):
    frames = corpus.frames
    frames.loc[(frames["subject"] == "tv095") & (frames["frame"] == 2), "pspi"] = 4
    examples = description.example_frames(frames, count=8)
    assert examples["pspi"].to_list() == [0, 4, 6]
    assert examples["subject"].to_list() == ["ll042", "tv095", "ll042"]
    usable = frames.assign(state=frames["state"].mask(frames["pspi"] == 6, "truncated"))
    assert description.example_frames(usable, count=8)["pspi"].max() == 4


def test_four_frames_tell_a_blink_of_one_or_two_frames_and_one_that_is_cut_does_not_count():
    table = description.blinks(blinking(".#..##..###.", "##..#", "#...#"))
    assert table["closed"].to_list() == [1, 2, 3]
    assert table["told"].to_list() == [True, True, False]


def test_findings_are_percentages_with_intervals_over_people_and_a_verdict(corpus):
    pain, agree = description.data_findings(corpus)
    assert pain.estimate == "16.7 % [0.0, 22.2]" and pain.verdict == "undecided"
    assert agree.estimate == "100.0 % [100.0, 100.0]" and agree.verdict == "all"


def test_with_truth_findings_tell_how_well_the_label_finds_felt_pain(corpus):
    frames = corpus.frames[["subject", "sequence", "frame"]]
    felt = (frames["sequence"] == SEQUENCE) & frames["frame"].isin([3, 4])
    truth = frames.assign(felt_pain=felt, blink=frames["frame"] == 2)
    *_, precision, recall, told = description.data_findings(replace(corpus, truth=truth))
    assert precision.estimate == recall.estimate == "50.0 % [50.0, 50.0]"
    assert precision.verdict == "lower"
    assert told.verdict == "all"
