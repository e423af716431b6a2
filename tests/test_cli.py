import json
import sys

import cv2
import numpy as np
import pytest

from paincore import cli
from paincore.corpus import index
from paincore.manifest import load_manifest
from paincore.synthetic.corpus import pixels_sha256


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line; its exit status, standard output and standard error."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["paincore", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def test_data_lists_every_data_set_and_asset_of_the_manifest(run):
    status, out, _ = run("data")
    manifest = load_manifest()
    assert status == 0
    assert all(name in out for name in [*manifest.datasets, *manifest.assets])


def test_verify_tells_what_differs_from_the_expected_counts_and_fails(run, miniature, tmp_path):
    miniature.picture(2).write_bytes(b"")
    (miniature.root / "Images/notes.txt").touch()
    status, out, _ = run(
        "data", "verify", "unbc", "--data-root", miniature.root, "--results", tmp_path
    )
    assert status == 1
    assert "frames: expected 48398, found 12" in out
    assert "frames of tv095: expected 809, found 3" in out
    assert "frames with PSPI 0: expected 40029, found 10 (the manifest's own number" in out
    assert "truncated" in out
    assert "left out: Images/'notes.txt'" in out


def test_verify_passes_a_corpus_that_is_as_expected(run, miniature, tmp_path, monkeypatch):
    frames, _ = index(miniature.root, tmp_path)
    (miniature.root / "Truth").mkdir()
    frames[["subject", "sequence", "frame"]].to_parquet(miniature.root / "Truth/frames.parquet")
    notes = {"version": 1, "pixels_sha256": pixels_sha256(miniature.root)}
    (miniature.root / "Truth/generator.json").write_text(json.dumps(notes))
    entry = load_manifest().datasets["synthetic"]
    expected = entry.expected.model_copy(update={"subjects": 2})
    smaller = entry.model_copy(update={"expected": expected, "generator": None})
    monkeypatch.setitem(load_manifest().datasets, "synthetic", smaller)
    arguments = ("--data-root", miniature.root, "--results", tmp_path)
    status, out, _ = run("data", "verify", "synthetic", *arguments)
    assert status == 0 and "2 of 2 counts as expected" in out
    cv2.imwrite(str(miniature.picture(4)), np.zeros((30, 40, 3), np.uint8))
    status, out, _ = run("data", "verify", "synthetic", *arguments)
    assert status == 1 and "are not those that were drawn" in out
    for file in (miniature.picture(5), miniature.pspi(5), miniature.facs(5)):
        file.unlink()
    status, out, _ = run("data", "verify", "synthetic", *arguments)
    assert status == 1
    assert "frames: expected 12, found 11" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("fetch", "landmark"), "no asset 'landmark'"),
        (("fetch", "landmarker", "--file", "nowhere"), "nowhere is not a file"),
        (("data", "verify", "unbc"), "give the corpus folder as data_root"),
        (("data", "verify", "unbc", "--data-root", "nowhere"), "nowhere: no such folder"),
        (("data", "verify", "unbk"), "no data set 'unbk'"),
        (("book", "--profile", "demos"), "'demos'"),
        (("book", "--device", "gpu"), "unknown device 'gpu'; there are cpu, cuda"),
    ],
)
def test_an_error_of_the_user_is_one_line_on_standard_error(run, arguments, sentence):
    status, out, err = run(*arguments)
    assert status == 1
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert sentence in err


def test_a_size_that_is_none_is_refused_before_anything_is_made(run, tmp_path):
    status, _, err = run("synthesize", "--out", tmp_path / "corpus", "--size", "320")
    assert status == 2
    assert "is not like 320x240" in err
    assert list(tmp_path.iterdir()) == []


def test_register_prints_how_many_frames_are_in_each_state(run, miniature, tmp_path):
    miniature.picture(2).write_bytes(b"")
    status, out, _ = run(
        "register",
        *("--dataset", "unbc", "--data-root", miniature.root, "--results", tmp_path),
        *("--backend", "landmarks", "--size", "32", "--workers", "1"),
    )
    assert status == 0
    words = [line.split() for line in out.replace("│", " ").splitlines()]
    assert any(line[:1] == ["bad_landmarks"] and "11" in line for line in words)
    assert any(line[:1] == ["truncated"] and "1" in line for line in words)
    (store,) = (tmp_path / "stores").glob("unbc-landmarks-*")
    assert f"The store: {store}" in out


def test_verify_lists_every_problem_and_every_landmark_file_that_cannot_be_used(
    run, miniature, tmp_path
):
    for frame in (2, 3):
        miniature.facs(frame).write_text("x")
        miniature.landmarks(frame).write_text("1 2\n3 4\n")
    arguments = ("--data-root", miniature.root, "--results", tmp_path, "--all")
    _, out, _ = run("data", "verify", "unbc", *arguments)
    assert "landmark files that cannot be used: 2" in out
    for file in (*map(miniature.facs, (2, 3)), *map(miniature.landmarks, (2, 3))):
        assert file.name in out.replace("\n", "")
