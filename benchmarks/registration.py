"""Accuracy, stability, speed and memory of registration by the `landmarker`.

`python benchmarks/registration.py [--photographs FOLDER] [--quick]` prints its figures as one JSON
object on the last line. FOLDER holds photographs with ground truth in the form of AFLW2000-3D
(`pt3d_68` beside each picture); without it, `found`, `nme51` and `nme68` are null. All else is
measured on synthetic people, whose geometry is known.

- NME: mean 2D distance in per cent of sqrt(width * height) of the true points' box, over 68 points
  and over the 51 without the jaw (Feng et al. 2018).
- pose_error_degrees: median over frames of the mean error of yaw, pitch and roll. What a camera can
  see of a pose is the turn against the line of sight, counted from where the person's neutral face
  fits the canonical one best; so is the truth here. The error against the generator's own angles is
  printed too.
- stability_ratio: one face and expression at yaw -30 to 30, its light turning with it, without the
  camera's noise: mean absolute difference from the view at yaw 0, over pixels that both show, of
  `none` crops over frontal views.
- frontal_ms: median time of the frontal step; frontal_ratio: that of a triangle-by-triangle
  cv2.warpAffine on the same mesh, over it.
- frames_per_second: PNG of 320x240 in, stored frame of 224x224 out, with two workers, from the
  start of the process to the whole store.
- peak_memory_mb: the most anonymous memory that the process that runs `registered` and its workers
  hold together, for 20,000 frames.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
from scipy.io import loadmat

from paincore.data.corpus import Corpus
from paincore.manifest import dataset_named, fetch
from paincore.registration.frame_store import open_store
from paincore.registration.frontal import (
    FaceMesh,
    Frontal,
    Topology,
    crop,
    frontalise,
    head_angles,
    similarity,
    upright,
    view_points,
)
from paincore.registration.landmarker import WITHOUT_INNER_CORNERS, Landmarker, points_68
from paincore.registration.store import registered
from synthpain.head import (
    CAMERA_DISTANCE,
    LANDMARK_VERTICES,
    View,
    landmarks66,
    project,
    rotation,
    turn,
)
from synthpain.people import Person, draw_people, face_vertices
from synthpain.render import Renderer

REGISTER = "--register-only"  # the argument of the process whose memory is measured
FRAMES, QUICK_FRAMES = 20_000, 1_000  # of the corpus on which speed and memory are measured
YAW_BINS = (0, 30, 60, 90)  # degrees
STABLE_YAWS = (-30, -20, -10, 0, 10, 20, 30)
CAMERA = np.array([0.0, 0.90, CAMERA_DISTANCE])  # dm from the pivot, as `to_pixels` has it


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--photographs", type=Path, help="a folder like AFLW2000-3D")
    arguments.add_argument("--quick", action="store_true", help="fewer people and frames")
    given = arguments.parse_args()
    cv2.setNumThreads(1)
    landmarker = Landmarker(fetch("landmarker"))
    people = draw_people(4 if given.quick else 12, seed=0)
    figures = photograph_figures(landmarker, given.photographs)
    figures |= throughput_figures(people[0], QUICK_FRAMES if given.quick else FRAMES)
    figures |= frontal_figures(landmarker, people[0])
    figures |= stability_figures(landmarker, people)
    figures |= pose_figures(landmarker, people)
    print(json.dumps(figures))


def photograph_figures(landmarker: Landmarker, folder: Path | None) -> dict:
    """How many of the photographs have a face found, and its NME."""
    if folder is None:
        print("photographs: none given, see --photographs")
        return {"found": None, "nme51": None, "nme68": None}
    rows = []
    photographs = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    for path in photographs:
        truth = loadmat(path.with_suffix(".mat"))
        (mesh,) = landmarker([cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)])
        if mesh is not None:
            error = nme(points_68(mesh.vertices)[:, :2], truth["pt3d_68"][:2].T)
            yaw = abs(np.rad2deg(truth["Pose_Para"][0, 1]))
            rows.append((yaw, error[17:].mean(), error.mean()))
    print_by_yaw(f"photographs, {len(rows)} of {len(photographs)} found", rows)
    _, nme51, nme68 = np.mean(rows, axis=0).tolist()
    return {"found": len(rows), "nme51": round(nme51, 2), "nme68": round(nme68, 2)}


def nme(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Error of each point (K,), in per cent of the true box."""
    box = np.ptp(truth, axis=0)
    return 100 * np.linalg.norm(found - truth, axis=1) / np.sqrt(box.prod())


