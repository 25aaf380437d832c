"""Films as files: what is written is read again, with its packet."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from imagpose.films import check_film, clip_frames, clip_rate, is_clip, is_film, read_film_packet, write_film
from imagpose.provenance import Marks, Origin, read_marks, save_film
from imagpose.version import __version__

PACKET = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"/><?xpacket end="r"?>'


def pictures(count: int, width: int = 48, height: int = 64) -> list[Image.Image]:
    """A dark square that moves to the right on a light ramp."""
    made = []
    for number in range(count):
        pixels = np.repeat(np.linspace(120, 220, width)[None, :, None], height, 0).repeat(3, 2).astype(np.uint8)
        pixels[20:40, 4 * number : 4 * number + 12] = (30, 60, 90)
        made.append(Image.fromarray(pixels))
    return made


def test_mp4_holds_frames_rate_packet_and_comment(tmp_path):
    av = pytest.importorskip("av")
    file = tmp_path / "film.mp4"
    write_film(pictures(6), file, "MP4", 12.5, PACKET, "made by a test")
    assert is_film(file) and is_clip(file) and clip_rate(file) == 12.5
    found = list(clip_frames(file))
    assert len(found) == 6
    for own, given in zip(found, pictures(6), strict=True):
        assert np.abs(np.asarray(own, float) - np.asarray(given, float)).mean() < 3
    assert read_film_packet(file) == PACKET
    with av.open(str(file)) as container:
        assert container.metadata["comment"] == "made by a test"


def test_equal_frames_give_equal_bytes_on_any_number_of_cores(tmp_path):
    """Which x264 gives with a fixed number of threads, which it writes into the file, and choices that no run differs in."""
    pytest.importorskip("av")
    written = set()
    for _ in range(60):  # one in twenty differed
        write_film(pictures(6), tmp_path / "film", "MP4", 25, PACKET, "")
        written.add((tmp_path / "film").read_bytes())
    assert len(written) == 1
    assert b" threads=1 " in written.pop()


def test_an_mp4_says_what_its_colours_mean(tmp_path):
    """Which are BT.601's of limited range: of red, Y = 16 + 219 * 0.299, Cb = 128 - 224 * 0.299 / 1.772, Cr = 240."""
    av = pytest.importorskip("av")
    file = tmp_path / "film.mp4"
    write_film([Image.new("RGB", (64, 96), (255, 0, 0))], file, "MP4", 25, PACKET, "")
    with av.open(str(file)) as container:
        context = container.streams.video[0].codec_context
        said = [context.color_primaries, context.color_trc, context.colorspace, context.color_range]
        planes = [bytes(plane)[0] for plane in next(container.decode(video=0)).planes]
    assert said == [1, 1, 6, 1]  # BT.709, BT.709, SMPTE 170M (BT.601), limited
    np.testing.assert_allclose(np.array(planes, float), [81.5, 90.2, 240], atol=1)


def test_a_clip_that_a_phone_stored_lying_is_read_upright(tmp_path):
    """ISO 14496-12, 8.3.2: the track's matrix (a b u c d v x y w) maps (p, q) to (a p + c q, b p + d q), here (-q, p)."""
    pytest.importorskip("av")
    file = tmp_path / "film.mp4"
    lying = [picture.transpose(Image.Transpose.ROTATE_90) for picture in pictures(3)]  # counterclockwise
    write_film(lying, file, "MP4", 25, PACKET, "")
    data = bytearray(file.read_bytes())
    matrix = data.index(b"tkhd") + 44
    assert struct.unpack(">9i", data[matrix : matrix + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 64 << 16, 0, 1 << 30)
    file.write_bytes(data)
    for own, given in zip(clip_frames(file), pictures(3), strict=True):
        assert own.size == given.size
        assert np.abs(np.asarray(own, float) - np.asarray(given, float)).mean() < 3


def test_odd_sides_repeat_the_edge(tmp_path):
    pytest.importorskip("av")
    file = tmp_path / "film.mp4"
    write_film(pictures(3, 47, 63), file, "MP4", 25, PACKET, "")
    (first, *_) = clip_frames(file)
    assert first.size == (48, 64)
    edge = np.asarray(first, float)
    assert np.abs(edge[:, 47] - edge[:, 46]).mean() < 6 and np.abs(edge[63] - edge[62]).mean() < 6


def test_gif_holds_frames_and_packet(tmp_path):
    file = tmp_path / "film.gif"
    write_film(pictures(5), file, "GIF", 20, PACKET, "made by a test")
    assert is_film(file) and not is_clip(file)
    assert read_film_packet(file) == PACKET
    with Image.open(file) as film:
        assert film.n_frames == 5 and film.info["duration"] == 50 and film.info["comment"] == b"made by a test"
        for number, given in enumerate(pictures(5)):
            film.seek(number)
            shown = np.asarray(film.convert("RGB"), float)
            assert np.abs(shown - np.asarray(given, float)).mean() < 4


@pytest.mark.parametrize("fps", [0.01, 24, 30, 40, 50])
def test_a_gif_lasts_as_long_as_its_rate_says(tmp_path, fps):
    """To a hundredth of a second, which is a GIF's clock; no frame is shorter than browsers show it."""
    file = tmp_path / "film.gif"
    write_film(pictures(9), file, "GIF", fps, PACKET, "")
    with Image.open(file) as film:
        delays = []
        for number in range(film.n_frames):
            film.seek(number)
            delays.append(film.info["duration"])
    assert len(delays) == 9 and sum(delays) == pytest.approx(9000 / fps, abs=5) and min(delays) >= 20


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_films_carry_marks(tmp_path, ending):
    if ending == "mp4":
        pytest.importorskip("av")
    file = tmp_path / f"film.{ending}"
    save_film(pictures(3), file, 10, Origin("tiny", 7))
    assert read_marks(file) == Marks("trainedAlgorithmicMedia", f"imagpose {__version__}", "tiny", 7)
    assert [own.name for own in tmp_path.iterdir()] == [file.name]


def test_films_of_others_and_damaged_ones_have_no_packet(tmp_path):
    file = tmp_path / "film.mp4"
    head = struct.pack(">I4s4s", 12, b"ftyp", b"isom")
    for rest in (b"", b"\x00\x00\x00\x04mdat", struct.pack(">I4s", 24, b"uuid") + b"0" * 16, b"\x00\x00\x00\x01uuid"):
        file.write_bytes(head + rest)
        assert read_film_packet(file) == b"" and not read_marks(file).generated
    plain = tmp_path / "plain.gif"
    pictures(1)[0].save(plain)
    assert read_film_packet(plain) == b"" and read_marks(plain) == Marks()


def test_a_file_that_is_no_video_is_refused_by_name(tmp_path):
    pytest.importorskip("av")
    file = tmp_path / "clip.mp4"
    file.write_bytes(struct.pack(">I4s4s", 12, b"ftyp", b"isom") + b"nothing")
    with pytest.raises(ValueError, match=r"clip\.mp4"):
        clip_rate(file)


def test_what_a_film_can_be(tmp_path):
    check_film(tmp_path / "a.gif", 50, 1000)
    with pytest.raises(ValueError, match="too long for a GIF"):
        check_film(tmp_path / "a.gif", 25, 1001)
    with pytest.raises(ValueError, match="at most 50"):
        check_film(tmp_path / "a.gif", 60)
    with pytest.raises(ValueError, match=r"film is written as \.mp4 or \.gif"):
        check_film(tmp_path / "a.webm", 25)
