"""Files: what names them, and what tells whether they have changed."""

import hashlib
import json
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

ENGINE_VERSION = 1
"""Raised when the same training, cache or picture would hold other numbers.

`tests/test_engine.py` holds the numbers of small trainings.
"""


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
