"""Stage 4: the VAE's decoder learns from what the denoiser really generates.

A decoder that has only seen encoded pictures renders every error of the denoiser as false detail. Here it sees generated
latents beside the true picture of the same view. The encoder stays as it is, so the denoiser fits it as before. Source: own.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from pydantic import Field
from rich.progress import track
from safetensors.torch import load_file, save_file
from skimage.metrics import structural_similarity

from imagpose.io import json_digest, partial_file
from imagpose.models.autoencoder import decode_latents
from imagpose.models.folder import ModelFiles
from imagpose.models.scheduler import named_scheduler
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.sampling import Sampling
from imagpose.pixels import Padding, signed_to_bytes, signed_to_pictures
from imagpose.pose import Pose
from imagpose.training.cache import ViewCache
from imagpose.training.configs import Fraction, Positive, RenderedRunConfig
from imagpose.training.denoiser.cache import fingerprint
from imagpose.training.losses import gradient_loss
from imagpose.training.processes import run_device, this_process, wait_for_everyone
from imagpose.training.run import Trainer, prepare_run
from imagpose.training.shards import Tensors
from imagpose.training.stage import Batch, Stage, keyed_generator, keyed_rng

_AT_ONCE = 4  # canvases
_VALIDATION_PEOPLE = 32
_TARGETS = 3


class DecoderConfig(RenderedRunConfig):
    """`batch_size` counts views."""

    gradient_weight: float = Field(0.2, ge=0, description="Weight of the multi-scale gradient loss.")
    colour_weight: float = Field(
        20.0, ge=0, description="Weight of the squared error of colours averaged over 4x4 pixels."
    )
    ssim_weight: float = Field(0.02, ge=0, description="Weight of 1 - SSIM.")
    latent_noise: float = Field(
        0.0,
        ge=0,
        description="Largest standard deviation, in units of the latents' own, of noise added before decoding, uniform "
        "from 0 per sample: what a denoiser predicts is never exact, and the decoder must bear it.",
    )
    pipeline: Path = Field(description="Folder of the trained pipeline (the denoiser's run, weights/).")
    people: Positive = Field(512, description="Identities that are generated: the first of `data`, one canvas each.")
    generated_share: Fraction = Field(0.7, description="Share of generated latents; the others are encoded pictures.")
    sampling: Sampling = Field(Sampling(steps=10), description="How views are generated.")


class DecoderStage(Stage):
    """Reconstruction of views from generated latents, and from encoded ones with noise, by the decoder alone."""

    name = "decoder"

    def __init__(self, config: DecoderConfig, pipeline: IMAGPosePipeline, generated: Tensors) -> None:
        """Train the decoder of `pipeline` on `generated`: ``latents`` (n, 4, h, w), ``identities`` and ``views`` (n,)."""
        super().__init__()
        self.config = config
        self.samples_per_batch = config.batch_size
        self.cache = ViewCache(config.data, ("latents",))
        self.validation_cache = ViewCache(config.validation, ("latents",))
        self.generated = generated
        self._shape = generated["latents"].shape[1:]
        self._pipeline = pipeline  # no module: of its networks only the VAE is a part of this stage
        self._padding = Padding.to_multiple(config.data.height, config.data.width, pipeline.view_multiple)
        self.vae = pipeline.vae.requires_grad_(False)
        for part in (self.vae.post_quant_conv, self.vae.decoder):
            part.requires_grad_(True)
        held_out = range(min(_VALIDATION_PEOPLE, self.validation_cache.num_identities))
        self._held_out = generate(pipeline, self.validation_cache, config, held_out, show=False)

    def batch(self, step: int, samples: range) -> Batch:
        """``latents`` (b, 4, h, w), some generated, some encoded with noise, and their views' ``pixels``."""
        drawn = [self._sample(keyed_rng(self.config.seed, step, sample)) for sample in samples]
        noise = [
            torch.randn(self._shape, generator=keyed_generator(self.config.seed, step, sample)) for sample in samples
        ]
        latents = [clean + level * own for (clean, level, _, _), own in zip(drawn, noise, strict=True)]
        identities, views = (np.array([sample[place] for sample in drawn]) for place in (2, 3))
        return {"latents": torch.stack(latents), "pixels": self.cache.pixels(identities, views)}

    def items(self, step: int, samples: range) -> list[str]:
        """Person and view of each sample."""
        drawn = [self._sample(keyed_rng(self.config.seed, step, sample)) for sample in samples]
        return self.cache.names(*(np.array([sample[place] for sample in drawn]) for place in (2, 3)))

    def _sample(self, rng: np.random.Generator) -> tuple[torch.Tensor, float, int, int]:
        """Latents, the strength of the noise to be added, identity and view; scaled latents have a spread of 1."""
        config, generated = self.config, self.generated
        if rng.random() < config.generated_share:
            row = int(rng.integers(len(generated["latents"])))
            return (
                generated["latents"][row].float(),
                0.0,
                int(generated["identities"][row]),
                int(generated["views"][row]),
            )
        identity, view = int(rng.integers(self.cache.num_identities)), int(rng.integers(self.cache.num_views))
        encoded = self.cache.get("latents", np.array([identity]), np.array([view]))[0].float()
        return encoded, float(rng.uniform(0.0, config.latent_noise)), identity, view

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """As the autoencoder's, without the divergence."""
        output = self._padding.crop(decode_latents(self.vae, batch["latents"]).float())
        return reconstruction_loss(output, batch["pixels"], self.config)

    def validate(self) -> dict[str, float]:
        """PSNR and SSIM of held-out people, whole pictures: decoded from generated and from encoded latents."""
        pairs = self._held_out["identities"].numpy(), self._held_out["views"].numpy()
        truth = self.validation_cache.get("pictures", *pairs)
        measures: dict[str, float] = {}
        encoded = self.validation_cache.get("latents", *pairs)
        for name, latents in (("generated", self._held_out["latents"]), ("encoded", encoded)):
            psnr, similarity = psnr_and_ssim(self._decode(latents), truth)
            measures |= {f"psnr_{name}": psnr, f"ssim_{name}": similarity}
        return measures

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        device = next(self.parameters()).device
        chunks = [decode_latents(self.vae, chunk.float().to(device)).float().cpu() for chunk in torch.split(latents, 8)]
        return signed_to_bytes(self._padding.crop(torch.cat(chunks)))

    def export(self, folder: Path) -> None:
        """The whole pipeline with the new decoder."""
        self._pipeline.register_modules(vae=self.vae)
        self._pipeline.save_pretrained(folder)