def print_by_yaw(title: str, rows: list[tuple[float, float, float]]) -> None:
    """Print NME of rows (|yaw|, without the jaw, with it) by bin of |yaw|."""
    yaw, without_jaw, with_jaw = np.array(rows).T
    for low, high in pairwise(YAW_BINS):
        here = (yaw >= low) & (yaw < high)
        if here.any():
            print(
                f"{title}: |yaw| {low} to {high}, {here.sum()} frames: "
                f"NME {without_jaw[here].mean():.2f} without the jaw, {with_jaw[here].mean():.2f}"
            )


def pose_figures(landmarker: Landmarker, people: list[Person]) -> dict[str, float]:
    """Errors of landmarks and pose on synthetic frames of known geometry."""
    rng = np.random.default_rng(7)
    canonical = points_68(landmarker.canonical)[WITHOUT_INNER_CORNERS]
    points, seen, labelled = [], [], []
    for person in people:
        renderer = Renderer(person)
        for yaw in (-45, -20, 0, 20, 45):
            view = View(yaw=yaw, pitch=rng.uniform(-12, 12), roll=rng.uniform(-12, 12))
            aus = {"au4": rng.uniform(0, 4), "au12": rng.uniform(0, 4), "au26": rng.uniform(0, 4)}
            image = renderer.render(aus, view, rng)
            (mesh,) = landmarker([image])
            truth = landmarks66(project(face_vertices(person, aus), view))
            error = nme(points_68(mesh.vertices)[WITHOUT_INNER_CORNERS, :2], truth)
            points.append((abs(yaw), error[17:].mean(), error.mean()))
            registered = frontalise(image, mesh, landmarker.topology)
            angles = np.array([registered.yaw, registered.pitch, registered.roll])
            labelled.append(np.abs(angles - (view.yaw, view.pitch, view.roll)))
            seen.append(np.abs(angles - visible_pose(person, view, canonical)))
    print_by_yaw("synthetic", points)
    for title, errors in (("as seen", seen), ("against the generator's angles", labelled)):
        middle = np.median(errors, axis=0)
        print("pose error {}: yaw {:.1f}, pitch {:.1f}, roll {:.1f}".format(title, *middle))
    return {"pose_error_degrees": round(float(np.median(np.mean(seen, axis=1))), 2)}


