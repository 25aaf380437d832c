"""Synthetic clothed adults: who they are, how they stand, and pictures of them with exact poses and masks.

    from imagpose.people import make_identity, render_view, sample_view_specs

    identity = make_identity(7)
    views = [render_view(identity, spec, 256, 176) for spec in sample_view_specs(7, 4)]

Names are loaded on first use, so importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagpose.people.camera import Camera, ViewSpec, sample_view_specs
    from imagpose.people.identity import Identity, make_identity
    from imagpose.people.motion import Motion, Posture, sample_motion
    from imagpose.people.render_set import iterate_views
    from imagpose.people.scene import (
        View,
        interpolate_motions,
        motion_of,
        pose_motion,
        render_view,
    )
    from imagpose.people.splits import TEST_SEEDS, TRAIN_SEEDS, VALIDATION_SEEDS

_HOMES = {
    "Camera": "camera",
    "ViewSpec": "camera",
    "Identity": "identity",
    "make_identity": "identity",
    "Motion": "motion",
    "Posture": "motion",
    "sample_motion": "motion",
    "iterate_views": "render_set",
    "View": "scene",
    "interpolate_motions": "scene",
    "motion_of": "scene",
    "pose_motion": "scene",
    "render_view": "scene",
    "sample_view_specs": "camera",
    "TEST_SEEDS": "splits",
    "TRAIN_SEEDS": "splits",
    "VALIDATION_SEEDS": "splits",
}

__all__ = [
    "TEST_SEEDS",
    "TRAIN_SEEDS",
    "VALIDATION_SEEDS",
    "Camera",
    "Identity",
    "Motion",
    "Posture",
    "View",
    "ViewSpec",
    "interpolate_motions",
    "iterate_views",
    "make_identity",
    "motion_of",
    "pose_motion",
    "render_view",
    "sample_motion",
    "sample_view_specs",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
