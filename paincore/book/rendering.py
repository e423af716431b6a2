"""Render the executed chapters as a book that opens from disk with the network off.

Jupyter Book 1, with execution off. MathJax and the widget manager, which its pages would ask a
CDN for, are unpacked from npm tarballs into `book/assets/vendor`; nothing of them is committed.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from fnmatch import fnmatch
from pathlib import Path

from paincore import PaincoreError

# What a page needs of each tarball, by asset name: the folder in it and patterns below that.
VENDORED = {
    "mathjax": (
        "package/es5/",
        ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2/*", "input/tex/extensions/*"),
    ),
    "html-manager": ("package/dist/", ("embed.js", "*.woff2")),
}


class RenderingError(PaincoreError):
    """Jupyter Book failed or warned; the message ends with what it said."""


def vendor(name: str, tarball: Path, folder: Path) -> None:
    """Unpack what pages need of an npm tarball into `folder/name`, whole or not at all.

    Does nothing where the same tarball was unpacked before. Used by `render` for `VENDORED`.
    """
    target = folder / name
    origin = target / "tarball.sha256"
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if origin.is_file() and origin.read_text() == digest:
        return
    partial = folder / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    prefix, patterns = VENDORED[name]
    with tarfile.open(tarball) as archive:
        for member in archive:
            path = member.name.removeprefix(prefix)
            if member.isfile() and any(fnmatch(path, pattern) for pattern in patterns):
                file = partial / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.extractfile(member).read())
    (partial / origin.name).write_text(digest)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def render(book: Path, log: Path) -> Path:
    """Render the book in `book` and return its `index.html`.

    Skipped when no file of the book has changed since the last time; otherwise only changed pages
    are written again. A warning of Jupyter Book is an error: `RenderingError`. What it said goes to
    the file `log`.
    """
    index = book / "_build" / "html" / "index.html"
    stamp = book / "_build" / "rendered.sha256"
    digest = _digest(book)
    if index.is_file() and stamp.is_file() and stamp.read_text() == digest:
        return index
    stamp.unlink(missing_ok=True)
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    done = subprocess.run(
        [jupyter_book, "build", book, "-W", "--keep-going"],
        capture_output=True,
        text=True,
        check=False,
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)  # colours, which it insists on
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(said, "utf-8")
    if done.returncode:
        # Pages already read would not warn again, and the next try would pass.
        shutil.rmtree(book / "_build" / ".doctrees", ignore_errors=True)
        lines = said.splitlines()
        wrong = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-20:]
        raise RenderingError(
            "\n".join(["Jupyter Book failed:", *wrong, f"All that it said: {log}"])
        )
    stamp.write_text(digest)
    return index


def _digest(book: Path) -> str:
    """SHA-256 over names and contents of everything the book is rendered from."""
    digest = hashlib.sha256()
    for file in sorted(book.rglob("*")):
        path = file.relative_to(book)
        if file.is_file() and path.parts[0] != "_build" and ".partial" not in file.name:
            digest.update(f"{path.as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
