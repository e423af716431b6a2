"""The data manifest: what each data set and each asset is, and how to get it.

`data_manifest.yaml` is read into frozen models that know every field; a mistyped one is an error.
Assets lie in `data/assets`, but for those that the repository itself holds. An asset is damaged if
its size or SHA-256 differs from the manifest's; where the manifest has null, nothing is known to
compare with.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import huggingface_hub
import yaml
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paincore import PaincoreError
from paincore.files import digest_of

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "data_manifest.yaml"
ASSETS = ROOT / "data" / "assets"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ManifestError(PaincoreError):
    """A manifest that cannot be read, or a name that it does not have."""


class AssetError(PaincoreError):
    """An asset that cannot be fetched, or a file that is not the asset."""


class Entry(BaseModel):
    """A part of the manifest: frozen, and no field but those named."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class WheelMember(Entry):
    """A file inside a wheel of the Python package index; the package is not installed."""

    kind: Literal["wheel"]
    package: str
    version: str
    member: str

    def download(self, folder: Path) -> Path:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
        _run([*pip, "--only-binary=:all:", f"{self.package}=={self.version}"], folder)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(self.member, folder))


class NpmPackage(Entry):
    """The tarball of an npm package, packed by the machine's npm or else the environment's."""

    kind: Literal["npm"]
    package: str
    version: str

    def download(self, folder: Path) -> Path:
        npm = shutil.which("npm") or shutil.which("npm", path=Path(sys.executable).parent) or "npm"
        _run([npm, "pack", "--silent", f"{self.package}@{self.version}"], folder)
        (tarball,) = folder.glob("*.tgz")
        return tarball


class Url(Entry):
    """A file on the web."""

    kind: Literal["url"]
    url: str

    def download(self, folder: Path) -> Path:
        import pooch  # only for downloads: a machine that trains may lack it

        return Path(pooch.retrieve(self.url, known_hash=None, path=folder))


class HubFile(Entry):
    """A file of a model on the Hugging Face hub, at a pinned revision."""

    kind: Literal["hub"]
    repository: str
    revision: str
    file: str

    def download(self, folder: Path) -> Path:
        pinned = {"revision": self.revision, "local_dir": folder}
        return Path(huggingface_hub.hf_hub_download(self.repository, self.file, **pinned))


class ByHand(Entry):
    """A file that users get for themselves, as its licence or its home demands."""

    kind: Literal["by hand"]
    instructions: str

    def download(self, folder: Path) -> Path:
        raise AssetError(self.instructions)


class InRepository(Entry):
    """A file that the repository holds, at a path relative to its root."""

    kind: Literal["repository"]
    path: str

    def download(self, folder: Path) -> Path:
        raise AssetError(f"it belongs to the repository: git checkout -- {self.path}")


Source = Annotated[
    WheelMember | NpmPackage | Url | HubFile | ByHand | InRepository, Field(discriminator="kind")
]


class Asset(Entry):
    """A file that the book needs beside its data; `sources` in order of preference."""

    name: str
    title: str
    licence: str
    origin: str
    file: str
    bytes: int | None
    sha256: Sha256 | None
    sources: tuple[Source, ...] = Field(min_length=1)

    def place(self, assets: Path = ASSETS) -> Path:
        """Where the asset lies once it is here."""
        first = self.sources[0]
        return ROOT / first.path if isinstance(first, InRepository) else assets / self.file

    def fault(self, path: Path) -> str:
        """What tells this file from the asset, as a sentence; empty if nothing does."""
        size = path.stat().st_size
        if self.bytes not in (None, size):
            return f"{path} has {size} bytes instead of {self.bytes}"
        if self.sha256 and (digest := digest_of(path).hexdigest()) != self.sha256:
            return f"{path} has SHA-256 {digest} instead of {self.sha256}"
        return ""


class PspiHistogram(Entry):
    """Frames by PSPI; keys are a value or a range, as "1-2"."""

    verified: bool
    frames: dict[str, int]


class Expected(Entry):
    """What is known of a data set's size; null where it may be any."""

    subjects: int | None = None
    sequences: int | None = None
    frames: int | None = None
    shortest_sequence: int | None = None
    longest_sequence: int | None = None
    by_subject: dict[str, dict[Literal["frames", "sequences"], int]] = {}
    pspi: PspiHistogram | None = None


