"""The poses of a film: read from files of frames or found in a clip, one person followed, smoothed, framed, fitted.

A frame that shows nobody has no pose: short gaps are bridged, over long ones the last picture is held. Poses are all that
grows with the length of a film, by about a kilobyte a frame.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagpose.films import clip_frames, clip_rate, is_clip
from imagpose.pose import Pose, PoseOptions, read_pose_file
from imagpose.pose.choice import nearest_person
from imagpose.pose.detection import DEFAULT_DETECTOR, open_detector
from imagpose.pose.library import NamedPose
from imagpose.pose.sequence import fill_between, smooth_poses
from imagpose.pose.settling import NobodyFoundError
from imagpose.serving.fitting import fit_sequence
from imagpose.serving.framing import Framed, person_box
from imagpose.serving.inputs import PoseLike, expand_poses
from imagpose.serving.settings import AnimateSettings

DEFAULT_FPS = 25.0
_MOST_NOTES = 3
_LEFT_OUT = "nobody in it; left out"


@dataclass(frozen=True, eq=False)
class PoseSequence:
    """A sequence as it was read.

    Attributes:
        poses: one for each frame; None where nobody is known. The first and the last are known.
        fps: frames a second of the clip; None where files say nothing of it.
        origins: the files.
        said: what was read, in lines.
        notes: what a user should know of it.
    """

    poses: list[Pose | None]
    fps: float | None
    origins: list[str]
    said: list[str]
    notes: list[str] = field(default_factory=list)

    def filled(self, between: int) -> PoseSequence:
        """The sequence with so many poses put between each two; see `pose.sequence.fill_between`.

        Raises:
            ValueError: frames of different sizes.
        """
        return replace(self, poses=fill_between(self.poses, between))


@dataclass(frozen=True, eq=False)
class PreparedSequence:
    """A sequence as the model gets it.

    Attributes:
        poses: of the frames that are drawn.
        places: for each of them, its number among all frames, from 0; the frames up to the next one show its picture.
        num_frames: of the film.
        said: how poses were smoothed, framed and fitted, by name.
    """

    poses: list[Pose]
    places: list[int]
    num_frames: int
    said: dict[str, str]


def read_sequence(
    given: Sequence[PoseLike], reading: PoseOptions | None = None, tell: Callable[[int], None] | None = None
) -> PoseSequence:
    """Read poses frame by frame; of several people in a frame, the one who was followed so far.

    Args:
        given: files of frames, folders or patterns of files (in the order of the numbers in their names), clips, names of
            the library, or poses.
        reading: what settles units, frame and person; of a clip the person's number in the first frame, the largest first.
        tell: called after each frame of a clip with the number of frames so far; what it raises ends the reading.

    Raises:
        ValueError, OSError: there is none, a file is missing or not what it should be, or a clip needs an extra.

    Warns:
        UserWarning: for the first choices made in reading, and for frames without anybody.
    """
    if not given:
        raise ValueError("no poses: give a file, a folder or a clip")
    options = replace(reading or PoseOptions(), follow=True)
    poses: list[Pose | None] = []
    said: list[str] = []
    origins: list[str] = []
    notes: list[str] = []
    rates: list[float] = []
    for own in given:
        if isinstance(own, (Pose, NamedPose)):
            poses.append(own.pose if isinstance(own, NamedPose) else own)
            origins.append(own.name if isinstance(own, NamedPose) else "pose")
            continue
        for file in sorted(expand_poses(own), key=_by_numbers):
            last = next((pose for pose in reversed(poses) if pose is not None), None)
            origins.append(str(file))
            if Path(file).is_file() and is_clip(Path(file)):
                rates.append(clip_rate(Path(file)))
                for pose in _clip_poses(Path(file), last, options.person):
                    poses.append(pose)
                    if tell is not None:
                        tell(len(poses))
                said.append(f"{file}: a clip of {rates[-1]:g} frames a second, poses by {DEFAULT_DETECTOR}")
            else:
                poses += _file_poses(file, replace(options, last=last), said, notes)
    return _without_ends(poses, rates[0] if rates else None, origins, said, notes)


def _by_numbers(file: str | Path) -> list[tuple[int, str]]:
    """A key that puts frame-2 before frame-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(file)) if part]


