"""What diffusers promises of a network: outputs, configuration, attention slicing, caches, compilation, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from diffusers import FasterCacheConfig, FirstBlockCacheConfig, MagCacheConfig, PyramidAttentionBroadcastConfig
from diffusers.utils import BaseOutput

from imagpose import __version__
from imagpose.models.autoencoder import PatchAutoencoderKL
from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.presets import PRESETS, build_denoiser
from imagpose.models.unet import IMAGPoseUNet
from imagpose.views import ViewGrid

BuildUNet = Callable[..., IMAGPoseUNet]


def inputs(grid: ViewGrid = ViewGrid(2, 2), side: int = 8, seed: int = 0) -> dict[str, Any]:
    """Of `small_unet`, for one canvas."""
    generator = torch.Generator().manual_seed(seed)
    size = (grid.rows * side, grid.cols * side)
    return {
        "sample": torch.randn(1, 9, *size, generator=generator),
        "timestep": torch.tensor(500 + seed),
        "encoder_hidden_states": torch.randn(1, 5, 12, generator=generator),
        "pose_features": torch.randn(1, 8, *size, generator=generator),
        "view_grid": grid,
        "return_dict": False,
    }


@pytest.mark.parametrize(
    ("network", "given", "field"),
    [
        (FeatureTokens(6, 5), (torch.randn(2, 3, 5), torch.randn(2, 4, 16, 16)), "features"),
        (FeatureTokens(6, 5, use_texture=False), (torch.randn(2, 3, 5),), "features"),
        (PoseEncoder(8), (torch.rand(2, 3, 16, 16),), "pose_features"),
    ],
)
def test_outputs_are_dataclasses_and_tuples_on_demand(network, given, field) -> None:
    output = network(*given)
    assert is_dataclass(output) and isinstance(output, BaseOutput) and list(output.keys()) == [field]
    pair = network(*given, return_dict=False)
    assert isinstance(pair, tuple) and len(pair) == 1
    assert torch.equal(pair[0], output[field]) and torch.equal(pair[0], output[0])


def test_folders_say_which_version_wrote_them(small_unet: BuildUNet, tmp_path: Path) -> None:
    vae = PatchAutoencoderKL(block_out_channels=(4, 8), norm_num_groups=2, latent_channels=4)
    for network in (small_unet(), FeatureTokens(6, 5), PoseEncoder(8), vae):
        folder = tmp_path / type(network).__name__
        network.save_pretrained(folder)
        stored = json.loads((folder / "config.json").read_text())
        assert stored["_imagpose_version"] == __version__ and "_diffusers_version" in stored
        (folder / "config.json").write_text(json.dumps({**stored, "_imagpose_version": "0.0.1"}))
        type(network).from_pretrained(folder).save_pretrained(folder)
        assert json.loads((folder / "config.json").read_text())["_imagpose_version"] == __version__


@pytest.mark.parametrize("slice_size", ["auto", "max", 1])
@torch.no_grad()
def test_sliced_attention_computes_the_same(small_unet: BuildUNet, slice_size) -> None:
    unet = small_unet(attention_head_dim=(2, 1, 4))  # one head cannot be halved
    whole = unet(**inputs())[0]
    unet.set_attention_slice(slice_size)
    assert {type(own).__name__ for own in unet.attn_processors.values()} == {"SlicedAttnProcessor"}
    torch.testing.assert_close(unet(**inputs())[0], whole, rtol=1e-4, atol=1e-5)
    unet.set_attention_slice(None)
    assert torch.equal(unet(**inputs())[0], whole)


@pytest.mark.parametrize("name", ["mini", "sd15-dinov2-b", "sd21-dinov2-b", "official"])
def test_attention_can_be_sliced_in_every_preset(name: str) -> None:
    assert name in PRESETS
    with torch.device("meta"):
        unet = build_denoiser(name, encoder_width=8, latent_channels=4, factor=8).unet
    unet.set_attention_slice("auto")
    sizes = {own.slice_size for own in unet.attn_processors.values()}
    assert min(sizes) >= 1 and len(unet.attn_processors) == sum(
        hasattr(module, "sliceable_head_dim") for module in unet.modules()
    )


@torch.no_grad()
def test_a_cache_keeps_attention_of_the_step_before(small_unet: BuildUNet) -> None:
    unet = small_unet()
    first, second = inputs(seed=1), inputs(seed=2)
    exact = [unet(**given)[0] for given in (first, second)]
    unet.enable_cache(
        PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(0, 1000),
            current_timestep_callback=lambda: 500,
        )
    )
    cached = [unet(**given)[0] for given in (first, second)]
    assert torch.equal(cached[0], exact[0])
    assert (cached[1] - exact[1]).abs().max() > 1e-4
    unet._reset_stateful_cache()
    assert torch.equal(unet(**second)[0], exact[1])
    unet.disable_cache()
    assert [torch.equal(unet(**given)[0], whole) for given, whole in zip((first, second), exact, strict=True)]


@pytest.mark.parametrize(
    "config", [FasterCacheConfig(), FirstBlockCacheConfig(), MagCacheConfig(num_inference_steps=4, calibrate=True)]
)
def test_caches_that_do_nothing_are_refused(small_unet: BuildUNet, config: Any) -> None:
    unet = small_unet()
    with pytest.raises(ValueError, match=f"{type(config).__name__} is made for transformers"):
        unet.enable_cache(config)
    assert not unet.is_cache_enabled


@torch.no_grad()
def test_compiled_without_a_break_and_again_only_for_a_new_grid_or_size(small_unet: BuildUNet) -> None:
    small = {
        "block_out_channels": (8,),
        "down_block_types": ("DownBlock2D",),
        "mid_block_type": None,
        "up_block_types": ("CrossAttnUpBlock2D",),
    }  # one level takes a quarter of the time; CVA is behind a transformer and behind resnets alone
    unet = small_unet(cross_view_placement="every_block", **small)
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(unet, backend=counter, fullgraph=True, dynamic=False)
    kinds = [
        (1, inputs()),
        (1, inputs(seed=3)),
        (2, inputs(ViewGrid(1, 2))),
        (3, inputs(ViewGrid(1, 2), side=16)),
        (3, inputs(seed=4)),
        (3, inputs(ViewGrid(1, 2), seed=5)),
    ]
    for compilations, given in kinds:
        torch.testing.assert_close(compiled(**given)[0], unet(**given)[0])
        assert counter.frame_count == compilations


@torch.no_grad()
def test_no_forward_asks_for_hooks(small_unet: BuildUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dtype` looks for them in every module, and a pipeline's first call leaves some: compiled, it would be again."""
    unet = small_unet(input_skip=True)

    def refuse(_: object) -> None:
        raise AssertionError("forward asks for the dtype of the network")

    monkeypatch.setattr(type(unet), "dtype", property(refuse))
    assert unet(**inputs())[0].isfinite().all()


@pytest.mark.parametrize("grid", [None, ViewGrid(1, 2)])
@torch.no_grad()
def test_exported_it_computes_the_same(small_unet: BuildUNet, grid: ViewGrid | None) -> None:
    unet = small_unet()
    example, other = (inputs(grid or ViewGrid(2, 2), seed=seed) for seed in range(2))
    if grid is None:  # the default is left out
        del example["view_grid"], other["view_grid"]
    program = torch.export.export(unet, (), example)
    torch.testing.assert_close(program.module()(**other)[0], unet(**other)[0])
