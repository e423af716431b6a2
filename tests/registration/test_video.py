import av
import cv2
import numpy as np
import pytest
from PIL import Image

from paincore.registration.backends import BackendError
from paincore.registration.video import VideoError, read_video, register_file


@pytest.fixture(scope="module")
def video(faces, tmp_path_factory):
    """Eight frames at 4 a second: a face, which is gone from the fifth on."""
    path = tmp_path_factory.mktemp("video") / "me.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.bit_rate = 320, 240, 4_000_000
        for number in range(8):
            image = faces[0] if number < 4 else np.full_like(faces[0], 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_video_gives_its_frames_in_rgb_with_their_seconds(video, faces):
    frames = list(read_video(video))
    assert [seconds for seconds, _ in frames] == [n / 4 for n in range(8)]
    error = np.abs(frames[0][1].astype(int) - faces[0])
    assert error.mean() < 6
    assert frames[0][1].mean((0, 1)) == pytest.approx(faces[0].mean((0, 1)), abs=4)


def test_a_photograph_is_one_frame(faces, tmp_path):
    for name in ("me.png", "me.JPG"):
        cv2.imwrite(str(tmp_path / name), faces[0][..., ::-1])
        ((seconds, image),) = read_video(tmp_path / name)
        assert seconds == 0
        assert np.abs(image.astype(int) - faces[0]).mean() < 6


def test_one_line_registers_a_video_without_a_corpus(video):
    found = list(register_file(video, every=3, size=96))
    assert [seconds for seconds, _ in found] == [0, 0.75, 1.5]
    assert [face.state for _, face in found] == ["ok", "ok", "no_face"]
    assert found[0][1].view.image.shape == (96, 96, 3)
    assert found[0][1].mesh.vertices.shape == (468, 3)
    assert "me.mp4, 1.50 s" in found[2][1].problem


def test_a_video_held_upright_by_a_flag_comes_upright(video, tmp_path):
    turned = tmp_path / "phone.mp4"
    with av.open(str(video)) as source, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = bytearray(turned.read_bytes())
    one, minus = (65536).to_bytes(4, "big"), (-65536 & 0xFFFFFFFF).to_bytes(4, "big")
    zero, unit = bytes(4), (1 << 30).to_bytes(4, "big")
    still = one + zero * 3 + one + zero * 3 + unit
    quarter = zero + one + zero + minus + zero * 4 + unit  # a quarter turn clockwise
    place = content.index(b"tkhd") + 4 + 40
    assert content[place : place + 36] == still
    content[place : place + 36] = quarter
    turned.write_bytes(content)
    (_, upright), (_, plain) = next(read_video(turned)), next(read_video(video))
    assert (upright == np.rot90(plain, -1)).all()


@pytest.mark.parametrize("name", ["letter.txt", "letter.mp4", "image.png", "empty.mp4", "gone.mp4"])
def test_what_is_neither_photograph_nor_video_is_named(tmp_path, name):
    if name != "gone.mp4":
        (tmp_path / name).write_bytes(b"" if name == "empty.mp4" else b"Dear reader,\n" * 50)
    with pytest.raises(VideoError, match=name):
        next(read_video(tmp_path / name))


def test_a_video_cut_short_is_an_error_that_names_it(video, tmp_path):
    short = tmp_path / "short.mp4"
    short.write_bytes(video.read_bytes()[:-600])  # without the index at its end
    with pytest.raises(VideoError, match=r"short\.mp4"):
        list(read_video(short))


def test_a_file_without_landmarks_cannot_be_registered_by_landmarks(video):
    with pytest.raises(BackendError, match="without landmarks"):
        next(register_file(video, backend="landmarks"))


def test_an_animation_is_a_video(tmp_path):
    frames = [Image.fromarray(np.full((40, 40, 3), grey, np.uint8)) for grey in (0, 100, 200)]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:], duration=500)
    assert [seconds for seconds, _ in read_video(tmp_path / "moves.gif")] == [0, 0.5, 1.0]
