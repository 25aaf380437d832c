"""What the denoiser reads per view: latents, texture latents, encoder tokens, skeletons; computed once, or every step.

Both ways use the functions here, which are the pipeline's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from imagpose.data.canvas import ViewTensors
from imagpose.model_folder import ModelFiles
from imagpose.models.latents import encode_latents
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.conditions import encode_image_tokens, encode_texture
from imagpose.pixels import pad_views
from imagpose.training.configs import Precision
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.data import cache_blocks
from imagpose.training.denoiser.draw import Recipe
from imagpose.training.denoiser.networks import frozen_files
from imagpose.training.half_views import halve_pixels
from imagpose.training.processes import run_device, this_process
from imagpose.training.shards import Kind, add_kinds
from imagpose.training.skeletons import pack_skeletons

_CHUNK = 16


def kinds_of(pipeline: IMAGPosePipeline, recipes: Iterable[Recipe] = ()) -> tuple[str, ...]:
    """What the pipeline's denoiser reads; recipes may ask for half views, and for surfaces, which rendering leaves."""
    recipes = list(recipes)
    textures = ("textures",) if pipeline.feature_tokens.config.use_texture else ()
    half = ("latents_half",) if any(recipe.low_resolution_share for recipe in recipes) else ()
    surface = ("surface",) if any(recipe.reads_surfaces for recipe in recipes) else ()
    return ("latents", *half, *textures, "tokens", "skeletons", *surface)


def encode_views(pipeline: IMAGPosePipeline, pixels: torch.Tensor) -> torch.Tensor:
    """Latents (b, c, h, w) of pixels (b, 3, H, W) in [-1, 1], padded as the UNet needs them."""
    return encode_latents(pipeline.vae, pad_views(pixels, pipeline.view_multiple)[0])


def encode_features(pipeline: IMAGPosePipeline, kind: str, pixels: torch.Tensor) -> torch.Tensor:
    """``tokens`` (b, n, d_enc) or ``textures`` (b, c, h', w') of pixels (b, 3, H, W) in [-1, 1]."""
    if kind == "tokens":
        return encode_image_tokens(pipeline.image_encoder, pipeline.image_processor, pixels)
    return encode_texture(pipeline.vae, pipeline.feature_tokens, pixels)


def fingerprint(files: ModelFiles) -> str:
    """Short digest of configuration and weights, so that what an older network made is made again; on the Hub the id."""
    if files.folder is None:
        return files.place
    digest = hashlib.sha256()
    for pattern in ("*.safetensors", "*config.json", "*.bin"):
        for path in sorted(files.folder.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def latents_fingerprint(vae: AutoencoderKL) -> str:
    """Short digest of what a VAE's latents depend on: not its decoder, which may be trained on beside a denoiser."""
    settings = {name: value for name, value in vae.config.items() if not name.startswith(("_", "decoder"))}
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for name, weight in sorted(vae.state_dict().items()):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def build_cache(config: DenoiserConfig, pipeline: IMAGPosePipeline) -> list[Path]:
    """Make what the caches of the configuration lack besides rendered views, by the pipeline's own frozen networks.

    Processes that are started together share the work out; each returns when its share is done.

    Returns:
        The folders of the caches; none where pictures are encoded in every step.
    """
    folders = []
    process, processes = this_process()
    for data in (config.data, config.validation):
        blocks = [] if data is None else cache_blocks(data, pipeline.view_multiple)
        if blocks:
            folder = blocks[0].path("latents").parent
            recipes = [recipe for _, recipe in config.recipes] if data is config.data else []
            kinds = {
                name: kind for name, kind in _kinds(config, pipeline).items() if name in kinds_of(pipeline, recipes)
            }
            add_kinds(blocks, kinds, f"caching {folder}", process, processes)
            folders.append(folder)
    return folders


def _kinds(config: DenoiserConfig, pipeline: IMAGPosePipeline) -> dict[str, Kind]:
    """All that networks and drawings make of a view."""
    pipeline.to(run_device())
    vae, encoder = latents_fingerprint(pipeline.vae), fingerprint(frozen_files(config).image_encoder)
    texture = pipeline.feature_tokens.config
    ranged = "" if texture.texture_range == "signed" else f" {texture.texture_range}"
    multiple = f"multiple {pipeline.view_multiple}"

    def per_picture(network: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[ViewTensors], torch.Tensor]:
        return lambda views: _in_chunks(network, views.pixels, config.precision)

    def halved(pixels: torch.Tensor) -> torch.Tensor:
        return encode_views(pipeline, halve_pixels(pixels))

    return {
        "skeletons": Kind(f"{multiple}, packed", lambda views: pack_skeletons(views.skeletons)),
        "tokens": Kind(encoder, per_picture(lambda pixels: encode_features(pipeline, "tokens", pixels))),
        "latents": Kind(f"{vae} {multiple}", per_picture(lambda pixels: encode_views(pipeline, pixels))),
        "latents_half": Kind(f"{vae} {multiple}, half views", per_picture(halved)),
        "textures": Kind(
            f"{vae} long side {texture.texture_long_side}{ranged}",
            per_picture(lambda pixels: encode_features(pipeline, "textures", pixels)),
        ),
    }


@torch.no_grad()
def _in_chunks(
    network: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, precision: Precision
) -> torch.Tensor:
    """Apply `network` to pixels (..., 3, H, W) in chunks; the result is kept in fp16."""
    device = run_device()
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    with torch.autocast(device.type, dtype, enabled=precision != "fp32"):
        chunks = [network(chunk.to(device)).half().cpu() for chunk in pixels.flatten(0, -4).split(_CHUNK)]
    return torch.cat(chunks).unflatten(0, pixels.shape[:-3])
