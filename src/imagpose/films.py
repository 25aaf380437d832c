"""Films as files: frames out of clips, frames into MP4 and GIF, and the XMP packets of such files. Knows no marks.

MP4 is read and written by PyAV (extra `video`), one frame at a time: memory does not grow with length. GIF is written by
Pillow. Sources: XMP specification part 3, 2020 (a `uuid` box in ISO base media files, an application extension in GIF).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagpose.xmp import LONGEST_PACKET

FILM_FORMATS = {".mp4": "MP4", ".gif": "GIF"}
LONGEST_GIF = 1000  # frames; Pillow holds them all
LEAST_FPS, MOST_FPS = 0.01, 240  # below 0.0015 a GIF's delay exceeds its 16 bits, below 0.0005 an MP4's rate becomes 0
_MOST_CLIP_PIXELS = 2**26  # of a frame, for the decoder: 8K has 2**25
_SHORTEST_DELAY = 0.02  # seconds; browsers slow down what is faster
# A constant rate factor of 18 is taken for indistinguishable; x264's own choices differed in one film of twenty.
_SETTINGS = {"crf": "16", "x264-params": "cpu-independent=1"}
_THREADS = 1  # of x264, whose bytes depend on their number; left alone it takes the machine's
# ITU-T H.273: sRGB's primaries, BT.601's matrix, limited range. Where a file says nothing, players guess by its height.
_COLOURS = {"color_primaries": 1, "color_trc": 1, "colorspace": 6, "color_range": 1}
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_XMP_EXTENSION = b"\x21\xff\x0bXMP DataXMP"
_MAGIC_TRAILER = bytes([1, *range(255, -1, -1), 0])  # a reader of sub-blocks ends in it, wherever it comes from


def check_film(path: Path, fps: float, frames: int | None = None) -> None:
    """Look at what a film is to be before any time is spent on its frames.

    Raises:
        ValueError: another ending, a rate or length that the format cannot have, or the extra `video` is missing.
    """
    if path.suffix.lower() not in FILM_FORMATS:
        raise ValueError(f"{path.name}: a film is written as {' or '.join(FILM_FORMATS)}, or as frames into a folder")
    if path.suffix.lower() == ".mp4":
        _import_av()
        return
    if 1 / fps < _SHORTEST_DELAY:
        raise ValueError(f"a GIF shows at most {1 / _SHORTEST_DELAY:g} frames a second, and fps is {fps:g}")
    if frames is not None and frames > LONGEST_GIF:
        raise ValueError(f"{frames:,} frames are too long for a GIF ({LONGEST_GIF:,} at most): write .mp4 or a folder")


def write_film(
    frames: Iterable[Image.Image], path: Path, film_format: str, fps: float, packet: bytes, comment: str
) -> None:
    """Write frames as a film; equal frames give equal bytes with the same version of Pillow or PyAV, on any number of cores.

    Args:
        frames: RGB pictures of one size, at least one; of a GIF, they are all held.
        path: any name.
        film_format: "MP4" (H.264, 4:2:0; odd sides get one more pixel, the edge repeated) or "GIF" (256 colours a frame,
            endless).
        fps: frames a second.
        packet: XMP.
        comment: a line for tools that show the file's own metadata.

    Raises:
        ValueError: the extra `video` is missing.
    """
    write = _write_mp4 if film_format == "MP4" else _write_gif
    write(iter(frames), path, fps, packet, comment)


def _write_mp4(frames: Iterator[Image.Image], path: Path, fps: float, packet: bytes, comment: str) -> None:
    av = _import_av()
    first = next(frames)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = first.width + first.width % 2, first.height + first.height % 2
        stream.pix_fmt, stream.options, stream.thread_count = "yuv420p", _SETTINGS, _THREADS
        for name, value in _COLOURS.items():
            setattr(stream.codec_context, name, value)
        for picture in chain([first], frames):
            pixels = np.asarray(picture)
            odd = [(0, side % 2) for side in pixels.shape[:2]]
            frame = av.VideoFrame.from_ndarray(np.pad(pixels, (*odd, (0, 0)), mode="edge"), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + _XMP_BOX + packet)


def _write_gif(frames: Iterator[Image.Image], path: Path, fps: float, packet: bytes, comment: str) -> None:
    first, *others = (picture.convert("P", palette=Image.Palette.ADAPTIVE) for picture in frames)
    ends = [round(100 * number / fps) for number in range(len(others) + 2)]  # a GIF's clock has hundredths of a second
    delays = [10 * (end - start) for start, end in pairwise(ends)]  # milliseconds
    first.save(path, "GIF", save_all=True, append_images=others, duration=delays, loop=0, comment=comment.encode())
    data = path.read_bytes()
    start = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)  # behind header, screen and global colours
    path.write_bytes(data[:start] + _XMP_EXTENSION + packet + _MAGIC_TRAILER + data[start:])


def is_film(path: Path) -> bool:
    """Whether a file is an MP4 (or another ISO base media file) or a GIF, by its first bytes.

    Raises:
        FileNotFoundError: no such file.
    """
    with path.open("rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" or start[:4] == b"GIF8"


def read_film_packet(path: Path) -> bytes:
    """The XMP packet of a film; empty where there is none, or more than 1 MB of it."""
    with path.open("rb") as file:
        if file.read(4) == b"GIF8":
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                start = data.find(_XMP_EXTENSION)
                if start < 0:
                    return b""
                packet = data[start + len(_XMP_EXTENSION) :][: LONGEST_PACKET + len(_MAGIC_TRAILER)]
                return packet.partition(_MAGIC_TRAILER)[0] if _MAGIC_TRAILER in packet else b""
        file.seek(0, 2)
        end, place = file.tell(), 0
        while place + 8 <= end:
            file.seek(place)
            size, kind = struct.unpack(">I4s", file.read(8))
            header = 8
            if size == 1:  # 64 bits follow
                large = file.read(8)
                size, header = int.from_bytes(large, "big"), 16
            length = end - place if size == 0 else size
            if length < header:
                return b""  # damaged
            if kind == b"uuid" and file.read(16) == _XMP_BOX:
                own = length - header - 16
                return file.read(own) if 0 < own <= LONGEST_PACKET else b""
            place += length
    return b""


def is_clip(path: Path) -> bool:
    """Whether a file is a video that PyAV is asked to read, by its first bytes; GIF is a picture."""
    with path.open("rb") as file:
        return begins_clip(file.read(12))


def begins_clip(start: bytes) -> bool:
    """Whether these are the first 12 bytes, or more, of such a video."""
    return (
        start[4:8] == b"ftyp"
        or start.startswith((b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"FLV"))
        or (start[:4] == b"RIFF" and start[8:11] == b"AVI")
    )


def clip_rate(path: Path) -> float:
    """Frames a second of a clip.

    Raises:
        ValueError: it holds no video, cannot be read, or the extra `video` is missing.
    """
    with _opened(path) as container:
        rate = container.streams.video[0].average_rate
    if not rate:
        raise ValueError(f"{path}: does not say how many frames a second it has (--fps)")
    return float(rate)


def clip_shape(path: Path) -> tuple[int | None, int, int]:
    """What a clip states of itself: how many frames it has, None where that is not said; their height and width.

    Raises:
        ValueError: as `clip_rate`.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        frames = stream.frames
        if not frames and container.duration and stream.average_rate:
            frames = round(float(container.duration / 1_000_000 * stream.average_rate))  # microseconds
        return frames or None, stream.codec_context.height, stream.codec_context.width


def clip_frames(path: Path) -> Iterator[Image.Image]:
    """The frames of a clip, RGB, one after the other, upright: phones store them lying, and say so.

    Raises:
        ValueError: as `clip_rate`, or it is damaged, or frames have more than 67 million pixels; the message names the file.
    """
    av = _import_av()
    with _opened(path) as container:
        container.streams.video[0].codec_context.options = {"max_pixels": str(_MOST_CLIP_PIXELS)}
        try:
            for frame in container.decode(video=0):
                yield frame.to_image().rotate(frame.rotation, expand=True)
        except av.FFmpegError as error:
            raise ValueError(f"{path}: a damaged video ({error.strerror or error})") from None


def _opened(path: Path) -> Any:
    av = _import_av()
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise ValueError(f"{path}: no video that can be read ({error.strerror or error})") from None
    if not container.streams.video:
        container.close()
        raise ValueError(f"{path}: holds no video")
    return container


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ValueError(f"MP4 and other videos need PyAV: pip install 'imagpose[video]' ({error})") from None
    return av
