"""How large a preset is, without its weights: parameters by part and the memory that training takes, on the meta device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import (
    AutoConfig,
    AutoModel,
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
)

from imagpose.models.activations import Activations, count_activations
from imagpose.models.autoencoder import autoencoder_class, spatial_factor
from imagpose.models.folder import ModelFiles
from imagpose.models.loading import Networks, preset_files
from imagpose.models.presets import STABLE_DIFFUSION_VAE, Preset, around_unet, build_denoiser, find_preset
from imagpose.models.unet import IMAGPoseUNet
from imagpose.views import ViewGrid, view_multiple

__all__ = ["Memory", "build_empty", "count_parameters", "training_memory"]

_NETWORKS = ("unet", "pose_encoder", "feature_tokens", "vae", "image_encoder")
Precision = Literal["fp32", "bf16", "fp16"]


def build_empty(
    preset: str | Preset,
    base: str | Path | None = None,
    image_encoder: str | Path | None = None,
    autoencoder: str | Path | None = None,
    texture_long_side: int | None = None,
    pose_channels: Sequence[int] | None = None,
    **unet_config: Any,
) -> Networks:
    """The networks that `load_networks` would give, on the meta device: no weights, no memory, a second.

    Arguments as there; only the configuration files of folders that are given are read, no weights and no hub. What is
    not given is as the preset has it.

    Raises:
        FileNotFoundError: a given folder lacks a configuration file.
        ValueError: unknown preset, or arguments that do not fit.
    """
    preset = find_preset(preset) if isinstance(preset, str) else preset
    files = preset_files(preset, base, image_encoder, autoencoder)
    with torch.device("meta"):
        encoder = _empty_encoder(preset, files.image_encoder)
        vae_config = _config(AutoencoderKL, files.vae) or STABLE_DIFFUSION_VAE
        vae = autoencoder_class(vae_config).from_config(vae_config)
        unet_file = None if files.base is None else _config(UNet2DConditionModel, files.base)
        try:
            if unet_file is None:
                denoiser = build_denoiser(
                    preset, encoder.config.hidden_size, texture_long_side, pose_channels, **unet_config
                )
            else:
                stock = UNet2DConditionModel.from_config(unet_file)
                arguments = preset.variant.unet_arguments(stock.config.out_channels)
                unet = IMAGPoseUNet.from_unet2d(stock, **{**arguments, **unet_config})
                denoiser = around_unet(preset, unet, encoder.config.hidden_size, texture_long_side, pose_channels)
        except TypeError as error:
            raise ValueError(f"unet: {error}") from None
    is_clip = isinstance(encoder, CLIPVisionModel)
    return Networks(
        vae=vae,
        image_encoder=encoder,
        image_processor=CLIPImageProcessorPil() if is_clip else BitImageProcessorPil(),
        unet=denoiser.unet,
        pose_encoder=denoiser.pose_encoder,
        feature_tokens=denoiser.feature_tokens,
        prediction_type=None if preset.base is None else preset.base.prediction_type,
    )


def _config(kind: Any, files: ModelFiles) -> dict[str, Any] | None:
    """The configuration in a folder; None for a repository on the hub."""
    if files.folder is None:
        return None
    files.require("config.json")
    return kind.load_config(files.folder)


def _empty_encoder(preset: Preset, files: ModelFiles) -> PreTrainedModel:
    if files.folder is not None:
        files.require("config.json")
        config = AutoConfig.from_pretrained(files.folder)
        config = getattr(config, "vision_config", config)
        return CLIPVisionModel(config) if isinstance(config, CLIPVisionConfig) else AutoModel.from_config(config)
    assert preset.image_encoder is not None  # `mini`'s lies in a folder
    if preset.image_encoder.kind == "clip":
        return CLIPVisionModel(CLIPVisionConfig(**preset.image_encoder.config))
    return Dinov2Model(Dinov2Config(**preset.image_encoder.config))


def count_parameters(networks: Networks) -> dict[str, int]:
    """Parameters by part; "unet" is the base's share of the UNet, "cross_view" what CVA adds to it."""
    cross_view = sum(weight.numel() for name, weight in networks.unet.named_parameters() if ".cross_view." in name)
    whole = {name: sum(weight.numel() for weight in getattr(networks, name).parameters()) for name in _NETWORKS}
    return {"unet": whole.pop("unet") - cross_view, "cross_view": cross_view, **whole}