def visible_pose(person: Person, view: View, canonical: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll against the line of sight, from the person's own frontal pose."""
    marks = list(LANDMARK_VERTICES)
    neutral = face_vertices(person, {})
    _, own, _ = similarity(neutral[marks].astype(np.float64), canonical, np.ones(len(marks)))
    towards_camera = CAMERA - turn(neutral, view)[marks].mean(0)
    x, y, z = towards_camera / np.linalg.norm(towards_camera)
    up = np.rad2deg(np.arctan2(y, np.hypot(x, z)))
    ahead = rotation(np.rad2deg(np.arctan2(x, z)), 0, 0) @ rotation(0, up, 0)
    return head_angles(ahead.T @ rotation(view.yaw, view.pitch, view.roll) @ own.T)


def stability_figures(landmarker: Landmarker, people: list[Person]) -> dict[str, float]:
    """How much a turn of the head changes the frontal view, and how much the plain crop."""
    differences = {frontalise: [], crop: []}
    for person in people:
        renderer = Renderer(person)
        images = [
            renderer.render({}, View(yaw=yaw, light_yaw=yaw - 25), None) for yaw in STABLE_YAWS
        ]
        meshes = landmarker(images)
        for method, found in differences.items():
            views = [method(i, m, landmarker.topology) for i, m in zip(images, meshes, strict=True)]
            ahead = views.pop(STABLE_YAWS.index(0))
            found += [difference(view, ahead) for view in views]
    frontal, plain = np.mean(differences[frontalise]), np.mean(differences[crop])
    print(f"stability: mean difference {frontal:.2f} of frontal views, {plain:.2f} of plain crops")
    return {"stability_ratio": round(float(plain / frontal), 2)}


def difference(view: Frontal, other: Frontal) -> float:
    """Mean absolute difference, of 255, where both are visible."""
    both = view.visible & other.visible
    return float(np.abs(view.image[both].astype(float) - other.image[both]).mean())


def frontal_figures(landmarker: Landmarker, person: Person) -> dict[str, float]:
    """Milliseconds of the frontal step, and how many times longer the plain way takes."""
    image = Renderer(person).render({}, View(yaw=15), np.random.default_rng(0))
    (mesh,) = landmarker([image])
    seconds = median_seconds(lambda: frontalise(image, mesh, landmarker.topology), 400)
    plain = median_seconds(lambda: warp_triangles(image, mesh, landmarker.topology), 40)
    print(f"frontal step: {1e3 * seconds:.2f} ms; triangle by triangle {1e3 * plain:.1f} ms")
    return {
        "frontal_ms": round(1e3 * seconds, 2),
        "frontal_ratio": round(plain / seconds, 1),
    }


def median_seconds(function: Callable[[], object], times: int) -> float:
    function()  # compiles
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def warp_triangles(image: np.ndarray, mesh: FaceMesh, topology: Topology) -> np.ndarray:
    """The baseline: each triangle warped by cv2.warpAffine, from back to front."""
    points = upright(mesh.vertices.astype(np.float64))
    scale, turned, shift = similarity(
        points[topology.anchors], topology.canonical, topology.weights
    )
    target = view_points(scale * points @ turned.T + shift, 224)
    out = np.zeros((224, 224, 3), np.uint8)
    for triangle in topology.triangles[np.argsort(target[topology.triangles, 2].mean(1))]:
        source, corners = mesh.vertices[triangle, :2], target[triangle, :2]
        left, top, width, height = cv2.boundingRect(corners)
        x, y, w, h = cv2.boundingRect(source)
        x, y = max(x, 0), max(y, 0)
        affine = cv2.getAffineTransform(
            source - np.float32([x, y]), corners - np.float32([left, top])
        )
        patch = image[y : y + h + 1, x : x + w + 1]
        warped = cv2.warpAffine(patch, affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        mask = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(mask, np.round(corners - [left, top]).astype(np.int32), 1)
        place = out[top : top + height, left : left + width]
        place[mask > 0] = warped[mask > 0]
    return out


def throughput_figures(person: Person, count: int) -> dict[str, float]:
    """Frames a second through `registered` with two workers, and the most memory they held."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_frames(root, person, count)
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, __file__, REGISTER, folder])
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, anonymous_megabytes(process.pid))
            time.sleep(0.25)
        seconds = time.perf_counter() - start
        assert process.returncode == 0, "register failed"
        (store,) = root.glob("stores/synthetic-landmarker-????????????")
        assert open_store(store).usable.all()
    print(f"register: {count} frames in {seconds:.0f} s, at most {peak:.0f} MB")
    return {"frames_per_second": round(count / seconds, 1), "peak_memory_mb": round(peak)}


def write_frames(root: Path, person: Person, count: int) -> None:
    """Pictures 320x240 as PNG: hard links to a few, which is all the same for their reader."""
    renderer, rng = Renderer(person), np.random.default_rng(0)
    for number, yaw in enumerate(STABLE_YAWS):
        image = renderer.render({}, View(yaw=yaw), rng)
        cv2.imwrite(str(root / f"{number}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    for frame in range(len(STABLE_YAWS), count):
        os.link(root / f"{frame % len(STABLE_YAWS)}.png", root / f"{frame}.png")


def register_frames(root: Path) -> None:
    """What the measured process does: register the pictures of `write_frames`."""
    names = [f"{number}.png" for number in range(len(list(root.glob("*.png"))))]
    frames = pd.DataFrame({"image": names, "landmarks": None, "state": "ok", "problem": ""})
    corpus = Corpus(dataset_named("synthetic"), root, frames, (), "benchmark", "", None)
    registered(corpus, "landmarker", root, workers=2)


def anonymous_megabytes(pid: int) -> float:
    """Memory of a process and its descendants that no file backs."""
    try:
        processes = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    kilobytes = 0
    for process in processes:
        with suppress(OSError):  # it has ended
            status = Path(f"/proc/{process}/status").read_text()
            found = re.search(r"RssAnon:\s+(\d+)", status)
            kilobytes += int(found[1]) if found else 0
    return kilobytes / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == [REGISTER]:
        register_frames(Path(sys.argv[2]))
    else:
        main()
