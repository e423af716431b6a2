"""A corpus whose every picture carries a code, and the search for that code in files.

The code is a marker of OpenCV's ArUco, which is found at any size and in grey: a large one in the
corner of the frame, and one between the brows, which registration takes along into its views.
"""

import base64
import json
import re
import shutil
from pathlib import Path

import cv2
import nbformat
import numpy as np

from paincore.data.unbc import parse_landmarks

DICTIONARY = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
CORNER, BROWS = 7, 23
PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".webp"}
TEXTS = {".ipynb", ".html", ".json", ".js", ".svg", ".md"}
SCALES = (1, 2, 0.5)
ENCODED = re.compile(rb"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR)[A-Za-z0-9+/=\\n]{200,}")


def plant(source: Path, target: Path) -> Path:
    """A copy of a synthetic corpus as a real one is: without Truth, and with the code in it."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("Truth", ".*"))
    for path in sorted((target / "Images").rglob("*.png")):
        image = cv2.imread(str(path))
        if image is None:  # cut short on purpose
            continue
        landmarks = target / "AAM_landmarks" / path.relative_to(target / "Images")
        points = parse_landmarks(landmarks.with_name(f"{path.stem}_aam.txt").read_bytes())
        cv2.imwrite(str(path), coded(image, points))
    return target


def coded(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) with both markers; `points` (66, 2) are its landmarks."""
    image = image.copy()
    _paste(image, CORNER, np.array([2.0, 2.0]), np.array([56.0, 0.0]), np.array([0.0, 56.0]))
    brows, across = points[17:27].mean(0), points[45] - points[36]  # outer corners of the eyes
    down = np.array([-across[1], across[0]])
    side = 0.42
    corner = brows - 0.5 * side * across - 0.75 * side * down
    _paste(image, BROWS, corner, side * across, side * down)
    return image


def _paste(image, number, corner, across, down) -> None:
    marker = cv2.aruco.generateImageMarker(DICTIONARY, number, 48)
    marker = cv2.copyMakeBorder(marker, 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=255)
    size = len(marker)
    target = np.float32([corner, corner + across, corner + down])
    warp = cv2.getAffineTransform(np.float32([[0, 0], [size, 0], [0, size]]), target)
    where = image.shape[1], image.shape[0]
    inside = cv2.warpAffine(np.full_like(marker, 255), warp, where, flags=cv2.INTER_AREA)
    drawn = cv2.warpAffine(marker, warp, where, flags=cv2.INTER_AREA)
    share = inside[..., None] / 255
    image[:] = np.round((1 - share) * image + share * drawn[..., None])


def codes(image: np.ndarray) -> set[int]:
    """Which of the two codes a picture shows."""
    detector = cv2.aruco.ArucoDetector(DICTIONARY)
    found = set()
    for scale in SCALES:
        sized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        numbers = detector.detectMarkers(sized)[1]
        found |= set() if numbers is None else {int(n) for n in numbers.ravel()}
    return found & {CORNER, BROWS}


def pictures_in(path: Path) -> list[np.ndarray]:
    """Every picture in a file: the file itself, or what it holds as base64 text."""
    found = []
    if path.suffix.lower() in PICTURES:
        found = [path.read_bytes()]
    elif path.suffix in TEXTS:
        content = path.read_bytes()
        if path.suffix == ".ipynb":  # outputs may be kept in lists of lines, which nbformat joins
            content = json.dumps(nbformat.read(path, as_version=4)).encode()
        texts = (re.sub(rb"\s|\\n", b"", one) for one in ENCODED.findall(content))
        found = [base64.b64decode(text + b"=" * (-len(text) % 4)) for text in texts]
    decoded = (cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in found)
    return [image for image in decoded if image is not None]


def shown_in(folder: Path) -> tuple[dict[str, set[int]], int]:
    """Files below a folder that show a code, and how many pictures were looked at."""
    wrong, count = {}, 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            for image in pictures_in(path):
                count += 1
                if found := codes(image):
                    wrong[path.relative_to(folder).as_posix()] = found
    return wrong, count
