"""Losses of decoded targets, which a blur fails where Eq. 4 is content with one.

With y a decoded prediction of clean latents and x the decoded truth, d the distance in EfficientNet-lite0's features and D a
small head on the same features, the denoiser gets

    w_f d(y, x) - w_a D(y)    and D    relu(1 - D(x)) + relu(1 + D(y))
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from imagpose.metrics.perceptual import masked_distance, stage_features
from imagpose.models.autoencoder import decode_latents, spatial_factor
from imagpose.pixels import Padding
from imagpose.training.denoiser.encode import FrozenNetworks
from imagpose.training.losses import feature_network, hinge_losses
from imagpose.training.stage import Batch

_CHANNELS = 16 + 24 + 40 + 112  # of EfficientNet-lite0's stages
_GRID = 2  # the stage at whose size, an eighth of the picture's, all are judged
_WIDTH = 64


class FeatureDiscriminator(nn.Module):
    """Pixels (b, 3, H, W) in [-1, 1] to (b, 1, H / 8, W / 8): positive where a place looks true.

    Its features are frozen, so it cannot win by finding what only a network sees, and few pictures are enough. Source:
    Sauer et al., "Projected GANs converge faster", 2021, smaller; spectral norms as in `PatchDiscriminator`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(_CHANNELS, _WIDTH, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(_WIDTH, 1, 3, padding=1)),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        stages = stage_features(feature_network(pixels.device), pixels)
        size = stages[_GRID].shape[-2:]
        # Of unit length over a stage's channels; times the root of their number a channel is about 1 in size.
        same = [functional.interpolate(own, size, mode="area") * own.shape[1] ** 0.5 for own in stages]
        logits: torch.Tensor = self.layers(torch.cat(same, dim=1))
        return logits


def decoded_targets(
    frozen: FrozenNetworks,
    clean: torch.Tensor,
    batch: Batch,
    height: int,
    width: int,
    cell_weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first masked slot of each canvas, as predicted and as it is: pixels (b, 3, H, W), about [-1, 1]; their weights.

    Args:
        frozen: whose decoder is taken.
        clean: (b, v, c, h, w) predicted clean latents.
        batch: its ``latents`` and ``mask``.
        height, width: of a view, without its padding.
        cell_weights: (b, v, h, w), see `person_weights`; None: all 1.

    Returns:
        Predicted and true pixels, and weights (b, H, W): those of the cell that a pixel lies in.
    """
    canvases, slots = torch.arange(len(clean), device=clean.device), batch["mask"].argmin(dim=1)
    vae, padding = frozen.vae.to(clean.device), Padding.to_multiple(height, width, frozen.view_multiple)
    output = padding.crop(decode_latents(vae, clean[canvases, slots])).float()
    with torch.no_grad():
        truth = padding.crop(decode_latents(vae, batch["latents"][canvases, slots])).float()
    if cell_weights is None:
        return output, truth, torch.ones_like(truth[:, 0])
    weights = functional.interpolate(cell_weights[canvases, slots][:, None], scale_factor=spatial_factor(vae))
    return output, truth, padding.crop(weights)[:, 0]


def picture_losses(
    output: torch.Tensor,
    truth: torch.Tensor,
    weights: torch.Tensor,
    feature_weight: float,
    discriminator: nn.Module | None,
    adversarial_weight: float,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The sum of the losses above, and each without its weight; arguments as `decoded_targets` returns them.

    The weights of pixels are d's: a judgement of D sees more than its place.
    """
    loss, scalars = output.new_zeros(()), {}
    if feature_weight:
        network = feature_network(output.device)
        with torch.no_grad():
            theirs = stage_features(network, truth)
        scalars["features"] = masked_distance(stage_features(network, output), theirs, weights).mean()
        loss = loss + feature_weight * scalars["features"]
    if discriminator is not None:
        fooled, judged = hinge_losses(discriminator, truth, output)
        scalars |= {"fooled": fooled, "judged": judged}
        loss = loss + adversarial_weight * fooled + judged
    return loss, {name: value.detach() for name, value in scalars.items()}
