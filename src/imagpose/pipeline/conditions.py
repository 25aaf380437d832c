"""Encodes a batch of requests into what the UNet is conditioned on: F_C, F_I and F_P, once per request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL
from PIL import Image
from transformers import BaseImageProcessor, PreTrainedModel

from imagpose.models import FeatureTokens
from imagpose.models.conditions import null_features, unet_input
from imagpose.models.latents import encode_latents
from imagpose.pipeline.requests import Request
from imagpose.pixels import Padding, encoder_pixels, pad_views, pictures_to_signed, signed_to_unit, texture_pixels
from imagpose.pose import Pose, draw_skeleton
from imagpose.views import ViewGrid, tile, untile

if TYPE_CHECKING:
    from imagpose.pipeline.pipeline import IMAGPosePipeline

_AT_ONCE = 16


@dataclass(frozen=True)
class JointConditions:
    """The conditions of n joint canvases, all on one grid.

    Args:
        features: F_C, (n, tokens, d).
        latents: scaled VAE latents of the views, (n, v, c, h, w); the black view's where a slot is a target.
        mask: (n, v), 1 where a slot is a visible source, 0 where it is to be generated.
        pose_features: F_P, (n, C, rows*h, cols*w).
        black: scaled latents of the black view, (c, h, w); of the views of a black canvas, (v, c, h, w), where the VAE
            sees whole canvases.
    """

    grid: ViewGrid
    features: torch.Tensor
    latents: torch.Tensor
    mask: torch.Tensor
    pose_features: torch.Tensor
    black: torch.Tensor

    def without_image(self, guidance: str) -> JointConditions:
        """The conditions of Eq. 5's unconditional branch.

        Args:
            guidance: `"feature"`: null F_C, as in the released code; `"full"`: null F_C and null F_I (no slot is
                visible). F_P stays in both.
        """
        full = guidance == "full"
        return replace(
            self,
            features=null_features(self.features),
            latents=self.black.expand_as(self.latents) if full else self.latents,
            mask=torch.zeros_like(self.mask) if full else self.mask,
        )

    def concat(self, other: JointConditions) -> JointConditions:
        """These canvases followed by `other`'s, which must be on the same grid."""
        return replace(
            self,
            features=torch.cat([self.features, other.features]),
            latents=torch.cat([self.latents, other.latents]),
            mask=torch.cat([self.mask, other.mask]),
            pose_features=torch.cat([self.pose_features, other.pose_features]),
        )

    def part(self, rows: slice) -> JointConditions:
        """The conditions of some of the canvases."""
        return replace(
            self,
            features=self.features[rows],
            latents=self.latents[rows],
            mask=self.mask[rows],
            pose_features=self.pose_features[rows],
        )

    def model_input(self, canvases: torch.Tensor, in_channels: int) -> torch.Tensor:
        """The UNet's input (n, in_channels, rows*h, cols*w) for noisy canvases (n, c, rows*h, cols*w)."""
        noisy = untile(canvases, self.grid)
        # The latents of masked slots are black already; where the VAE saw the canvas, a neighbour may have touched them.
        return unet_input(noisy, self.latents, self.mask, self.latents, self.grid, in_channels)


def encode_conditions(pipeline: IMAGPosePipeline, requests: Sequence[Request]) -> tuple[JointConditions, Padding]:
    """Encodes each source, each F_C and the joint skeletons once, and lays them out as the plans say.

    Args:
        requests: all with one grid and one view size.

    Returns:
        the conditions of all canvases, request after request, and the padding of the views.
    """
    grid = requests[0].plan.grid
    views, padding = pad_views(_pixels(pipeline, [v for r in requests for v in r.sources]), pipeline.view_multiple)
    features = _encode_features(pipeline, requests)

    canvas_features, pictures, masks, poses = [], [], [], []
    first_source = 0
    for request, request_features in zip(requests, features, strict=True):
        for canvas in request.plan.canvases:
            canvas_features.append(request_features)
            masks.append(canvas.mask)
            for slot in canvas.slots:
                is_source = slot.role == "source"
                pictures.append(first_source + slot.index if is_source else len(views))
                poses.append((request.source_poses if is_source else request.target_poses)[slot.index])
        first_source += len(request.sources)

    encode = _encode_canvases if pipeline.config.vae_scope == "joint" else _encode_views
    latents, black = encode(pipeline, torch.cat([views, -torch.ones_like(views[:1])]), pictures, grid)
    conditions = JointConditions(
        grid,
        features=torch.stack(canvas_features),
        latents=latents,
        mask=torch.tensor(masks, dtype=latents.dtype, device=latents.device),
        pose_features=_encode_skeletons(pipeline, poses, requests[0].sources[0].size, grid),
        black=black,
    )
    return conditions, padding


