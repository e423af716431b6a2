"""FaceLandmarker's blendshapes: 52 movements of a face, by the bundle's third network.

The network takes 146 of the 478 landmarks, x and y in pixels, the right way up; shift and scale do
not matter. It answers with the strength, 0 to 1, of each of the movements that ARKit names; left
and right are the person's. Some are nearly an action unit: eyeBlink AU43, browDown AU4,
mouthUpperUp AU10, mouthSmile AU12, jawOpen AU26. cheekSquint and noseSneer, which would be AU6 and
AU9, hardly leave 0 on synthetic faces.
"""

import zipfile
from pathlib import Path

import numpy as np

from paincore.registration.faces import PRESENT
from paincore.registration.frontal import similarity
from paincore.registration.landmarker import VERTICES, Landmarker, Network

# Which landmarks the network takes and what it answers, in its order: kLandmarksSubsetIdxs and
# kBlendshapeNames of mediapipe/tasks/cc/vision/face_landmarker/face_blendshapes_graph.cc.
# fmt: off
NETWORK_LANDMARKS = [
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66,
    67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144,
    145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173,
    176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284,
    285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332,
    334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
]
BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)
# fmt: on


class BlendshapeReader:
    """FaceLandmarker with its blendshapes. `bundle`: the file `face_landmarker.task`."""

    def __init__(self, bundle: Path) -> None:
        self.landmarker = Landmarker(bundle)
        with zipfile.ZipFile(bundle) as files:
            self.network = Network(files.read("face_blendshapes.tflite"))

    def __call__(self, image: np.ndarray) -> np.ndarray | None:
        """Blendshapes float32 (52,) of the largest face of an RGB image (H, W, 3) uint8.

        None where no face is found, or one whose presence score is below that of registration.
        """
        mesh = self.landmarker.largest_face(image)
        if mesh is None or mesh.score < PRESENT:
            return None
        # A mesh leaves out the irises: they go from the crop to the image as its vertices did.
        crop, vertices = (p[:, :2].astype(np.float64) for p in (mesh.crop_points, mesh.vertices))
        scale, turn, shift = similarity(crop[:VERTICES], vertices, np.ones(VERTICES))
        return self.from_landmarks(scale * crop @ turn.T + shift)

    def from_landmarks(self, landmarks: np.ndarray) -> np.ndarray:
        """Blendshapes float32 (52,) of landmarks (478, 2) in pixels of the image."""
        return self.network(landmarks[NETWORK_LANDMARKS].astype(np.float32))[0]
