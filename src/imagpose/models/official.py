"""Weights in the published code's names and order of channels, to ours and back; tensors only.

Source: facts about muzishen/IMAGPose's checkpoints. Its "motion module" is cross-view attention of depth 2 with
feed-forward behind every resnet (21 sites at Stable Diffusion 1.5's size); its pose guider is ControlNet's conditioning
embedding; its "patch" is the texture tokenizer. conv_in takes noise latents, mask, masked latents; ours noise latents,
masked latents, mask (the paper's order).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

Weights = dict[str, torch.Tensor]

OFFICIAL_CROSS_VIEW = {
    "cross_view_placement": "every_block",
    "cross_view_depth": 2,
    "cross_view_feed_forward": True,
    "cross_view_heads": 8,
    "cross_view_norm_num_groups": 32,
}
"""Arguments of IMAGPoseUNet that make it compute what the published code does."""

# Channels of conv_in: ours, and the paper's (§3.3), are noise, masked latents, mask; theirs noise, mask, masked latents.
_OURS_FROM_THEIRS = (0, 1, 2, 3, 5, 6, 7, 8, 4)
_THEIRS_FROM_OURS = (0, 1, 2, 3, 8, 4, 5, 6, 7)

_MOTION = re.compile(r"(?P<site>.+)\.motion_modules\.(?P<index>\d+)\.temporal_transformer\.(?P<rest>.+)")
_CROSS_VIEW = re.compile(r"(?P<site>.+)\.attentions\.(?P<index>\d+)\.cross_view\.(?P<rest>.+)")
_BLOCK = "transformer_blocks.0."

# Inside one module: theirs, ours.
_INNER = (
    *((name, name) for name in ("norm", "proj_in", "proj_out")),
    *(
        pair
        for layer in ("0", "1")
        for pair in (
            *((f"{_BLOCK}attention_blocks.{layer}.to_{p}", f"layers.{layer}.attn1.to_{p}") for p in ("q", "k", "v")),
            (f"{_BLOCK}attention_blocks.{layer}.to_out.0", f"layers.{layer}.attn1.to_out.0"),
            (f"{_BLOCK}norms.{layer}", f"layers.{layer}.norm1"),
        )
    ),
    (f"{_BLOCK}ff.net.0.proj", "feed_forward.ff.net.0.proj"),
    (f"{_BLOCK}ff.net.2", "feed_forward.ff.net.2"),
    (f"{_BLOCK}ff_norm", "feed_forward.norm"),
)
_TO_OURS = dict(_INNER)
_TO_THEIRS = {ours: theirs for theirs, ours in _INNER}
# Codes of the slot index: theirs (1, 32, c) in each attention, ours (2, 32, c) for both.
_TABLES = tuple(f"{_BLOCK}attention_blocks.{layer}.pos_encoder.pe" for layer in ("0", "1"))
_OUR_TABLES = "slot_encoding.pe"


def denoiser_from_official(weights: Mapping[str, torch.Tensor]) -> Weights:
    """Weights of IMAGPoseUNet (with `OFFICIAL_CROSS_VIEW`) from those of their denoising UNet with motion modules.

    Raises:
        ValueError: conv_in does not take 9 channels, or a motion module has a weight of unknown name.
    """
    ours: Weights = {}
    for key, weight in weights.items():
        found = _MOTION.fullmatch(key)
        if found is None:
            ours[key] = weight
            continue
        place = f"{found['site']}.attentions.{found['index']}.cross_view."
        if found["rest"] in _TABLES:
            first, second = (weights[key.replace(found["rest"], table)] for table in _TABLES)
            ours[place + _OUR_TABLES] = torch.cat([first, second])
        else:
            ours[place + _renamed(found["rest"], _TO_OURS, key)] = weight
    ours["conv_in.weight"] = _reordered(ours["conv_in.weight"], _OURS_FROM_THEIRS)
    return ours


def denoiser_to_official(weights: Mapping[str, torch.Tensor]) -> Weights:
    """The inverse of `denoiser_from_official`.

    Raises:
        ValueError: cross-view attention is not of their kind, or conv_in does not take 9 channels.
    """
    theirs: Weights = {}
    for key, weight in weights.items():
        found = _CROSS_VIEW.fullmatch(key)
        if found is None:
            theirs[key] = weight
            continue
        place = f"{found['site']}.motion_modules.{found['index']}.temporal_transformer."
        if found["rest"] == _OUR_TABLES:
            theirs |= {place + name: table.clone() for name, table in zip(_TABLES, torch.split(weight, 1), strict=True)}
        else:
            theirs[place + _renamed(found["rest"], _TO_THEIRS, key)] = weight
    theirs["conv_in.weight"] = _reordered(theirs["conv_in.weight"], _THEIRS_FROM_OURS)
    return theirs


def pose_encoder_from_official(weights: Mapping[str, torch.Tensor]) -> Weights:
    """Weights of PoseEncoder from those of their pose guider: the same convolutions under one more name."""
    return {f"embedding.{key}": weight for key, weight in weights.items()}


def pose_encoder_to_official(weights: Mapping[str, torch.Tensor]) -> Weights:
    """The inverse of `pose_encoder_from_official`."""
    return {key.removeprefix("embedding."): weight for key, weight in weights.items()}


def texture_from_official(weights: Mapping[str, torch.Tensor]) -> Weights:
    """Weights of FeatureTokens (image tokens not projected) from those of their patch."""
    return {key.replace("proj.", "texture.", 1): weight for key, weight in weights.items()}


def texture_to_official(weights: Mapping[str, torch.Tensor]) -> Weights:
    """The inverse of `texture_from_official`."""
    return {key.replace("texture.", "proj.", 1): weight for key, weight in weights.items()}


def _renamed(rest: str, names: Mapping[str, str], key: str) -> str:
    layer, _, kind = rest.rpartition(".")
    if layer not in names:
        raise ValueError(f"{key} has no counterpart: unknown part of a cross-view attention")
    return f"{names[layer]}.{kind}"


def _reordered(weight: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    if weight.shape[1] != len(order):
        raise ValueError(
            f"conv_in.weight takes {weight.shape[1]} channels; {len(order)} expected (noise latents, masked latents, mask)"
        )
    return weight[:, list(order)].contiguous()
