"""What the denoiser reads per view, computed once: latents, texture latents, encoder tokens, skeletons."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import AutoModel, BitImageProcessorPil, PreTrainedModel

from imagpose.models.latents import encode_latents
from imagpose.pictures import encoder_pixels, texture_pixels
from imagpose.pose import Pose, draw_skeleton
from imagpose.training.cache import Tensors, add_kind, render_views, to_pixels
from imagpose.training.config import DenoiserConfig, Precision, ViewCacheConfig
from imagpose.views import pad_views

_CHUNK = 16
KINDS = ("latents", "textures", "tokens", "skeletons")


@dataclass(frozen=True)
class FrozenNetworks:
    """The networks that stage 3 does not train."""

    vae: AutoencoderKL
    image_encoder: PreTrainedModel
    image_processor: BitImageProcessorPil

    @property
    def encoder_size(self) -> tuple[int, int]:
        """Height and width of the encoder's input."""
        size = self.image_processor.size
        return size["height"], size["width"]

    def image_tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """F_H: last hidden state (n, tokens, d_enc) of pixels (n, 3, H, W) in [-1, 1]."""
        processor = self.image_processor
        inputs = encoder_pixels(pixels, self.encoder_size, processor.image_mean, processor.image_std)
        return self.image_encoder(inputs).last_hidden_state


def load_frozen(autoencoder: Path, image_encoder: Path) -> FrozenNetworks:
    """Load the results of stages 1 and 2.

    Raises:
        FileNotFoundError: a folder has no config.json.
    """
    for folder in (autoencoder, image_encoder):
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder} holds no trained network: train that stage first")
    return FrozenNetworks(
        vae=AutoencoderKL.from_pretrained(autoencoder).eval().requires_grad_(False),
        image_encoder=AutoModel.from_pretrained(image_encoder).eval().requires_grad_(False),
        image_processor=BitImageProcessorPil.from_pretrained(image_encoder),
    )


def fingerprint(folder: Path) -> str:
    """Short digest of the configuration and weights in a folder, so that what an older network made is made again."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*config.json")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build_cache(config: DenoiserConfig, frozen: FrozenNetworks, multiple: int) -> None:
    """Make what is missing of both caches of the denoiser's configuration.

    Args:
        config: names the caches and the frozen networks' folders.
        frozen: the networks themselves.
        multiple: view sides are padded to multiples of this many pixels (`views.view_multiple`).
    """
    vae, encoder = fingerprint(config.autoencoder), fingerprint(config.image_encoder)

    def latents(pixels: torch.Tensor) -> torch.Tensor:
        return encode_latents(frozen.vae, pad_views(pixels, multiple)[0])

    def textures(pixels: torch.Tensor) -> torch.Tensor:
        return encode_latents(frozen.vae, texture_pixels(pixels, config.texture_long_side))

    for data in (config.data, config.validation):
        render_views(data)
        add_kind(data, "skeletons", f"multiple {multiple}", lambda views, data=data: _skeletons(views, data, multiple))
        add_kind(data, "tokens", encoder, _per_picture(frozen.image_tokens, config.precision))
        add_kind(data, "latents", f"{vae} multiple {multiple}", _per_picture(latents, config.precision))
        source = f"{vae} long side {config.texture_long_side}"
        add_kind(data, "textures", source, _per_picture(textures, config.precision))


def _per_picture(
    network: Callable[[torch.Tensor], torch.Tensor], precision: Precision
) -> Callable[[Tensors], torch.Tensor]:
    """Apply `network` to the pictures of a shard in chunks; the result is kept in fp16."""

    @torch.no_grad()
    def compute(views: Tensors) -> torch.Tensor:
        pictures = views["pictures"]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            chunks = [network(to_pixels(chunk)).half() for chunk in pictures.flatten(0, 1).split(_CHUNK)]
        return torch.cat(chunks).unflatten(0, pictures.shape[:2])

    return compute


def _skeletons(views: Tensors, data: ViewCacheConfig, multiple: int) -> torch.Tensor:
    """Skeleton drawings, uint8 (n, v, 3, H, W), sides padded."""
    keypoints = views["keypoints"].flatten(0, 1).numpy()
    drawings = [np.asarray(draw_skeleton(Pose(points, data.width, data.height))) for points in keypoints]
    drawn = torch.from_numpy(np.stack(drawings)).movedim(-1, -3)
    return pad_views(drawn, multiple)[0].unflatten(0, views["keypoints"].shape[:2])
