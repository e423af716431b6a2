"""The registration backends by name, each made ready to run.

- `landmarker`, the default: Google's FaceLandmarker, on any photograph.
- `prnet`, the paper's: a dense mesh; its weights are the user's to bring.
- `landmarks`: the canonical face posed by the corpus's own landmarks, no network.
- `none`: the landmarker's face, only moved, turned in the plane and scaled: the baseline.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from paincore import PaincoreError
from paincore.manifest import ASSETS, fetch, load_manifest
from paincore.profiles import check_device
from paincore.registration.frontal import Frontal, crop, frontalise
from paincore.registration.landmarker import Landmarker, points_68
from paincore.registration.mesh import FaceMesh, Topology
from paincore.registration.posed import PosedCanonicalFace

BUNDLE = ("landmarker",)
PRNET_FILES = ("prnet-index", "prnet-face-index", "prnet-keypoints")
FILES = {
    "landmarker": BUNDLE,
    "prnet": BUNDLE + PRNET_FILES,
    "landmarks": BUNDLE,
    "none": BUNDLE,
}
"""The assets of the manifest that decide what a backend finds. PRNet's index holds a checksum of
each of its weights."""
BACKENDS = tuple(FILES)
TAKE_LANDMARKS = ("prnet", "landmarks")  # those that look at a corpus's landmarks


class BackendError(PaincoreError):
    """A backend that does not exist."""


@dataclass(frozen=True)
class Backend:
    """A backend ready to run.

    `find` gives a mesh, or None, for each of a list of RGB images (H, W, 3) uint8, with a list of
    landmarks (66, 2), or None where there are none; `view` turns image, mesh, topology and size
    into the stored picture.
    """

    name: str
    find: Callable[[list[np.ndarray], list[np.ndarray | None]], list[FaceMesh | None]]
    topology: Topology
    view: Callable[[np.ndarray, FaceMesh, Topology, int], Frontal]


def fingerprint(name: str) -> str:
    """SHA-256 over the files that decide what a backend finds, as the manifest has them.

    The files need not be here: `load_backend` takes no others. Raises BackendError for an unknown
    name.
    """
    if name not in FILES:
        raise BackendError(f"no registration backend {name!r}; there are {', '.join(BACKENDS)}")
    assets = load_manifest().assets
    return hashlib.sha256(json.dumps([assets[a].sha256 for a in FILES[name]]).encode()).hexdigest()


def load_backend(name: str, device: str = "cpu") -> Backend:
    """A backend, its files fetched and read; `device` is PyTorch's, for `prnet`.

    Raises BackendError for an unknown name, AssetError or CheckpointError where files are missing,
    with what to do.
    """
    fingerprint(name)  # raises for an unknown one
    check_device(device)
    landmarker = Landmarker(fetch("landmarker"))
    if name == "prnet":
        return load_prnet(landmarker, device)
    if name == "landmarks":
        posed = PosedCanonicalFace(landmarker)
        return Backend(name, posed, posed.topology, frontalise)
    view = crop if name == "none" else frontalise
    return Backend(name, landmarker, landmarker.topology, view)


def check_prnet(index: str) -> None:
    """Raise BackendError unless PRNet's files are the manifest's; `index` is the SHA-256 of the
    index that the weights came with."""
    assets = load_manifest().assets
    named, *others = (assets[name] for name in PRNET_FILES)
    faults = [asset.fault(ASSETS / asset.file) for asset in others]
    if index != named.sha256:
        faults.insert(
            0, f"the weights in {ASSETS} came with an index of SHA-256 {index}, not {named.sha256}"
        )
    if any(faults):
        raise BackendError(
            f"This is not PRNet as the manifest has it: {'; '.join(filter(None, faults))}."
        )


def load_prnet(landmarker: Landmarker, device: str) -> Backend:
    """PRNet on squares around the landmarks, or where there are none around the detector's face."""
    from paincore.registration import prnet  # loads PyTorch: only if asked for

    network = prnet.PRNet(ASSETS, points_68(landmarker.canonical), device)
    check_prnet(network.fingerprint)

    def find(images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FaceMesh | None]:
        crops = {}
        for number, (image, points) in enumerate(zip(images, landmarks, strict=True)):
            if points is not None:
                crops[number] = prnet.crop_around_landmarks(points)
            elif len(boxes := landmarker.detect(image)[0]):
                largest = (boxes[:, 2:] - boxes[:, :2]).prod(1).argmax()
                crops[number] = prnet.crop_around_detection(boxes[largest])
        meshes = network([images[number] for number in crops], list(crops.values()))
        found = dict(zip(crops, meshes, strict=True))
        return [found.get(number) for number in range(len(images))]

    return Backend("prnet", find, network.topology, frontalise)
