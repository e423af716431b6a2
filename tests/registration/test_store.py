import os
import subprocess
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paincore import PaincoreError
from paincore.data.corpus import open_corpus
from paincore.files import FileError
from paincore.registration import frame_store
from paincore.registration import store as stores
from paincore.registration.backends import BACKENDS
from tests.helpers.trainable import write_store_with_a_signal
from tests.helpers.workers import calling, processes, scheduler_and_workers
from tests.registration.conftest import BAD, FRAMES, as_corpus


def register(root: str, table: str, results: str, scheduler: str) -> None:
    corpus = as_corpus(Path(root), pd.read_parquet(table))
    stores.registered(corpus, results=results, size=64, workers=2, scheduler=scheduler or None)


@pytest.fixture
def start_registration(small_corpus, tmp_path):
    """Register the small corpus into a results folder, in a process that is killed at the end."""
    table = tmp_path / "table.parquet"
    small_corpus.frames.to_parquet(table)
    with ExitStack() as stack:

        def start(results, scheduler=""):
            command = calling(register, small_corpus.root, table, results, scheduler)
            return stack.enter_context(processes(command))[0]

        yield start


def wait_for_a_part(results: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not parts(results):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


def parts(results: Path) -> int:
    return len(list(results.glob("stores/*.partial/parts/*.parquet")))


def same_bytes(one: Path, other: Path) -> bool:
    return all(
        (one / n).read_bytes() == (other / n).read_bytes()
        for n in (frame_store.IMAGES, frame_store.TABLE)
    )


@pytest.mark.parametrize("name", [frame_store.IMAGES, frame_store.TABLE, frame_store.META])
@pytest.mark.parametrize("keep", [None, 0, 0.5], ids=["absent", "empty", "cut short"])
def test_a_store_with_a_damaged_file_does_not_open(tmp_path, name, keep):
    folder = write_store_with_a_signal(tmp_path / "store", 2, 1, 3).folder
    path = folder / name
    if keep is None:
        path.unlink()
    else:
        os.truncate(path, int(path.stat().st_size * keep))
    with pytest.raises(frame_store.StoreError, match=str(folder)):
        frame_store.open_store(folder)


# A whole corpus


def test_every_row_of_the_corpus_is_in_the_store_with_its_state(small_store, small_corpus):
    frames = small_store.frames
    assert (frames["frame"] == small_corpus.frames["frame"]).all()
    assert dict(zip(frames["image"][: len(BAD)], frames["state"], strict=False)) == BAD
    assert frames["state"].iloc[-1] == "missing_image"
    assert (frames["state"][len(BAD) : -1] == "ok").all()
    black = ~small_store.images.any(axis=(1, 2, 3))
    assert (black == ~small_store.usable).all()
    odd = small_store.frames[black & small_store.frames["image"].notna()]
    assert all(row.image in row.problem for row in odd.itertuples())


def test_of_two_faces_the_larger_is_stored_and_both_are_counted(small_store):
    frames = small_store.frames.set_index("image")
    assert frames.loc["two_faces.png", "faces"] == 2
    assert frames.loc["face000.png", "faces"] == 1
    counts = stores.states_table(small_store.frames).set_index("state")["count"]
    assert counts["ok"] == FRAMES - 1 - sum(state != "ok" for state in BAD.values())
    assert counts["undecodable"] == 3


def test_the_same_image_gives_the_same_view_wherever_it_stands(small_store):
    faces = small_store.images[len(BAD) : -1]
    assert (faces[2::2] == faces[0]).all() and (faces[3::2] == faces[1]).all()
    assert small_store.frames["yaw"].iloc[len(BAD)] == pytest.approx(10, abs=6)


def test_a_whole_store_is_opened_and_not_made_again(small_store, small_corpus):
    before = (small_store.folder / frame_store.IMAGES).stat().st_mtime_ns
    left = small_store.folder.with_name(f"{small_store.folder.name}.partial")
    left.mkdir()  # by a kill after the last step
    results = small_store.folder.parents[1]
    again = stores.registered(small_corpus, results=results, size=64)
    assert (again.folder, again.fingerprint) == (small_store.folder, small_store.fingerprint)
    assert (small_store.folder / frame_store.IMAGES).stat().st_mtime_ns == before
    assert not left.exists()


def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(
    start_registration, small_store, small_corpus, tmp_path
):
    process = start_registration(tmp_path)
    wait_for_a_part(tmp_path, process)
    process.kill()
    process.wait()
    assert 0 < parts(tmp_path) < 5
    store = stores.registered(small_corpus, results=tmp_path, size=64, workers=2)
    assert same_bytes(store.folder, small_store.folder)
    assert not list(tmp_path.glob("stores/*.partial"))


@pytest.mark.parametrize("step", ["reserve_array", "connect", "write_store"])
def test_killed_at_a_moment_too_short_to_hit_from_outside_it_still_ends_whole(
    small_corpus, tmp_path, monkeypatch, step
):
    class Killed(BaseException):
        pass

    def die(*_, **__):
        raise Killed

    frames = small_corpus.frames[len(BAD) : len(BAD) + stores.SHARD_FRAMES + 2]
    corpus = replace(small_corpus, frames=frames.reset_index(drop=True))
    arguments = {"backend": "landmarks", "size": 16, "workers": 1}
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(stores, step, die)
        stores.registered(corpus, results=tmp_path, **arguments)
    assert not list(tmp_path.glob("stores/synthetic-landmarks-????????????"))
    resumed = stores.registered(corpus, results=tmp_path, **arguments)
    assert resumed.usable.all() and resumed.images.any(axis=(1, 2, 3)).all()
    assert not list(tmp_path.glob("stores/*.partial"))


def test_workers_of_a_scheduler_do_it_and_one_may_die(start_registration, small_store, tmp_path):
    with scheduler_and_workers(tmp_path) as (address, workers):
        process = start_registration(tmp_path, address)
        wait_for_a_part(tmp_path, process)
        os.killpg(workers[0].pid, 9)
        assert process.wait(60) == 0
        assert workers[1].poll() is None
    (folder,) = tmp_path.glob("stores/synthetic-landmarker-*")
    assert same_bytes(folder, small_store.folder)


def test_a_full_disk_is_found_before_the_work_begins(small_corpus, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk to fill")
    try:
        with pytest.raises(FileError, match="No space left on device"):
            stores.registered(small_corpus, results=disk, size=64)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_store_follows_what_its_backend_reads(miniature, tmp_path):
    def fingerprints():
        corpus = open_corpus("unbc", miniature.root, results=tmp_path)
        return {name: stores.store_fingerprint(corpus, name, 64) for name in BACKENDS}

    first = fingerprints()
    miniature.landmarks(2).write_text("3 4\n" * 66)
    second = fingerprints()
    assert {name for name in first if first[name] != second[name]} == {"landmarks", "prnet"}
    miniature.picture(2).write_bytes(miniature.picture(2).read_bytes() + b"\0")
    assert not set(second.values()) & set(fingerprints().values())


def test_a_store_that_is_there_has_the_corpus_s_columns_of_today(miniature, tmp_path):
    def opened(threshold):
        corpus = open_corpus("unbc", miniature.root, results=tmp_path, threshold=threshold)
        return stores.registered(corpus, "landmarks", tmp_path, size=16, workers=1)

    first, stricter = opened(0), opened(4)
    assert stricter.folder == first.folder
    assert first.frames.loc[first.frames["pain"], "frame"].tolist() == [2, 3]
    assert stricter.frames.loc[stricter.frames["pain"], "frame"].tolist() == [3]
    assert frame_store.open_store(stricter.folder, stricter.threshold).frames["pain"].sum() == 1


# PRNet's weights are the user's


def test_the_paper_profile_stops_for_want_of_weights_and_says_what_to_do(
    miniature, tmp_path, monkeypatch
):
    monkeypatch.setattr("paincore.registration.backends.ASSETS", tmp_path / "assets")
    corpus = open_corpus("unbc", miniature.root, results=tmp_path / "index")
    with pytest.raises(PaincoreError, match=r"github\.com/yfeng95/PRNet"):
        stores.registered(corpus, "prnet", results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_whole_prnet_store_is_opened_without_prnet_s_weights(miniature, tmp_path, monkeypatch):
    monkeypatch.setattr("paincore.registration.backends.ASSETS", tmp_path)
    corpus = open_corpus("unbc", miniature.root, results=tmp_path)
    key = stores.store_fingerprint(corpus, "prnet", 16)
    folder = tmp_path / "stores" / f"unbc-prnet-{key[:12]}"
    folder.mkdir(parents=True)
    shape = (len(corpus.frames), 16, 16, 3)
    stores.reserve_array(folder / frame_store.IMAGES, shape, np.uint8)
    meta = {"size": 16, "backend": "prnet", "fingerprint": key}
    frame_store.write_store(folder, corpus.frames, meta)
    assert stores.registered(corpus, "prnet", tmp_path, size=16).folder == folder
