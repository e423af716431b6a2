import json
import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paincore.data import corpus as corpus_module
from paincore.data import facs, unbc
from paincore.data.corpus import compare_counts, index, label_fingerprint, open_corpus
from paincore.data.frames import FRAMES
from paincore.data.unbc import CorpusError
from paincore.manifest import Expected, dataset_named
from tests.helpers.miniature import SEQUENCE, Miniature


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def synthetic(miniature: Miniature) -> Miniature:
    """The miniature with what tells a synthetic corpus from a real one."""
    truth = miniature.root / "Truth"
    truth.mkdir()
    frames, _, _ = index(miniature.root, miniature.root.parent)
    frames[["subject", "sequence", "frame"]].assign(felt_pain=True).to_parquet(
        truth / "frames.parquet"
    )
    (truth / "generator.json").write_text(json.dumps({"version": 1, "frames": 12}))
    return miniature


def test_only_a_synthetic_corpus_opens_with_truth(synthetic, results):
    corpus = open_corpus("synthetic", synthetic.root, results=results)
    assert corpus.dataset.synthetic and corpus.label == "synthetic"
    assert len(corpus.truth) == len(corpus.frames) == 12
    shutil.rmtree(synthetic.root / "Truth")
    corpus = open_corpus("unbc", synthetic.root, results=results)
    FRAMES.validate(corpus.frames)
    assert corpus.dataset == dataset_named("unbc")
    assert corpus.truth is None and corpus.ignored == ()


def test_pain_is_pspi_above_the_threshold(miniature, results):
    def painful(threshold: float) -> list[int]:
        corpus = open_corpus("unbc", miniature.root, results=results, threshold=threshold)
        return corpus.frames.loc[corpus.frames["pain"], "frame"].to_list()

    assert painful(0) == [2, 3]
    assert painful(4) == [3]
    assert painful(6) == []


# The cache of the index


def test_an_unchanged_corpus_is_not_read_again(miniature, results, monkeypatch):
    first = open_corpus("unbc", miniature.root, results=results)
    monkeypatch.setattr(corpus_module, "read_frames", None)
    second = open_corpus("unbc", miniature.root, results=results)
    pd.testing.assert_frame_equal(first.frames, second.frames)
    FRAMES.validate(second.frames)
    assert first.fingerprint == second.fingerprint


def test_a_changed_label_is_seen_through_the_cache(miniature, results):
    before = open_corpus("unbc", miniature.root, results=results)
    miniature.pspi(2).write_text("   9.0000000e+00\n")
    after = open_corpus("unbc", miniature.root, results=results)
    assert after.frames.loc[after.frames["pspi"].eq(9), ["sequence", "frame"]].values.tolist() == [
        [SEQUENCE, 2]
    ]
    assert before.fingerprint != after.fingerprint


def test_a_damaged_cache_is_written_anew(miniature, results):
    first, _, _ = index(miniature.root, results)
    (cache,) = (results / "index").iterdir()
    cache.write_bytes(cache.read_bytes()[:100])
    second, _, _ = index(miniature.root, results)
    pd.testing.assert_frame_equal(first, second)
    assert [path.name for path in (results / "index").iterdir()] == [cache.name]


def test_what_was_left_out_is_told_from_the_cache_too(miniature, results):
    (miniature.root / "Images" / "notes.txt").touch()
    miniature.rating("VAS").write_text("none")
    read = open_corpus("unbc", miniature.root, results=results).ignored
    cached = open_corpus("unbc", miniature.root, results=results).ignored
    assert read == cached
    assert [sentence.split()[0] for sentence in read] == [
        "'Images/notes.txt'",
        "Sequence_Labels/VAS/042-ll042/ll042t1aaaff.txt",
    ]


# The fingerprint


def test_the_fingerprint_does_not_depend_on_where_the_corpus_lies(miniature, results, tmp_path):
    moved = shutil.copytree(miniature.root, tmp_path / "moved")
    first = open_corpus("unbc", miniature.root, results=results)
    assert first.fingerprint == open_corpus("unbc", moved, results=results).fingerprint


@pytest.mark.parametrize(
    ("column", "value"), [("au50", 1), ("pspi", np.nan), ("frame", 99), ("state", "bad_facs")]
)
def test_the_fingerprint_changes_with_keys_labels_and_states(miniature, results, column, value):
    frames, _, _ = index(miniature.root, results)
    changed = frames.copy()
    changed.loc[11, column] = value
    assert label_fingerprint(frames, "1") == label_fingerprint(frames.copy(), "1")
    assert label_fingerprint(frames, "1") != label_fingerprint(changed, "1")
    assert label_fingerprint(frames, "1") != label_fingerprint(frames, "2")


def test_changed_images_are_another_corpus_and_corrected_landmarks_are_not(miniature, results):
    first = open_corpus("unbc", miniature.root, results=results)
    change_with_size_and_time_kept(miniature.landmarks(2))
    second = open_corpus("unbc", miniature.root, results=results)
    assert first.landmarks_sha256 != second.landmarks_sha256
    assert first.fingerprint == second.fingerprint
    change_with_size_and_time_kept(miniature.picture(2))
    third = open_corpus("unbc", miniature.root, results=results)
    pd.testing.assert_frame_equal(second.frames, third.frames)
    assert second.fingerprint != third.fingerprint


