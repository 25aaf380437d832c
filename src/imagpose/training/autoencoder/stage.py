"""Stage 1: the patch autoencoder, trained on crops without downloaded networks.

    L = |y - x| + w_g mean_s (|d_x e_s| + |d_y e_s|) + w_k KL,    e_s = y - x averaged over s x s pixels, s = 1, 2, 4

in weighted means over pixels, in which the person counts more than the ground and the head more than the rest of it,
with y decoded from z + n: z drawn from the posterior, n Gaussian noise of a level drawn per picture (half of them none),
because what a denoiser predicts is never exact. A crop costs a third of a view and the network is fully convolutional.
A share of the batches shows views of less than their size: the denoiser starts on views of half the size, and texture
tokens are made of the latents of a resized picture. With `linear_weight` a linear decoder of the same z + n, one kernel
per latent, adds its own L1 loss: a channel that nothing is decoded from has no gradient that would fill it, and this gives
it one.
"""

from __future__ import annotations

import torch
from torch import nn

from imagpose.models.autoencoder import PatchAutoencoderKL, spatial_factor
from imagpose.models.folder import ModelFiles
from imagpose.models.loading import load_autoencoder
from imagpose.training.autoencoder.config import AutoencoderConfig
from imagpose.training.autoencoder.crops import CropStage, noisy_latents
from imagpose.training.losses import gradient_loss, weighted_l1
from imagpose.training.stage import Batch, start_from


class AutoencoderStage(CropStage):
    """Reconstruction through noisy latents: L1 + multi-scale gradients + KL divergence."""

    name = "autoencoder"
    config: AutoencoderConfig

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        torch.manual_seed(config.seed)
        self.vae = build_autoencoder(config)
        if config.initial is not None:
            start_from(self.vae, load_autoencoder(ModelFiles(str(config.initial))), config.initial)
        if config.linear_weight:
            factor = spatial_factor(self.vae)
            self.linear_decoder = nn.ConvTranspose2d(config.model.latent_channels, 3, factor, stride=factor)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The equation at the head of the module."""
        config, pixels = self.config, batch["pixels"]
        posterior = self.vae.encode(pixels).latent_dist
        latents = noisy_latents(posterior, batch)
        output = self.vae.decode(latents).sample.float()
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        weights = batch["weights"]
        absolute, gradient = weighted_l1(output, pixels, weights), gradient_loss(output, pixels, weights)
        # KL of N(mean, variance) from N(0, 1), a mean over latent values: Kingma and Welling, 2014, appendix B.
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        loss = absolute + config.gradient_weight * gradient + config.kl_weight * divergence
        scalars = {"l1": absolute, "gradient": gradient, "kl": divergence, "latent_std": mean.std()}
        if config.linear_weight:
            scalars["linear"] = weighted_l1(self.linear_decoder(latents).float(), pixels, weights)
            loss = loss + config.linear_weight * scalars["linear"]
        return loss, {name: value.detach() for name, value in scalars.items()}


def build_autoencoder(config: AutoencoderConfig) -> PatchAutoencoderKL:
    """Fresh autoencoder as `config.model` says, with tiles of the views' size."""
    model, levels = config.model, len(config.model.block_out_channels)
    side = max(config.data.height, config.data.width)
    multiple = 4 * model.patch_size * 2 ** (levels - 1)
    vae: PatchAutoencoderKL = PatchAutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        sample_size=-(-side // multiple) * multiple,
        **model.model_dump(),
    )
    return vae
