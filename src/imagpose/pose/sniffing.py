"""What a file is, from its first bytes; and a hint for what is no pose but comes where a pose is expected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from imagpose.films import begins_clip

_LARGEST_FILE = 50_000_000
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\x00", b"MM\x00*", b"P5", b"P6")
_VIDEO_HINT = (
    "a video: `imagpose animate` takes it as a sequence; elsewhere save its frames as pictures, and find their poses with"
    " `imagpose poses detect`"
)
_HINTS = (
    (b"PK\x03\x04", "an archive (.zip, .npz, .xlsx): unpack it, or save the points as JSON or .npy"),
    (b"\x80", "a pickle, which may run any program when it is read: save the points as JSON or .npy"),
    (b"\x1f\x8b", "a compressed file: unpack it"),
    (b"\x89HDF", "an HDF5 file: save the points as JSON or .npy"),
    (b"%PDF", "a PDF"),
    (b"HIERARCHY", "a BVH motion, in three dimensions: draw or export it as OpenPose JSON"),
    (b"Kaydara FBX", "an FBX motion, in three dimensions: draw or export it as OpenPose JSON"),
    (b"%YAML", "OpenPose's YAML: write JSON instead (--write_json)"),
    (b"<", "XML or HTML: OpenPose writes JSON with --write_json; a web page is no pose"),
)


class UnknownKindError(ValueError):
    """A file that can be read and holds something else than poses."""


@dataclass(frozen=True)
class Content:
    """A file's content.

    Attributes:
        kind: "picture", "array" (NumPy) or "text".
        data: the bytes of an array, empty otherwise.
        text: of a text.
    """

    kind: str
    data: bytes = b""
    text: str = ""


def sniff(source: str | Path) -> Content:
    """What a file holds.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, a web address, a video, or anything else that holds no pose; each with its hint.
    """
    if re.match(r"^[a-z][a-z0-9+.-]+:/", str(source), re.IGNORECASE):
        raise ValueError(f"{source}: an address: download the file first")
    path = Path(source)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; give its files, for example {path}/*.json")
    if not path.is_file():
        raise FileNotFoundError(f"pose file not found: {path}")
    with path.open("rb") as file:
        start = file.read(32)
        if start.startswith(_PICTURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
            return Content("picture")
        if begins_clip(start):
            raise ValueError(f"{path}: {_VIDEO_HINT}")
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"{path}: larger than {_LARGEST_FILE // 1_000_000} MB, not a pose file")
        data = start + file.read()
    if start.startswith(b"\x93NUMPY"):
        return Content("array", data)
    for magic, hint in _HINTS:
        if start.startswith(magic):
            raise ValueError(f"{path}: {hint}")
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"{path}: not a text file, and no picture or array either")
    if not text.strip():
        raise ValueError(f"{path}: an empty file")
    return Content("text", text=text)


def refusal(text: str, known: str) -> UnknownKindError:
    """The error for a text that is neither JSON nor points: what was found and what is known."""
    first = text.strip().splitlines()[0][:60]
    hint = ""
    if re.search(r"https?://", first):
        hint = "; an address: download the file first"
    elif first.count(",") >= 2:
        hint = "; of CSV only the field's annotation is known, which begins with 'name:keypoints_y:keypoints_x'"
    return UnknownKindError(
        f"no known kind of pose file; found a text that begins with {first!r}{hint}; known are {known}"
    )
