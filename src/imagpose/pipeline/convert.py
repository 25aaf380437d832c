"""Models in the published code's files to our folders, and back.

Source: facts about muzishen/IMAGPose: four files of flat state dicts, see `models.official` for names and order. It
computes what we do with cross-view attention behind every resnet, the VAE on whole canvases, texture tokens of a picture in
[0, 1] (as it trains them), CLIP's preprocessing before DINOv2, and v-prediction with zero terminal SNR.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, ModelMixin, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPImageProcessorPil

from imagpose.io import clear_left_overs, partial_folder
from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.folder import (
    ModelFiles,
    check_shapes,
    check_weight_files,
    failures_of,
    resolve_model,
    weight_shapes,
)
from imagpose.models.loading import load_autoencoder, load_image_encoder
from imagpose.models.official import (
    OFFICIAL_CROSS_VIEW,
    Weights,
    denoiser_from_official,
    denoiser_to_official,
    pose_encoder_from_official,
    pose_encoder_to_official,
    texture_from_official,
    texture_to_official,
)
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.presets import BASES, IMAGE_ENCODERS
from imagpose.models.scheduler import build_scheduler
from imagpose.models.unet import IMAGPoseUNet
from imagpose.outputs import check_output_folder
from imagpose.pipeline import IMAGPosePipeline

_MOTION = ".motion_modules."
_IN_CHANNELS = 9


def from_official(
    unet: str | Path,
    pose: str | Path,
    patch: str | Path,
    base: str | Path,
    out: str | Path,
    motion: str | Path | None = None,
    image_encoder: str | Path | None = None,
    vae: str | Path | None = None,
    height: int = 512,
    width: int = 512,
) -> None:
    """Write a pipeline folder that computes what the published code computes with these files.

    Weights keep the precision of the files.

    Args:
        unet: denoising_unet-*.pth, all weights or (of its first training stage) those without motion modules.
        pose: pose_guider-*.pth.
        patch: patch-*.pth.
        base: folder or hub repository of the Stable Diffusion that was fine-tuned: VAE and sizes are taken from it, and
            the image encoder if it has a folder image_encoder.
        out: folder to write; must not exist.
        motion: motion_module-*.pth, where `unet` has no motion modules.
        image_encoder: folder or hub repository in place of the base's; DINOv2-B where neither is there.
        vae: folder or hub repository of a VAE in place of the base's.
        height, width: size in pixels of a view in training.

    Raises:
        FileExistsError: `out` exists; ValueError: nothing can be written there.
        FileNotFoundError: a file is missing.
        OSError: the hub cannot be reached or does not have it.
        ValueError: a file is damaged, or its weights are not what is expected.
    """
    files = {"unet": unet, "pose": pose, "patch": patch, **({} if motion is None else {"motion": motion})}
    for option, path in files.items():
        if not Path(path).is_file():
            raise FileNotFoundError(f"no file {path} (--{option})")
    _check_new(Path(out))
    autoencoder = load_autoencoder(
        ModelFiles(str(base), "vae", BASES["sd15"].repository) if vae is None else ModelFiles(str(vae))
    )
    encoder = load_image_encoder(_encoder_files(base, image_encoder))
    with torch.device("meta"):
        empty = _empty_networks(_unet_config(base), encoder.config.hidden_size, max(height, width))
    weights = _denoising_weights(Path(unet), None if motion is None else Path(motion))
    names = str(unet) if motion is None else f"{unet} with {motion}"
    denoiser = _fill(empty[0], weights, names, denoiser_from_official, denoiser_to_official)
    guider = _fill(empty[1], _read(Path(pose)), str(pose), pose_encoder_from_official, pose_encoder_to_official)
    tokens = _fill(empty[2], _read(Path(patch)), str(patch), texture_from_official, texture_to_official)
    pipeline = IMAGPosePipeline(
        vae=autoencoder,
        image_encoder=encoder,
        image_processor=CLIPImageProcessorPil(),
        feature_tokens=tokens,
        pose_encoder=guider,
        unet=denoiser,
        scheduler=_scheduler(),
        view_height=height,
        view_width=width,
        vae_scope="joint",
        skeleton="body_hands",
    )
    with partial_folder(Path(out)) as partial:
        pipeline.save_pretrained(partial)


def to_official(model: str | Path, out: str | Path) -> list[Path]:
    """Write a model's weights as the published code's four files, in the precision in which they are stored.

    Args:
        model: folder of a pipeline whose networks are of the published code's kind (preset "official").
        out: folder to write; must not exist.

    Returns:
        The files.

    Raises:
        FileExistsError: `out` exists; ValueError: nothing can be written there.
        OSError: it cannot be written whole.
        ValueError: no such model, or one that the published code cannot compute; the message says why.
    """
    folder, out = Path(resolve_model(model)), Path(out)
    if not folder.is_dir():
        raise ValueError(f"{model} is no folder: get the model first (hf download {model} --local-dir FOLDER)")
    _check_new(out)
    kinds: tuple[tuple[str, type[ModelMixin]], ...] = (
        ("unet", IMAGPoseUNet), ("pose_encoder", PoseEncoder), ("feature_tokens", FeatureTokens)
    )  # fmt: skip
    configs = {name: dict(kind.load_config(folder / name)) for name, kind in kinds}
    _check_kind(configs)
    stored = {}
    for name, kind in kinds:
        with torch.device("meta"):
            expected = kind.from_config(configs[name]).state_dict()
        stored[name] = _stored_weights(folder / name)
        check_shapes(str(folder / name), weight_shapes(stored[name]), weight_shapes(expected))
    unet = denoiser_to_official(stored["unet"])
    contents = {
        "denoising_unet": unet,
        "motion_module": unet,  # theirs holds all weights too
        "pose_guider": pose_encoder_to_official(stored["pose_encoder"]),
        "patch": texture_to_official(stored["feature_tokens"]),
    }
    with partial_folder(out) as partial:
        for name, weights in contents.items():
            try:
                torch.save(weights, partial / f"{name}-0.pth")
            except RuntimeError as error:  # of its writer, which hides the system's reason
                raise OSError(f"{out}: the disk takes no more, or no file of that size: free some space") from error
    return [out / f"{name}-0.pth" for name in contents]


def _check_new(out: Path) -> None:
    clear_left_overs(out)
    if out.exists() or out.is_symlink():
        raise FileExistsError(f"{out} exists already: give a folder that does not")
    check_output_folder(out)


def _encoder_files(base: str | Path, image_encoder: str | Path | None) -> ModelFiles:
    repository = IMAGE_ENCODERS["dinov2-b"].repository
    if image_encoder is not None:
        return ModelFiles(str(image_encoder), repository=repository)
    if (Path(base) / "image_encoder").is_dir():
        return ModelFiles(str(base), "image_encoder", repository)
    return ModelFiles(repository, repository=repository)


def _unet_config(base: str | Path) -> dict[str, Any]:
    """Arguments of UNet2DConditionModel: the base's where it has a UNet, else Stable Diffusion 1.5's."""
    files = ModelFiles(str(base), "unet", BASES["sd15"].repository)
    if files.folder is not None and not (files.folder / "config.json").is_file():
        return BASES["sd15"].unet
    config = UNet2DConditionModel.load_config(files.place, subfolder=files.subfolder)
    known = signature(UNet2DConditionModel.__init__).parameters
    return {key: value for key, value in config.items() if key in known and key != "in_channels"}


def _empty_networks(
    config: dict[str, Any], encoder_width: int, long_side: int
) -> tuple[IMAGPoseUNet, PoseEncoder, FeatureTokens]:
    """Networks of the published code's kind, without weights.

    Raises:
        ValueError: the image encoder's width is not the UNet's, which the published code needs.
    """
    unet = IMAGPoseUNet(**{**config, "in_channels": _IN_CHANNELS, **OFFICIAL_CROSS_VIEW})
    width = unet.config.cross_attention_dim
    if encoder_width != width:
        raise ValueError(
            f"the image encoder's hidden states are {encoder_width} wide; the published code does not project them, so"
            f" {width} is expected ({IMAGE_ENCODERS['dinov2-b'].repository} at Stable Diffusion 1.5's size)"
        )
    tokens = FeatureTokens(
        token_width=width,
        encoder_width=encoder_width,
        texture_long_side=max(128, round(long_side / 128) * 128),
        texture_range="unit",
    )
    return unet, PoseEncoder(unet.config.block_out_channels[0]), tokens


def _scheduler() -> DDIMScheduler:
    """Theirs: `scaled_linear` as trained; its last step ends at alpha 1, diffusers' default."""
    ours = build_scheduler("v_prediction", "scaled_linear", zero_terminal_snr=True)
    return DDIMScheduler.from_config(ours.config, set_alpha_to_one=True)


