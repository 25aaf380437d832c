"""From what a file says of pictures to poses in pixels: units, person and frame, and where each comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imagpose.pictures import picture_size
from imagpose.pose.choice import (
    MIN_CONFIDENCE,
    UNITS,
    choose_person,
    drop_missing,
    find_units,
    nearest_person,
    percent_reach,
    to_pixels,
)
from imagpose.pose.keypoints import Pose
from imagpose.pose.layouts import with_neck
from imagpose.pose.points import Person, Record

_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".JPG", ".JPEG", ".PNG")
_STATED = "stated by the file"
_OPENPOSE_ENDING = "_keypoints"
_SHAPE_TOLERANCE = 0.02
_SETTLE_UNITS = "--pose-units pixels, fractions ([0, 1]), percent ([0, 100]) or signed ([-1, 1])"
_SETTLE_FRAME = "--pose-frame HEIGHTxWIDTH"


class NobodyFoundError(ValueError):
    """A file of a known kind in which nobody is."""


@dataclass(frozen=True)
class PoseOptions:
    """What settles how a file is read, where it does not say so itself.

    Attributes:
        units: "pixels", "fractions" ([0, 1]), "percent" ([0, 100]) or "signed" ([-1, 1]); None: found from the bulk of
            the points.
        frame: height and width in pixels, for files that state none.
        person: which of several people, counted from 1 in the order of the file; None: the most complete and largest.
        min_confidence: points of less are missing.
        follow: the pictures are frames of a film, in which one person is followed: of several, who is nearest to where
            the person was last.
        last: with `follow`, the person in the frame before the first; None: there is none.

    Raises:
        ValueError: an option outside its range.
    """

    units: str | None = None
    frame: tuple[int, int] | None = None
    person: int | None = None
    min_confidence: float = MIN_CONFIDENCE
    follow: bool = False
    last: Pose | None = None

    def __post_init__(self) -> None:
        if self.units is not None and self.units not in UNITS:
            raise ValueError(f"units are {self.units!r}; {', '.join(UNITS)} expected ({_SETTLE_UNITS})")
        if self.frame is not None and min(self.frame) < 1:
            raise ValueError(f"the frame is {_size(self.frame)}; height x width in pixels expected ({_SETTLE_FRAME})")
        if self.person is not None and self.person < 1:
            raise ValueError(f"person {self.person}; people are counted from 1 (--person)")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"least confidence {self.min_confidence}; 0 to 1 expected (--min-confidence)")


@dataclass(frozen=True)
class ReadPose:
    """One pose out of a file, and how it was found.

    Attributes:
        pose: in pixels of its frame.
        name: of its picture as the file gives it; None where it gives none.
        frame_from: where the frame's size comes from.
        person, people: which of how many, counted from 1.
        number: of its picture in the file, counted from 1, those that show nobody among them.
    """

    pose: Pose
    name: str | None
    frame_from: str
    person: int = 1
    people: int = 1
    number: int = 1


def settle(
    records: list[Record], options: PoseOptions, picture: tuple[int, int] | None, path: Path | None
) -> tuple[str, list[ReadPose], list[str]]:
    """Poses in pixels from what a file holds: units, then person, then frame.

    Args:
        records: one for each picture.
        options: what the user settles.
        picture: height and width of the picture that the pose belongs to.
        path: of the file, beside which pictures are looked for.

    Returns:
        The units and how they were found; the poses; notes for the user.

    Raises:
        ValueError: nobody in it, units or frame that are not sure, a frame that does not fit.
    """
    everyone = [person for record in records for person in record.people]
    bodies = [drop_missing(person.body, options.min_confidence, None) for person in everyone]
    if not any(body[:, 2].any() for body in bodies):
        raise NobodyFoundError(f"no people with key points of at least {options.min_confidence:g} confidence in it")
    units = options.units or find_units(bodies)
    if units is None:
        raise ValueError(f"the coordinates could be {_readings(everyone)}; say which: {_SETTLE_UNITS}")
    reach = percent_reach(bodies) if options.units is None and units == "pixels" else None
    entries, notes = [], []
    for number, record in enumerate(records, 1):
        where = record.name or f"picture {number}"
        try:
            entry, said = _entry(record, units, reach, options, picture, path)
        except ValueError as error:
            raise ValueError(f"{where}: {error}" if len(records) > 1 else str(error)) from None
        if entry is not None:
            entries.append(replace(entry, number=number))
            options = replace(options, last=entry.pose) if options.follow else options
        notes += [f"{where}: {note}" if len(records) > 1 else note for note in said]
    if not entries:
        raise ValueError(f"no key point is left where the coordinates are {units} (--pose-units)")
    settled = f"{units} ({'given' if options.units else 'found from the bulk of the points'})"
    return settled, entries, notes


def _readings(people: list[Person]) -> str:
    places = np.concatenate([person.body[:, :2] for person in people])
    low, high = np.nanmin(places), np.nanmax(places)
    if high > 1.5:
        return f"fractions of the frame with points outside, or pixels of a very small frame ({low:g} to {high:g})"
    return f"fractions of the frame with points outside, or [-1, 1] ({low:g} to {high:g})"


def _entry(
    record: Record,
    units: str,
    reach: np.ndarray | None,
    options: PoseOptions,
    picture: tuple[int, int] | None,
    path: Path | None,
) -> tuple[ReadPose | None, list[str]]:
    """The pose of one picture, and notes; None where nobody is found in it. `reach` is of `percent_reach`."""
    bodies = [drop_missing(person.body, options.min_confidence, units) for person in record.people]
    bodies = [b if person.lists_neck else with_neck(b) for b, person in zip(bodies, record.people, strict=True)]
    found = [index for index, body in enumerate(bodies) if body[:, 2].any()]
    if not found:
        return None, ["nobody in it; left out"]
    notes = []
    if options.person is not None:
        if options.person > len(bodies) or options.person - 1 not in found:
            raise ValueError(f"person {options.person}: {len(bodies)} people, with key points: {_counted(found)}")
        chosen = options.person - 1
    elif options.last is not None:
        last = options.last
        here = [to_pixels(bodies[index], units, (last.height, last.width)) for index in found]
        chosen = found[nearest_person(here, last.keypoints)]
    else:
        chosen = found[choose_person([bodies[index] for index in found])]
        if len(found) > 1:
            notes.append(
                f"{len(found)} people; person {chosen + 1} is taken, the most complete in the largest box (--person)"
            )
    size, frame_from = _frame(record, units, bodies[chosen], options, picture, path)
    if reach is not None and (2 * reach <= size[::-1]).all():
        raise ValueError(
            f"the coordinates could be percent of the frame, or pixels in its upper left corner (up to y {reach[1]:.0f},"
            f" x {reach[0]:.0f} of {_size(size)}, {frame_from}); say which: {_SETTLE_UNITS}"
        )
    pose = _pose(bodies[chosen], record.people[chosen].hands, units, size, options)
    if pose.inside.sum() * 2 < pose.visible.sum():
        if frame_from != _STATED:
            raise ValueError(
                f"most key points lie outside the frame {_size(size)} ({frame_from}), "
                f"up to y {pose.keypoints[:, 1].max():.0f}, x {pose.keypoints[:, 0].max():.0f}: {_SETTLE_FRAME}"
            )
        notes.append(f"most key points lie outside the frame {_size(size)} that the file states")
    if not pose.inside.any():
        raise ValueError(f"no key point lies inside the frame of {_size(size)} pixels (height x width)")
    return ReadPose(in_picture(pose, picture), record.name, frame_from, chosen + 1, len(bodies)), notes


def _counted(indices: list[int]) -> str:
    return ", ".join(str(index + 1) for index in indices)


def _pose(body: np.ndarray, hands: np.ndarray | None, units: str, size: tuple[int, int], options: PoseOptions) -> Pose:
    if hands is not None:
        hands = to_pixels(drop_missing(hands, options.min_confidence, units), units, size)
        hands = hands if hands[..., 2].any() else None
    return Pose(to_pixels(body, units, size), size[1], size[0], hands)


def _frame(
    record: Record,
    units: str,
    body: np.ndarray,
    options: PoseOptions,
    picture: tuple[int, int] | None,
    path: Path | None,
) -> tuple[tuple[int, int], str]:
    """Height and width of the frame, and where they come from."""
    if record.size is not None:
        return record.size, _STATED
    if options.frame is not None:
        return options.frame, "given"
    if picture is not None:
        return picture, "of its picture"
    beside = _picture_beside(path, record.name) if path is not None else None
    if beside is not None:
        width, height = picture_size(beside)
        return (height, width), f"of {beside.name} beside it"
    found = body[body[:, 2] > 0]
    reach = "fractions of a frame"
    if units == "pixels":
        reach = f"pixels up to y {found[:, 1].max():.0f}, x {found[:, 0].max():.0f}, in a frame"
    raise ValueError(f"{reach} that the file does not state: {_SETTLE_FRAME}, or put its picture beside it")


def _picture_beside(path: Path, name: str | None) -> Path | None:
    """The picture that a record names, or that bears the file's name (without `_keypoints`), in the same folder."""
    # A name out of a file may be one that no system takes, which os.path.isfile answers with False.
    if name is not None and os.path.isfile(path.parent / Path(name).name) and Path(name).suffix in _PICTURE_SUFFIXES:
        return path.parent / Path(name).name
    stems = [path.stem.removesuffix(_OPENPOSE_ENDING)] + ([Path(name).stem] if name else [])
    found = [path.with_name(f"{stem}{suffix}") for stem in stems for suffix in _PICTURE_SUFFIXES]
    found = [file for file in found if os.path.isfile(file)]
    return found[0] if len({picture_size(file) for file in found}) == 1 else None


def in_picture(pose: Pose, picture: tuple[int, int] | None) -> Pose:
    """A pose in its picture's frame, of height and width `picture` if given.

    Raises:
        ValueError: the frame has another shape; it is not stretched.
    """
    if picture is None or (pose.height, pose.width) == picture:
        return pose
    height, width = picture
    if abs(pose.width * height / (pose.height * width) - 1) > _SHAPE_TOLERANCE:
        raise ValueError(
            f"the pose is in a frame of {pose.height}x{pose.width}, the picture has {height}x{width} pixels (height x "
            f"width): another shape, so not the same picture"
        )
    return pose.resize(width, height)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
