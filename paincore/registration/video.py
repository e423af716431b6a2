"""A reader's own photograph or video file, frame by frame, without a corpus. Used by chapter 02."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import av
import cv2
import numpy as np

from paincore import PaincoreError
from paincore.registration.backends import BackendError, load_backend
from paincore.registration.faces import Face, Picture, decode, find_faces

NOT_PICTURES = {"ansi", "bintext", "xbin", "idf"}  # codecs by which a text file passes for a video


class VideoError(PaincoreError):
    """A file that is neither a photograph nor a video, or a video that is damaged."""


def read_video(path: str | Path) -> Iterator[tuple[float, np.ndarray]]:
    """The frames of a video file: seconds from its start, and RGB uint8 (H, W, 3), upright.

    A photograph is one frame at 0 seconds. Frames are read as they are asked for. Raises VideoError
    at once if the file is missing, or neither photograph nor video, and later where it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise VideoError(f"{path}: no such file")
    if (image := _photograph(path)) is not None:
        return iter([(0.0, image)])
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as fault:
        raise VideoError(_not_a_video(path, fault.strerror)) from fault
    streams = [s for s in container.streams.video if s.codec_context.name not in NOT_PICTURES]
    if not streams:
        container.close()
        raise VideoError(_not_a_video(path, "it has no pictures"))
    frames = _frames(path, container, streams[0])
    return chain([next(frames)], frames)


def sampled(path: str | Path, most: int = 60, side: int = 1280) -> list[tuple[float, np.ndarray]]:
    """Up to `most` frames of an image or video, about evenly spaced, as `read_video` gives them.

    A frame whose longer side has more than `side` pixels is shrunk to it, so that 4K fits into
    memory. The file is read to its end, once. Raises VideoError as `read_video` does. Chapter 08.
    """
    kept, every = [], 1
    for number, (seconds, image) in enumerate(read_video(path)):
        if number % every == 0:
            kept.append((seconds, shrunk_to(image, side)))
        if len(kept) == 2 * most:
            kept, every = kept[::2], 2 * every
    places = np.linspace(0, len(kept) - 1, min(most, len(kept))).round().astype(int)
    return [kept[place] for place in places]


def shrunk_to(image: np.ndarray, side: int) -> np.ndarray:
    """The picture with its longer side at most `side` pixels."""
    share = side / max(image.shape[:2])
    if share >= 1:
        return image
    return cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def register_file(
    path: str | Path,
    backend: str = "landmarker",
    size: int = 224,
    every: int = 1,
    device: str = "cpu",
) -> Iterator[tuple[float, Face]]:
    """Seconds and what registration finds, for every `every`-th frame of a photograph or video.

    A face has the picture, its mesh, the view and, where there is none, a state and the reason.
    Raises VideoError as `read_video` does, and BackendError for a backend that needs landmarks.
    """
    frames = islice(read_video(path), 0, None, every)
    if backend == "landmarks":
        raise BackendError(f"{path} comes without landmarks. Choose another backend.")
    loaded = load_backend(backend, device)
    for seconds, image in frames:
        (face,) = find_faces([Picture(f"{path}, {seconds:.2f} s", image)], loaded, size)
        yield seconds, face


def _photograph(path: Path) -> np.ndarray | None:
    """The only image of a file; None of a video and of an animation, which is one."""
    if not cv2.haveImageReader(str(path)):
        return None
    image = decode(np.fromfile(path, np.uint8))
    return None if image is None or cv2.imcount(str(path)) > 1 else image


def _frames(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[tuple[float, np.ndarray]]:
    count = 0
    with container:
        try:
            for frame in container.decode(stream):
                image = frame.to_ndarray(format="rgb24")
                yield frame.time or 0.0, np.ascontiguousarray(np.rot90(image, frame.rotation // 90))
                count += 1
        except av.error.FFmpegError as fault:
            damage = f"{path} is damaged after {count} frames: {fault.strerror}"
            raise VideoError(damage if count else _not_a_video(path, fault.strerror)) from fault
    if not count:
        raise VideoError(_not_a_video(path, "it has no frames"))


def _not_a_video(path: Path, reason: str) -> str:
    return f"{path} is neither a photograph nor a video that can be read: {reason}"
