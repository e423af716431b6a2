import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paincore.data import corpus as corpus_module
from paincore.data import facs
from paincore.data.corpus import index, label_fingerprint, open_corpus
from paincore.data.schema import FRAMES
from paincore.data.unbc import CorpusError
from paincore.files import FileError
from paincore.manifest import Expected, dataset_named
from tests.helpers.miniature import SEQUENCE, Miniature


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def opened(miniature: Miniature, results: Path) -> partial:
    """Opens the miniature as UNBC-McMaster, as it is at the time."""
    return partial(open_corpus, "unbc", miniature.root, results=results)


@pytest.fixture
def synthetic(miniature: Miniature, opened) -> Miniature:
    """The miniature with what tells a synthetic corpus from a real one."""
    frames, truth = opened().frames, miniature.root / "Truth"
    truth.mkdir()
    keys = frames[["subject", "sequence", "frame"]]
    keys.assign(felt_pain=True).to_parquet(truth / "frames.parquet")
    (truth / "generator.json").write_text(json.dumps({"version": 1, "frames": 12}))
    return miniature


def test_only_a_synthetic_corpus_opens_with_truth(synthetic, opened, results):
    corpus = open_corpus("synthetic", synthetic.root, results=results)
    assert corpus.dataset.synthetic and corpus.label == "synthetic"
    assert len(corpus.truth) == len(corpus.frames) == 12
    with pytest.raises(CorpusError, match="is synthetic, not UNBC-McMaster"):
        opened()
    shutil.rmtree(synthetic.root / "Truth")
    corpus = opened()
    assert corpus.dataset == dataset_named("unbc")
    assert corpus.truth is None and corpus.ignored == ()
    with pytest.raises(CorpusError, match="not a whole synthetic corpus"):
        open_corpus("synthetic", synthetic.root, results=results)


def test_pain_is_pspi_above_the_threshold(opened):
    def painful(threshold: float) -> list[int]:
        frames = opened(threshold=threshold).frames
        return frames.loc[frames["pain"], "frame"].to_list()

    assert [painful(0), painful(4), painful(6)] == [[2, 3], [3], []]


# The cache of the index


def test_an_unchanged_corpus_is_not_read_again(miniature, opened, monkeypatch):
    (miniature.root / "Images" / "notes.txt").touch()
    miniature.rating("VAS").write_text("none")
    first = opened()
    monkeypatch.setattr(corpus_module, "read_frames", None)
    second = opened()
    pd.testing.assert_frame_equal(first.frames, second.frames)
    FRAMES.validate(second.frames)
    assert (first.fingerprint, first.ignored) == (second.fingerprint, second.ignored)
    notes, rating = second.ignored
    assert "Images/notes.txt" in notes and "VAS/042-ll042/ll042t1aaaff.txt" in rating


def test_a_changed_label_is_seen_through_the_cache(miniature, opened):
    before = opened()
    miniature.pspi(2).write_text("   9.0000000e+00\n")
    after = opened()
    changed = after.frames[after.frames["pspi"].eq(9)]
    assert changed[["sequence", "frame"]].to_numpy().tolist() == [[SEQUENCE, 2]]
    assert before.fingerprint != after.fingerprint


def test_a_damaged_cache_is_written_anew(miniature, results):
    first, _, _ = index(miniature.root, results)
    (cache,) = (results / "index").glob("*.parquet")
    cache.write_bytes(cache.read_bytes()[:100])
    pd.testing.assert_frame_equal(first, index(miniature.root, results)[0])
    assert len(pd.read_parquet(cache)) == 12


def test_another_formula_of_pspi_reaches_a_cached_table(opened, monkeypatch):
    opened()
    monkeypatch.setattr(facs, "pspi", lambda au4, *_: au4)
    frames = opened().frames
    np.testing.assert_array_equal(frames["pspi_facs"], frames["au4"])
    np.testing.assert_array_equal(frames["pspi_difference"], frames["pspi"] - frames["au4"])


# The fingerprint


def test_the_fingerprint_does_not_depend_on_where_the_corpus_lies(miniature, opened, tmp_path):
    moved = shutil.copytree(miniature.root, tmp_path / "moved")
    there = open_corpus("unbc", moved, results=tmp_path / "results")
    assert opened().fingerprint == there.fingerprint


@pytest.mark.parametrize(
    ("column", "value"), [("au50", 1), ("pspi", np.nan), ("frame", 99), ("state", "bad_facs")]
)
def test_the_fingerprint_changes_with_keys_labels_and_states(miniature, results, column, value):
    frames, _, _ = index(miniature.root, results)
    changed = frames.copy()
    changed.loc[11, column] = value
    first = label_fingerprint(frames, "1")
    assert first == label_fingerprint(frames.copy(), "1")
    assert first not in (label_fingerprint(changed, "1"), label_fingerprint(frames, "2"))


def test_changed_images_are_another_corpus_and_corrected_landmarks_are_not(miniature, opened):
    def change(path: Path) -> None:  # a byte, as an editor and `touch --date` would
        content, status = bytearray(path.read_bytes()), path.stat()
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    first = opened()
    change(miniature.landmarks(2))
    second = opened()
    assert first.landmarks_sha256 != second.landmarks_sha256
    assert first.fingerprint == second.fingerprint
    change(miniature.picture(2))
    third = opened()
    pd.testing.assert_frame_equal(second.frames, third.frames)
    assert second.fingerprint != third.fingerprint


# What the data are called


def test_a_corpus_is_called_by_its_entry_only_if_it_is_as_large(opened):
    corpus = opened()
    assert "2 subjects, 12 frames" in corpus.label and "not the archive" in corpus.label
    counts = {"subjects": 2, "sequences": 3, "frames": 12}
    for changed, same in (({}, True), ({"frames": 13}, False), ({"sequences": 4}, False)):
        expected = Expected(**counts | changed, longest_sequence=99)
        entry = corpus.dataset.model_copy(update={"expected": expected})
        assert (replace(corpus, dataset=entry).label == entry.title) == same


# What is refused


def test_results_inside_the_corpus_or_not_writable_are_refused_by_name(miniature, opened, results):
    before = sorted(miniature.root.rglob("*"))
    with pytest.raises(CorpusError, match="inside the corpus"):
        opened(results=miniature.root / "results")
    assert sorted(miniature.root.rglob("*")) == before
    results.write_text("a file where the folder should be")
    with pytest.raises(FileError, match=r"results/index.* cannot be written"):
        opened()


def test_a_damaged_truth_is_refused_by_name(synthetic, results):
    (synthetic.root / "Truth" / "generator.json").write_text("[]")
    with pytest.raises(CorpusError, match=r"generator\.json cannot be read"):
        open_corpus("synthetic", synthetic.root, results=results)


# Counts against the manifest
