"""Target poses fitted to the body in the source photos, as far as that body's pose is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imagpose.pose.retarget import LEAST_POINTS, can_be_fitted, retarget
from imagpose.serving.framing import Framed, detect_pose
from imagpose.serving.inputs import GenerateInputs
from imagpose.serving.settings import GenerateSettings

__all__ = ["fit_inputs"]


def fit_inputs(
    inputs: GenerateInputs, sources: Sequence[Framed], settings: GenerateSettings
) -> tuple[GenerateInputs, str]:
    """The request with its target poses fitted to the person of the framed sources, and what was done, in words."""
    if not settings.retarget:
        return inputs, "no: not asked for"
    # Where photos are framed, what is not known by now was looked for already.
    found = [own.pose if own.pose or settings.crop else detect_pose(own.picture) for own in sources]
    known = [pose for pose in found if pose is not None and can_be_fitted(pose)]
    if not known:
        return inputs, "no: the person's pose is known in no source; give --source-pose, or see imagpose poses setup"
    large = [can_be_fitted(pose) for pose in inputs.poses]
    fitted = [
        retarget(pose, known, place=settings.place) if enough else pose
        for pose, enough in zip(inputs.poses, large, strict=True)
    ]
    left = f", but {large.count(False)} with fewer than {LEAST_POINTS} points" if not all(large) else ""
    where = "first source" if settings.place == "source" else "pose"
    said = f"to the body in {len(known)} of {len(sources)} sources, place and size as in the {where}{left}"
    return replace(inputs, poses=fitted), said
