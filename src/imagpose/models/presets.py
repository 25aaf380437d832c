"""Configurations by name: `mini`, and the paper's ablations (Table 2) and M1 (Table 7) as changes of any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.unet import IMAGPoseUNet

__all__ = ["ABLATIONS", "MINI_UNET", "PRESETS", "Ablation", "Denoiser", "build_denoiser"]


@dataclass(frozen=True)
class Ablation:
    """What a variant changes.

    Attributes:
        unet: arguments of IMAGPoseUNet.
        use_texture: whether F_C has texture tokens F_L.
    """

    unet: dict[str, Any]
    use_texture: bool


_NO_CVA: dict[str, Any] = {"cross_view_placement": None}

ABLATIONS = {
    "B0": Ablation({"in_channels": 5, **_NO_CVA}, use_texture=False),
    "B1": Ablation({"in_channels": 5}, use_texture=False),
    "B2": Ablation({"in_channels": 5, **_NO_CVA}, use_texture=True),
    "B3": Ablation({"in_channels": 9}, use_texture=False),
    "B4": Ablation({"in_channels": 9, **_NO_CVA}, use_texture=True),
    "M1": Ablation({"in_channels": 4, "view_layout": "batch", **_NO_CVA}, use_texture=False),
}
"""B0: no CVA, no F_L, no masked latents; B1 = B0 + CVA; B2 = B0 + F_L; B3 = B1 + masked latents; B4 = all but CVA.
M1: views along the batch axis, tokens of the frozen image encoder only."""

_FULL = Ablation({"in_channels": 9}, use_texture=True)
PRESETS = {"mini": _FULL, **ABLATIONS}

MINI_UNET: dict[str, Any] = {
    "block_out_channels": (64, 144, 224),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
    "cross_attention_dim": 256,
    "attention_head_dim": (1, 2, 4),
    "norm_num_groups": 16,
    "use_linear_projection": True,
    "cross_view_heads": 2,
}
"""About 16.5 million parameters. Few, wide heads: on a CPU they run faster than many narrow ones. (In diffusers the entry
`attention_head_dim` is the number of heads.)"""
MINI_POSE_CHANNELS = (16, 32, 48, 96)


@dataclass(frozen=True)
class Denoiser:
    """The networks that are trained together."""

    unet: IMAGPoseUNet
    pose_encoder: PoseEncoder
    feature_tokens: FeatureTokens


def build_denoiser(preset: str, encoder_width: int, texture_long_side: int = 128, **unet_config: Any) -> Denoiser:
    """The networks of a preset at `mini`'s size, freshly initialised.

    Args:
        preset: "mini", or an ablation at `mini`'s size: B0, B1, B2, B3, B4, M1.
        encoder_width: width of the image encoder's hidden states.
        texture_long_side: long side in pixels of the picture behind the texture tokens.
        unet_config: arguments of IMAGPoseUNet in place of `mini`'s, such as block_out_channels.

    Raises:
        ValueError: the preset is unknown.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r}: one of {', '.join(PRESETS)} expected")
    variant = PRESETS[preset]
    unet = IMAGPoseUNet(**{**MINI_UNET, **variant.unet, **unet_config})
    return Denoiser(
        unet=unet,
        pose_encoder=PoseEncoder(unet.config.block_out_channels[0], MINI_POSE_CHANNELS),
        feature_tokens=FeatureTokens(
            token_width=unet.config.cross_attention_dim,
            encoder_width=encoder_width,
            texture_long_side=texture_long_side,
            use_texture=variant.use_texture,
        ),
    )