def generate(
    pipeline: IMAGPosePipeline, cache: ViewCache, config: DecoderConfig, people: range, show: bool = True
) -> Tensors:
    """What the pipeline makes of identities of a cache: three random views each from another one, on one canvas.

    Returns:
        ``latents`` fp16 (3 n, 4, h, w), scaled; ``identities`` and ``views`` (3 n,) that they should show.
    """
    pipeline.set_progress_bar_config(disable=True)
    sampling, own = config.sampling, pipeline.scheduler
    if sampling.scheduler is not None:
        pipeline.scheduler = named_scheduler(sampling.scheduler, own)
    latents, identities, views = [], [], []
    starts = range(0, len(people), _AT_ONCE)
    for start in track(starts, description="generating latents", disable=not show):
        chosen = np.array(people[start : start + _AT_ONCE])
        orders = np.stack(
            [keyed_rng(config.seed, 7, int(identity)).permutation(cache.num_views) for identity in chosen]
        )
        made = pipeline(
            sources=[[picture] for picture in signed_to_pictures(cache.pixels(chosen, orders[:, 0]))],
            target_poses=[
                _poses(cache, identity, order[1 : 1 + _TARGETS]) for identity, order in zip(chosen, orders, strict=True)
            ],
            source_poses=[_poses(cache, identity, order[:1]) for identity, order in zip(chosen, orders, strict=True)],
            scenario="star",
            height=cache.config.height,
            width=cache.config.width,
            **sampling.arguments(),
            generator=[keyed_generator(config.seed + sampling.seed, int(identity)) for identity in chosen],
            output_type="latent",
            return_dict=False,
        )[0]
        latents += [part.float().cpu() for part in made]
        identities += np.repeat(chosen, _TARGETS).tolist()
        views += orders[:, 1 : 1 + _TARGETS].reshape(-1).tolist()
    pipeline.scheduler = own
    return {"latents": torch.cat(latents).half(), "identities": torch.tensor(identities), "views": torch.tensor(views)}


def _poses(cache: ViewCache, identity: int, views: np.ndarray) -> list[Pose]:
    points = cache.get("keypoints", np.full(len(views), identity), views).numpy()
    return [Pose(own, cache.config.width, cache.config.height) for own in points]


