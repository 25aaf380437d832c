"""LoRA: a small adapter of the denoiser's UNet, fitted to a few people's photos; all other weights stay as they are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import Field

from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.configs import Positive
from imagpose.training.denoiser import fill_caches
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.stage import DenoiserStage
from imagpose.training.run import Trainer


class LoraConfig(DenoiserConfig):
    """A denoiser's run whose adapter alone is trained; the model that it belongs to is `initial`."""

    initial: str = Field("mini", description="Trained pipeline: 'mini', a folder or a Hub id.")
    rank: Positive = Field(8, description="Rank of the adapter's matrices.")
    alpha: float = Field(8.0, gt=0, description="The adapter counts alpha / rank times.")
    layers: tuple[str, ...] = Field(
        ("to_q", "to_k", "to_v", "to_out.0"),
        min_length=1,
        description="Ends of the names of the UNet's layers that are adapted; the default is all attention, CVA included.",
    )


class LoraStage(DenoiserStage):
    """Eq. 4, as the denoiser; of the UNet only the adapter learns."""

    name = "lora"

    def __init__(self, config: LoraConfig, pipeline: IMAGPosePipeline) -> None:
        """Add a fresh adapter, which changes nothing yet, to the UNet of `pipeline`.

        Raises:
            ValueError: peft is missing, no layer has such a name; or see `DenoiserStage`.
        """
        for part in (pipeline.unet, pipeline.pose_encoder, pipeline.feature_tokens):
            part.requires_grad_(False)
        settings = _peft().LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=list(config.layers))
        pipeline.unet.add_adapter(settings)
        super().__init__(config, pipeline)

    def export(self, folder: Path) -> None:
        """``pytorch_lora_weights.safetensors``, which `IMAGPosePipeline.load_lora_weights` takes."""
        IMAGPosePipeline.save_lora_weights(
            folder,
            unet_lora_layers=_peft().get_peft_model_state_dict(self.unet),
            unet_lora_adapter_metadata=self.unet.peft_config["default"].to_dict(),
        )


def _peft() -> Any:
    try:
        return import_module("peft")
    except ImportError:
        raise ValueError("LoRA needs the package peft: pip install 'imagpose[lora]'") from None


def _prepared(config: LoraConfig) -> LoraStage:
    _peft()  # which says now whether it is there, before anything is made
    return LoraStage(config, fill_caches(config)[0])


train_lora = Trainer(LoraConfig, _prepared)
