"""Target poses, single or a sequence, fitted to the body in the source photos, as far as that body's pose is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imagpose.pose import Pose
from imagpose.pose.retarget import LEAST_POINTS, can_be_fitted, retarget, retarget_sequence
from imagpose.serving.framing import Framed, largest_person
from imagpose.serving.inputs import GenerateInputs
from imagpose.serving.settings import GenerateSettings

_NOT_ASKED = "no: not asked for"
_NOT_KNOWN = "no: the person's pose is known in no source; give --source-pose, or see imagpose poses setup"


def fit_inputs(
    inputs: GenerateInputs, sources: Sequence[Framed], settings: GenerateSettings
) -> tuple[GenerateInputs, str]:
    """The request with its target poses fitted to the person of the framed sources, and what was done, in words."""
    if not settings.retarget:
        return inputs, _NOT_ASKED
    known = _known_bodies(sources, settings)
    if not known:
        return inputs, _NOT_KNOWN
    large = [can_be_fitted(pose) for pose in inputs.poses]
    fitted = [
        retarget(pose, known, place=settings.place) if enough else pose
        for pose, enough in zip(inputs.poses, large, strict=True)
    ]
    return replace(inputs, poses=fitted), _said(len(known), len(sources), settings, large.count(False))


def fit_sequence(
    poses: Sequence[Pose], sources: Sequence[Framed], settings: GenerateSettings
) -> tuple[list[Pose], str]:
    """The poses of a sequence fitted to the person of the framed sources, with one body for all of it; and what was done."""
    if not settings.retarget:
        return list(poses), _NOT_ASKED
    known = _known_bodies(sources, settings)
    if not known:
        return list(poses), _NOT_KNOWN
    few = sum(not can_be_fitted(pose) for pose in poses)
    if few == len(poses):
        return list(poses), f"no: all poses have fewer than {LEAST_POINTS} points"
    return retarget_sequence(poses, known, place=settings.place), _said(len(known), len(sources), settings, few)


def _known_bodies(sources: Sequence[Framed], settings: GenerateSettings) -> list[Pose]:
    """The sources' poses that tell a body. Where photos are framed, what is not known by now was looked for already."""
    found = [own.pose if own.pose or settings.crop else largest_person(own.picture) for own in sources]
    return [pose for pose in found if pose is not None and can_be_fitted(pose)]


def _said(known: int, sources: int, settings: GenerateSettings, few: int) -> str:
    where = "first source" if settings.place == "source" else "pose"
    left = f", but {few} with fewer than {LEAST_POINTS} points" if few else ""
    return f"to the body in {known} of {sources} sources, place and size as in the {where}{left}"