def _prepared(config: DecoderConfig) -> DecoderStage:
    """The stage; latents are generated where they are missing, each process makes its share.

    Latents of the views must be in the cache, where training the denoiser has left them.

    Raises:
        FileNotFoundError, ValueError: the pipeline or cached latents are missing.
    """
    if not (config.pipeline / "model_index.json").is_file():
        raise FileNotFoundError(f"{config.pipeline} holds no trained pipeline: train the denoiser first")
    prepare_run(config, (config.data, config.validation))
    pipeline = IMAGPosePipeline.from_pretrained(config.pipeline)
    return DecoderStage(config, pipeline, _generated(config, pipeline))


def _generated(config: DecoderConfig, pipeline: IMAGPosePipeline) -> Tensors:
    """What `generate` makes of the first people of the data, from files where they are there."""
    process, count = this_process()
    unet = fingerprint(ModelFiles(str(config.pipeline), "unet"))
    folder = (
        config.output / f"generated-{json_digest([unet, config.people, config.seed, asdict(config.sampling)])[:16]}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f"{process}-of-{count}.safetensors"
    if not own.is_file():
        cache = ViewCache(config.data, ("latents",))
        people = range(process, min(config.people, cache.num_identities), count)
        with (
            torch.autocast(run_device().type, torch.bfloat16, enabled=config.precision == "bf16"),
            partial_file(own) as partial,
        ):
            save_file(generate(pipeline, cache, config, people, show=process == 0), partial)
    wait_for_everyone()
    parts = [load_file(folder / f"{index}-of-{count}.safetensors") for index in range(count)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def colour_loss(output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Squared error of two batches of pictures (b, c, H, W) averaged over cells of 4 x 4 pixels.

    With four latent channels an autoencoder first spends them on edges in grey; large areas of wrong colour must cost more
    than they do in a mean over pixels. Source: own.
    """
    return F.avg_pool2d(output - truth, 4).square().mean()


def ssim(output: torch.Tensor, truth: torch.Tensor, window: int = 7, data_range: float = 2.0) -> torch.Tensor:
    """Mean structural similarity of two batches of pictures (b, c, H, W), differentiable.

    Uniform window and unbiased covariances, as `skimage.metrics.structural_similarity` by default.
    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    samples = window * window
    unbiased = samples / (samples - 1)
    mean_o, mean_t = F.avg_pool2d(output, window, 1), F.avg_pool2d(truth, window, 1)
    variance_o = unbiased * (F.avg_pool2d(output * output, window, 1) - mean_o * mean_o)
    variance_t = unbiased * (F.avg_pool2d(truth * truth, window, 1) - mean_t * mean_t)
    covariance = unbiased * (F.avg_pool2d(output * truth, window, 1) - mean_o * mean_t)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_o * mean_t + c1) / (mean_o**2 + mean_t**2 + c1)
    structure = (2 * covariance + c2) / (variance_o + variance_t + c2)
    return (luminance * structure).mean()


def reconstruction_loss(
    output: torch.Tensor, truth: torch.Tensor, config: DecoderConfig
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """L1 + multi-scale gradients + colour + (1 - SSIM), weighted as the configuration says; the sum and its parts."""
    absolute = F.l1_loss(output, truth)
    gradient = gradient_loss(output, truth)
    colour = colour_loss(output, truth)
    similarity = ssim(output, truth)
    loss = (
        absolute
        + config.gradient_weight * gradient
        + config.colour_weight * colour
        + config.ssim_weight * (1.0 - similarity)
    )
    scalars = {"l1": absolute, "gradient": gradient, "colour": colour, "ssim": similarity}
    return loss, {name: value.detach() for name, value in scalars.items()}


def psnr_and_ssim(output: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    """Mean PSNR (dB) and SSIM (scikit-image) of 8-bit pictures uint8 (b, H, W, 3)."""
    error = (output.double() - truth.double()).square().mean(dim=(1, 2, 3)).clamp(min=1e-3)
    psnr = (10 * torch.log10(255.0**2 / error)).mean()
    similarities = [
        structural_similarity(one, other, channel_axis=-1, data_range=255)
        for one, other in zip(output.numpy(), truth.numpy(), strict=True)
    ]
    return float(psnr), float(np.mean(similarities))


train_decoder = Trainer(DecoderConfig, _prepared)
