"""Stage 3: UNet, pose encoder and feature tokens trained together on Eq. 4, with the masking strategy of §3.3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor
from transformers import AutoModel, BitImageProcessorPil

from imagpose.models.conditions import unet_input
from imagpose.models.latents import encode_latents
from imagpose.models.presets import build_denoiser
from imagpose.models.scheduler import build_scheduler
from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.cache import ViewCache
from imagpose.training.config import DenoiserConfig, load_config
from imagpose.training.denoiser_cache import KINDS, build_cache
from imagpose.training.denoiser_samples import held_out_psnr, sample_rows
from imagpose.training.loop import Outcome, Training, main_process_first, prepare_run
from imagpose.training.objective import (
    CanvasDraw,
    DrawSettings,
    denoising_loss,
    draw_canvases,
    min_snr_weights,
    prediction_target,
)
from imagpose.training.stage import Batch, Stage, keyed_generator
from imagpose.views import ViewGrid, tile, untile

_VALIDATION_BATCHES = 8
_VALIDATION_SEED = 1_000_003
_VALIDATION_PEOPLE = 16
_SAMPLE_PEOPLE = 4


class DenoiserStage(Stage):
    """Joint canvases of several views: the masked ones are denoised given the visible ones, F_C and F_P."""

    name = "denoiser"

    def __init__(self, config: DenoiserConfig, pipeline: IMAGPosePipeline) -> None:
        """Train the UNet, the pose encoder and the feature tokens of `pipeline`, whose other networks stay frozen."""
        super().__init__()
        self.config = config
        self.samples_per_step = config.batch_size
        self.cache = ViewCache(config.data, KINDS)
        self.validation_cache = ViewCache(config.validation, KINDS)
        self.scheduler = pipeline.scheduler
        self.unet = pipeline.unet
        self.pose_encoder = pipeline.pose_encoder
        self.feature_tokens = pipeline.feature_tokens
        self._pipeline = (pipeline,)  # in a tuple: its frozen networks are no part of what is trained
        if not torch.cuda.is_available():
            # Measured on 2 cores, bf16, 2 x 2 canvases of 16 x 12 latents: 16.7 canvases/s, fused attention 12.8.
            self.unet.set_attn_processor(AttnProcessor())
        height, width = self.cache.get("skeletons", *_first_view()).shape[-2:]
        with torch.no_grad():
            self._black = encode_latents(pipeline.vae, -torch.ones(1, 3, height, width))[0]

    @property
    def pipeline(self) -> IMAGPosePipeline:
        """The pipeline whose networks are trained, on their device."""
        return self._pipeline[0].to(next(self.parameters()).device)

    def batch(self, step: int, process: int) -> Batch:
        """Inputs of one step, see `collate`."""
        return self._batch(self.cache, self.config.seed, step, process)

    def _batch(self, cache: ViewCache, seed: int, step: int, process: int) -> Batch:
        draw = draw_canvases(self._settings(cache, seed), step, process)
        return collate(cache, draw, keyed_generator(seed, step, process, 1))

    def _settings(self, cache: ViewCache, seed: int) -> DrawSettings:
        config = self.config
        return DrawSettings(
            seed=seed,
            batch_size=config.batch_size,
            num_identities=cache.num_identities,
            num_views=cache.num_views,
            num_timesteps=self.scheduler.config.num_train_timesteps,
            grids=tuple((ViewGrid.parse(name), share) for name, share in config.grids.items()),
            feature_dropout=config.feature_dropout,
            source_pose_dropout=config.source_pose_dropout,
            repeat_probability=config.repeat_probability,
        )

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Eq. 4 over the slots of joint canvases, with the weights that the configuration asks for."""
        gamma, timesteps = self.config.min_snr_gamma, batch["timesteps"]
        prediction, target = self._predict(batch)
        canvas_weights = None if gamma is None else min_snr_weights(self.scheduler, timesteps, gamma)
        loss = denoising_loss(prediction, target, batch["mask"], self.config.visible_weight, canvas_weights)
        return loss, _slot_errors(prediction, target, batch["mask"])

    def _predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The UNet's prediction and what it should be, both (b, v, 4, h, w)."""
        grid = ViewGrid(*batch["grid"].tolist())
        latents, noise, mask, timesteps = (batch[name] for name in ("latents", "noise", "mask", "timesteps"))
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        black = self._black.to(latents.device)
        prediction = self.unet(
            unet_input(noisy, latents, mask, black, grid, self.unet.config.in_channels),
            timesteps,
            self._features(batch),
            pose_features=self.pose_encoder(tile(visible_skeletons(batch), grid)),
            view_grid=grid,
            return_dict=False,
        )[0]
        return untile(prediction.float(), grid), prediction_target(self.scheduler, latents, noise, timesteps)

    def _features(self, batch: Batch) -> torch.Tensor:
        """F_C with its dropped parts at null (zeros)."""
        tokens = batch["tokens"]
        textures = batch["textures"] if self.feature_tokens.config.use_texture else None
        features = self.feature_tokens(tokens, textures)
        count = tokens.shape[1]
        keep_tokens, keep_texture = batch["keep_image_tokens"], batch["keep_texture"]
        kept = [features[:, :count] * keep_tokens[:, None, None], features[:, count:] * keep_texture[:, None, None]]
        return torch.cat(kept, dim=1)

    def validate(self) -> dict[str, float]:
        """Eq. 4 on fixed draws of held-out people, and the PSNR of generated targets beside that of copied sources."""
        sums: dict[str, float] = {"loss": 0.0, "loss_masked": 0.0}
        device = next(self.parameters()).device
        for step in range(_VALIDATION_BATCHES):
            batch = self._batch(self.validation_cache, _VALIDATION_SEED, step, 0)
            loss, scalars = self({name: tensor.to(device) for name, tensor in batch.items()})
            sums["loss"] += float(loss)
            sums["loss_masked"] += float(scalars["loss_masked"])
        measures = {name: value / _VALIDATION_BATCHES for name, value in sums.items()}
        return measures | held_out_psnr(self.pipeline, self.validation_cache, self.config, _VALIDATION_PEOPLE)

    def sample_grid(self) -> np.ndarray:
        """Rows of held-out people: source, then per target skeleton, output and truth."""
        return sample_rows(self.pipeline, self.validation_cache, self.config, _SAMPLE_PEOPLE)

    def export(self, folder: Path) -> None:
        """The whole pipeline in diffusers' layout, in full precision (`export.export_pipeline` makes it small)."""
        self.pipeline.save_pretrained(folder)


