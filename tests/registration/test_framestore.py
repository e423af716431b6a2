import json
import os
import resource

import numpy as np
import pandas as pd
import pytest

from paincore.registration.framestore import (
    FRAMES,
    IMAGES,
    META,
    StoreError,
    open_store,
    reserve_images,
    write_images,
    write_store,
)


@pytest.fixture
def folder(tmp_path):
    """A store of five frames of 4x4 pixels, the third without a face."""
    rng = np.random.default_rng(0)
    reserve_images(tmp_path, 5, 4)
    write_images(tmp_path, 3, rng.integers(0, 256, (2, 4, 4, 3), np.uint8))
    write_images(tmp_path, 0, rng.integers(0, 256, (2, 4, 4, 3), np.uint8))
    states = ["ok", "ok", "no_face", "ok", "ok"]
    write_store(tmp_path, pd.DataFrame({"state": states}), {"size": 4, "fingerprint": "f"})
    return tmp_path


def test_images_are_where_they_were_written_whatever_the_order(folder):
    store = open_store(folder)
    rng = np.random.default_rng(0)
    assert (store.images[3:] == rng.integers(0, 256, (2, 4, 4, 3), np.uint8)).all()
    assert (store.images[:2] == rng.integers(0, 256, (2, 4, 4, 3), np.uint8)).all()
    assert not store.images[2].any()
    assert store.usable.tolist() == [True, True, False, True, True]


def test_an_open_store_cannot_be_written_to(folder):
    with pytest.raises(ValueError, match="read-only"):
        open_store(folder).images[0] = 0


@pytest.mark.parametrize("name", [IMAGES, FRAMES, META])
def test_a_store_without_one_of_its_files_does_not_open(folder, name):
    (folder / name).unlink()
    with pytest.raises(StoreError, match=f"{name} missing"):
        open_store(folder)


@pytest.mark.parametrize("name", [IMAGES, FRAMES, META])
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_store_with_a_file_cut_short_does_not_open(folder, name, keep):
    path = folder / name
    os.truncate(path, int(path.stat().st_size * keep))
    with pytest.raises(StoreError, match=r"register again"):
        open_store(folder)


def test_a_table_that_is_not_of_these_images_does_not_open(folder):
    pd.DataFrame({"state": ["ok"]}).to_parquet(folder / FRAMES)
    with pytest.raises(StoreError, match=r"\(5, 4, 4, 3\).*\(1, 4, 4, 3\)"):
        open_store(folder)
    (folder / META).write_text(json.dumps({}))
    with pytest.raises(StoreError, match="damaged"):
        open_store(folder)


def test_the_disk_space_is_taken_at_once(tmp_path):
    reserve_images(tmp_path, 100, 32)
    status = (tmp_path / IMAGES).stat()
    assert status.st_blocks * 512 >= status.st_size > 100 * 32 * 32 * 3


def test_a_reservation_that_fails_leaves_no_file(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            reserve_images(tmp_path, 100, 32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
