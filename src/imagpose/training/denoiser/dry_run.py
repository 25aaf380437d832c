"""What a denoiser's run will need, before any of it: memory by part, arithmetic, days.

One step of the networks is made with fake tensors, whose shapes and lifetimes are real and whose numbers are not: it needs
no weights, no data, no GPU and some seconds. What torch or CUDA keep for themselves is not in it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakIdKeyDictionary

from imagpose.models.autoencoder import spatial_factor
from imagpose.models.folder import ModelFiles
from imagpose.models.loading import PresetFiles, preset_files
from imagpose.models.presets import IMAGE_ENCODERS, Denoiser, build_denoiser, find_preset
from imagpose.models.sizes import build_empty
from imagpose.pixels import padded_size
from imagpose.training.configs import load_config
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.draw import canvases_of
from imagpose.training.processes import accumulating
from imagpose.views import ViewGrid, view_multiple

GPUS = {"RTX 3090, 24 GB": 71.0, "RTX 4090, 24 GB": 165.0, "A100, 80 GB": 312.0, "H100, 80 GB": 989.0}
"""TFLOP/s of dense bf16 products with sums in fp32, as their maker says."""
SHARE = 0.2
"""Of a GPU's speed that a training step is assumed to reach; no GPU has been measured."""
_TOKENS = 257  # of an image encoder with patches of 14 pixels at 224x224
_LEAST_8BIT = 4096  # weights of a layer from which bitsandbytes keeps its moments in 8 bits
_FLOAT = 4


@dataclass(frozen=True)
class StepNeeds:
    """What one process needs.

    Attributes:
        parts: bytes on its device, by part.
        ema_on_cpu: bytes in the CPU's memory.
        flops: of a canvas, forward and backward, recomputation included.
        canvases: of one batch.
        grid: the run's most frequent one, on which the step was made.
    """

    parts: dict[str, int]
    ema_on_cpu: int
    flops: float
    canvases: int
    grid: ViewGrid


def step_needs(config: DenoiserConfig, gpus: int = 1) -> StepNeeds:
    """Of the preset's networks with the configuration's changes, and of the frozen ones that it names, see `_frozen_here`.

    Args:
        config: of the run.
        gpus: of the run; several have copies of the whole model (DDP), and buffers in which gradients are summed.

    Raises:
        ValueError: unknown preset, arguments that no UNet has, or views that its canvas cannot be cut into.
    """
    empty = build_empty(find_preset(config.preset), _frozen_here(config)[0])
    frozen = sum(_bytes(empty[name]) for name in ("vae", "image_encoder"))
    vae, width = empty["vae"], empty["image_encoder"].config.hidden_size
    grid = max(config.view_grids.items(), key=lambda item: item[1])[0]
    canvases, counter = canvases_of(config.batch_size, grid), FlopCounterMode(display=False)
    with FakeTensorMode():
        parts = build_denoiser(
            config.preset, width, vae.config.latent_channels, spatial_factor(vae),
            texture_long_side=config.texture_long_side, pose_channels=config.pose_channels, **config.unet,
        )  # fmt: skip
        networks = nn.ModuleList([parts.unet, parts.pose_encoder, parts.feature_tokens]).train()
        if config.gradient_checkpointing:
            parts.unet.enable_gradient_checkpointing()
        for layer in networks.modules():
            if isinstance(layer, (nn.GroupNorm, nn.LayerNorm)):  # as autocast does on GPUs, but not on CPUs
                layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
        with Made(networks.parameters()) as made, counter:
            _step(config, parts, spatial_factor(vae), width, canvases, grid)
    weights = _bytes(networks)
    moments = sum(_moments(config, weight.numel()) for weight in networks.parameters())
    kept = weights if config.gradient_accumulation > 1 else 0  # gradients of the batches before
    ema = {} if config.ema_on_cpu else {"EMA weights": weights}
    summed = {"gradients, summed over GPUs": weights} if gpus > 1 else {}
    return StepNeeds(
        # The optimiser and the EMA need as much again as all gradients, which alone are left of the pass by then.
        {
            "weights": weights, "moments of AdamW": moments, **ema, "frozen networks": frozen,
            "activations and gradients, at their peak": max(made.peak + kept, 2 * weights), **summed,
        },
        weights if config.ema_on_cpu else 0,
        counter.get_total_flops() / canvases,
        canvases,
        grid,
    )  # fmt: skip


def _frozen_here(config: DenoiserConfig) -> tuple[PresetFiles, list[str]]:
    """Where the configurations of VAE and image encoder are, and what is to be said of them.

    In place of one that is not there yet, or is on the hub and unknown here, stands the preset's.
    """
    preset, said = find_preset(config.preset), []
    files, own = preset_files(preset, None, config.image_encoder, config.autoencoder), preset_files(preset)
    if config.autoencoder is not None and not _has_configuration(files.vae):
        files = replace(files, vae=own.vae)
        said.append(f"the preset's autoencoder in place of {config.autoencoder}, which is not here")
    known = [encoder.repository for encoder in IMAGE_ENCODERS.values()]
    named = config.image_encoder
    if named is not None and named not in known and not _has_configuration(files.image_encoder):
        files = replace(files, image_encoder=own.image_encoder)
        said.append(f"the preset's image encoder in place of {named}, which is not here")
    return files, said


