"""The door for poses: any file of key points or drawn skeleton that people have, recognised by what is in it.

A file is sniffed (`sniffing`), its points are brought to our 18 (`json_kinds`, `text_kinds`), then units, missing points,
person and frame are settled (`settling`). What was settled is said in `PoseFile.lines`; what is not sure is asked for.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imagpose.pictures import load_picture
from imagpose.pose.choice import MIN_CONFIDENCE
from imagpose.pose.json_kinds import JSON_KINDS, from_array, read_kind
from imagpose.pose.keypoints import KEYPOINT_NAMES, Pose
from imagpose.pose.library import library, near_names
from imagpose.pose.points import Record, short
from imagpose.pose.settling import NobodyFoundError, PoseOptions, ReadPose, in_picture, settle
from imagpose.pose.skeleton_picture import read_skeleton_picture
from imagpose.pose.sniffing import Content, UnknownKindError, refusal, sniff
from imagpose.pose.text_kinds import TEXT_KINDS, read_text


@dataclass(frozen=True)
class PoseFile:
    """What was read from a file.

    Attributes:
        name: of the file, for messages.
        kind: what it was recognised as, with the order of its points.
        units: one of `UNITS`, and whether they were found or given.
        entries: one for each picture or video frame that shows somebody, in the order of the file.
        notes: what a user should know: choices made, things left out.
    """

    name: str
    kind: str
    units: str
    entries: list[ReadPose]
    notes: list[str] = field(default_factory=list)

    @property
    def poses(self) -> list[Pose]:
        """The poses alone."""
        return [entry.pose for entry in self.entries]

    def lines(self) -> list[str]:
        """What was read, for people: format, units, and for each pose its frame, person and joints."""
        lines = [self.name, f"  format   {self.kind}", f"  units    {self.units}"]
        lines += [f"  {_described(number, entry)}" for number, entry in enumerate(self.entries, 1)]
        return lines + [f"  note     {note}" for note in self.notes]


def read_poses(
    source: Any,
    *,
    units: str | None = None,
    frame: tuple[int, int] | None = None,
    person: int | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    picture: tuple[int, int] | None = None,
) -> list[Pose]:
    """The poses in a file, one for each picture or video frame in it.

    Args:
        source: path, parsed JSON or array, see `read_pose_file`.
        units, frame, person, min_confidence: what settles the reading, see `PoseOptions`.
        picture: height and width of the picture that the pose belongs to.

    Raises:
        FileNotFoundError, ValueError: as `read_pose_file`.

    Warns:
        UserWarning: for each choice made and each thing left out.
    """
    read = read_pose_file(source, PoseOptions(units, frame, person, min_confidence), picture=picture)
    for note in read.notes:
        warnings.warn(f"{read.name}: {note}", UserWarning, stacklevel=2)
    return read.poses


def read_pose(source: Any, **settled: Any) -> Pose:
    """The only pose in a file; arguments as of `read_poses`.

    Raises:
        ValueError: the file holds several.
    """
    poses = read_poses(source, **settled)
    if len(poses) > 1:
        raise ValueError(f"{_name_of(source)}: {len(poses)} poses; one expected here (read_poses reads all)")
    return poses[0]


def read_pose_file(
    source: Any, options: PoseOptions | None = None, *, picture: tuple[int, int] | None = None
) -> PoseFile:
    """The poses in a file, and what it was recognised as.

    Args:
        source: path of a file of any kind in `JSON_KINDS` and `TEXT_KINDS`, of a NumPy array or of a drawn skeleton; a
            name of the library, where no file has this path; or parsed JSON, or an array.
        options: what settles units, frame and person.
        picture: height and width of the picture that the pose belongs to; it becomes the pose's frame.

    Raises:
        FileNotFoundError: no such file.
        ValueError: of an unknown kind (`UnknownKindError`); nobody in it (`NobodyFoundError`); units or frame that are not
            sure; a frame of another shape than `picture`. One line that names the file, and the option that settles it.
    """
    options = options or PoseOptions()
    name = _name_of(source)
    try:
        if isinstance(source, (str, Path)):
            if not Path(source).exists():
                return _read_named(name, picture)
            content = sniff(source)
            if content.kind == "picture":
                return _read_drawing(Path(source), name, picture)
            kind, records = _parse(content)
        else:
            kind, records = _parse_object(source)
        path = Path(source) if isinstance(source, (str, Path)) else None
        units, entries, notes = settle(records, options, picture, path)
        return PoseFile(name, ", ".join([kind, *_layouts(records)]), units, entries, notes)
    except RecursionError:
        raise ValueError(f"{name}: nested too deeply for a file of poses") from None
    except ValueError as error:
        kind_of_error = type(error) if isinstance(error, (NobodyFoundError, UnknownKindError)) else ValueError
        raise kind_of_error(str(error) if str(error).startswith(name) else f"{name}: {error}") from None


def _name_of(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else "pose"


def _read_named(name: str, picture: tuple[int, int] | None) -> PoseFile:
    """The pose of the library that has a name which is no file's."""
    found = library().get(name)
    if found is None:
        try:
            sniff(name)
        except FileNotFoundError as error:
            near = " or ".join(near_names(Path(name).stem))
            hint = f"; did you mean {near}?" if near else ""
            raise FileNotFoundError(f"{error}, and no pose of the library has this name{hint}") from None
    assert found is not None  # sniffing what is not there raises an error
    entry = ReadPose(in_picture(found.pose, picture), None, "of the library")
    return PoseFile(name, f"pose of the library, {found.text}, {found.view}", "pixels", [entry])


