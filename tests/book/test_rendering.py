import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from paincore.book.rendering import RenderingError, render, vendor

INDEX = "# A page\n\nSee [another](other.md).\n"


def tarball(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content.encode()))
    return path


@pytest.fixture
def book(tmp_path: Path) -> Path:
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "_config.yml").write_text("title: Small\nexecute: {execute_notebooks: 'off'}\n")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters: [{file: other}]\n")
    (folder / "index.md").write_text(INDEX)
    (folder / "other.md").write_text("# Another\n")
    return folder


def test_only_what_pages_need_is_unpacked_and_a_new_version_replaces_the_old(tmp_path):
    names = ("dist/embed.js", "dist/embed.js.map", "dist/icons.woff2", "lib/other.js")
    old = tarball(tmp_path / "1.tgz", {f"package/{name}": "old" for name in names})
    vendor("html-manager", old, tmp_path / "vendor")
    folder = tmp_path / "vendor" / "html-manager"
    assert {file.name for file in folder.iterdir()} == {"embed.js", "icons.woff2"}
    new = tarball(tmp_path / "2.tgz", {"package/dist/embed.js": "new"})
    vendor("html-manager", new, tmp_path / "vendor")
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"embed.js": "new"}
    assert list(folder.parent.iterdir()) == [folder]


def test_a_book_is_rendered_once_and_again_when_a_page_has_changed(book):
    log = book / "_build" / "jupyter-book.log"
    index = render(book)
    assert "See" in index.read_text()
    log.unlink()
    assert render(book) == index
    assert not log.exists()
    (book / "index.md").write_text(INDEX.replace("See", "Look at"))
    assert "Look at" in render(book).read_text()


def test_a_link_that_leads_nowhere_fails_the_build_and_is_tried_again(book):
    (book / "index.md").write_text("# A page\n\n[nowhere](missing.md)\n")
    for _ in range(2):
        with pytest.raises(RenderingError, match=r"index\.md.*missing\.md"):
            render(book)