def _has_configuration(files: ModelFiles) -> bool:
    return files.folder is not None and (files.folder / "config.json").is_file()


class Made(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the tensors that are made in it and still alive (`now`), and the most that there were at once (`peak`)."""

    def __init__(self, known: Iterable[torch.Tensor] = ()) -> None:
        """Storages of `known` are not counted."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen = WeakIdKeyDictionary({own.untyped_storage(): None for own in known}, ref_type=weakref.ref)

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage() not in self._seen:
                storage = leaf.untyped_storage()
                self._seen[storage] = None
                self._change(storage.nbytes())
                weakref.finalize(storage, self._change, -storage.nbytes())
        return output

    def _change(self, size: int) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)


def _step(
    config: DenoiserConfig, parts: Denoiser, factor: int, encoder_width: int, canvases: int, grid: ViewGrid
) -> None:
    unet, pose_encoder, feature_tokens = parts.unet, parts.pose_encoder, parts.feature_tokens
    multiple = view_multiple(len(unet.config.block_out_channels), factor)
    height, width = padded_size(config.data.height, config.data.width, multiple)
    canvas, side = (grid.rows * height, grid.cols * width), feature_tokens.config.texture_long_side // factor
    texture = torch.randn(canvases, feature_tokens.config.latent_channels, side, side)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.precision)
    with nullcontext() if half is None else torch.autocast("cpu", half):
        output = unet(
            torch.randn(canvases, unet.config.in_channels, *(side // factor for side in canvas)),
            torch.full((canvases,), 500),
            feature_tokens(
                torch.randn(canvases, _TOKENS, encoder_width), texture if feature_tokens.config.use_texture else None
            ).features,
            pose_features=pose_encoder(torch.rand(canvases, 3, *canvas)).pose_features,
            view_grid=grid,
        ).sample
    output.float().square().mean().backward()


def dry_run(
    config_path: str | Path, overrides: list[str] | None = None, gpus: int = 1, rate: float | None = None
) -> str:
    """Markdown: memory of a process by part, and how long the run takes.

    Args:
        config_path, overrides: as of `train_denoiser`.
        gpus: processes that the run is to have, one a GPU.
        rate: measured canvases/s of one of them; without it days are computed.

    Raises:
        FileNotFoundError, ValueError: see `load_config`, `accumulating` and `step_needs`; a number out of its range.
    """
    if gpus < 1 or (rate is not None and not rate > 0):
        raise ValueError(f"gpus is {gpus}, rate is {rate}; at least one GPU and a rate above 0 expected")
    config = accumulating(load_config(DenoiserConfig, config_path, overrides), gpus)
    needs = step_needs(config, gpus)
    step = config.batch_size * config.gradient_accumulation * gpus
    total = config.steps * step
    checkpointing = ["gradient checkpointing"] if config.gradient_checkpointing else []
    said = [config.optimizer, *checkpointing, *_frozen_here(config)[1]]
    lines = [
        f"{config.preset}, {config.data.height}x{config.data.width}, {config.precision}, {', '.join(said)}: batches of"
        f" {needs.canvases} canvases of {needs.grid} views; {gpus} GPU{'s' if gpus > 1 else ''} x"
        f" {config.gradient_accumulation} batch{'es' if config.gradient_accumulation > 1 else ''} a step",
        "",
        "| memory of a process | GiB |",
        "| --- | ---: |",
        *(f"| {name} | {size / 2**30:.2f} |" for name, size in needs.parts.items()),
        f"| together | {sum(needs.parts.values()) / 2**30:.2f} |",
        *([f"| EMA weights, in the CPU's memory | {needs.ema_on_cpu / 2**30:.2f} |"] if needs.ema_on_cpu else []),
        "",
        f"{config.steps:,} steps of {step} are {total:,} canvases of {needs.flops / 1e12:.2f} TFLOP, forward and back",
    ]
    if rate is not None:
        lines.append(f"at {rate:g} canvases/s a GPU, as measured: {total / (rate * gpus) / 86400:.1f} days")
        return "\n".join(lines)
    lines += [
        "",
        f"| computed at {SHARE:.0%} of a GPU's speed, not measured | canvases/s a GPU | GPU hours | days |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, speed in GPUS.items():
        computed = SHARE * speed * 1e12 / needs.flops
        hours = total / computed / 3600
        lines.append(f"| {gpus} x {name} | {computed:.1f} | {hours:,.0f} | {hours / gpus / 24:.1f} |")
    return "\n".join(lines)


def _moments(config: DenoiserConfig, weights: int) -> int:
    """Bytes of both moments of a layer's weights: with 8 bits each block of 256 has a scale too."""
    in_8_bits = config.optimizer == "adamw8bit" and weights >= _LEAST_8BIT
    return 2 * (weights + _FLOAT * -(-weights // 256)) if in_8_bits else 2 * _FLOAT * weights


def _bytes(network: nn.Module) -> int:
    """Of its weights in fp32."""
    return sum(_FLOAT * weight.numel() for weight in network.parameters())
