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
from paincore.registration import frontal
from paincore.registration.landmarker import Landmarker, PosedCanonicalFace

PRNET_FILES = ("prnet-index", "prnet-face-index", "prnet-keypoints")
BACKENDS = ("landmarker", "prnet", "landmarks", "none")
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
    find: Callable[[frontal.Images, frontal.Landmarks], list[frontal.FaceMesh | None]]
    topology: frontal.Topology
    view: Callable[[np.ndarray, frontal.FaceMesh, frontal.Topology, int], frontal.Frontal]


def backend_fingerprint(name: str) -> str:
    """SHA-256 over the files that decide what a backend finds, as the manifest has them.

    The files need not be here: `load_backend` takes no others. PRNet's index holds a checksum of
    each of its weights. Raises BackendError for an unknown name.
    """
    if name not in BACKENDS:
        raise BackendError(f"no registration backend {name!r}; there are {', '.join(BACKENDS)}")
    files = ("landmarker", *(PRNET_FILES if name == "prnet" else ()))
    hashes = [load_manifest().assets[asset].sha256 for asset in files]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def load_backend(name: str, device: str = "cpu") -> Backend:
    """A backend, its files fetched and read; `device` is PyTorch's, for `prnet`.

    Raises BackendError for an unknown name, AssetError or CheckpointError where files are missing
    or damaged, with what to do.
    """
    backend_fingerprint(name)  # raises for an unknown one
    check_device(device)
    find = landmarker = Landmarker(fetch("landmarker"))
    if name == "landmarks":
        find = PosedCanonicalFace(landmarker)
    elif name == "prnet":
        from paincore.registration.prnet import PRNet  # loads PyTorch: only if asked for

        files = [fetch(asset, assets=ASSETS) for asset in PRNET_FILES]
        fetch("prnet-weights", assets=ASSETS)  # which the network reads beside the index
        find = PRNet(*files, landmarker, device)
    view = frontal.crop if name == "none" else frontal.frontalise
    return Backend(name, find, find.topology, view)


def backends_here(device: str = "cpu") -> dict[str, Backend | str]:
    """Every backend by name, ready to run, or the sentence that says what it lacks."""
    found = {}
    for name in BACKENDS:
        try:
            found[name] = load_backend(name, device)
        except PaincoreError as fault:
            found[name] = str(fault).replace(f"{ROOT}/", "")  # pages travel
    return found
