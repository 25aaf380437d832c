"""What a user gives to `generate`: photos, and poses as files, folders, patterns, names of the library or objects.

Every target pose gets a name of its own here, after which its pictures are named.
"""

from __future__ import annotations

import glob
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from imagpose.pictures import PICTURE_ENDINGS, load_picture
from imagpose.pose import Pose, PoseFile, PoseOptions, read_pose_file
from imagpose.pose.library import NamedPose, named_poses
from imagpose.pose.settling import NobodyFoundError
from imagpose.pose.sniffing import UnknownKindError
from imagpose.serving.photos import Photos, PictureLike

PoseLike: TypeAlias = "str | Path | Pose | NamedPose"
"""A file of any kind, a folder, a pattern, a name of the library, or a pose."""

CHECK_VIEW_SIZE = (256, 256)  # inputs are checked before the model says its own view size; any legal size serves
POSE_ENDINGS = (".json", ".jsonl", ".csv", ".txt", ".npy")
DETECT = "detect"  # as a source's pose: it is read from no file, also from none beside the photo
RESERVED = "sheet"  # the name of the picture that shows all others
_LONGEST_NAME = 180  # bytes; file systems take 255 for a name with its endings
_BESIDE = (".json", "_keypoints.json")


@dataclass(frozen=True)
class GenerateInputs:
    """Pictures and poses as read from what was given, in its order.

    Attributes:
        sources, poses, source_poses: as the pipeline takes them.
        said: what was read from each pose file, in lines.
        files: names of the files by "sources", "poses" and "source_poses", for the record.
        names: of the target poses, each once; their pictures are named after them. Default: target-0, target-1, ...
        masks: grey pictures, white where a source shows the person; none, or one for each source.
        digests: of the sources as they were given, by which a rerun knows them again.
    """

    sources: list[Image.Image]
    poses: list[Pose]
    source_poses: Sequence[Pose | None] | None = None
    said: list[str] = field(default_factory=list)
    files: Mapping[str, list[str]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    masks: list[Image.Image] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.names:
            object.__setattr__(self, "names", [f"target-{number}" for number in range(len(self.poses))])


@dataclass(frozen=True)
class Targets:
    """Target poses as they were read: a name, the pose and where it is from, of each; and what was read, in lines."""

    names: list[str]
    poses: list[Pose]
    origins: list[str]
    said: list[str]

    def joined(self, more: Targets) -> Targets:
        """These and then others; a name that is taken gets a number."""
        names = name_targets([*self.names, *more.names])
        return Targets(names, [*self.poses, *more.poses], [*self.origins, *more.origins], [*self.said, *more.said])


def found_targets(poses: Sequence[Pose], name: str) -> Targets:
    """Poses that were not read from files, named like those of a file that holds them."""
    stems = [f"{name}-{number:03}" for number in range(1, len(poses) + 1)] if len(poses) > 1 else [name]
    return Targets(name_targets(stems), list(poses), [name] * len(poses), [])


def read_targets(poses: Sequence[PoseLike], reading: PoseOptions | None = None) -> Targets:
    """Read the target poses.

    Raises:
        ValueError, OSError: there is none, or a file is missing or not what it should be.

    Warns:
        UserWarning: for each choice made in reading, and each file of a folder that holds no pose.
    """
    if not poses:
        raise ValueError("no target pose: give at least one")
    found = list(_read_targets(poses, reading or PoseOptions()))
    if not found:
        raise ValueError("no target pose: none of the files holds one")
    return Targets(
        name_targets([stem for stem, *_ in found]),
        [pose for _, pose, _, _ in found],
        [origin for _, _, origin, _ in found],
        [line for lines in dict.fromkeys(tuple(lines) for *_, lines in found) for line in lines],
    )


def read_inputs(
    sources: Sequence[PictureLike],
    poses: Sequence[PoseLike] | Targets,
    source_poses: PoseLike | Sequence[PoseLike | PoseFile | None] | None = None,
    reading: PoseOptions | None = None,
    masks: Sequence[PictureLike] = (),
    photos: Photos | None = None,
) -> GenerateInputs:
    """Read everything; target poses may have been read before, and `photos` knows photos of other requests.

    Where no source pose is given, a photo's is read from ``<photo>.json`` or ``<photo>_keypoints.json`` beside it, if that
    holds poses; one that holds nobody is left out. The word "detect" in place of a source's pose, or of all, prevents that:
    the pose is not known, as with None, and is left to those who detect.

    Raises:
        ValueError, OSError: a list is empty or does not match, or a file is missing or not what it should be.

    Warns:
        UserWarning: as `read_targets`.
    """
    if not sources:
        raise ValueError("no source picture: give at least one")
    for source in sources:
        if isinstance(source, (str, Path)) and Path(source).is_dir():
            raise ValueError(f"{source}: a folder; a source is one photo (--photos takes a folder of people)")
    if not isinstance(poses, Targets) and not poses:
        raise ValueError("no target pose: give at least one")
    given_poses = as_list(source_poses)
    if len(given_poses) == 1 and _is_word(given_poses[0]):
        given_poses *= len(sources)
    for name, given in (("source pose", given_poses), ("mask", masks)):
        if given and len(given) != len(sources):
            raise ValueError(f"{len(given)} {name}s for {len(sources)} sources: give one for each, or none")
    reading = reading or PoseOptions()
    photos = photos or Photos()
    pictures, digests = map(list, zip(*map(photos.read, sources), strict=True))
    if not given_poses:
        beside = [_read_beside(*own, reading) for own in zip(sources, pictures, strict=True)]
        given_poses = beside if any(beside) else []
    own_poses, own_said = _read_source_poses(given_poses, pictures, reading)
    targets = poses if isinstance(poses, Targets) else read_targets(poses, reading)
    return GenerateInputs(
        pictures,
        targets.poses,
        own_poses,
        [*own_said, *targets.said],
        {
            "sources": [_shown(source) for source in sources],
            "poses": targets.origins,
            "source_poses": [_shown(pose) for pose in given_poses],
        },
        targets.names,
        [_read_mask(mask, picture) for mask, picture in zip(masks, pictures, strict=False)],
        digests,
    )


def as_list(given: Any) -> list[Any]:
    """One thing, or several, as a list."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def poses_digest(poses: Iterable[Pose | None]) -> str:
    """SHA-256 of poses in their order, with their hands and frames, 64 hexadecimal digits; None: not known."""
    whole = hashlib.sha256()
    for pose in poses:
        if pose is not None:
            whole.update(f"{pose.height}x{pose.width}".encode())
            whole.update(pose.keypoints.tobytes() + (b"" if pose.hands is None else pose.hands.tobytes()))
        whole.update(b"|")
    return whole.hexdigest()


def name_targets(stems: Iterable[str]) -> list[str]:
    """A file name, without its ending, for each target: its stem, or stem-2, stem-3, ... where that is taken."""
    names: list[str] = []
    taken = {RESERVED}
    for stem in stems:
        first = _short(stem)
        name, number = first, 1
        while name.casefold() in taken:
            number += 1
            name = f"{first}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _short(stem: str) -> str:
    """The stem, or its start and a digest of the whole where it is too long for a file's name."""
    if len(stem.encode()) <= _LONGEST_NAME:
        return stem
    start = stem.encode()[: _LONGEST_NAME - 9].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"


def _read_targets(given: Sequence[PoseLike], reading: PoseOptions) -> Iterator[tuple[str, Pose, str, list[str]]]:
    """Stem, pose, origin and what was read, of each target."""
    for own in given:
        if isinstance(own, NamedPose):
            yield own.name, own.pose, own.name, []
        elif isinstance(own, Pose):
            yield "pose", own, "pose", []
        else:
            files = expand_poses(own)
            for file in files:
                read = _read(file, reading, lenient=len(files) > 1)
                if read is None:
                    continue
                stem, many = Path(file).stem, len(read.poses) > 1
                for number, pose in enumerate(read.poses, 1):
                    yield f"{stem}-{number:03}" if many else stem, pose, str(file), read.lines()


def is_pattern(text: str) -> bool:
    """Whether a text is a pattern of names, in a folder or in the library."""
    return any(letter in text for letter in "*?[")


def expand_poses(given: str | Path) -> list[str | Path]:
    """The files, or names of the library, that a path, folder, pattern or name means; a path that exists comes first."""
    path = Path(given)
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        for endings in (POSE_ENDINGS, PICTURE_ENDINGS):
            if files := [file for file in inside if file.suffix.lower() in endings]:
                return list(files)
        raise ValueError(f"{path}: no poses in this folder ({', '.join(POSE_ENDINGS)}, or drawn skeletons)")
    if path.exists() or "://" in str(given) or not is_pattern(str(given)):
        return [given]
    if found := [Path(file) for file in sorted(glob.glob(str(given), recursive=True)) if Path(file).is_file()]:
        return list(found)
    if named := named_poses(str(given)):
        return [own.name for own in named]
    raise ValueError(f"{given}: no file and no pose of the library fits this pattern (imagpose poses list)")


def _read(file: str | Path, reading: PoseOptions, lenient: bool) -> PoseFile | None:
    """What a file holds; of several, one that is no pose file at all is left out, and that is said."""
    try:
        read = read_pose_file(file, reading)
    except UnknownKindError:
        if lenient:
            warnings.warn(f"{file}: left out, it is no known kind of pose file", UserWarning, stacklevel=5)
            return None
        raise
    _warn(read)
    return read


def _read_source_poses(
    given: Sequence[PoseLike | PoseFile | None], pictures: Sequence[Image.Image], reading: PoseOptions
) -> tuple[list[Pose | None] | None, list[str]]:
    """The poses of the sources in their pictures' frames, and what was read; None where none is given."""
    poses: list[Pose | None] = []
    said: list[str] = []
    for own, picture in zip(given, pictures, strict=False):
        if own is None or _is_word(own):
            poses.append(None)
            continue
        if isinstance(own, (Pose, NamedPose)):
            poses.append(own.pose if isinstance(own, NamedPose) else own)
            continue
        read = own if isinstance(own, PoseFile) else _read_source_pose(own, picture, reading)
        _warn(read)
        poses.append(read.poses[0])
        said += read.lines()
    return poses or None, said


def _read_beside(photo: PictureLike, picture: Image.Image, reading: PoseOptions) -> PoseFile | None:
    """What the file of poses holds that lies beside a photo and has its name; None where there is none."""
    if not isinstance(photo, (str, Path)):
        return None
    for file in (Path(photo).with_name(Path(photo).stem + ending) for ending in _BESIDE):
        if not file.is_file():
            continue
        try:
            return _read_source_pose(file, picture, reading)
        except NobodyFoundError as error:
            warnings.warn(f"{error}: left out", UserWarning, stacklevel=4)
        except UnknownKindError:
            continue
        except ValueError as error:
            raise ValueError(
                f"{error} (read because it lies beside {Path(photo).name}: --source-pose names another, or says detect)"
            ) from None
    return None


def _read_source_pose(file: str | Path, picture: Image.Image, reading: PoseOptions) -> PoseFile:
    """What a file holds, in its picture's frame; a single pose."""
    read = read_pose_file(file, replace(reading, frame=None), picture=(picture.height, picture.width))
    if len(read.poses) > 1:
        raise ValueError(f"{read.name}: {len(read.poses)} poses; a source has one")
    return read


def _is_word(given: Any) -> bool:
    return isinstance(given, str) and given == DETECT


def _warn(read: PoseFile) -> None:
    for note in read.notes:
        warnings.warn(f"{read.name}: {note}", UserWarning, stacklevel=5)


def _read_mask(mask: PictureLike, picture: Image.Image) -> Image.Image:
    found = load_picture(mask).convert("L")
    if found.size != picture.size:
        sizes = f"{found.height}x{found.width} for a source of {picture.height}x{picture.width}"
        raise ValueError(f"{_shown(mask)}: a mask of {sizes}; a mask has the size of its source")
    return found


def _shown(given: Any) -> str:
    """How the record names an input: its path, or what it is."""
    if given is None:
        return "unknown"
    if isinstance(given, (str, Path)):
        return str(given)
    return given.name if isinstance(given, (NamedPose, PoseFile)) else type(given).__name__