def _denoising_weights(unet: Path, motion: Path | None) -> Weights:
    """All weights of the denoising UNet, in their newest names.

    Files from before September 2025 have conv3d_in, which is used, and conv2d_in, which is not, for conv_in.
    """
    weights = _read(unet)
    if not any(_MOTION in key for key in weights):
        if motion is None:
            raise ValueError(f"{unet} has no motion modules: give the file that has them too (--motion)")
        weights |= {key: weight for key, weight in _read(motion).items() if _MOTION in key}
    elif motion is not None:
        warnings.warn(f"{unet} has motion modules of its own: {motion} is not used", stacklevel=3)
    if "conv_norm_out.weight" not in weights:
        raise ValueError(
            f"{unet} has no conv_norm_out, the norm before the last convolution: it is not a whole denoising UNet, and the"
            " base's norm would not fit the other weights, which were trained; give a file of a later step or stage"
        )
    if "conv3d_in.weight" in weights:
        weights = {key: weight for key, weight in weights.items() if not key.startswith("conv2d_in.")}
        weights = {key.replace("conv3d_in.", "conv_in.", 1): weight for key, weight in weights.items()}
    return weights


def _read(path: Path) -> Weights:
    """A flat state dict, read without running any code of the file."""
    with failures_of(path):
        weights = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict) or not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        raise ValueError(f"{path}: a flat state dict (name: tensor) is expected")
    for key, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            raise ValueError(f"{path}: {key} has values that are not finite")
    return dict(weights)


