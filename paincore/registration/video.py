"""A reader's own photograph or video file, frame by frame, without a corpus."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from paincore import PaincoreError
from paincore.registration.backends import BackendError, load_backend
from paincore.registration.faces import Picture, decode, find_faces

NO_VIDEO = {"ansi", "bintext", "xbin", "idf"}  # codecs by which a text file passes for a video
EXPECTED = "Name a photograph or a video that is whole."


class VideoError(PaincoreError):
    """A file that is neither a photograph nor a video, or a video that is damaged."""


def read_video(path: str | Path) -> Iterator[tuple[float, np.ndarray]]:
    """The frames of a video file: seconds from its start, and RGB uint8 (H, W, 3), upright.

    A photograph is one frame at 0 seconds. Frames are read as they are asked for. Raises VideoError
    if the file is missing, neither photograph nor video, or damaged.
    """
    count, still = 0, cv2.haveImageReader(str(path)) and cv2.imcount(str(path)) == 1
    if still and (image := decode(np.fromfile(path, np.uint8))) is not None:
        yield 0.0, image
        return
    try:
        with av.open(str(path)) as container:
            streams = container.streams.video
            for stream in [s for s in streams if s.codec_context.name not in NO_VIDEO][:1]:
                for frame in container.decode(stream):
                    image = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                    yield frame.time or 0.0, np.ascontiguousarray(image)
                    count += 1
    except (av.error.FFmpegError, OSError) as fault:
        raise VideoError(f"{path}, frame {count + 1}: {fault.strerror}. {EXPECTED}") from fault
    if not count:
        raise VideoError(f"{path} has no frames. {EXPECTED}")


def register_file(path: str | Path, backend="landmarker", size=224, every=1) -> Iterator[tuple]:
    """Seconds and what registration finds, for every `every`-th frame of a photograph or video.

    A `Face` has the image, its mesh, the view and, where there is none, a state and the reason.
    Raises VideoError as `read_video` does, and BackendError for a backend that needs landmarks.
    """
    if backend == "landmarks":
        raise BackendError(f"{path} comes without landmarks. Choose another backend.")
    loaded = load_backend(backend)
    for seconds, image in islice(read_video(path), 0, None, every):
        (face,) = find_faces([Picture(f"{path}, {seconds:.2f} s", image)], loaded, size)
        yield seconds, face
