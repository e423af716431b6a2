import hashlib
import http.server
import json
import threading
import zipfile
from functools import partial
from pathlib import Path

import pytest

from paincore import paper
from paincore.manifest import (
    MANIFEST,
    Asset,
    AssetError,
    ManifestError,
    asset_state,
    dataset_named,
    fetch,
    load_manifest,
)

CONTENT = b"what the asset holds"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def asset(*sources: dict, **changes) -> Asset:
    entry = {"name": "thing", "title": "A thing", "licence": "MIT", "origin": "here"}
    entry |= {"file": "thing.bin", "bytes": len(CONTENT), "sha256": SHA256, "sources": sources}
    return Asset(**entry | changes)


BY_HAND = {"kind": "by hand", "instructions": "ask its owner"}


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    return tmp_path / "assets"


@pytest.fixture
def web(tmp_path: Path):
    """A web server of the folder `web`, and its address."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def end_headers(self):
        self.send_header("ETag", '"1"')  # the two headers that the hub's client asks for
        self.send_header("X-Repo-Commit", "0" * 40)
        super().end_headers()


# The manifest


def test_the_manifest_expects_of_unbc_what_the_paper_and_the_data_set_say():
    expected = dataset_named("unbc").expected
    frames, subjects = expected.pspi.frames, expected.by_subject.values()
    assert (expected.subjects, expected.sequences) == (paper.SUBJECTS, 200)
    assert len(subjects) == expected.subjects
    assert sum(subject["sequences"] for subject in subjects) == expected.sequences
    for counts in ([subject["frames"] for subject in subjects], frames.values()):
        assert sum(counts) == expected.frames == paper.UNBC_FRAMES
    assert sum(paper.PSPI_SHARES.values()) == pytest.approx(100)
    for values in ("0", "1-2"):
        assert round(100 * frames[values] / expected.frames, 1) == paper.PSPI_SHARES[values]


def test_what_the_repository_holds_is_what_the_manifest_says():
    held = [a for a in load_manifest().assets.values() if a.sources[0].kind == "repository"]
    assert [asset.name for asset in held] == ["head", "backbone-movement", "backbone-general"]
    assert [asset_state(asset) for asset in held] == ["here"] * 3


@pytest.mark.parametrize(
    ("line", "changed", "sentence"),
    [
        ("    shown_subjects: []", "    show_subjects: []", "show_subjects: Extra inputs"),
        ("sha256: 64184", "sha256: 0x64184", "assets.landmarker.sha256"),
        ("kind: wheel", "kind: wheels", "assets.landmarker.sources.0"),
        ("datasets:", "datasets: [", "cannot be read"),
    ],
)
def test_a_mistake_in_the_manifest_is_named(tmp_path, line, changed, sentence):
    text = MANIFEST.read_text()
    assert line in text
    path = tmp_path / "manifest.yaml"
    path.write_text(text.replace(line, changed))
    with pytest.raises(ManifestError, match=r"manifest.yaml") as error:
        load_manifest(path)
    assert sentence in str(error.value)


# The sources of an asset


def test_an_asset_comes_from_the_first_url_that_has_it_whole(web, assets):
    folder, address = web
    (folder / "thing").write_bytes(CONTENT)
    (folder / "wrong").write_bytes(b"something else")
    urls = [{"kind": "url", "url": f"{address}/{name}"} for name in ("no", "wrong", "thing")]
    thing = asset(*urls)
    assert asset_state(thing, assets) == "missing"
    assert fetch(thing, assets=assets).read_bytes() == CONTENT
    assert asset_state(thing, assets) == "here"
    assert fetch(asset(BY_HAND), assets=assets)  # not fetched again
    (assets / "thing.bin").write_bytes(CONTENT[::-1])
    assert asset_state(thing, assets) == "damaged"
    assert fetch(thing, assets=assets).read_bytes() == CONTENT


def test_an_asset_comes_out_of_a_wheel_that_is_not_installed(tmp_path, assets, monkeypatch):
    with zipfile.ZipFile(tmp_path / "thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing/data.bin", CONTENT)
        about = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
        wheel.writestr("thing-1.0.dist-info/METADATA", about)
        wheel.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = {"kind": "wheel", "package": "thing", "version": "1.0", "member": "thing/data.bin"}
    assert fetch(asset(source), assets=assets).read_bytes() == CONTENT


def test_an_asset_comes_from_npm(web, assets, monkeypatch, tmp_path):
    folder, address = web
    (folder / "thing.tgz").write_bytes(CONTENT)
    package = {"name": "thing", "version": "1.0.0", "dist": {"tarball": f"{address}/thing.tgz"}}
    (folder / "thing").write_text(json.dumps({"name": "thing", "versions": {"1.0.0": package}}))
    monkeypatch.setenv("npm_config_registry", address)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    source = {"kind": "npm", "package": "thing", "version": "1.0.0"}
    assert fetch(asset(source), assets=assets).read_bytes() == CONTENT


def test_an_asset_comes_from_a_pinned_revision_of_the_hub(web, assets, monkeypatch):
    folder, address = web
    file = folder / "owner/model/resolve/rev1/model.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    source = {"kind": "hub", "repository": "owner/model", "revision": "rev1", "file": "model.bin"}
    assert fetch(asset(source), assets=assets).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[::-1]])
def test_what_differs_in_size_or_hash_never_takes_the_place(web, assets, content):
    folder, address = web
    (folder / "thing").write_bytes(content)
    thing = asset({"kind": "url", "url": f"{address}/thing"})
    with pytest.raises(AssetError, match=r"thing could not be fetched. url: .* instead of"):
        fetch(thing, assets=assets)
    assert asset_state(thing, assets) == "missing"
    assert [path.name for path in assets.iterdir()] == [".thing.bin.lock"]


def test_an_asset_to_get_by_hand_says_how_and_takes_the_file_that_it_is(tmp_path, assets):
    thing, mine, other = asset(BY_HAND), tmp_path / "mine", tmp_path / "other"
    with pytest.raises(AssetError, match=r"by hand: ask its owner.* paincore fetch thing --file"):
        fetch(thing, assets=assets)
    with pytest.raises(AssetError, match="mine is not a file"):
        fetch(thing, mine, assets)
    other.write_bytes(b"other")
    with pytest.raises(AssetError, match="other has 5 bytes instead of 20"):
        fetch(thing, other, assets)
    mine.write_bytes(CONTENT)
    assert fetch(thing, mine, assets).read_bytes() == CONTENT
    assert mine.exists()
    unknown = asset(BY_HAND, bytes=None, sha256=None)
    assert fetch(unknown, other, assets).read_bytes() == b"other"
