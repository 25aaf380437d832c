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
    from imagpose.people.scene import View, interpolate_motions, motion_of, pose_motion, render_view
    from imagpose.people.splits import TEST_SEEDS, TRAIN_SEEDS, VALIDATION_SEEDS

_MODULES = {
    "camera": ("Camera", "ViewSpec", "sample_view_specs"),
    "identity": ("Identity", "make_identity"),
    "motion": ("Motion", "Posture", "sample_motion"),
    "render_set": ("iterate_views",),
    "scene": ("View", "interpolate_motions", "motion_of", "pose_motion", "render_view"),
    "splits": ("TEST_SEEDS", "TRAIN_SEEDS", "VALIDATION_SEEDS"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
__all__ = [
    "TEST_SEEDS", "TRAIN_SEEDS", "VALIDATION_SEEDS", "Camera", "Identity", "Motion", "Posture", "View", "ViewSpec",
    "interpolate_motions", "iterate_views", "make_identity", "motion_of", "pose_motion", "render_view",
    "sample_motion", "sample_view_specs",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
