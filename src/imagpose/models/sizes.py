"""How large the presets are: their networks on the meta device, without weights, and a table of their parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, ModelMixin
from transformers import (
    AutoConfig,
    AutoModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
)

from imagpose.models.autoencoder import autoencoder_class, spatial_factor
from imagpose.models.folder import ModelFiles, failures_of
from imagpose.models.loading import PresetFiles, preset_files
from imagpose.models.presets import (
    ABLATIONS,
    IMAGE_ENCODERS,
    PRESETS,
    STABLE_DIFFUSION_VAE,
    Preset,
    build_denoiser,
    find_preset,
)

_HEAD = (
    "preset", "base", "image encoder", "width", "UNet", "CVA", "pose encoder", "feature tokens", "VAE", "image encoder",
)  # fmt: skip


def size_table(names: Sequence[str]) -> str:
    """A Markdown table: per preset its parts, and their parameters in millions.

    Args:
        names: of presets; none: all, and the ablations.

    Raises:
        ValueError: a preset is unknown.
    """
    rows = [_row(find_preset(name)) for name in names or (*PRESETS, *ABLATIONS)]
    lines = [_HEAD, ("---",) * 3 + ("---:",) * (len(_HEAD) - 3), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(preset: Preset) -> tuple[str, ...]:
    networks = build_empty(preset)
    return (
        preset.name,
        "own" if preset.base is None else preset.base.title,
        "own" if preset.image_encoder is None else preset.image_encoder.title,
        str(networks["image_encoder"].config.hidden_size),
        *(f"{count / 1e6:,.1f}" for count in count_parameters(networks).values()),
    )


def build_empty(preset: Preset, files: PresetFiles | None = None) -> dict[str, ModelMixin | PreTrainedModel]:
    """The networks of a preset on the meta device, by their names in a pipeline: no weights, no hub, a second.

    Args:
        preset: see `find_preset`.
        files: where the configurations of VAE and image encoder are; None: the preset's. On the hub, a VAE is Stable
            Diffusion's, and an image encoder has to be one of `IMAGE_ENCODERS`.

    Raises:
        ValueError: the configuration of an image encoder is damaged.
    """
    files = files or preset_files(preset)
    with torch.device("meta"):
        encoder = _empty_encoder(files.image_encoder)
        folder = files.vae.folder
        vae_config = STABLE_DIFFUSION_VAE if folder is None else AutoencoderKL.load_config(folder)
        vae = autoencoder_class(vae_config).from_config(vae_config)
        denoiser = build_denoiser(preset, encoder.config.hidden_size, vae.config.latent_channels, spatial_factor(vae))
    return {
        "unet": denoiser.unet,
        "pose_encoder": denoiser.pose_encoder,
        "feature_tokens": denoiser.feature_tokens,
        "vae": vae,
        "image_encoder": encoder,
    }


def _empty_encoder(files: ModelFiles) -> PreTrainedModel:
    if files.folder is not None:
        with failures_of(files.folder):
            config = AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
        return AutoModel.from_config(getattr(config, "vision_config", config))
    encoder = next(own for own in IMAGE_ENCODERS.values() if own.repository == files.place)
    if encoder.kind == "clip":
        return CLIPVisionModel(CLIPVisionConfig(**encoder.config))
    return Dinov2Model(Dinov2Config(**encoder.config))


def count_parameters(networks: dict[str, ModelMixin | PreTrainedModel]) -> dict[str, int]:
    """Parameters by part; "unet" is the base's share of the UNet, "cross_view" what CVA adds to it."""
    cross_view = sum(weight.numel() for name, weight in networks["unet"].named_parameters() if ".cross_view." in name)
    whole = {name: sum(weight.numel() for weight in network.parameters()) for name, network in networks.items()}
    return {"unet": whole.pop("unet") - cross_view, "cross_view": cross_view, **whole}
