"""The default registration backend: Google's FaceLandmarker, 478 points by two small networks.

The bundle (Apache-2.0, see the data manifest) is a zip of a face detector on 128x128 pixels, a
landmark network on 256x256, and the canonical face with its triangles and Procrustes weights. The
networks run on LiteRT, on one core, without a GPU or system library. Kartynnik et al. 2019,
"Real-time facial surface geometry from monocular video on mobile GPUs".

Without a network, `PosedCanonicalFace` fits the canonical face to given 2D landmarks.
"""

import math
import struct
import zipfile
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from paincore.registration.frontal import FaceMesh, Images, Landmarks, Topology
from paincore.registration.wire import wire_fields

DETECTOR_SIZE, LANDMARK_SIZE = 128, 256
DETECTION_THRESHOLD = 0.5
SAME_FACE_OVERLAP = 0.3  # intersection over union from which two boxes are one face
CROP_SCALE = 1.5  # side of the landmark crop over the longer side of the detector's box
VERTICES = 468  # of the 478 points, those of the canonical face; the rest are irises
# Of the bundle's anchors, those that hold the face: cm, from below the nose up and between the
# temples. Jaw and cheeks move with an expression, and the outline is what is known worst.
STILL_ABOVE, STILL_WITHIN = -2.2, 5.0

# The 68 points of Multi-PIE on the canonical face; where two vertices stand, their mean is meant.
# fmt: off
POINTS_68 = (
    (127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,), (152,), (400,), (379,),
    (365,), (397, 288), (361,), (323,), (454,), (356,), (70,), (63,), (105,), (66,), (107,), (336,),
    (296,), (334,), (293,), (300,), (168, 6), (197, 195), (5,), (4,), (75,), (97,), (2,), (326,),
    (305,), (33,), (160,), (158,), (133,), (153,), (144,), (362,), (385,), (387,), (263,), (373,),
    (380,), (61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,),
    (78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,),
)
# fmt: on

WITHOUT_INNER_CORNERS = [i for i in range(68) if i not in (60, 64)]  # 68 points -> the 66 of AAM


def points_68(vertices: np.ndarray) -> np.ndarray:
    """The 68 Multi-PIE points (68, K) of vertices (468, K) of this mesh."""
    return np.stack([vertices[list(ids)].mean(0) for ids in POINTS_68])


class Landmarker:
    """FaceLandmarker on LiteRT. `bundle`: the file `face_landmarker.task`."""

    def __init__(self, bundle: Path) -> None:
        with zipfile.ZipFile(bundle) as files:
            self.detector = Network(files.read("face_detector.tflite"))
            self.landmarks = Network(files.read("face_landmarks_detector.tflite"))
            geometry = files.read("geometry_pipeline_metadata_landmarks.binarypb")
        self.cells = detector_cells()
        self.canonical, triangles, anchors, weights = read_geometry(geometry)
        x, y, _ = self.canonical[anchors].T
        still = (y > STILL_ABOVE) & (abs(x) < STILL_WITHIN)
        anchors = anchors[still]
        self.topology = Topology(triangles, anchors, self.canonical[anchors], weights[still])

    def __call__(self, images: Images, landmarks: Landmarks = ()) -> list[FaceMesh | None]:
        """The largest face of each image, None where there is none; landmarks are not looked at."""
        return [self.largest_face(image) for image in images]

    def largest_face(self, image: np.ndarray) -> FaceMesh | None:
        """The largest face of one RGB image (H, W, 3) uint8."""
        boxes, eyes = self.detect(image)
        return self.locate(image, boxes[0], eyes[0], len(boxes)) if len(boxes) else None

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) as x0, y0, x1, y1 and eyes (N, 2, 2) of the faces, in pixels, the largest
        face first."""
        side = max(image.shape[:2])
        border = (side - np.array(image.shape[1::-1])) / 2
        shrink = DETECTOR_SIZE / side
        to_input = np.array([[shrink, 0, border[0] * shrink], [0, shrink, border[1] * shrink]])
        small = warp_down(image, to_input, DETECTOR_SIZE)
        regressions, logits = self.detector(small.astype(np.float32) / 127.5 - 1)
        scores = sigmoid(logits[0, :, 0])
        likely = scores >= DETECTION_THRESHOLD
        raw = regressions[0, likely] / DETECTOR_SIZE
        centres = raw[:, :2] + self.cells[likely]
        half = raw[:, 2:4] / 2
        eyes = raw[:, 4:8].reshape(-1, 2, 2) + self.cells[likely][:, None]
        answers = np.hstack([centres - half, centres + half, eyes.reshape(-1, 4)])
        found = merge_faces(answers, scores[likely]).reshape(-1, 4, 2) * side - border
        found = found[np.argsort(-(found[:, 1] - found[:, 0]).prod(1), kind="stable")]
        return found[:, :2].reshape(-1, 4), found[:, 2:]

    def locate(self, image: np.ndarray, box: np.ndarray, eyes: np.ndarray, faces: int) -> FaceMesh:
        """The mesh of the face in a detector's box, one of `faces`."""
        centre = (box[:2] + box[2:]) / 2
        side = CROP_SCALE * (box[2:] - box[:2]).max()
        across = eyes[1] - eyes[0]
        angle = np.arctan2(across[1], across[0])
        zoom = side / LANDMARK_SIZE
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = centre - turn @ np.full(2, LANDMARK_SIZE / 2)
        to_input = cv2.invertAffineTransform(np.column_stack([turn, offset]))
        crop = warp_down(image, to_input, LANDMARK_SIZE)
        outputs = self.landmarks(crop.astype(np.float32) / 255)
        points = outputs[0].reshape(-1, 3)
        face = points[:VERTICES].astype(np.float64)
        # The network's z grows away from the camera.
        vertices = np.column_stack([face[:, :2] @ turn.T + offset, -face[:, 2] * zoom])
        score = float(sigmoid(outputs[1].ravel()[0]))
        return FaceMesh(vertices.astype(np.float32), score, faces, points)


