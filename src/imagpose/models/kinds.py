"""Whether a base or an image encoder that somebody gives is of the kind that a preset's name promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel
from transformers import AutoConfig

from imagpose.models.folder import ModelFiles, failures_of
from imagpose.models.loading import PresetFiles
from imagpose.models.presets import BASES, IMAGE_ENCODERS, ImageEncoder, Preset

_STABLE_DIFFUSION: dict[str, Any] = {"block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2}
_ENCODER_SIZES = {"hidden_size": "width", "num_hidden_layers": "layers", "patch_size": "patch"}


def check_base(preset: Preset, files: PresetFiles) -> None:
    """Refuse a base whose UNet is not of the preset's: width of the tokens, channels and layers.

    Raises:
        ValueError: it is another one; the message says which.
        OSError: the hub cannot be reached.
    """
    if preset.base is None or files.base is None or files.base.place == preset.base.repository:
        return
    given = files.base
    if given.folder is None:
        found = UNet2DConditionModel.load_config(given.place, subfolder=given.subfolder)
    elif _says_nothing(given.folder):
        return
    else:
        with failures_of(given.folder):
            found = UNet2DConditionModel.load_config(given.folder)
    kinds = {base.title: _base_sizes(base.unet) for base in BASES.values()}
    sizes = {name: as_stored(found.get(name)) for name in kinds[preset.base.title]}
    if sizes != kinds[preset.base.title]:
        known = next((title for title, own in kinds.items() if own == sizes), None)
        raise ValueError(_refusal(preset, "base", given, preset.base.title, known, sizes))


def check_image_encoder(preset: Preset, files: PresetFiles) -> None:
    """Refuse an image encoder that is not of the preset's: kind, width, layers and patch.

    Raises:
        ValueError: it is another one; the message says which.
        OSError: the hub cannot be reached.
    """
    encoder, given = preset.image_encoder, files.image_encoder
    if encoder is None or given.place == encoder.repository:
        return
    if given.folder is None:
        config = AutoConfig.from_pretrained(given.place, trust_remote_code=False)
    elif _says_nothing(given.folder):
        return
    else:
        with failures_of(given.folder):
            config = AutoConfig.from_pretrained(given.folder, trust_remote_code=False)
    vision = getattr(config, "vision_config", config)
    found = {"kind": config.model_type.removesuffix("_vision_model")}
    found |= {name: getattr(vision, key, None) for key, name in _ENCODER_SIZES.items()}
    if found != _encoder_sizes(encoder):
        known = next((own.title for own in IMAGE_ENCODERS.values() if _encoder_sizes(own) == found), None)
        raise ValueError(_refusal(preset, "image_encoder", given, encoder.title, known, found))


def _says_nothing(folder: Path) -> bool:
    """Whether a folder has no configuration: loading says what is missing, and where it is."""
    return not (folder / "config.json").is_file()


def _base_sizes(unet: dict[str, Any]) -> dict[str, Any]:
    return _STABLE_DIFFUSION | {"cross_attention_dim": unet["cross_attention_dim"]}


def _encoder_sizes(encoder: ImageEncoder) -> dict[str, Any]:
    return {"kind": encoder.kind} | {name: encoder.config[key] for key, name in _ENCODER_SIZES.items()}


def _refusal(
    preset: Preset, option: str, files: ModelFiles, wanted: str, known: str | None, found: dict[str, Any]
) -> str:
    sizes = ", ".join(f"{name} {value}" for name, value in found.items())
    return (
        f"preset {preset.name} has {wanted}; {option} {files.place} is {known or 'another network'} ({sizes}): name the"
        f" preset that it belongs to, or leave {option} out"
    )


def as_stored(value: Any) -> Any:
    """A setting as it comes back from JSON, so that it can be compared."""
    return list(value) if isinstance(value, (list, tuple)) else value