def collate(cache: ViewCache, draw: CanvasDraw, generator: torch.Generator) -> Batch:
    """Read what a draw names from the cache.

    Returns:
        ``latents``, ``noise`` (b, v, 4, h, w); ``skeletons`` uint8 (b, v, 3, H, W); ``mask`` (b, v); ``tokens`` (b, n,
        d_enc) and ``textures`` (b, 4, h', w') of the view that F_C is made of; ``timesteps``, ``keep_image_tokens``,
        ``keep_texture``, ``keep_source_poses`` (b,); ``grid`` (2,).
    """
    count, slots = draw.views.shape
    pairs = np.repeat(draw.identities, slots), draw.views.reshape(-1)
    latents = cache.get("latents", *pairs).float().unflatten(0, (count, slots))
    return {
        "latents": latents,
        "noise": torch.randn(latents.shape, generator=generator),
        "skeletons": cache.get("skeletons", *pairs).unflatten(0, (count, slots)),
        "mask": draw.mask,
        "tokens": cache.get("tokens", draw.identities, draw.feature_views).float(),
        "textures": cache.get("textures", draw.identities, draw.feature_views).float(),
        "timesteps": draw.timesteps,
        "keep_image_tokens": draw.keep_image_tokens,
        "keep_texture": draw.keep_texture,
        "keep_source_poses": draw.keep_source_poses,
        "grid": torch.tensor([draw.grid.rows, draw.grid.cols]),
    }


def visible_skeletons(batch: Batch) -> torch.Tensor:
    """Skeletons (b, v, 3, H, W) in [0, 1]; black in the visible slots of canvases whose source poses are dropped."""
    drawn = torch.maximum(1.0 - batch["mask"], batch["keep_source_poses"][:, None])
    return batch["skeletons"].float() / 255.0 * drawn[:, :, None, None, None]


def _slot_errors(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    error = (prediction - target).detach().square().mean(dim=(2, 3, 4))
    visible = mask.sum().clamp(min=1.0)
    return {
        "loss_masked": (error * (1.0 - mask)).sum() / (1.0 - mask).sum(),
        "loss_visible": (error * mask).sum() / visible,
    }


def _first_view() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)


def build_pipeline(config: DenoiserConfig) -> IMAGPosePipeline:
    """The pipeline to train: the frozen networks of stages 1 and 2, the rest freshly initialised from `config.seed`.

    Raises:
        FileNotFoundError: a stage has not been trained.
        ValueError: unknown preset, or arguments that the UNet does not take.
    """
    for folder in (config.autoencoder, config.image_encoder):
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder} holds no trained network: train that stage first")
    vae = AutoencoderKL.from_pretrained(config.autoencoder).eval().requires_grad_(False)
    image_encoder = AutoModel.from_pretrained(config.image_encoder).eval().requires_grad_(False)
    torch.manual_seed(config.seed)
    try:
        networks = build_denoiser(
            config.preset, image_encoder.config.hidden_size, config.texture_long_side, **config.unet
        )
    except TypeError as error:
        raise ValueError(f"unet: {error}") from None
    if config.initial is not None:
        trained = IMAGPosePipeline.from_pretrained(config.initial)
        for name in ("unet", "pose_encoder", "feature_tokens"):
            getattr(networks, name).load_state_dict(getattr(trained, name).state_dict())
    return IMAGPosePipeline(
        vae=vae,
        image_encoder=image_encoder,
        image_processor=BitImageProcessorPil.from_pretrained(config.image_encoder),
        unet=networks.unet,
        pose_encoder=networks.pose_encoder,
        feature_tokens=networks.feature_tokens,
        scheduler=build_scheduler(config.prediction_type, config.beta_schedule, config.zero_terminal_snr),
        view_height=config.data.height,
        view_width=config.data.width,
    )


def train_denoiser(
    config_path: str | Path,
    overrides: list[str] | None = None,
    resume: str | None = None,
    stop_after: float | None = None,
) -> Outcome:
    """Fill the caches, train the denoiser, write the pipeline to ``<output>/weights``.

    Arguments and errors as `train_autoencoder`.

    Raises:
        FileNotFoundError: the stages before have not been trained.
    """
    config = load_config(DenoiserConfig, config_path, overrides)
    pipeline = build_pipeline(config)
    prepare_run(config)
    with main_process_first():
        build_cache(config, pipeline)
    return Training(DenoiserStage(config, pipeline), config, resume).run(stop_after)
