"""What a denoiser's run will do and take, told without doing it: nothing is loaded, rendered or written."""

from __future__ import annotations

from math import prod
from pathlib import Path

import torch

from imagpose.models.autoencoder import spatial_factor
from imagpose.models.folder import resolve_model
from imagpose.models.loading import Networks, load_image_processor
from imagpose.models.presets import find_preset
from imagpose.models.sizes import build_empty, count_parameters, training_memory
from imagpose.pixels import padded_size, texture_pixels
from imagpose.training.configs import ViewCacheConfig, load_config
from imagpose.training.denoiser.cache import open_dataset
from imagpose.training.denoiser.config import DatasetConfig, DenoiserConfig
from imagpose.training.denoiser.networks import frozen_files
from imagpose.training.processes import global_batch, this_process
from imagpose.views import ViewGrid, view_multiple

_GIB = 2**30
_SKELETON_BYTES = 4096  # about, of a packed drawing at 256x192


def plan_denoiser(config_path: str | Path, overrides: list[str] | None = None) -> str:
    """Sizes, parameters, data, batches and memory of a run, one line each.

    Raises:
        FileNotFoundError, ValueError: the configuration, or something that it names, is missing or does not fit.
    """
    config = load_config(DenoiserConfig, config_path, overrides)
    networks = build_empty(
        config.preset, config.base, config.image_encoder, config.autoencoder, config.texture_long_side,
        config.pose_channels, **config.unet,
    )  # fmt: skip
    if config.initial is not None:
        resolve_model(config.initial)
    lines = [
        ("networks", f"preset {config.preset}, {_start(config)}"),
        ("parameters", ", ".join(f"{name} {count / 1e6:,.1f} M" for name, count in count_parameters(networks).items())),
        *_sizes(config, networks),
        ("data", _people(config.data, networks, config)),
        ("validation", "nobody is held out" if config.validation is None else _people(config.validation, networks, config)),
        ("batch", _batch(config)),
        ("steps", _steps(config)),
        ("memory", _memory(config, networks)),
        ("output", f"{config.output}: a checkpoint every {config.checkpoint_every} steps, the last"
         f" {config.keep_checkpoints} are kept"),
    ]  # fmt: skip
    return "\n".join(f"{name:<11}{text}" for name, text in lines)


def _start(config: DenoiserConfig) -> str:
    if config.initial is not None:
        return f"from the weights of {config.initial}"
    return "from its base's weights" if find_preset(config.preset).base is not None else "from scratch"


def _padded(config: DenoiserConfig, networks: Networks) -> tuple[int, int]:
    return padded_size(config.data.height, config.data.width, _multiple(networks))


def _multiple(networks: Networks) -> int:
    return view_multiple(len(networks.unet.config.block_out_channels), spatial_factor(networks.vae))


def _sizes(config: DenoiserConfig, networks: Networks) -> list[tuple[str, str]]:
    height, width = _padded(config, networks)
    factor = spatial_factor(networks.vae)
    padded = "" if (height, width) == (config.data.height, config.data.width) else f", padded to {height}x{width}"
    total = sum(config.grids.values())
    canvases = [
        f"{grid} ({share / total:.0%}): {grid.rows * height}x{grid.cols * width} pixels,"
        f" {grid.rows * height // factor}x{grid.cols * width // factor} latents"
        for grid, share in config.view_grids.items()
    ]
    return [("view", f"{config.data.height}x{config.data.width} pixels{padded}"), ("canvas", "; ".join(canvases))]


def _people(data: ViewCacheConfig | DatasetConfig, networks: Networks, config: DenoiserConfig) -> str:
    if isinstance(data, ViewCacheConfig):
        pictures = data.identities * data.views
        text = f"{data.identities:,} rendered identities of {data.views} views, seeds from {data.first_seed}"
        return f"{text}; cache {data.folder}: {_cache_size(pictures, networks, config)}"
    try:
        dataset = open_dataset(data)
    except FileNotFoundError as error:
        return f"not there yet: {error}"
    pictures = int(dataset.view_counts.sum())
    text = f"{pictures:,} pictures of {len(dataset):,} identities, {data.dataset} {data.split}"
    if dataset.left_out:
        text += f" ({dataset.left_out:,} identities with one picture are left out)"
    if data.cache is None:
        return f"{text}; encoded in every step"
    return f"{text}; cache {data.cache}: {_cache_size(pictures, networks, config)}"


def _cache_size(pictures: int, networks: Networks, config: DenoiserConfig) -> str:
    """Latents, texture latents and tokens in half precision, skeletons packed."""
    height, width = _padded(config, networks)
    files, encoder = frozen_files(config).image_encoder, networks.image_encoder
    processor = networks.image_processor if files.folder is None else load_image_processor(files, encoder)
    size = processor.crop_size if processor.do_center_crop else processor.size
    tokens = prod(size[side] // encoder.config.patch_size for side in ("height", "width")) + 1
    texture = networks.feature_tokens.config
    channels, factor = networks.unet.config.out_channels, spatial_factor(networks.vae)
    halves = [channels * height * width / factor**2, tokens * encoder.config.hidden_size]
    if texture.use_texture:
        view = torch.empty(1, 3, config.data.height, config.data.width, device="meta")
        halves.append(channels * prod(texture_pixels(view, texture.texture_long_side).shape[-2:]) / factor**2)
    if any(recipe.low_resolution_share for _, recipe in config.recipes):
        height, width = padded_size(config.data.height // 2, config.data.width // 2, _multiple(networks))
        halves.append(channels * height * width / factor**2)
    return f"{pictures * (2 * sum(halves) + _SKELETON_BYTES) / _GIB:,.2f} GiB"


def _batch(config: DenoiserConfig) -> str:
    processes = this_process()[1]
    parts = f"{config.batch_size} per process x {config.gradient_accumulation} accumulated x {processes} processes"
    return f"{parts} = {global_batch(config)} canvases per step"


def _steps(config: DenoiserConfig) -> str:
    identities = _count(config.data)
    if identities is None:
        return f"{config.steps:,}"
    per_epoch = identities / global_batch(config)
    samples = config.steps * global_batch(config)
    return f"{config.steps:,}, {per_epoch:,.1f} per epoch of {identities:,} identities; {samples:,} canvases in all"


def _count(data: ViewCacheConfig | DatasetConfig) -> int | None:
    if isinstance(data, ViewCacheConfig):
        return data.identities
    try:
        return len(open_dataset(data))
    except FileNotFoundError:
        return None


def _memory(config: DenoiserConfig, networks: Networks) -> str:
    largest: ViewGrid = max(config.view_grids, key=lambda grid: grid.num_views)
    encoded = isinstance(config.data, DatasetConfig) and config.data.cache is None
    memory = training_memory(
        networks, config.batch_size, config.data.height, config.data.width, largest, config.precision,
        config.gradient_checkpointing, cached=not encoded and config.validation is None,
    )  # fmt: skip
    parts = ("weights", "gradients", "optimiser", "ema", "activations", "frozen")
    listed = ", ".join(f"{name} {getattr(memory, name) / _GIB:.1f}" for name in parts)
    return f"about {memory.total / _GIB:.1f} GiB per device without sharding ({listed})"
