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
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from paincore import PaincoreError
from paincore.files import digest_of

# What a page needs of each tarball, by asset name: the folder in it and patterns below that.
MATHJAX = ["tex-mml-chtml.js", "output/chtml/fonts/woff-v2/*", "input/tex/extensions/*"]
VENDORED = {
    "mathjax": ("package/es5", MATHJAX),
    "html-manager": ("package/dist", ["embed.js", "*.woff2"]),
}


class RenderingError(PaincoreError):
    """Jupyter Book failed or warned; the message ends with what it said."""


def digest_of_files(files: Iterable[Path], root: Path) -> str:
    """SHA-256 over the names, below `root`, and the contents of files; folders are passed over."""
    digest = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file()):
        name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        digest.update(f"{name}\0{digest_of(file).hexdigest()}\n".encode())
    return digest.hexdigest()


def vendor(name: str, tarball: Path, folder: Path) -> None:
    """Unpack what pages need of an npm tarball into `folder/name`, whole or not at all."""
    inside, patterns = VENDORED[name]
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(".partial", dir=folder) as partial, tarfile.open(tarball) as archive:
        wanted = [m for m in archive if any(fnmatch(m.name, f"{inside}/{one}") for one in patterns)]
        archive.extractall(partial, wanted, filter="data")
        shutil.rmtree(folder / name, ignore_errors=True)
        Path(partial, inside).rename(folder / name)


def render(book: Path) -> Path:
    """Render the book in `book` and return its `index.html`.

    Skipped when no file of the book has changed since the last time; otherwise only changed pages
    are written again. A warning of Jupyter Book is an error: `RenderingError`. What it said goes to
    `_build/jupyter-book.log`.
    """
    build = book / "_build"
    log = build / "jupyter-book.log"
    index, stamp = build / "html" / "index.html", build / "rendered.sha256"
    pages = (file for file in book.rglob("*") if ".partial" not in file.name)
    digest = digest_of_files((file for file in pages if not file.is_relative_to(build)), book)
    if index.is_file() and stamp.is_file() and stamp.read_text() == digest:
        return index
    stamp.unlink(missing_ok=True)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", book, "-W", "--keep-going"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)  # colours, which it insists on
    log.write_text(said, "utf-8")
    if done.returncode:
        # Pages already read would not warn again, and the next try would pass.
        shutil.rmtree(build / ".doctrees", ignore_errors=True)
        lines = said.splitlines()
        wrong = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-20:]
        raise RenderingError("\n".join([*wrong, f"Jupyter Book failed; all that it said: {log}"]))
    stamp.write_text(digest)
    return index