def _parse(content: Content) -> tuple[str, list[Record]]:
    """The kind and the records of a file's content."""
    if content.kind == "array":
        try:
            values = np.load(io.BytesIO(content.data), allow_pickle=False)
        except Exception as error:  # of a damaged header whatever Python's tokenizer or a lack of memory raise
            reason = str(error) or type(error).__name__
            raise ValueError(f"a NumPy array that cannot be read safely ({reason}); save plain numbers") from None
        return _parse_object(values)
    found = read_text(content.text)
    if found is not None:
        return found
    data = _load_json(content.text)
    if data is None:
        raise refusal(content.text, _known())
    return _parse_object(data)


def _load_json(text: str) -> Any:
    """Parsed JSON, or a list of the lines of JSON Lines; None where it does not look like JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1:
            try:
                return [json.loads(line) for line in lines]
            except (ValueError, RecursionError):
                pass
        raise ValueError(f"not valid JSON ({str(error)[:100]})") from None


def _parse_object(data: Any) -> tuple[str, list[Record]]:
    if isinstance(data, np.ndarray):
        if data.dtype.kind not in "fiu":
            raise ValueError(f"an array of {data.dtype}; numbers expected")
        return f"NumPy array of shape {data.shape}", from_array(data)
    found = read_kind(data)
    if found is None:
        raise UnknownKindError(f"no known kind of pose file; found {_seen(data)}; known are {_known()}")
    return found


def _seen(data: Any) -> str:
    """Parsed JSON of an unknown kind, for messages."""
    first = data[0] if isinstance(data, list) and data else data
    if not (isinstance(first, Mapping) and first):
        return "an empty object" if isinstance(data, Mapping) else "a list"
    return f"{'a list of objects' if first is not data else 'an object'} with {', '.join(map(short, list(first)[:6]))}"


def _known() -> str:
    return "; ".join([*(kind for kind, _ in JSON_KINDS), *TEXT_KINDS, "NumPy .npy", "drawn skeletons as pictures"])


def _read_drawing(path: Path, name: str, picture: tuple[int, int] | None) -> PoseFile:
    """The pose in a drawn skeleton."""
    pose, notes = read_skeleton_picture(load_picture(path))
    entry = ReadPose(in_picture(pose, picture), None, "of the drawing")
    return PoseFile(name, "drawn skeleton", "pixels", [entry], notes)


def _layouts(records: list[Record]) -> list[str]:
    return sorted({person.layout for record in records for person in record.people if person.layout})


def _described(number: int, entry: ReadPose) -> str:
    pose = entry.pose
    missing = [name for name, found in zip(KEYPOINT_NAMES, pose.visible, strict=True) if not found]
    parts = [f"frame {pose.height}x{pose.width} ({entry.frame_from})"]
    if entry.people > 1:
        parts.append(f"person {entry.person} of {entry.people}")
    parts.append(f"{18 - len(missing)} of 18 joints{', without ' + ', '.join(missing) if missing else ''}")
    if pose.hands is not None:
        parts.append(f"{int((pose.hands[..., 2] > 0).sum())} of 42 points of hands")
    return f"pose {number:<4}{entry.name + ': ' if entry.name else ''}{'; '.join(parts)}"