def change_with_size_and_time_kept(path: Path) -> None:
    """Change a byte in the middle, as an editor and `touch --date` would."""
    content, status = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_where_only_times_changed_one_warning_says_so_and_results_are_kept(miniature, results):
    first = open_corpus("unbc", miniature.root, results=results)
    os.utime(miniature.picture(2))
    with pytest.warns(UserWarning, match=f"{miniature.root}: times of files have changed") as told:
        second = open_corpus("unbc", miniature.root, results=results)
    assert len(told) == 1
    assert first.fingerprint == second.fingerprint
    change_with_size_and_time_kept(miniature.picture(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_corpus("unbc", miniature.root, results=results)  # a picture changed
        open_corpus("unbc", miniature.root, results=results)  # nothing changed


def test_a_file_system_without_times_has_the_corpus_read_each_time(miniature, results, monkeypatch):
    monkeypatch.setattr(unbc, "times_of", lambda status: (0, 0))
    before = open_corpus("unbc", miniature.root, results=results)
    change_with_size_and_time_kept(miniature.picture(2))
    after = open_corpus("unbc", miniature.root, results=results)
    assert before.fingerprint != after.fingerprint
    miniature.pspi(1).write_text(miniature.pspi(1).read_text().replace("0.0", "1.0"))
    corrected = open_corpus("unbc", miniature.root, results=results)
    assert corrected.frames["pspi"].sum() == after.frames["pspi"].sum() + 1


def test_another_formula_of_pspi_reaches_a_cached_table(miniature, results, monkeypatch):
    open_corpus("unbc", miniature.root, results=results)
    monkeypatch.setattr(facs, "pspi", lambda au4, *_: au4)
    frames = open_corpus("unbc", miniature.root, results=results).frames
    np.testing.assert_array_equal(frames["pspi_facs"], frames["au4"])
    np.testing.assert_array_equal(frames["pspi_difference"], frames["pspi"] - frames["au4"])


# What the data are called


def test_a_corpus_is_called_by_its_entry_only_if_it_is_as_large(miniature, results):
    corpus = open_corpus("unbc", miniature.root, results=results)
    assert "2 subjects, 12 frames" in corpus.label and "not the archive" in corpus.label
    assert corpus.dataset.title not in corpus.label
    counts = {"subjects": 2, "sequences": 3, "frames": 12}
    for changed, same in (({}, True), ({"frames": 13}, False), ({"sequences": 4}, False)):
        expected = Expected(**counts | changed, longest_sequence=99)
        entry = corpus.dataset.model_copy(update={"expected": expected})
        assert (replace(corpus, dataset=entry).label == entry.title) == same


# What is refused


@pytest.mark.parametrize(
    ("dataset", "profile", "sentence"),
    [("unbc", "demo", "data_root.*agreement"), ("synthetic", "paper", "give the corpus folder")],
)
def test_a_corpus_that_cannot_be_made_is_refused_with_how_to_obtain_it(dataset, profile, sentence):
    with pytest.raises(CorpusError, match=sentence):
        open_corpus(dataset, profile=profile)


def test_a_synthetic_corpus_never_passes_for_a_real_one(synthetic, results):
    with pytest.raises(CorpusError, match="is a synthetic corpus, not UNBC-McMaster"):
        open_corpus("unbc", synthetic.root, results=results)


def test_a_real_corpus_never_passes_for_a_synthetic_one(miniature, results):
    before = sorted(miniature.root.rglob("*"))
    with pytest.raises(CorpusError, match="not a whole synthetic corpus"):
        open_corpus("synthetic", miniature.root, results=results)
    assert sorted(miniature.root.rglob("*")) == before


def test_results_inside_the_corpus_are_refused(miniature):
    before = sorted(miniature.root.rglob("*"))
    with pytest.raises(CorpusError, match="inside the corpus"):
        open_corpus("unbc", miniature.root, results=miniature.root / "results")
    assert sorted(miniature.root.rglob("*")) == before


def test_results_that_cannot_be_written_are_refused_by_name(miniature, results):
    results.write_text("a file where the folder should be")
    with pytest.raises(CorpusError, match="results/index cannot be written"):
        open_corpus("unbc", miniature.root, results=results)


@pytest.mark.parametrize("name", ["generator.json", "frames.parquet"])
def test_a_damaged_truth_is_refused_by_name(synthetic, results, name):
    (synthetic.root / "Truth" / name).write_text("[]")
    with pytest.raises(CorpusError, match=name):
        open_corpus("synthetic", synthetic.root, results=results)


# Counts against the manifest


def test_counts_that_differ_from_the_manifest_are_told_one_by_one(miniature, results):
    frames, _, _ = index(miniature.root, results)
    expected = Expected(
        subjects=2,
        sequences=3,
        frames=13,
        shortest_sequence=3,
        by_subject={
            "ll042": {"frames": 9, "sequences": 2},
            "xx999": {"frames": 4, "sequences": 1},
        },
        pspi={"verified": False, "frames": {"0": 10, "3-4": 2}},
    )
    table = compare_counts(frames, expected).set_index("what")
    wrong = table[table["expected"] != table["found"]]
    assert wrong[["expected", "found"]].to_dict("index") == {
        "frames": {"expected": 13, "found": 12},
        "frames of tv095": {"expected": 0, "found": 3},
        "sequences of tv095": {"expected": 0, "found": 1},
        "frames of xx999": {"expected": 4, "found": 0},
        "sequences of xx999": {"expected": 1, "found": 0},
        "frames with PSPI 3-4": {"expected": 2, "found": 1},
    }
    assert not table.loc["frames with PSPI 3-4", "verified"]
