import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paincore.data.corpus import open_corpus
from paincore.registration import pipeline, registered, states_table
from paincore.registration.backends import BACKENDS, load_backend
from paincore.registration.faces import (
    Picture,
    RegistrationError,
    batches,
    find_faces,
    read_picture,
)
from paincore.registration.framestore import FRAMES as TABLE
from paincore.registration.framestore import IMAGES, StoreError, open_store
from synthpain.head import rotation
from tests.registration.conftest import BAD, FRAMES

REGISTER = """
import sys
from pathlib import Path
import pandas as pd
from tests.registration.conftest import SmallCorpus
if __name__ == "__main__":
    root, table, out, scheduler = sys.argv[1:]
    corpus = SmallCorpus(Path(root), pd.read_parquet(table))
    corpus.register(Path(out), workers=2, scheduler=scheduler or None)
"""


@pytest.fixture
def start(small_corpus, tmp_path):
    """Start processes that are killed at the test's end."""
    processes = []

    def start(*command: object) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, *map(str, command)], start_new_session=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def start_registration(start, small_corpus, tmp_path):
    """Start the registration of the small corpus into a folder, in a process of its own."""
    script, table = tmp_path / "register_corpus.py", tmp_path / "table.parquet"
    script.write_text(f"import sys\nsys.path.insert(0, {str(Path.cwd())!r})\n{REGISTER}")
    small_corpus.frames.to_parquet(table)
    return lambda out, scheduler="": start(script, small_corpus.root, table, out, scheduler)


