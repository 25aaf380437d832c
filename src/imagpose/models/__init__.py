"""The model: UNet with cross-view attention, feature tokens (FLC), pose encoder, autoencoder. Tensors only, no pictures.

Presets by name, their networks from files (`loading`, alone to know paths), their sizes without files.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagpose.models.autoencoder import PatchAutoencoderKL
    from imagpose.models.cross_view import CrossViewAttention
    from imagpose.models.feature_tokens import FeatureTokens
    from imagpose.models.pose_encoder import PoseEncoder
    from imagpose.models.unet import IMAGPoseUNet

__all__ = ["CrossViewAttention", "FeatureTokens", "IMAGPoseUNet", "PatchAutoencoderKL", "PoseEncoder"]

_HOME = {
    "CrossViewAttention": "cross_view",
    "FeatureTokens": "feature_tokens",
    "IMAGPoseUNet": "unet",
    "PatchAutoencoderKL": "autoencoder",
    "PoseEncoder": "pose_encoder",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
