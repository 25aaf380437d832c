"""Stage 1: the patch autoencoder, trained on crops, and its last phase, the decoder alone."""

from imagpose.training.autoencoder.config import AutoencoderConfig, AutoencoderFinishConfig
from imagpose.training.autoencoder.finish import AutoencoderFinishStage
from imagpose.training.autoencoder.stage import AutoencoderStage
from imagpose.training.run import views_trainer

__all__ = [
    "AutoencoderConfig", "AutoencoderFinishConfig", "AutoencoderFinishStage", "AutoencoderStage", "train_autoencoder",
    "train_autoencoder_finish",
]  # fmt: skip

train_autoencoder = views_trainer(AutoencoderConfig, AutoencoderStage)
train_autoencoder_finish = views_trainer(AutoencoderFinishConfig, AutoencoderFinishStage)
