"""The denoiser's stage: a batch of canvases, Eq. 4 on it, what is measured on held-out people."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from imagpose.data.info import read_info
from imagpose.io import write_text
from imagpose.metrics.perceptual import load_efficientnet
from imagpose.models.conditions import guidance_embedding, noise_from, unet_input
from imagpose.models.licences import DATA, model_card
from imagpose.models.scheduler import named_scheduler
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.denoiser.attention import AttentionTeacher
from imagpose.training.denoiser.cache import kinds_of
from imagpose.training.denoiser.config import DatasetConfig, DenoiserConfig
from imagpose.training.denoiser.data import CanvasData, open_data
from imagpose.training.denoiser.draw import CanvasDraw, DrawSettings, Recipe, draw_batch, draw_items, draw_noise
from imagpose.training.denoiser.encode import FrozenNetworks
from imagpose.training.denoiser.networks import RECORDED, canvases_seen, use_fast_attention
from imagpose.training.denoiser.objective import (
    denoising_loss,
    min_snr_weights,
    person_weights,
    predicted_latents,
    prediction_target,
    slot_errors,
    visible_skeletons,
)
from imagpose.training.denoiser.pictures import decoded_targets, picture_losses
from imagpose.training.denoiser.preview import PROGRESS_STEPS, Preview, titled
from imagpose.training.losses import FeatureDiscriminator
from imagpose.training.processes import global_batch, run_device
from imagpose.training.stage import Batch, ProgressReport, Stage, on_device
from imagpose.views import tile, untile, visible_share

_PLAIN = Recipe()
_VALIDATION_ITEMS = 32
_VALIDATION_SEED = 1_000_003
_VALIDATION_PEOPLE = 8
_KNOWN_PEOPLE = 24
_SAMPLE_PEOPLE = 12
_RECONSTRUCTED_PEOPLE = 16
_LEAST_DETAIL = 0.95  # a blur of sigma 1.5 pixels; at 0.91 of 256x176 views no face, check or small letter was left


def predict_canvases(
    unet: IMAGPoseUNet,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    batch: Batch,
    features: torch.Tensor,
    pose_features: torch.Tensor,
    scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """A UNet's prediction (b, v, c, h, w) for the noisy slots of a batch's canvases, float32.

    Args:
        unet: in training, or a frozen one.
        noisy: (b, v, c, h, w).
        timesteps: (b,).
        batch: its ``latents`` (or ``given``), ``mask``, ``stand_ins`` and ``grid`` make F_I.
        features, pose_features: F_C and F_P.
        scale: (b,) of guidance, for a UNet that takes it.
    """
    grid, embedding = batch["grid"], None if scale is None else guidance_embedding(unet, scale)
    given = batch.get("given")  # of whole canvases, black where masked already
    known, stand_ins = (batch["latents"], batch["stand_ins"]) if given is None else (given, given)
    prediction = unet(
        unet_input(noisy, known, batch["mask"], stand_ins, grid, unet.config.in_channels),
        timesteps,
        features,
        pose_features=pose_features,
        view_grid=grid,
        **({} if embedding is None else {"timestep_cond": embedding}),
        return_dict=False,
    )[0]
    return untile(prediction.float(), grid)


def rounds_of(overfit: int, global_batch: int) -> int:
    """Steps that show so many canvases once.

    Raises:
        ValueError: a step's canvases do not divide them.
    """
    if overfit % global_batch:
        raise ValueError(f"overfit is {overfit}; a multiple of a step's {global_batch} canvases expected")
    return overfit // global_batch


class DenoiserStage(Stage):
    """Joint canvases of several views: the masked ones are denoised given the visible ones, F_C and F_P."""

    name = "denoiser"
    sample_name = "canvases"
    progress_steps: int | None = PROGRESS_STEPS

    def __init__(self, config: DenoiserConfig, pipeline: IMAGPosePipeline) -> None:
        """Train the UNet, the pose encoder and the feature tokens of `pipeline`, whose other networks stay frozen.

        Raises:
            FileNotFoundError, ValueError: data are missing or do not fit, see `open_data`; the extra `perceptual` is missing
                and wanted.
        """
        super().__init__()
        if config.judges_pictures:
            load_efficientnet()  # which says now whether its weights are there
        self.config = config
        self.samples_before = 0 if config.initial is None else canvases_seen(config.initial)
        self.scheduler = pipeline.scheduler
        self._recorded = {name: pipeline.config[name] for name in RECORDED}
        self.frozen = FrozenNetworks.of(pipeline)
        recipes = [recipe for _, recipe in config.recipes]
        self.data = open_data(config.data, kinds_of(pipeline, recipes), pipeline.view_multiple)
        self._draws = self._settings(self.data, config.seed, config.recipes, global_batch(config) // config.batch_size)
        self._rounds = None if config.overfit is None else rounds_of(config.overfit, global_batch(config))
        self.held_out = None
        if config.validation is not None:
            self.held_out = open_data(config.validation, kinds_of(pipeline), pipeline.view_multiple)
            self._fixed_draws = self._settings(self.held_out, _VALIDATION_SEED, ((0, _PLAIN),), 1)
        self.unet = pipeline.unet
        self.pose_encoder = pipeline.pose_encoder
        self.feature_tokens = pipeline.feature_tokens
        use_fast_attention(self.unet)
        self._teacher = None
        if any(recipe.attention_weight for recipe in recipes):
            self._teacher = AttentionTeacher(
                self.unet, config.attention_levels, config.attention_heads, config.attention_cross_view
            )
        self.discriminator = None
        if config.adversarial_weight:
            torch.manual_seed(config.seed)
            self.discriminator = FeatureDiscriminator()
        self._black = {half: self.frozen.black(self.data.height, self.data.width, half) for half in (False, True)}

    @property
    def pipeline(self) -> IMAGPosePipeline:
        """The pipeline that users call, with the networks as they are now, on their device."""
        pipeline = IMAGPosePipeline(
            vae=self.frozen.vae,
            image_encoder=self.frozen.image_encoder,
            image_processor=self.frozen.image_processor,
            feature_tokens=self.feature_tokens,
            pose_encoder=self.pose_encoder,
            unet=self.unet,
            scheduler=self.scheduler,
            view_height=self.config.data.height,
            view_width=self.config.data.width,
            **self._recorded,
        )
        placed: IMAGPosePipeline = pipeline.to(next(self.parameters()).device)
        return placed

    def ceiling(self) -> list[str]:
        """A line on what the autoencoder alone makes of people, and one that warns where little is left of them."""
        data = self.data if self.held_out is None else self.held_out
        preview = Preview(self.pipeline, data, self.config.batch_size, self.config.sampling)
        preview.pipeline.vae.to(run_device())
        decibels, detail = preview.autoencoder_alone(_RECONSTRUCTED_PEOPLE)
        lines = [
            f"autoencoder alone: PSNR {decibels:.1f} dB, detail correlation {detail:.2f}; no training gets further"
        ]
        if detail < _LEAST_DETAIL:
            lines.append(
                f"warning: below a detail correlation of {_LEAST_DETAIL} faces and prints are lost before any denoising:"
                " take larger views, or an autoencoder whose latents hold more"
            )
        return lines

    def batch(self, step: int, samples: range) -> Batch:
        """Inputs of some canvases of a step: what `CanvasData.canvases` reads, and what is drawn.

        ``noise`` (b, v, c, h, w); ``mask`` (b, v); ``timesteps``, ``keep_image_tokens``, ``keep_texture``,
        ``keep_source_poses`` (b,); ``stand_ins`` (c, h, w), latents of the black view; ``grid``, a `ViewGrid`; ``recipe``;
        ``weight`` of the batch among those of the step; ``adversarial_weight`` of this step, where targets are judged as
        pictures.
        """
        config, drawn = self.config, self._drawn(step)
        draw = draw_batch(self._draws, drawn, samples)
        weight = config.adversarial_weight if step >= config.adversarial_start else 0.0
        judged = {"adversarial_weight": weight} if config.judges_pictures else {}
        return self._assembled(self.data, draw, self._draws.recipe(drawn), config.noise_offset) | judged

    def _drawn(self, step: int) -> int:
        """The step whose draws a step shows: its own, or one of the first."""
        return step if self._rounds is None else step % self._rounds

    def items(self, step: int, samples: range) -> list[str]:
        """Person and views of each canvas, slot by slot."""
        draw = draw_batch(self._draws, self._drawn(step), samples)
        return [
            f"{self.data.name(int(identity))} views {' '.join(map(str, views.tolist()))}"
            for identity, views in zip(draw.identities, draw.views, strict=True)
        ]

    def _assembled(
        self, data: CanvasData, draw: CanvasDraw, recipe: Recipe = _PLAIN, noise_offset: float = 0.0
    ) -> Batch:
        black = self._black[draw.half]
        return {
            **data.canvases(draw),
            **(data.warped_views(draw) if self._recorded["masked_views"] == "warped" else {}),
            "noise": draw_noise(
                draw.samples,
                (draw.grid.num_views, *black.shape),
                noise_offset,
                self.config.noise_offset_scope == "view",
            ),
            "mask": draw.mask,
            "timesteps": draw.timesteps,
            "keep_image_tokens": draw.keep_image_tokens,
            "keep_texture": draw.keep_texture,
            "keep_source_poses": draw.keep_source_poses,
            "stand_ins": black,
            "grid": draw.grid,
            "recipe": recipe,
            "weight": draw.weight,
        }

    def _settings(
        self, data: CanvasData, seed: int, recipes: tuple[tuple[int, Recipe], ...], batches: int
    ) -> DrawSettings:
        config = self.config
        return DrawSettings(
            seed=seed,
            batch_size=config.batch_size,
            batches=batches,
            view_counts=data.view_counts,
            num_timesteps=len(self.scheduler.alphas_cumprod),
            recipes=recipes,
            all_masked_share=config.all_masked_share,
            low_resolution_batch=config.low_resolution_batch,
            grids=tuple(config.view_grids.items()),
            feature_dropout=config.feature_dropout,
            source_pose_dropout=config.source_pose_dropout,
            repeat_probability=config.repeat_probability,
        )

    def samples_in(self, batch: Batch) -> int:
        """Canvases of a batch."""
        return len(batch["mask"])

    def compilable(self) -> tuple[torch.nn.Module, ...]:
        """The UNet."""
        return (self.unet,)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Eq. 4 over the slots of joint canvases, with the weights that the configuration asks for, and `picture_losses`."""
        config, recipe, mask, surface = self.config, batch["recipe"], batch["mask"], batch.get("surface")
        batch = self._encoded(batch)
        prediction, target = self._predict(batch)
        weights = None if surface is None else person_weights(surface, recipe.person_weight, recipe.head_weight)
        loss = denoising_loss(
            prediction,
            target,
            mask,
            config.visible_weight,
            visible_share(mask.shape[1], config.all_masked_share),
            canvas_weights=None
            if config.min_snr_gamma is None
            else min_snr_weights(self.scheduler, batch["timesteps"], config.min_snr_gamma),
            cell_weights=weights,
        )
        scalars = slot_errors(prediction, target, mask)
        if self._teacher is not None and surface is not None and recipe.attention_weight > 0:
            attention_loss, share = self._teacher.loss(surface, mask, batch["grid"])
            loss = loss + recipe.attention_weight * attention_loss
            scalars |= {"attention_loss": attention_loss.detach(), "attention_on_sources": share}
        if "adversarial_weight" in batch:
            more, found = self._judged(self._clean(batch, prediction), batch, weights)
            loss, scalars = loss + more, scalars | found
        return batch["weight"] * loss, scalars

    def _encoded(self, batch: Batch) -> Batch:
        """The batch without pictures, see `FrozenNetworks.encode`; its noise leads to where sampling starts."""
        batch = self.frozen.encode(batch, self.feature_tokens)
        if self._recorded["start_from"] == "image_condition":
            latents, visible = batch["latents"], batch["mask"][:, :, None, None, None] > 0
            shown = batch.get("given", torch.where(visible, latents, batch["stand_ins"]))
            batch["noise"] = noise_from(batch["noise"], latents, shown, self.scheduler)
        return batch

    def _predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The UNet's prediction and what it should be, both (b, v, c, h, w)."""
        latents, noise, timesteps = (batch[name] for name in ("latents", "noise", "timesteps"))
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        prediction = predict_canvases(
            self.unet, noisy, timesteps, batch, self._features(batch), self._pose_features(batch), batch.get("guidance")
        )
        return prediction, prediction_target(self.scheduler, latents, noise, timesteps)

    def _clean(self, batch: Batch, prediction: torch.Tensor) -> torch.Tensor:
        """The clean latents (b, v, c, h, w) that a prediction stands for."""
        timesteps = batch["timesteps"]
        noisy = self.scheduler.add_noise(batch["latents"], batch["noise"], timesteps)
        return predicted_latents(self.scheduler, prediction, noisy, timesteps)

    def _judged(
        self, clean: torch.Tensor, batch: Batch, weights: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """`picture_losses` of clean latents (b, v, c, h, w), whose cells have weights (b, v, h, w)."""
        config = self.config
        pictures = decoded_targets(self.frozen, clean, batch, config.data.height, config.data.width, weights)
        return picture_losses(*pictures, config.feature_weight, self.discriminator, batch["adversarial_weight"])

    def _pose_features(self, batch: Batch) -> torch.Tensor:
        """F_P (b, C, rows * h, cols * w), without the sources' skeletons where they are dropped."""
        skeletons = visible_skeletons(batch["skeletons"], batch["mask"], batch["keep_source_poses"])
        features: torch.Tensor = self.pose_encoder(tile(skeletons, batch["grid"]), return_dict=False)[0]
        return features

    def _features(self, batch: Batch) -> torch.Tensor:
        """F_C with its dropped parts at null (zeros)."""
        tokens = batch["tokens"]
        features = self.feature_tokens(tokens, batch.get("textures"), return_dict=False)[0]
        count = tokens.shape[1]
        keep_tokens, keep_texture = batch["keep_image_tokens"], batch["keep_texture"]
        kept = [features[:, :count] * keep_tokens[:, None, None], features[:, count:] * keep_texture[:, None, None]]
        return torch.cat(kept, dim=1)

    def validate(self) -> dict[str, float]:
        """Eq. 4 on a fixed list of held-out canvases, what one prediction knows, and the PSNR of generated targets.

        Neither the batch size nor the number of processes changes what is drawn. Timesteps are uniform and views have
        their whole size in every phase, so that phases can be compared. Nothing where nobody is held out.
        """
        if self.held_out is None:
            return {}
        measures = self._held_out_losses() | self._known()
        return measures | self._preview().psnr(_VALIDATION_PEOPLE)

    def _held_out_losses(self) -> dict[str, float]:
        """Eq. 4 over a fixed list of canvases, and the mean errors of its masked and of its visible slots."""
        assert self.held_out is not None
        sums: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = defaultdict(int)
        for draw in draw_items(self._fixed_draws, _VALIDATION_ITEMS):
            loss, scalars = self(self._on_device(self._assembled(self.held_out, draw)))
            visible = int(draw.mask.sum())
            found = {"loss": len(draw.mask), "loss_masked": draw.mask.numel() - visible, "loss_visible": visible}
            for name, count in found.items():
                sums[name] += count * float(loss if name == "loss" else scalars[name])
                counts[name] += count
        return {name: sums[name] / count for name, count in counts.items() if count}

    def _on_device(self, batch: Batch) -> Batch:
        return on_device(batch, next(self.parameters()).device)

    def _known(self) -> dict[str, float]:
        return self._preview().known_psnr(_KNOWN_PEOPLE, self._one_prediction)

    def _one_prediction(self, draw: CanvasDraw) -> torch.Tensor:
        """Clean latents (b, v, c, h, w) of held-out canvases as one prediction from noise has them."""
        assert self.held_out is not None
        batch = self._encoded(self._on_device(self._assembled(self.held_out, draw)))
        return self._clean(batch, self._predict(batch)[0])

    def _preview(self) -> Preview:
        assert self.held_out is not None
        pipeline, sampling = self.pipeline, self.config.sampling
        if sampling.scheduler is not None:
            pipeline.scheduler = named_scheduler(sampling.scheduler, pipeline.scheduler)
        return Preview(pipeline, self.held_out, self.config.batch_size, sampling)

    def measure_progress(self) -> ProgressReport | None:
        """T1 on held-out people, see `Preview.progress`; None where nobody is held out."""
        if self.held_out is None:
            return None
        return self._preview().progress(
            {"validation_loss": self._held_out_losses()["loss"], **self._known()}, self.progress_steps
        )

    def sample_grid(self) -> np.ndarray | None:
        """Rows of held-out people: source, then per target skeleton, output and truth; None where nobody is held out."""
        if self.held_out is None:
            return None
        rows = self._preview().rows(_SAMPLE_PEOPLE)
        known = ", ".join(f"{name} {value:.2f} dB" for name, value in self._known().items())
        return titled(rows, f"one prediction from pure noise: {known}") if known else rows

    def export(self, folder: Path) -> None:
        """The pipeline in diffusers' layout and full precision (`export.export_pipeline` makes it small), and its card."""
        self.pipeline.save_pretrained(folder)
        write_text(folder / "README.md", self._card())

    def _card(self) -> str:
        config = self.config
        prepared = read_info(config.data.dataset).settings if isinstance(config.data, DatasetConfig) else {}
        command = str(prepared.get("command", "folder" if prepared else "people"))
        replaced = {
            "base": config.base is not None or config.autoencoder is not None,
            "image encoder": config.image_encoder is not None,
        }
        return model_card(config.preset, command if command in DATA else "folder", config.initial, replaced)