class Generator(Entry):
    """The frozen generator of a synthetic data set, and the demo corpus by which it is known:
    its settings, the fingerprint of its labels and the hash of its images."""

    version: int
    demo: dict[str, int | dict[str, float]]
    fingerprint: Sha256
    pixels_sha256: Sha256


class DataSet(Entry):
    """A data set; `faces_may_be_shown` and `shown_subjects` (all if empty) bind figures and videos.

    `stand_in` takes the place of a face that may not be shown: an outline, or an avatar, which
    moves as the frame is coded and so discloses its label.
    """

    name: str
    title: str
    synthetic: bool
    source: str
    licence: str
    obtain: str
    layout: str
    faces_may_be_shown: bool
    shown_subjects: tuple[str, ...]
    stand_in: Literal["outline", "avatar"] = "outline"
    release: str | None
    generator: Generator | None
    expected: Expected


class Manifest(Entry):
    """All data sets and assets, by name."""

    datasets: dict[str, DataSet]
    assets: dict[str, Asset]


@lru_cache
def load_manifest(path: Path = MANIFEST) -> Manifest:
    """Read the manifest. Raises ManifestError naming the field."""
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
        for entries in raw.values():
            for name, entry in entries.items():
                entry["name"] = name
        return Manifest.model_validate(raw)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ManifestError(f"{path}: {'; '.join(faults)}") from error
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error


def dataset_named(name: str) -> DataSet:
    """The data set's entry. Raises ManifestError naming those there are."""
    return _named(load_manifest().datasets, name, "data set")


def asset_state(asset: Asset, assets: Path = ASSETS) -> str:
    """Whether an asset is "here", "missing" or "damaged"."""
    place = asset.place(assets)
    if not place.is_file():
        return "missing"
    return "damaged" if asset.fault(place) else "here"


def fetch(asset: str | Asset, file: Path | None = None, assets: Path = ASSETS) -> Path:
    """Get an asset and return where it lies; nothing is done if it is there and whole.

    Its sources are tried in their order; `file`, if given, is copied instead. What comes is
    compared with the manifest's size and SHA-256 before it takes its place. Raises ManifestError
    for an unknown name, AssetError with each source's reason or with what to do by hand.
    """
    if isinstance(asset, str):
        asset = _named(load_manifest().assets, asset, "asset")
    place = asset.place(assets)
    try:
        assets.mkdir(parents=True, exist_ok=True)
        with FileLock(assets / f".{asset.file}.lock"):
            if file is None and asset_state(asset, assets) == "here":
                return place
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetch-") as folder:
                _obtain(asset, file, Path(folder)).replace(place)
    except OSError as error:
        raise AssetError(f"{asset.name} cannot be put at {place}: {error}") from error
    return place


def _obtain(asset: Asset, file: Path | None, folder: Path) -> Path:
    """A whole copy of the asset in `folder`, from the first source that has one."""
    if file is not None:
        if fault := asset.fault(file) if file.is_file() else f"{file} is not a file":
            raise AssetError(f"This is not {asset.name}: {fault}.")
        return Path(shutil.copyfile(file, folder / asset.file))
    reasons = []
    for source in asset.sources:
        try:
            path = source.download(folder)
            if not (fault := asset.fault(path)):
                return path
            reasons.append(f"{source.kind}: {fault}")
        except Exception as error:  # each library of a source has errors of its own
            reasons.append(f"{source.kind}: {str(error).rstrip('.')}")
    by_hand = f"If you have the file {asset.file}: paincore fetch {asset.name} --file PATH"
    raise AssetError(f"{asset.name} could not be fetched. {'; '.join(reasons)}. {by_hand}")


def _named(entries: dict, name: str, kind: str):
    if name not in entries:
        raise ManifestError(f"{MANIFEST.name} has no {kind} {name!r}; it has {', '.join(entries)}.")
    return entries[name]


def _run(command: list[str], folder: Path) -> None:
    """Run a command in a folder. Raises AssetError with the last line that it wrote."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise AssetError(lines[-1])
