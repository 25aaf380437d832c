"""The autoencoder's last phase: its decoder alone learns to make pictures as sharp as the truth.

An L1 loss is content with the median of all pictures that the latents leave possible, which is a blur. Here

    L_G = |y - x| + w_g gradients + w_p d(y, x) - w_a D(y)        for the decoder,
    L_D = relu(1 - D(x)) + relu(1 + D(y))                          for the discriminator D,

with y the reconstruction from noisy latents and the weights of pixels, as in stage 1, and d the distance in
EfficientNet-lite0's features. The encoder stays as it is, bit by bit, so that latents, their scale and a denoiser trained
on them remain valid.

One optimiser minimises L_G + L_D (`losses.hinge_losses`); both networks take their steps at once. Source: Esser et al.,
"Taming transformers", 2021, for the recipe; Miyato et al., "Spectral normalization", 2018, which keeps D's slope, and with
it a fixed w_a, in bounds.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from imagpose.metrics.perceptual import feature_distance, load_efficientnet, masked_distance
from imagpose.models.folder import ModelFiles
from imagpose.models.loading import load_autoencoder
from imagpose.pixels import bytes_to_signed, signed_to_bytes
from imagpose.training.autoencoder.config import AutoencoderFinishConfig
from imagpose.training.autoencoder.crops import CropStage, noisy_latents
from imagpose.training.losses import features_of_both, gradient_loss, hinge_losses, weighted_l1
from imagpose.training.stage import Batch

_WIDTHS = (32, 64, 128)  # of the discriminator; its cells are 8 pixels apart and see 46
_FEATURE_PICTURES = 48


class AutoencoderFinishStage(CropStage):
    """Decoder and discriminator; encoder and feature network are frozen."""

    name = "autoencoder-finish"
    config: AutoencoderFinishConfig

    def __init__(self, config: AutoencoderFinishConfig) -> None:
        """Raises what `load_autoencoder` does, and ValueError without the extra `perceptual`."""
        super().__init__(config)
        load_efficientnet()  # which says now whether its weights are there
        self.vae = load_autoencoder(ModelFiles(str(config.autoencoder)))
        for part in (self.vae.post_quant_conv, self.vae.decoder):
            part.requires_grad_(True)
        torch.manual_seed(config.seed)
        self.discriminator = PatchDiscriminator()
        with torch.no_grad():
            self._before = super().shown(self.shown_pixels())[1]

    def batch(self, step: int, samples: range) -> Batch:
        """As stage 1's, and ``adversarial_weight`` () of this step."""
        weight = self.config.adversarial_weight if step >= self.config.adversarial_start else 0.0
        return super().batch(step, samples) | {"adversarial_weight": torch.tensor(weight)}

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """L_G + L_D, see the head of the module."""
        config, pixels, discriminator = self.config, batch["pixels"], self.discriminator
        with torch.no_grad():
            latents = noisy_latents(self.vae.encode(pixels).latent_dist, batch)
        output = self.vae.decode(latents).sample.float()
        weights = batch["weights"]
        absolute, gradient = weighted_l1(output, pixels, weights), gradient_loss(output, pixels, weights)
        perceptual = masked_distance(*features_of_both(output, pixels), weights[:, 0]).mean()
        fooled, judged = hinge_losses(discriminator, pixels, output)
        loss = (
            absolute
            + config.gradient_weight * gradient
            + config.perceptual_weight * perceptual
            + batch["adversarial_weight"] * fooled
            + judged
        )
        scalars = {"l1": absolute, "gradient": gradient, "perceptual": perceptual, "fooled": fooled, "judged": judged}
        return loss, {name: value.detach() for name, value in scalars.items()}

    def validate(self) -> dict[str, float]:
        """As stage 1, and ``feature_distance`` inside the people's masks."""
        views = self.held_out(_FEATURE_PICTURES)
        pixels, masks = self.validation_cache.pixels(*views), self.validation_cache.foreground(*views)
        outputs = bytes_to_signed(self.reconstruct(pixels))
        return super().validate() | {"feature_distance": float(feature_distance(outputs, pixels, masks).mean())}

    def shown(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The truth, the reconstruction before this phase, the present one."""
        return [signed_to_bytes(pixels), self._before, self.reconstruct(pixels)]

    def compilable(self) -> tuple[nn.Module, ...]:
        """The decoder."""
        return (self.vae.decoder,)

    def export(self, folder: Path) -> None:
        """`save_pretrained`; the scale of the latents is that of stage 1."""
        self.vae.save_pretrained(folder)


class PatchDiscriminator(nn.Module):
    """Pixels (b, 3, H, W) in [-1, 1] to (b, 1, h, w), each a judgement of its patch: positive for a true picture.

    Source: Isola et al., "Image-to-image translation with conditional adversarial networks", 2017, smaller.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for channels in _WIDTHS:
            layers += [spectral_norm(nn.Conv2d(width, channels, 4, 2, 1)), nn.LeakyReLU(0.2)]
            width = channels
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(width, 1, 4, 1, 1)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(pixels)
        return logits