@dataclass(frozen=True)
class Memory:
    """Bytes that training takes on one device, see `training_memory`."""

    weights: int
    gradients: int
    optimiser: int
    ema: int
    activations: int
    frozen: int

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def training_memory(
    networks: Networks,
    batch_size: int,
    height: int,
    width: int,
    grid: ViewGrid = ViewGrid(2, 2),
    precision: Precision = "bf16",
    gradient_checkpointing: bool = False,
    cached: bool = False,
) -> Memory:
    """An estimate of the memory that training takes on one device that holds everything (no sharding). Source: own.

    With P parameters that are trained (UNet, CVA, pose encoder, feature tokens) and F frozen ones:

    - weights: 4 P bytes; in half precision 2 P more for the copies that autocast keeps.
    - gradients 4 P, Adam's two moments 8 P, EMA 4 P.
    - frozen: 4 F, VAE and image encoder in float32; 0 with caches.
    - activations: the values that autograd keeps from forward to backward, counted on the meta device for one canvas, times
      the batch. 4 bytes each; in half precision 2, but 4 for what enters and leaves norms, which autocast computes in
      float32. With gradient checkpointing: the inputs of all resnets, transformer blocks and CVAs, what is kept outside
      them, and the insides of the largest, which is computed again.

    Not counted: CUDA's context and workspaces, fragments, buckets of distributed training.

    Args:
        networks: of `build_empty`.
        batch_size: canvases per device.
        height, width: of a view in pixels, before padding.
        grid: the view grid.
        precision: "fp32", or autocast in "bf16" or "fp16".
        gradient_checkpointing: of the UNet.
        cached: latents and image tokens are read, so that VAE and image encoder are not loaded.
    """
    counts = count_parameters(networks)
    frozen = 0 if cached else counts["vae"] + counts["image_encoder"]
    trained = sum(counts.values()) - counts["vae"] - counts["image_encoder"]
    half = precision != "fp32"
    multiple = view_multiple(len(networks.unet.config.block_out_channels), spatial_factor(networks.vae))
    canvas = (-(-height // multiple) * multiple * grid.rows, -(-width // multiple) * multiple * grid.cols)
    kept = _canvas_activations(networks, canvas, grid, half)
    return Memory(
        weights=(6 if half else 4) * trained,
        gradients=4 * trained,
        optimiser=8 * trained,
        ema=4 * trained,
        activations=batch_size * (kept.checkpointed if gradient_checkpointing else kept.total),
        frozen=4 * frozen,
    )


def _canvas_activations(networks: Networks, canvas: tuple[int, int], grid: ViewGrid, half: bool) -> Activations:
    """What is kept of one canvas of so many pixels (height, width)."""
    unet, tokens, image = networks.unet.config, networks.feature_tokens.config, networks.image_encoder.config
    factor = spatial_factor(networks.vae)
    texture_side = tokens.texture_long_side // factor

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(1, *shape, device="meta")

    def run() -> None:
        texture = empty(tokens.latent_channels, texture_side, texture_side) if tokens.use_texture else None
        networks.unet(
            empty(unet.in_channels, canvas[0] // factor, canvas[1] // factor),
            torch.empty(1, device="meta"),
            networks.feature_tokens(empty((224 // image.patch_size) ** 2 + 1, image.hidden_size), texture),
            networks.pose_encoder(empty(3, *canvas)),
            view_grid=grid,
        )

    return count_activations(networks.unet, (networks.pose_encoder, networks.feature_tokens), run, half)
