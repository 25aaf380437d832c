"""The pose encoder: F_P from the joint skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from diffusers.utils import BaseOutput
from torch.nn import functional

from imagpose.models.diffusers_hooks import WholeModel, register_to_config


@dataclass
class PoseEncoderOutput(BaseOutput):
    """What the pose encoder gives.

    Args:
        pose_features: F_P, (b, C, H / factor, W / factor).
    """

    pose_features: torch.Tensor


class PoseEncoder(WholeModel, ModelMixin, ConfigMixin):
    """ControlNet's conditioning embedding (paper §3.4): 3 -> 16, 32, 96, 256 -> C, the last convolution starts at zero.

    Args:
        out_channels: C, the UNet's first width.
        block_channels: widths; each after the first halves the picture.
        factor: pixels per latent. With fewer than four widths the skeleton is averaged down first, so that F_P has the
            latents' size all the same: at full size few channels take much time.

    Raises:
        ValueError: the widths halve the picture further than to the latents' size.
    """

    @register_to_config
    def __init__(self, out_channels: int, block_channels: tuple[int, ...] = (16, 32, 96, 256), factor: int = 8) -> None:
        super().__init__()
        self.reduction, rest = divmod(factor, 2 ** (len(block_channels) - 1))
        if rest:
            raise ValueError(f"block_channels has {len(block_channels)} widths; too many for {factor} pixels a latent")
        self.embedding = ControlNetConditioningEmbedding(out_channels, 3, tuple(block_channels))

    def forward(self, skeleton: torch.Tensor, return_dict: bool = True) -> PoseEncoderOutput | tuple[torch.Tensor]:
        """F_P (b, C, H / factor, W / factor) of joint skeletons (b, 3, H, W) in [0, 1]; a tuple without `return_dict`."""
        if self.reduction > 1:
            skeleton = functional.avg_pool2d(skeleton, self.reduction)
        # Few channels at full size: oneDNN's convolutions need two thirds of the time in this layout.
        features: torch.Tensor = self.embedding(skeleton.contiguous(memory_format=torch.channels_last))
        return PoseEncoderOutput(pose_features=features) if return_dict else (features,)
