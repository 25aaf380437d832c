"""What the UNet is conditioned on, from pictures and poses; takes the networks, so that training uses the same functions.

    first source -> image encoder -> F_H, VAE at texture size -> F_L, both -> feature tokens -> F_C     per request
    sources      -> padded -> VAE, black or warped views elsewhere, mask, joint              -> F_I     per canvas
    poses        -> skeletons, padded, joint -> pose encoder                                 -> F_P     per canvas

No network gets more than `AT_ONCE` pictures or canvases together, so memory does not grow with what is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from transformers import BaseImageProcessor, PreTrainedModel

from imagpose.models.autoencoder import encode_latents
from imagpose.models.conditions import image_condition, null_features
from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.pipeline.requests import Request
from imagpose.pipeline.sampling import AT_ONCE
from imagpose.pipeline.warping import WarpSource, warp
from imagpose.pixels import bytes_to_unit, encoder_pixels, pad_views, pictures_to_signed, signed_to_unit, texture_pixels
from imagpose.pose import draw_skeletons
from imagpose.views import Canvas, ViewGrid, tile, untile

_UNKNOWN_POSES = (
    "no pose of a source is known, and this model moves sources into the target's pose: without it a picture shows little of"
    " them, mini's is black (source_poses, --source-pose)"
)


@dataclass(frozen=True)
class JointConditions:
    """The conditions of n joint canvases, all on one grid.

    Attributes:
        grid: of the canvases.
        features: F_C, (n, tokens, d).
        image: F_I, (n, k, rows*h, cols*w), see `image_condition`.
        null_image: F_I without a visible slot, (1, k, rows*h, cols*w).
        pose_features: F_P, (n, C, rows*h, cols*w).
    """

    grid: ViewGrid
    features: torch.Tensor
    image: torch.Tensor
    null_image: torch.Tensor
    pose_features: torch.Tensor

    def without_image(self, guidance: str) -> JointConditions:
        """The conditions of Eq. 5's unconditional branch.

        Args:
            guidance: `"feature"`: null F_C, as in the released code; `"full"`: null F_C and null F_I (no slot is
                visible). F_P stays in both.
        """
        image = self.null_image.expand_as(self.image) if guidance == "full" else self.image
        return replace(self, features=null_features(self.features), image=image)

    def concat(self, other: JointConditions) -> JointConditions:
        """These canvases followed by `other`'s, which must be on the same grid."""
        return replace(
            self,
            features=torch.cat([self.features, other.features]),
            image=torch.cat([self.image, other.image]),
            pose_features=torch.cat([self.pose_features, other.pose_features]),
        )

    def to(self, dtype: torch.dtype) -> JointConditions:
        """The same in the UNet's dtype."""
        return replace(
            self,
            features=self.features.to(dtype),
            image=self.image.to(dtype),
            null_image=self.null_image.to(dtype),
            pose_features=self.pose_features.to(dtype),
        )


@dataclass(frozen=True)
class _Given:
    """What a request's sources give, whatever the poses: F_C (tokens, d) and, of each that finds room, its view.

    A view is scaled latents (c, h, w), or padded pixels (3, H', W') where the VAE sees whole canvases. It can be warped
    where masked slots show that and its pose is known.
    """

    features: torch.Tensor
    views: torch.Tensor
    warped: tuple[WarpSource | None, ...]


