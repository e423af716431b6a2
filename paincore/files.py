"""Files: what names them, what tells whether they have changed, and how they are written whole."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from filelock import FileLock

from paincore import PaincoreError

ENGINE_VERSION = 1
"""Raised when the same training, cache or image would hold other numbers.

`tests/training/test_engine.py` holds the numbers of small trainings.
"""

RELEASES = {name: version(name).partition("+")[0] for name in ("torch", "transformers")}
"""Without the build, as "+cpu": a machine without a GPU may ask those with one for runs."""


class FileError(PaincoreError):
    """A file that cannot be written."""


def engine() -> dict[str, int | str]:
    """What trained numbers rest on beside their inputs: ENGINE_VERSION and `RELEASES`."""
    return {"engine": ENGINE_VERSION} | RELEASES


def key_of(**made_from: object) -> str:
    """The name of what is made from these parts, which JSON can hold, by this ENGINE_VERSION.

    16 hexadecimal digits of a SHA-256. What torch computes has `engine()` among its parts.
    """
    text = json.dumps({"engine": ENGINE_VERSION} | made_from, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_of(path: Path) -> "hashlib._Hash":
    """The SHA-256 of a file, which is read once a process while it does not change."""
    return _digest_in(path, state_of(path)).copy()


def state_of(path: Path) -> tuple[int, ...]:
    """What changes when a file does. Raises OSError if there is no file."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=64)
def _digest_in(path: Path, state: tuple) -> "hashlib._Hash":
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


@contextmanager
def writing(path: Path, size: int | None = None) -> Iterator[None]:
    """Raise FileError, with what to do, where the operating system refuses to write.

    `size` is the number of bytes that the path takes.
    """
    try:
        yield
    except OSError as fault:
        why = f"{fault.strerror or fault}" + (f"; it takes {size / 1e9:.2f} GB" if size else "")
        remedy = "Free the disk or name another results folder, and run again: what is done stays."
        raise FileError(f"{path} cannot be written ({why}). {remedy}") from fault


@contextmanager
def making(path: Path, size: int | None = None) -> Iterator[bool]:
    """Whether a file or folder is still to be made, by one process at a time.

    The folder in which it lies is made if need be. Raises FileError as `writing`, to which `size`
    goes.
    """
    with writing(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            yield not path.exists()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its name when the block ends without error."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def reserve_array(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Make a .npy file of zeros with its disk space taken.

    Without that a disk would be found full only after hours, and by who writes through a memory map
    as a signal that kills the process. Raises OSError on a full disk, and leaves no file then.
    """
    try:
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        with path.open("r+b") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)
            else:  # macOS and Windows cannot reserve: zeros are written instead
                np.save(file, np.broadcast_to(np.zeros((), dtype), shape))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def cached_array(path: Path, shape: tuple, dtype, fill: Callable, limit: int) -> np.ndarray:
    """The array at `path`, opened to read; where there is none, `fill(zeros)` writes it.

    Arrays of the folder that were used longest ago are deleted until it holds at most `limit`
    bytes; who has one open keeps it. A second process waits for the first. Raises FileError where
    the disk has no room.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with making(path, size) as missing:
        if missing:
            _make_room(path.parent, limit - size)
            with whole_file(path) as partial:
                reserve_array(partial, shape, dtype)
                out = np.load(partial, mmap_mode="r+", allow_pickle=False)
                fill(out)
                out.flush()
        os.utime(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _make_room(folder: Path, limit: int) -> None:
    """Delete the arrays used longest ago until those left hold at most `limit` bytes."""
    arrays = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime)
    held = sum(file.stat().st_size for file in arrays)
    while arrays and held > limit:
        held -= arrays[0].stat().st_size
        arrays.pop(0).unlink(missing_ok=True)
