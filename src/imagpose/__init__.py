"""imagpose: pictures of one person in new poses, from any number of photos (IMAGPose, NeurIPS 2024).

Everything heavy is loaded when it is first used: ``import imagpose`` imports no torch.
"""

from __future__ import annotations

import importlib

from imagpose.pipeline.diffusers_name import offer_pipeline
from imagpose.version import __version__

TYPE_CHECKING = False  # of typing, whose import would be most of this package's own
if TYPE_CHECKING:
    from typing import Any

    from diffusers import ModelMixin

    from imagpose.models.autoencoder import PatchAutoencoderKL
    from imagpose.models.feature_tokens import FeatureTokens
    from imagpose.models.pose_encoder import PoseEncoder
    from imagpose.models.unet import IMAGPoseUNet
    from imagpose.pipeline import IMAGPosePipeline
    from imagpose.pose import Pose, read_poses
    from imagpose.pose.retarget import retarget
    from imagpose.serving.animate import animate
    from imagpose.serving.generate import generate
    from imagpose.serving.many import generate_people
    from imagpose.views import ViewGrid

__all__ = [
    "FeatureTokens",
    "IMAGPosePipeline",
    "IMAGPoseUNet",
    "ModelMixin",
    "PatchAutoencoderKL",
    "Pose",
    "PoseEncoder",
    "ViewGrid",
    "__version__",
    "animate",
    "generate",
    "generate_people",
    "read_poses",
    "retarget",
]

# ModelMixin stands here because diffusers looks for the base classes of saved components in the library they name.
_HOMES = {
    "FeatureTokens": "imagpose.models.feature_tokens",
    "IMAGPosePipeline": "imagpose.pipeline",
    "IMAGPoseUNet": "imagpose.models.unet",
    "ModelMixin": "diffusers",
    "PatchAutoencoderKL": "imagpose.models.autoencoder",
    "Pose": "imagpose.pose",
    "PoseEncoder": "imagpose.models.pose_encoder",
    "ViewGrid": "imagpose.views",
    "animate": "imagpose.serving.animate",
    "generate": "imagpose.serving.generate",
    "generate_people": "imagpose.serving.many",
    "read_poses": "imagpose.pose",
    "retarget": "imagpose.pose.retarget",
}


offer_pipeline()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'imagpose' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
