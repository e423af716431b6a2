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
from paincore.manifest import ASSETS, ROOT, fetch, load_manifest
from paincore.profiles import check_device
from paincore.registration.frontal import (
    FaceMesh,
    Frontal,
    Images,
    Landmarks,
    Topology,
    crop,
    frontalise,
)
from paincore.registration.landmarker import Landmarker, PosedCanonicalFace, largest_box, points_68

PRNET_FILES = ("prnet-index", "prnet-face-index", "prnet-keypoints")
BACKEND_FILES = {
    "landmarker": ("landmarker",),
    "prnet": ("landmarker", *PRNET_FILES),
    "landmarks": ("landmarker",),
    "none": ("landmarker",),
}
"""The assets of the manifest that decide what a backend finds. PRNet's index holds a checksum of
each of its weights."""
TAKE_LANDMARKS = ("prnet", "landmarks")  # those that look at a corpus's landmarks


class BackendError(PaincoreError):
    """A backend that does not exist, or lacks what it needs."""


@dataclass(frozen=True)
class Backend:
    """A backend ready to run.

    `find` gives a mesh, or None, for each of a list of RGB images (H, W, 3) uint8, with a list of
    landmarks (66, 2), or None where there are none; `view` turns image, mesh, topology and size
    into the stored image.
    """

    name: str
    find: Callable[[Images, Landmarks], list[FaceMesh | None]]
    topology: Topology
    view: Callable[[np.ndarray, FaceMesh, Topology, int], Frontal]


def backend_fingerprint(name: str) -> str:
    """SHA-256 over the files that decide what a backend finds, as the manifest has them.

    The files need not be here: `load_backend` takes no others. Raises BackendError for an unknown
    name.
    """
    if name not in BACKEND_FILES:
        known = ", ".join(BACKEND_FILES)
        raise BackendError(f"no registration backend {name!r}; there are {known}")
    hashes = [load_manifest().assets[asset].sha256 for asset in BACKEND_FILES[name]]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def load_backend(name: str, device: str = "cpu") -> Backend:
    """A backend, its files fetched and read; `device` is PyTorch's, for `prnet`.

    Raises BackendError for an unknown name, AssetError or CheckpointError where files are missing
    or damaged, with what to do.
    """
    backend_fingerprint(name)  # raises for an unknown one
    check_device(device)
    landmarker = Landmarker(fetch("landmarker"))
    if name == "prnet":
        return _load_prnet(landmarker, device)
    find = PosedCanonicalFace(landmarker) if name == "landmarks" else landmarker
    return Backend(name, find, landmarker.topology, crop if name == "none" else frontalise)


def backends_here(device: str = "cpu") -> dict[str, Backend | str]:
    """Every backend by name, ready to run, or the sentence that says what it lacks."""
    found = {}
    for name in BACKEND_FILES:
        try:
            found[name] = load_backend(name, device)
        except PaincoreError as fault:
            found[name] = str(fault).replace(f"{ROOT}/", "")  # pages travel
    return found


def _load_prnet(landmarker: Landmarker, device: str) -> Backend:
    """PRNet on squares around the landmarks, or where there are none around the detector's face."""
    from paincore.registration import prnet  # loads PyTorch: only if asked for

    index, *lists = (fetch(name, assets=ASSETS) for name in PRNET_FILES)
    fetch("prnet-weights", assets=ASSETS)
    network = prnet.PRNet(index, *lists, points_68(landmarker.canonical), device)

    def find(images: Images, landmarks: Landmarks) -> list[FaceMesh | None]:
        crops = {}
        for number, (image, points) in enumerate(zip(images, landmarks, strict=True)):
            if points is not None:
                crops[number] = prnet.crop_around_landmarks(points)
            elif len(boxes := landmarker.detect(image)[0]):
                crops[number] = prnet.crop_around_detection(boxes[largest_box(boxes)])
        meshes = network([images[number] for number in crops], list(crops.values()))
        found = dict(zip(crops, meshes, strict=True))
        return [found.get(number) for number in range(len(images))]

    return Backend("prnet", find, network.topology, frontalise)
