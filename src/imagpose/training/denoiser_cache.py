"""What the denoiser reads per view, computed once: latents, texture latents, encoder tokens, skeletons."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from imagpose.models.latents import encode_latents
from imagpose.pictures import texture_pixels
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline_conditions import encode_image_tokens
from imagpose.pose import Pose, draw_skeleton
from imagpose.training.cache import Tensors, add_kind, to_pixels
from imagpose.training.config import DenoiserConfig, Precision, ViewCacheConfig
from imagpose.views import pad_views

_CHUNK = 16
KINDS = ("latents", "textures", "tokens", "skeletons")


def fingerprint(folder: Path) -> str:
    """Short digest of configuration and weights in a folder, so that what an older network made is made again."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*config.json")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build_cache(config: DenoiserConfig, pipeline: IMAGPosePipeline) -> None:
    """Make what both caches of the configuration lack besides views, by the pipeline's own frozen networks."""
    if torch.cuda.is_available():
        pipeline.to("cuda")
    vae, encoder = fingerprint(config.autoencoder), fingerprint(config.image_encoder)
    multiple = pipeline.view_multiple

    def latents(pixels: torch.Tensor) -> torch.Tensor:
        return encode_latents(pipeline.vae, pad_views(pixels, multiple)[0])

    def textures(pixels: torch.Tensor) -> torch.Tensor:
        return encode_latents(pipeline.vae, texture_pixels(pixels, config.texture_long_side))

    def tokens(pixels: torch.Tensor) -> torch.Tensor:
        return encode_image_tokens(pipeline.image_encoder, pipeline.image_processor, pixels)

    for data in (config.data, config.validation):
        add_kind(data, "skeletons", f"multiple {multiple}", _skeletons(data, multiple))
        add_kind(data, "tokens", encoder, _per_picture(tokens, config.precision))
        add_kind(data, "latents", f"{vae} multiple {multiple}", _per_picture(latents, config.precision))
        source = f"{vae} long side {config.texture_long_side}"
        add_kind(data, "textures", source, _per_picture(textures, config.precision))


def _per_picture(
    network: Callable[[torch.Tensor], torch.Tensor], precision: Precision
) -> Callable[[Tensors], torch.Tensor]:
    """Apply `network` to the pictures of a shard in chunks; the result is kept in fp16."""
    device = "cuda" if torch.cuda.is_available() else "cpu"

    @torch.no_grad()
    def compute(views: Tensors) -> torch.Tensor:
        pictures = views["pictures"]
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            pixels = (to_pixels(chunk).to(device) for chunk in pictures.flatten(0, 1).split(_CHUNK))
            chunks = [network(chunk).half().cpu() for chunk in pixels]
        return torch.cat(chunks).unflatten(0, pictures.shape[:2])

    return compute


def _skeletons(data: ViewCacheConfig, multiple: int) -> Callable[[Tensors], torch.Tensor]:
    """Skeleton drawings, uint8 (n, v, 3, H, W), sides padded as the pipeline pads them."""

    def compute(views: Tensors) -> torch.Tensor:
        drawings = [
            np.asarray(draw_skeleton(Pose(points, data.width, data.height)))
            for points in views["keypoints"].flatten(0, 1).numpy()
        ]
        drawn = torch.from_numpy(np.stack(drawings)).movedim(-1, -3)
        return pad_views(drawn, multiple)[0].unflatten(0, views["keypoints"].shape[:2])

    return compute