@dataclass(eq=False)
class ConditionEncoder:
    """Encodes canvases a few at a time; what a request's sources give is kept from one call to the next.

    Attributes:
        vae, image_encoder, image_processor, feature_tokens, pose_encoder: the networks.
        in_channels: of the UNet.
        multiple: of pixels, that views are padded to (`views.view_multiple`).
        vae_scope: "view": each view is encoded alone; "joint": whole canvases are.
        skeleton: one of `pose.SKELETONS`.
        masked_views: "black", or "warped": the sources in the target's pose.
        device: where pictures go.
    """

    vae: AutoencoderKL
    image_encoder: PreTrainedModel
    image_processor: BaseImageProcessor
    feature_tokens: FeatureTokens
    pose_encoder: PoseEncoder
    in_channels: int
    multiple: int
    vae_scope: str
    skeleton: str
    masked_views: str
    device: torch.device

    def __post_init__(self) -> None:
        self._given: dict[int, _Given] = {}
        self._black: torch.Tensor | None = None

    def __call__(self, canvases: Sequence[tuple[Request, Canvas]]) -> JointConditions:
        """The conditions of canvases of one grid and one size of views; the canvases of a request in a row."""
        requests = {id(request): request for request, _ in canvases}
        new = {key: request for key, request in requests.items() if key not in self._given}
        encoded = self._encode_sources(list(new.values())) if new else []
        self._given |= dict(zip(new, encoded, strict=True))
        self._given = {key: given for key, given in self._given.items() if key in requests}

        request = canvases[0][0]
        grid, (width, height) = request.plan.grid, request.sources[0].size
        if self._black is None:
            self._black = self._black_view(height, width, grid)
        latents = self._latents(canvases, grid)
        mask = torch.tensor([canvas.mask for _, canvas in canvases], dtype=latents.dtype, device=latents.device)
        black = self._black.expand_as(latents[:1])
        return JointConditions(
            grid,
            features=torch.stack([self._given[id(request)].features for request, _ in canvases]),
            # Masked slots hold what stands in for them; where the VAE sees the canvas, a neighbour may have touched them.
            image=image_condition(latents, mask, latents, grid, self.in_channels),
            null_image=image_condition(black, torch.zeros_like(mask[:1]), black, grid, self.in_channels),
            pose_features=self._encode_skeletons(canvases, height, width, grid),
        )

    def _encode_sources(self, requests: Sequence[Request]) -> list[_Given]:
        """Sources beyond a canvas's room are on none, so they are not encoded."""
        sources = [request.sources[: request.plan.grid.num_views - 1] for request in requests]
        pictures = [picture for own in sources for picture in own]
        views = self._encode_pictures(pictures)
        features = torch.cat([self._features(self._pixels(part)) for part in in_parts([own[0] for own in sources])])
        split = torch.split(views, [len(own) for own in sources])
        warped = [self._warp_sources(request, own) for request, own in zip(requests, sources, strict=True)]
        if self.masked_views == "warped" and not all(any(own) for own in warped):
            warnings.warn(_UNKNOWN_POSES, UserWarning, stacklevel=2)
        return [_Given(*given) for given in zip(features, split, warped, strict=True)]

    def _warp_sources(self, request: Request, pictures: Sequence[Image.Image]) -> tuple[WarpSource | None, ...]:
        if self.masked_views != "warped":
            return (None,) * len(pictures)
        poses = request.source_poses[: len(pictures)]
        return tuple(WarpSource.of(np.asarray(picture), pose) for picture, pose in zip(pictures, poses, strict=True))

    def _encode_pictures(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        return torch.cat([self._view(self._pixels(part)) for part in in_parts(pictures)])

    def _pixels(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        return pictures_to_signed(pictures).to(self.device)

    def _view(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.vae_scope == "joint":
            return pad_views(pixels, self.multiple)[0]
        return encode_views(self.vae, pixels, self.multiple)

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        """F_C (b, tokens, d) of pixels (b, 3, H, W)."""
        model = self.feature_tokens
        tokens = encode_image_tokens(self.image_encoder, self.image_processor, pixels)
        texture = encode_texture(self.vae, model, pixels).to(model.dtype) if model.config.use_texture else None
        features: torch.Tensor = model(tokens.to(model.dtype), texture, return_dict=False)[0]
        return features

    def _black_view(self, height: int, width: int, grid: ViewGrid) -> torch.Tensor:
        """Latents (c, h, w) of the black view; (v, c, h, w) of a black canvas where the VAE sees canvases."""
        view = self._view(-torch.ones(1, 3, height, width, device=self.device))
        if self.vae_scope == "joint":
            return self._encode_canvases(view.expand(1, grid.num_views, -1, -1, -1), grid)[0]
        return view[0]

    def _latents(self, canvases: Sequence[tuple[Request, Canvas]], grid: ViewGrid) -> torch.Tensor:
        """(n, v, c, h, w): the sources' where they are visible; elsewhere the warped sources' or the black view's."""
        assert self._black is not None
        joint = self.vae_scope == "joint"
        views = []
        for request, canvas in canvases:
            given = self._given[id(request)].views
            black = -torch.ones_like(given[0]) if joint else self._black
            views += [given[slot.index] if slot.role == "source" else black for slot in canvas.slots]
        warped = self._warped_views(canvases)
        for place, view in zip(warped, self._encode_pictures(list(warped.values())) if warped else [], strict=True):
            views[place] = view
        laid = torch.unflatten(torch.stack(views), 0, (-1, grid.num_views))
        return self._encode_canvases(laid, grid) if joint else laid

    def _warped_views(self, canvases: Sequence[tuple[Request, Canvas]]) -> dict[int, Image.Image]:
        """The sources of each canvas in the poses of its targets, by the number of the slot over all canvases."""
        warped, first = {}, 0
        for request, canvas in canvases:
            given = self._given[id(request)].warped
            shown = {slot.index: given[slot.index] for slot in canvas.slots if slot.role == "source"}
            sources = [source for source in shown.values() if source is not None]
            for place, slot in enumerate(canvas.slots, first):
                moved = warp(sources, request.target_poses[slot.index]) if sources and slot.role == "target" else None
                if moved is not None:
                    warped[place] = Image.fromarray(moved)
            first += len(canvas.slots)
        return warped

    def _encode_canvases(self, views: torch.Tensor, grid: ViewGrid) -> torch.Tensor:
        """Pixels (n, v, 3, H', W') to latents (n, v, c, h, w), each canvas encoded as one picture."""
        parts = in_parts(tile(views, grid), grid.num_views)
        return untile(torch.cat([encode_latents(self.vae, part) for part in parts]), grid)

    def _encode_skeletons(
        self, canvases: Sequence[tuple[Request, Canvas]], height: int, width: int, grid: ViewGrid
    ) -> torch.Tensor:
        poses = [
            (request.source_poses if slot.role == "source" else request.target_poses)[slot.index]
            for request, canvas in canvases
            for slot in canvas.slots
        ]
        skeletons = draw_skeletons(poses, height, width, self.multiple, hands=self.skeleton == "body_hands")
        drawn = bytes_to_unit(skeletons.to(self.device))
        joint = tile(torch.unflatten(drawn, 0, (-1, grid.num_views)), grid).to(self.pose_encoder.dtype)
        return torch.cat([self.pose_encoder(part, return_dict=False)[0] for part in in_parts(joint)])


def encode_views(vae: AutoencoderKL, pixels: torch.Tensor, multiple: int) -> torch.Tensor:
    """Scaled latents (b, c, h, w) of views (b, 3, H, W) in [-1, 1], padded to multiples as the UNet needs them."""
    return encode_latents(vae, pad_views(pixels, multiple)[0])


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
    inputs = encoder_pixels(
        pixels, _encoder_size(image_processor), image_processor.image_mean, image_processor.image_std
    )
    states: torch.Tensor = image_encoder(inputs.to(image_encoder.dtype)).last_hidden_state
    return states


def _encoder_size(image_processor: BaseImageProcessor) -> tuple[int, int]:
    """Height and width of the encoder's input. The whole view is brought to them: no part of a person is cropped away.

    Raises:
        ValueError: the processor does not say them.
    """
    size = dict(image_processor.crop_size if image_processor.do_center_crop else image_processor.size)
    if "height" in size and "width" in size:
        return size["height"], size["width"]
    if "shortest_edge" in size:
        return size["shortest_edge"], size["shortest_edge"]
    raise ValueError(f"the image processor's size is {size}; height and width, or shortest_edge expected")


def in_parts(inputs: Any, views: int = 1) -> list[Any]:
    """A list or a tensor (n, ...) cut into what goes through a network together: `AT_ONCE`, fewer of several views each."""
    size = max(1, AT_ONCE // views)
    return [inputs[start : start + size] for start in range(0, len(inputs), size)]