def detector_cells() -> np.ndarray:
    """Where the detector's 896 answers stand, (896, 2) in 0..1: 16x16 cells of two, 8x8 of six."""
    grids = []
    for cells, count in ((16, 2), (8, 6)):
        middle = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(middle, middle)
        grids.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), count, axis=0))
    return np.concatenate(grids)


class Network:
    """One LiteRT network; called with an input without its batch axis, gives all outputs."""

    def __init__(self, model: bytes) -> None:
        self.interpreter = Interpreter(model_content=model, num_threads=1)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.outputs = [o["index"] for o in self.interpreter.get_output_details()]

    def __call__(self, value: np.ndarray) -> list[np.ndarray]:
        self.interpreter.set_tensor(self.input, value[None])
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(i) for i in self.outputs]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, whatever their size."""
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


def warp_down(image: np.ndarray, to_input: np.ndarray, size: int) -> np.ndarray:
    """Warp to a square of `size` pixels by the affine map (2, 3) from image to square.

    A warp samples four pixels only, so a much larger image is averaged down by halves first.
    """
    (a, b, _), (c, d, _) = to_input.tolist()
    halvings = max(0, int(-math.log2(abs(a * d - b * c)) / 2))
    for _ in range(halvings):
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    from_halved = to_input * [2.0**halvings, 2.0**halvings, 1]
    # OpenCV samples four channels in less than half the time of three.
    image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    how = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    square = cv2.warpAffine(image, from_halved, (size, size), **how)
    return cv2.cvtColor(square, cv2.COLOR_RGBA2RGB)


def merge_faces(detections: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """One row a face: detections (N, 8) that overlap are averaged, weighted by their scores."""
    merged = []
    left = np.argsort(-scores)
    while len(left):
        boxes = detections[left, :4]
        low = np.maximum(boxes[:, :2], boxes[0, :2])
        high = np.minimum(boxes[:, 2:], boxes[0, 2:])
        inner = np.clip(high - low, 0, None).prod(1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        same = inner / (areas + areas[0] - inner) > SAME_FACE_OVERLAP
        same[0] = True
        merged.append(np.average(detections[left[same]], axis=0, weights=scores[left[same]]))
        left = left[~same]
    return np.array(merged).reshape(-1, 8)


def read_geometry(message: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The canonical face of the bundle, a protobuf message: its points float64 (468, 3) in cm,
    triangles int32 (898, 3), and the anchors int32 (33,) with their Procrustes weights."""
    fields = list(wire_fields(message))
    mesh = list(wire_fields(next(value for number, value in fields if number == 1)))
    numbers = b"".join(value for number, value in mesh if number == 3)
    points = np.frombuffer(numbers, "<f4").reshape(-1, 5)[:, :3].astype(np.float64)
    triangles = np.array([value for number, value in mesh if number == 4], np.int32).reshape(-1, 3)
    basis = [dict(wire_fields(value)) for number, value in fields if number == 2]
    anchors = np.array([weight.get(1, 0) for weight in basis], np.int32)
    weights = np.array([struct.unpack("<f", weight[2])[0] for weight in basis])
    return points, triangles, anchors, weights


class PosedCanonicalFace:
    """The backend `landmarks`: the canonical face, posed so that it fits given 2D landmarks.

    The 66 AAM landmarks that UNBC ships give position, scale and pose; the shape is everybody's.
    """

    def __init__(self, landmarker: Landmarker) -> None:
        self.canonical, self.topology = landmarker.canonical, landmarker.topology
        self.points = points_68(self.canonical)[WITHOUT_INNER_CORNERS]

    def __call__(self, images: Images, landmarks: Landmarks) -> list[FaceMesh | None]:
        """The face of each image by its landmarks float (66, 2) in pixels; None without them."""
        return [None if marks is None else self.pose(marks) for marks in landmarks]

    def pose(self, landmarks: np.ndarray) -> FaceMesh:
        """Fit scale, rotation and shift by least squares under weak perspective.

        The best affine map from canonical to image points, then the nearest scaled rotation.
        """
        target = landmarks * [1, -1]  # y up, as canonical
        model_mean, image_mean = self.points.mean(0), target.mean(0)
        affine = np.linalg.lstsq(self.points - model_mean, target - image_mean, rcond=None)[0].T
        u, s, vt = np.linalg.svd(affine, full_matrices=False)
        rows = u @ vt
        rotation = np.vstack([rows, np.cross(rows[0], rows[1])])
        posed = s.mean() * (self.canonical - model_mean) @ rotation.T
        posed[:, :2] += image_mean
        return FaceMesh((posed * [1, -1, 1]).astype(np.float32), score=1.0)
