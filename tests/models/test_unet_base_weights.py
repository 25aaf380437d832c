"""Our UNet from the weights of a Stable Diffusion folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from imagpose.models.presets import ABLATIONS
from imagpose.models.unet import IMAGPoseUNet
from imagpose.views import ViewGrid

# The released code's 21 motion modules (its down_blocks.*.motion_modules.* and so on), each beside an attention of ours.
SITES = (
    [f"down_blocks.{block}.attentions.{index}" for block in range(4) for index in range(2)]
    + ["mid_block.attentions.0"]
    + [f"up_blocks.{block}.attentions.{index}" for block in range(4) for index in range(3)]
)


def sites(unet: torch.nn.Module) -> list[str]:
    suffix = ".cross_view.proj_out.weight"
    return sorted(key.removesuffix(suffix) for key in unet.state_dict() if key.endswith(suffix))


@pytest.mark.parametrize("placement", ["cross_attention", "every_block", None])
@torch.no_grad()
def test_loads_all_base_keys_and_computes_the_same(
    stable_diffusion: UNet2DConditionModel, placement: str | None, tmp_path: Path
) -> None:
    stable_diffusion.save_pretrained(tmp_path / "unet")
    base = UNet2DConditionModel.from_pretrained(tmp_path, subfolder="unet")
    ours = IMAGPoseUNet.from_unet2d(base, cross_view_placement=placement, cross_view_heads=4).eval()

    state, base_state = ours.state_dict(), base.state_dict()
    assert set(base_state) == {key for key in state if ".cross_view." not in key}
    for key, weight in base_state.items():
        loaded = state[key][:, :4] if key == "conv_in.weight" else state[key]
        assert torch.equal(loaded, weight), key
    assert state["conv_in.weight"].shape[1] == 9
    assert not state["conv_in.weight"][:, 4:].any()

    noise, conditions = torch.randn(2, 4, 16, 32), torch.randn(2, 5, 16, 32)
    timesteps, features = torch.tensor([7, 801]), torch.randn(2, 6, 24)
    expected = base(noise, timesteps, features).sample
    pose_features = torch.zeros(2, base.config.block_out_channels[0], 16, 32)
    output = ours(
        torch.cat([noise, conditions], 1), timesteps, features, pose_features, view_grid=ViewGrid(2, 2)
    ).sample
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


def test_cross_view_attention_is_where_the_released_code_has_it(stable_diffusion: UNet2DConditionModel) -> None:
    ours = IMAGPoseUNet.from_unet2d(stable_diffusion, cross_view_placement="every_block", cross_view_heads=4)
    assert sites(ours) == sorted(SITES)
    without = {"down_blocks.3", "up_blocks.0"}
    ours = IMAGPoseUNet.from_unet2d(stable_diffusion, cross_view_placement="cross_attention", cross_view_heads=4)
    assert sites(ours) == sorted(name for name in SITES if name.rsplit(".", 2)[0] not in without)


def test_parameters_at_stable_diffusion_size() -> None:
    with torch.device("meta"):
        ours = IMAGPoseUNet(
            in_channels=9,
            cross_attention_dim=768,
            cross_view_placement="every_block",
            cross_view_depth=2,
            cross_view_feed_forward=True,
        )
    added = sum(weight.numel() for name, weight in ours.named_parameters() if ".cross_view." in name)
    total = sum(weight.numel() for weight in ours.parameters())
    assert (round(added / 1e6, 1), round(total / 1e6, 1)) == (453.2, 1312.7)  # the released checkpoints' counts


@pytest.mark.parametrize("name", sorted(ABLATIONS))
@torch.no_grad()
def test_ablations_start_from_the_base_too(stable_diffusion: UNet2DConditionModel, name: str) -> None:
    config = {"cross_view_heads": 4, **ABLATIONS[name].unet_arguments(4)}
    ours = IMAGPoseUNet.from_unet2d(stable_diffusion, **config).eval()
    sample = torch.randn(1, config["in_channels"], 8, 8)
    features = torch.randn(1, 6, 24)
    expected = stable_diffusion(sample[:, :4], 500, features).sample
    torch.testing.assert_close(
        ours(sample, 500, features, view_grid=ViewGrid(1, 1)).sample, expected, rtol=0, atol=1e-5
    )


def test_dtype_of_the_base_is_kept(stable_diffusion: UNet2DConditionModel) -> None:
    ours = IMAGPoseUNet.from_unet2d(stable_diffusion.to(torch.bfloat16), cross_view_heads=4)
    assert {weight.dtype for weight in ours.parameters()} == {torch.bfloat16}


def test_what_is_no_base_is_refused(stable_diffusion: UNet2DConditionModel, tmp_path: Path) -> None:
    stable_diffusion.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="from_unet2d"):
        IMAGPoseUNet.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="4 input channels"):
        IMAGPoseUNet.from_unet2d(stable_diffusion, in_channels=3)
    with pytest.raises(ValueError, match="differ"):
        IMAGPoseUNet.from_unet2d(stable_diffusion, layers_per_block=1, cross_view_heads=4)