def _encode_views(
    pipeline: IMAGPosePipeline, views: torch.Tensor, pictures: Sequence[int], grid: ViewGrid
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each view encoded once and alone.

    Args:
        views: (k, 3, H, W), the black view last.
        pictures: the view in each slot of the canvases, slot after slot.

    Returns:
        Scaled latents of the canvases (n, v, c, h, w) and of the black view (c, h, w).
    """
    encoded = encode_latents(pipeline.vae, views.to(pipeline.vae.dtype))
    return encoded[list(pictures)].unflatten(0, (-1, grid.num_views)), encoded[-1]


def _encode_canvases(
    pipeline: IMAGPosePipeline, views: torch.Tensor, pictures: Sequence[int], grid: ViewGrid
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `_encode_views`, each canvas encoded as one picture; the black views (v, c, h, w) are those of a black canvas."""
    black = [len(views) - 1] * grid.num_views
    canvases = tile(views[[*pictures, *black]].unflatten(0, (-1, grid.num_views)), grid)
    encoded = untile(encode_latents(pipeline.vae, canvases.to(pipeline.vae.dtype)), grid)
    return encoded[:-1], encoded[-1]


def _pixels(pipeline: IMAGPosePipeline, pictures: Sequence[Image.Image]) -> torch.Tensor:
    return pictures_to_signed(pictures).to(pipeline._execution_device)


def _encode_features(pipeline: IMAGPosePipeline, requests: Sequence[Request]) -> torch.Tensor:
    """F_C of each request's first source, (requests, tokens, d)."""
    pixels = _pixels(pipeline, [request.sources[0] for request in requests])
    model = pipeline.feature_tokens
    tokens = encode_image_tokens(pipeline.image_encoder, pipeline.image_processor, pixels)
    texture = None
    if model.config.use_texture:
        texture = encode_texture(pipeline.vae, model, pixels).to(model.dtype)
    return model(tokens.to(model.dtype), texture)


def encode_texture(vae: AutoencoderKL, feature_tokens: FeatureTokens, pixels: torch.Tensor) -> torch.Tensor:
    """What texture tokens are made of: scaled latents (b, c, h, w), h and w multiples of 16.

    Args:
        pixels: (b, 3, H, W) in [-1, 1]; brought to the size and range that `feature_tokens` is configured for.
    """
    enlarged = texture_pixels(pixels, feature_tokens.config.texture_long_side)
    return encode_latents(vae, signed_to_unit(enlarged) if feature_tokens.config.texture_range == "unit" else enlarged)


def encode_image_tokens(
    image_encoder: PreTrainedModel, image_processor: BaseImageProcessor, pixels: torch.Tensor
) -> torch.Tensor:
    """F_H: the last hidden state of the frozen encoder, (b, n, d_enc).

    Args:
        pixels: (b, 3, H, W) in [-1, 1]; brought to the size, mean and standard deviation of `image_processor`.
    """
    size = image_processor.crop_size if image_processor.do_center_crop else image_processor.size
    inputs = encoder_pixels(
        pixels, (size["height"], size["width"]), image_processor.image_mean, image_processor.image_std
    )
    return image_encoder(inputs.to(image_encoder.dtype)).last_hidden_state


def _encode_skeletons(
    pipeline: IMAGPosePipeline, poses: Sequence[Pose | None], size: tuple[int, int], grid: ViewGrid
) -> torch.Tensor:
    """F_P of the canvases whose slots have these poses, slot after slot; `None` is a black skeleton.

    Args:
        size: width and height of the view, before padding.
    """
    drawings = [Image.new("RGB", size) if pose is None else draw_skeleton(pose) for pose in poses]
    skeletons, _ = pad_views(signed_to_unit(_pixels(pipeline, drawings)), pipeline.view_multiple)
    joint = tile(skeletons.unflatten(0, (-1, grid.num_views)), grid).to(pipeline.pose_encoder.dtype)
    return torch.cat([pipeline.pose_encoder(joint[rows]) for rows in in_parts(len(joint))])


def in_parts(count: int) -> list[slice]:
    """Which canvases, or views, go through a network together: 16, so that memory does not grow with the poses asked for."""
    return [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]