Names = Callable[[Weights], Weights]


def _fill(network: Any, weights: Weights, name: str, to_ours: Names, to_theirs: Names) -> Any:
    """`network`, which has no weights yet, with those of a file, in the file's precision."""
    check_shapes(name, weight_shapes(weights), weight_shapes(to_theirs(network.state_dict())))
    network.load_state_dict(to_ours(weights), assign=True)
    return network.eval()


def _check_kind(configs: dict[str, dict[str, Any]]) -> None:
    """Whether the published code can compute a model of these configurations."""
    tokens, unet = configs["feature_tokens"], configs["unet"]
    groups = {"cross_view_norm_num_groups": unet.get("cross_view_norm_num_groups") or unet.get("norm_num_groups")}
    configs = configs | {"unet": unet | groups}
    expected: dict[str, dict[str, Any]] = {
        "unet": {
            **OFFICIAL_CROSS_VIEW,
            "in_channels": _IN_CHANNELS,
            "view_layout": "canvas",
            "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        },
        "pose_encoder": {"block_channels": [16, 32, 96, 256]},
        "feature_tokens": {"use_texture": True, "kernel_size": 16, "encoder_width": tokens["token_width"]},
    }
    for name, wanted in expected.items():
        for key, value in wanted.items():
            if configs[name].get(key) != value:
                raise ValueError(
                    f"the published code cannot compute this model: {name} has {key} {configs[name].get(key)!r}, it needs"
                    f" {value!r}; the preset 'official' is of its kind"
                )


def _stored_weights(folder: Path) -> Weights:
    check_weight_files(folder)
    weights: Weights = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights |= load_file(path)
    return weights