def _file_poses(file: str | Path, options: PoseOptions, said: list[str], notes: list[str]) -> Iterator[Pose | None]:
    """One for each frame in a file, from the first to the last that shows somebody; what was read goes to the lists."""
    try:
        read = read_pose_file(file, options)
    except NobodyFoundError:
        yield None
        return
    said += read.lines()[:2] if len(read.entries) > 1 else read.lines()[:1]
    notes += [f"{read.name}: {note}" for note in read.notes if not note.endswith(_LEFT_OUT)]
    number = 1
    for entry in read.entries:
        yield from [None] * (entry.number - number)
        yield entry.pose
        number = entry.number + 1


def _clip_poses(file: Path, last: Pose | None, person: int | None) -> Iterator[Pose | None]:
    detector = open_detector(DEFAULT_DETECTOR)
    for picture in clip_frames(file):
        people = detector.people(picture)
        if not people:
            yield None
            continue
        if last is not None:
            found = nearest_person([pose.keypoints for pose in people], last.keypoints)
        elif person is not None and person > len(people):
            raise ValueError(
                f"{file}: person {person} is asked for; the first frame that shows anybody shows {len(people)} (--person)"
            )
        else:
            found = (person or 1) - 1
        last = people[found]
        yield last


def _without_ends(
    poses: list[Pose | None], fps: float | None, origins: list[str], said: list[str], notes: list[str]
) -> PoseSequence:
    """The sequence from the first frame that shows somebody to the last, and warnings for what a user should know."""
    known = [number for number, pose in enumerate(poses) if pose is not None]
    if not known:
        raise ValueError(f"{origins[0]}: nobody is found in any of {len(poses)} frames")
    cut = len(poses) - (known[-1] + 1 - known[0])
    if cut:
        shows = (
            "1 frame at the beginning or the end shows"
            if cut == 1
            else f"{cut} frames at the beginning or the end show"
        )
        notes.append(f"{shows} nobody; left out")
    if empty := known[-1] + 1 - known[0] - len(known):
        shows = "1 frame in between shows" if empty == 1 else f"{empty} frames in between show"
        notes.append(f"{shows} nobody; short gaps are bridged, over long ones the picture is held")
    for note in notes[:_MOST_NOTES]:
        warnings.warn(note, UserWarning, stacklevel=4)
    if len(notes) > _MOST_NOTES:
        warnings.warn(f"notes of this kind left unsaid: {len(notes) - _MOST_NOTES}", UserWarning, stacklevel=4)
    return PoseSequence(poses[known[0] : known[-1] + 1], fps, origins, said, notes)


def prepare_sequence(
    sequence: PoseSequence, sources: Sequence[Framed], settings: AnimateSettings, fps: float, size: tuple[int, int]
) -> PreparedSequence:
    """Smooth, then cut the frames around everywhere the person goes, then fit the poses to the sources' body.

    Args:
        sources: framed.
        fps: frames a second.
        size: height and width of the view.

    Raises:
        ValueError: frames of different sizes, or no frame shows a point.
    """
    smoothed = smooth_poses(sequence.poses, fps, settings.smooth)
    places = [number for number, pose in enumerate(smoothed) if pose is not None and pose.inside.any()]
    if not places:
        raise ValueError("no frame of the sequence has a key point inside its frame")
    poses = [pose for pose in smoothed if pose is not None and pose.inside.any()]
    box = person_box(poses, size[0] / size[1]) if settings.drawing.crop else None
    if box is not None:
        left, top, right, bottom = box
        poses = [pose.crop(left, top, right - left, bottom - top) for pose in poses]
    fitted, how = fit_sequence(poses, sources, settings.drawing)
    shown = [number for number, pose in enumerate(fitted) if pose.inside.any()]
    if not shown:
        raise ValueError("fitted to the body, no pose of the sequence lies inside its frame: give --no-retarget")
    said = {
        "smoothed": settings.smooth,
        "framed": "no" if box is None else "left {}, top {}, right {}, bottom {}".format(*box),
        "fitted": how,
    }
    return PreparedSequence([fitted[own] for own in shown], [places[own] for own in shown], len(smoothed), said)
