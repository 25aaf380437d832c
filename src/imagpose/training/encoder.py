"""Stage 2: the image encoder, a small DINOv2-architecture network, trained by metric learning, then frozen."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field, model_validator
from torch import nn
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from imagpose.models.folder import ModelFiles
from imagpose.models.loading import load_image_encoder
from imagpose.pixels import encoder_pixels
from imagpose.training.configs import Positive, Section
from imagpose.training.metric_learning import MetricLearningConfig, MetricLearningStage
from imagpose.training.run import views_trainer
from imagpose.training.stage import start_from

MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)


class EncoderModel(Section):
    """The image encoder (transformers Dinov2Model)."""

    hidden_size: Positive = 192
    num_hidden_layers: Positive = 6
    num_attention_heads: Positive = 6
    patch_size: Positive = 16
    height: Positive | None = Field(default=None, description="Height that pictures are brought to; none: the view's.")
    width: Positive | None = Field(default=None, description="Width that pictures are brought to; none: the view's.")

    @model_validator(mode="after")
    def _heads(self) -> EncoderModel:
        if self.hidden_size % self.num_attention_heads:
            heads = f"num_attention_heads ({self.num_attention_heads})"
            raise ValueError(f"hidden_size ({self.hidden_size}) must be a multiple of {heads}")
        return self


class EncoderConfig(MetricLearningConfig):
    """Stage 2: image encoder by metric learning."""

    model: EncoderModel = EncoderModel()
    initial: Path | None = Field(
        None, description="Exported weights of this stage (a run's weights/) to start from; none: fresh ones."
    )
    projection_size: Positive = Field(128, description="Width of the embedding that the loss compares.")

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the encoder's pictures."""
        return self.model.height or self.data.height, self.model.width or self.data.width


def build_encoder(config: EncoderConfig) -> Dinov2Model:
    """Fresh image encoder as `config.model` says.

    Dinov2 keeps a square table of positions and interpolates it to other picture sizes, so the table has the
    picture's longer side in both directions.
    """
    model = config.model
    return Dinov2Model(
        Dinov2Config(
            hidden_size=model.hidden_size,
            num_hidden_layers=model.num_hidden_layers,
            num_attention_heads=model.num_attention_heads,
            patch_size=model.patch_size,
            image_size=max(config.input_size),
            mlp_ratio=4,
            use_mask_token=False,
        )
    )


class EncoderStage(MetricLearningStage):
    """Metric learning of the encoder behind a projection that is thrown away."""

    name = "encoder"
    config: EncoderConfig

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.encoder = build_encoder(config)
        if config.initial is not None:
            start_from(self.encoder, load_image_encoder(ModelFiles(str(config.initial))), config.initial)
        # All features of a fresh transformer are nearly one vector; without the mean taken out the loss stays at log(b).
        self.projection = nn.Sequential(
            nn.BatchNorm1d(2 * config.model.hidden_size),
            nn.Linear(2 * config.model.hidden_size, config.model.hidden_size),
            nn.GELU(),
            nn.Linear(config.model.hidden_size, config.projection_size),
        )

    def embeddings(self, pixels: torch.Tensor) -> torch.Tensor:
        """The projected features."""
        embeddings: torch.Tensor = self.projection(self.features(pixels))
        return embeddings

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Class token and mean patch token, (b, 2 d_enc): F_H is made of both, so both must tell people apart."""
        tokens = self.encoder(encoder_pixels(pixels, self.config.input_size, MEAN, STD)).last_hidden_state
        return torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=-1)

    def export(self, folder: Path) -> None:
        """`Dinov2Model.save_pretrained`, and the processor's configuration beside it."""
        self.encoder.save_pretrained(folder)
        build_processor(*self.config.input_size).save_pretrained(folder)


def build_processor(height: int, width: int) -> BitImageProcessorPil:
    """The image processor that belongs to the encoder: picture size, mean and std."""
    return BitImageProcessorPil(
        do_resize=True,
        size={"height": height, "width": width},
        do_center_crop=False,
        image_mean=list(MEAN),
        image_std=list(STD),
    )


train_encoder = views_trainer(EncoderConfig, EncoderStage)