def wait_for(condition, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def parts(out: Path) -> int:
    return len(list(out.parent.glob(f"{out.name}.partial/parts/*.parquet")))


def same_bytes(out: Path, other: Path) -> bool:
    return all((out / n).read_bytes() == (other / n).read_bytes() for n in (IMAGES, TABLE))


def test_every_row_of_the_corpus_is_in_the_store_with_its_state(small_store, small_corpus):
    frames = small_store.frames
    assert (frames["frame"] == small_corpus.frames["frame"]).all()
    assert dict(zip(frames["image"][: len(BAD)], frames["state"], strict=False)) == BAD
    assert frames["state"].iloc[-1] == "missing_image"
    assert (frames["state"][len(BAD) : -1] == "ok").all()


def test_a_frame_is_black_exactly_if_it_has_no_face_and_then_its_file_is_named(small_store):
    black = ~small_store.images.any(axis=(1, 2, 3))
    assert (black == ~small_store.usable).all()
    odd = small_store.frames[black & small_store.frames["image"].notna()]
    assert all(row.image in row.problem for row in odd.itertuples())


def test_of_two_faces_the_larger_is_stored_and_both_are_counted(small_store):
    frames = small_store.frames.set_index("image")
    assert frames.loc["two_faces.png", "faces"] == 2
    assert frames.loc["face000.png", "faces"] == 1
    counts = states_table(small_store.frames).set_index("state")["frames"]
    assert counts["ok, several faces"] == 1
    assert counts["ok"] == FRAMES - 1 - sum(state != "ok" for state in BAD.values())
    assert counts["undecodable"] == 3


def test_the_same_picture_gives_the_same_view_wherever_it_stands(small_store):
    faces = small_store.images[len(BAD) : -1]
    assert (faces[2::2] == faces[0]).all() and (faces[3::2] == faces[1]).all()
    assert small_store.frames["yaw"].iloc[len(BAD)] == pytest.approx(10, abs=6)


def test_a_whole_store_is_opened_and_not_made_again(small_store, small_corpus):
    before = (small_store.folder / IMAGES).stat().st_mtime_ns
    left = small_store.folder.with_name("store.partial")  # by a kill after the last step
    left.mkdir()
    assert small_corpus.register(small_store.folder).fingerprint == small_store.fingerprint
    assert (small_store.folder / IMAGES).stat().st_mtime_ns == before
    assert not left.exists()


def test_a_store_of_other_settings_is_not_taken(small_store, small_corpus):
    with pytest.raises(StoreError, match="other settings"):
        small_corpus.register(small_store.folder, backend="none")


def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(
    start_registration, small_store, small_corpus, tmp_path
):
    out = tmp_path / "killed"
    process = start_registration(out)
    wait_for(lambda: parts(out), process)
    process.kill()
    process.wait()
    with pytest.raises(StoreError, match="not a whole frame store"):
        open_store(out)
    assert 0 < parts(out) < 5
    small_corpus.register(out, workers=2)
    assert same_bytes(out, small_store.folder)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("step", ["reserve_images", "_register_shards", "write_store"])
def test_killed_at_a_moment_too_short_to_hit_from_outside_it_still_ends_whole(
    small_store, small_corpus, tmp_path, monkeypatch, step
):
    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    out = tmp_path / "store"
    monkeypatch.setattr(pipeline, "_register_shards", copy_parts(small_store))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(pipeline, step, die)
        small_corpus.register(out)
    assert not out.exists()
    small_corpus.register(out)
    assert same_bytes(out, small_store.folder)


def copy_parts(store):
    """Stands for the shards' work in a test of the steps after it."""

    def copy(partial, frames, *_):
        columns = ["state", "problem", *store.frames.columns[len(frames.columns) :]]
        for first in range(0, len(frames), pipeline.SHARD):
            table = store.frames[columns][first : first + pipeline.SHARD].reset_index(drop=True)
            table.to_parquet(partial / "parts" / f"{first // pipeline.SHARD:06d}.parquet")
            pipeline.write_images(
                partial / "store", first, store.images[first : first + pipeline.SHARD]
            )

    return copy


def test_workers_of_a_scheduler_do_it_and_one_may_die(
    start, start_registration, small_store, tmp_path
):
    address = tmp_path / "scheduler.json"
    loopback = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    scheduler = start("-m", "dask", "scheduler", *loopback, "--scheduler-file", address)
    wait_for(lambda: address.exists() and address.read_text(), scheduler)
    alone = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", tmp_path)
    workers = [start("-m", "dask", "worker", *alone, "--scheduler-file", address) for _ in range(2)]
    out = tmp_path / "remote"
    process = start_registration(out, json.loads(address.read_text())["address"])
    wait_for(lambda: parts(out), process)
    os.kill(workers[0].pid, signal.SIGKILL)
    assert process.wait(60) == 0
    assert workers[1].poll() is None
    assert same_bytes(out, small_store.folder)


def test_a_full_disk_is_found_before_the_work_begins(small_corpus, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk to fill")
    try:
        with pytest.raises(StoreError, match=r"No space left on device.*Free some space"):
            small_corpus.register(disk / "store")
        assert not (disk / "store").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(small_corpus, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/store cannot be written"):
        small_corpus.register(tmp_path / "file" / "store")


def test_a_store_follows_what_its_backend_reads(miniature, tmp_path):
    def stores():
        corpus = open_corpus("unbc", miniature.root, results=tmp_path)
        return {
            name: pipeline.fingerprint(pipeline.read_by(corpus, name), name, 64)
            for name in BACKENDS
        }

    first = stores()
    miniature.landmarks(2).write_text("3 4\n" * 66)
    second = stores()
    assert {name for name in BACKENDS if first[name] != second[name]} == {"landmarks", "prnet"}
    miniature.picture(2).write_bytes(miniature.picture(2).read_bytes() + b"\0")
    assert not set(second.values()) & set(stores().values())


def test_a_store_that_is_there_has_the_corpus_s_columns_of_today(miniature, tmp_path):
    def opened(root, threshold=0):
        return registered(
            open_corpus("unbc", root, results=tmp_path, threshold=threshold),
            "landmarks",
            tmp_path,
            size=16,
            workers=1,
        )

    first = opened(miniature.root)
    assert first.frames.loc[first.frames["pain"], "frame"].tolist() == [2, 3]
    stricter = opened(miniature.root, 4)
    assert stricter.folder == first.folder
    assert stricter.frames.loc[stricter.frames["pain"], "frame"].tolist() == [3]
    assert open_store(stricter.folder, stricter.threshold).frames["pain"].sum() == 1
    moved = shutil.copytree(miniature.root / "Images", tmp_path / "moved/Images/Images").parents[1]
    shutil.copytree(miniature.root / "Frame_Labels", moved / "Frame_Labels")
    shutil.copytree(miniature.root / "Sequence_Labels", moved / "Sequence_Labels")
    shutil.copytree(miniature.root / "AAM_landmarks", moved / "AAM_landmarks")
    doubled = opened(moved)
    assert doubled.folder == first.folder
    assert all((moved / image).is_file() for image in doubled.frames["image"])
    added = [*first.frames.columns[-9:]]
    pd.testing.assert_frame_equal(first.frames[added], doubled.frames[added])


@pytest.mark.parametrize(
    "content",
    [None, "1 2\n", "nan nan\n" * 66, "5 5\n" * 66, "".join(f"{n} {n}\n" for n in range(66))],
    ids=str,
)
def test_landmarks_that_fit_no_face_are_a_state(small_corpus, tmp_path, content):
    path = small_corpus.root / "odd.txt"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    frames = small_corpus.frames.assign(landmarks="odd.txt").iloc[[len(BAD)]]
    (row,) = frames.itertuples()
    picture = read_picture(small_corpus.root, row, "landmarks")
    assert picture.state == "bad_landmarks"
    assert "odd.txt" in picture.problem
    assert read_picture(small_corpus.root, row, "landmarker").state == "ok"


def test_landmarks_pose_a_face_without_a_network(small_corpus):
    row = next(small_corpus.frames[len(BAD) :].itertuples())
    picture = read_picture(small_corpus.root, row, "landmarks")
    (face,) = find_faces([picture], load_backend("landmarks"), 64)
    assert face.state == "ok"
    assert face.view.yaw == pytest.approx(10, abs=6)


def test_a_weak_face_is_a_state_and_an_extreme_yaw_a_flag(small_corpus, faces):
    backend = load_backend("none")
    picture = Picture("me.png", faces[0])
    (mesh,) = backend.find([picture.image], [None])

    def face(**changes):
        found = type(mesh)(**{**vars(mesh), **changes})
        other = type(backend)(**{**vars(backend), "find": lambda *_: [found]})
        return find_faces([picture], other, 64)[0]

    weak = face(score=0.3)
    assert weak.state == "low_presence" and weak.view is None and "0.300" in weak.problem
    assert weak.measures["score"] == 0.3
    assert face(score=np.nan).state == "low_presence"
    assert not face().measures["extreme_yaw"]
    points = mesh.vertices - mesh.vertices.mean(0)
    turned = points @ rotation(50, 0, 0).T.astype(np.float32) + mesh.vertices.mean(0)
    assert face(vertices=turned).measures["extreme_yaw"]


def test_an_error_of_a_backend_names_the_picture(faces):
    backend = load_backend("landmarker")
    with pytest.raises(RegistrationError, match=r"landmarker.*two\.png"):
        find_faces([Picture("two.png", faces[0][..., :2])], backend)


def test_large_pictures_are_held_one_at_a_time():
    small, large = np.zeros((2, 2, 3), np.uint8), np.zeros((6000, 8000, 3), np.uint8)
    sizes = [len(b) for b in batches(Picture("p", image) for image in [small] * 40 + [large] * 2)]
    assert sizes == [32, 9, 1]
