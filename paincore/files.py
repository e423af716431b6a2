"""Files: what names them, what tells whether they have changed, and how they are written whole."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from paincore import PaincoreError

ENGINE_VERSION = 1
"""Raised when the same training, cache or picture would hold other numbers.

`tests/test_engine.py` holds the numbers of small trainings.
"""


class FileError(PaincoreError):
    """A file that cannot be written."""


def engine() -> dict[str, int | str]:
    """What trained numbers rest on beside their inputs: ENGINE_VERSION and two releases.

    The releases are torch's and transformers'. A build, as "+cpu", is none of them: a machine
    without a GPU may ask those with one for runs.
    """
    return {"engine": ENGINE_VERSION} | _releases()


@lru_cache
def _releases() -> dict[str, str]:
    return {name: version(name).partition("+")[0] for name in ("torch", "transformers")}


def key_of(**made_from: object) -> str:
    """The name of what is made from these parts, which JSON can hold, by this ENGINE_VERSION.

    16 hexadecimal digits of a SHA-256. What torch computes has `engine()` among its parts.
    """
    parts = {"engine": ENGINE_VERSION} | made_from
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_of(path: Path) -> "hashlib._Hash":
    """The SHA-256 of a file, which is read once a process while it does not change."""
    state = path.stat()
    return _digest(path, (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)).copy()


@lru_cache(maxsize=64)
def _digest(path: Path, state: tuple) -> "hashlib._Hash":
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


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
    dtype = np.dtype(dtype)
    descr = np.lib.format.dtype_to_descr(dtype)
    size = math.prod(shape) * dtype.itemsize
    try:
        with path.open("wb") as file:
            header = {"descr": descr, "fortran_order": False, "shape": tuple(shape)}
            np.lib.format.write_array_header_1_0(file, header)
            if size and hasattr(os, "posix_fallocate"):
                file.flush()
                os.posix_fallocate(file.fileno(), file.tell(), size)
            else:  # macOS and Windows cannot reserve: zeros are written instead
                for start in range(0, size, 2**24):
                    file.write(bytes(min(2**24, size - start)))
    except OSError:
        path.unlink(missing_ok=True)
        raise
