"""Our UNet: where poses, grid and cross-view attention enter, and that diffusers' features work on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import Transformer2DModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_blocks import DownBlock2D, UpBlock2D

from imagpose.models.cross_view import CrossViewAttention
from imagpose.models.cross_view_blocks import CrossViewTransformer2DModel, add_cross_view
from imagpose.models.unet import IMAGPoseUNet
from imagpose.views import ViewGrid

BuildUNet = Callable[..., IMAGPoseUNet]
PLACEMENTS = ["cross_attention", "every_block"]
SQUARE = ViewGrid(2, 2)


def inputs(grid: ViewGrid, batch: int = 2, channels: int = 9, seed: int = 3) -> dict:
    generator = torch.Generator().manual_seed(seed)
    height, width = grid.rows * 8, grid.cols * 4
    return {
        "sample": torch.randn(batch, channels, height, width, generator=generator),
        "timestep": torch.randint(0, 1000, (batch,), generator=generator),
        "encoder_hidden_states": torch.randn(batch, 5, 12, generator=generator),
        "pose_features": torch.randn(batch, 8, height, width, generator=generator),
        "view_grid": grid,
    }


def awake_cross_view(channels: int) -> CrossViewAttention:
    module = CrossViewAttention(channels, 2, norm_num_groups=4)
    torch.nn.init.normal_(module.proj_out.weight)
    return module


@torch.no_grad()
def test_pose_features_are_added_behind_conv_in(small_unet: BuildUNet) -> None:
    """A pose feature that is the same everywhere acts as conv_in's bias: in the first skip connection too."""
    unet, biased = small_unet(), small_unet()
    shift = torch.randn(8)
    biased.conv_in.bias += shift
    given = inputs(SQUARE)
    given["pose_features"] = shift[None, :, None, None].expand(2, 8, 16, 8)
    expected = biased(**{**given, "pose_features": None}).sample
    torch.testing.assert_close(unet(**given).sample, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(unet(**{**given, "pose_features": None}).sample, expected, atol=1e-2)


@torch.no_grad()
def test_cross_view_attention_follows_the_transformer() -> None:
    torch.manual_seed(0)
    stock = Transformer2DModel(2, 4, in_channels=8, norm_num_groups=4, cross_attention_dim=12)
    plain = Transformer2DModel(2, 4, in_channels=8, norm_num_groups=4, cross_attention_dim=12)
    plain.load_state_dict(stock.state_dict())
    cross_view = awake_cross_view(8)
    ours = CrossViewTransformer2DModel.from_transformer(stock, cross_view)
    hidden, features = torch.randn(2, 8, 4, 6), torch.randn(2, 5, 12)
    expected = cross_view(plain(hidden, features, return_dict=False)[0], ViewGrid(2, 3))
    given = {"view_grid": ViewGrid(2, 3)}
    torch.testing.assert_close(ours(hidden, features, cross_attention_kwargs=given).sample, expected)
    assert given == {"view_grid": ViewGrid(2, 3)}


@torch.no_grad()
def test_down_block_without_attention_keeps_the_skips_behind_its_sites() -> None:
    torch.manual_seed(0)
    block = DownBlock2D(8, 16, temb_channels=10, num_layers=2, resnet_groups=4)
    keys = set(block.state_dict())
    ours = add_cross_view(block, "every_block", awake_cross_view)
    hidden, time = torch.randn(2, 8, 8, 8), torch.randn(2, 10)
    last, skips = ours(hidden, time, torch.zeros(2, 1, 12), cross_attention_kwargs={"view_grid": SQUARE})

    expected = []
    for resnet, site in zip(block.resnets, ours.attentions, strict=True):
        hidden = site.cross_view(resnet(hidden, time), SQUARE)
        expected.append(hidden)
    expected.append(block.downsamplers[0](hidden))
    assert len(skips) == 3
    for skip, value in zip(skips, expected, strict=True):
        torch.testing.assert_close(skip, value)
    torch.testing.assert_close(last, expected[-1])
    assert keys == {key for key in ours.state_dict() if ".cross_view." not in key}


@torch.no_grad()
def test_up_block_without_attention_mixes_views_behind_each_resnet() -> None:
    torch.manual_seed(0)
    block = UpBlock2D(8, prev_output_channel=24, out_channels=16, temb_channels=10, num_layers=2, resnet_groups=4)
    ours = add_cross_view(block, "every_block", awake_cross_view)
    hidden, time = torch.randn(2, 24, 8, 8), torch.randn(2, 10)
    skips = (torch.randn(2, 8, 8, 8), torch.randn(2, 16, 8, 8))
    output = ours(hidden, skips, time, torch.zeros(2, 1, 12), cross_attention_kwargs={"view_grid": SQUARE})

    for resnet, site, skip in zip(block.resnets, ours.attentions, reversed(skips), strict=True):
        hidden = site.cross_view(resnet(torch.cat([hidden, skip], 1), time), SQUARE)
    torch.testing.assert_close(output, block.upsamplers[0](hidden))


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("grid", ["1x1", "1x2", "2x1", "2x3", "3x2", "3x3"])
@torch.no_grad()
def test_every_cross_view_attention_gets_the_grid_of_the_call(small_unet: BuildUNet, placement: str, grid: str) -> None:
    unet, view_grid, seen = small_unet(cross_view_placement=placement), ViewGrid.parse(grid), []
    attentions = [module for module in unet.modules() if isinstance(module, CrossViewAttention)]
    for module in attentions:
        module.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    given = inputs(view_grid)
    assert unet(**given).sample.shape == (2, 4, *given["sample"].shape[-2:])
    assert seen == [view_grid] * (7 if placement == "cross_attention" else 10)


@pytest.mark.parametrize("placement", PLACEMENTS)
@torch.no_grad()
def test_canvases_of_a_batch_do_not_mix(small_unet: BuildUNet, placement: str) -> None:
    unet, given = small_unet(cross_view_placement=placement), inputs(ViewGrid(2, 3), batch=3)
    together = unet(**given).sample
    for index in range(3):
        alone = {key: value[index : index + 1] if torch.is_tensor(value) else value for key, value in given.items()}
        torch.testing.assert_close(together[index : index + 1], unet(**alone).sample, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [{"cross_view_placement": "every_block", "cross_view_depth": 2}, {"in_channels": 4}])
@torch.no_grad()
def test_saved_and_loaded_is_the_same(small_unet: BuildUNet, config: dict, tmp_path: Path) -> None:
    unet = small_unet(cross_view_feed_forward=True, **config)
    unet.save_pretrained(tmp_path)
    loaded = IMAGPoseUNet.from_pretrained(tmp_path)
    given = inputs(SQUARE, channels=unet.config.in_channels)
    assert torch.equal(loaded(**given).sample, unet(**given).sample)
    assert loaded.state_dict().keys() == unet.state_dict().keys()
    for key in (
        "cross_view_placement",
        "cross_view_depth",
        "cross_view_feed_forward",
        "in_channels",
        "layers_per_block",
    ):
        assert loaded.config[key] == unet.config[key]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_gradient_checkpointing_gives_the_same_gradients(small_unet: BuildUNet, placement: str) -> None:
    plain = small_unet(cross_view_placement=placement).train()
    saving = small_unet(cross_view_placement=placement).train()
    saving.enable_gradient_checkpointing()
    given, other = inputs(ViewGrid(3, 2)), inputs(ViewGrid(2, 3), seed=9)
    plain(**given).sample.square().mean().backward()
    loss = saving(**given).sample.square().mean()
    saving(**other)  # a call on another grid must not change what backward recomputes
    loss.backward()
    for (name, expected), actual in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_gradient_checkpointing_recomputes_cross_view_attention(small_unet: BuildUNet) -> None:
    unet, calls = small_unet().train(), []
    unet.enable_gradient_checkpointing()
    layer = unet.mid_block.attentions[0].cross_view.layers[0]
    layer.register_forward_hook(lambda *_: calls.append(1))
    unet(**inputs(SQUARE)).sample.mean().backward()
    assert len(calls) == 2


@torch.no_grad()
def test_attention_processors_can_be_set(small_unet: BuildUNet) -> None:
    unet, given = small_unet(), inputs(SQUARE)
    expected = unet(**given).sample
    names = [name for name in unet.attn_processors if ".cross_view." in name]
    assert len(names) == 7
    assert all(name.endswith("attn1.processor") for name in names)  # what diffusers takes for self-attention
    unet.set_attn_processor(AttnProcessor())
    assert all(isinstance(processor, AttnProcessor) for processor in unet.attn_processors.values())
    torch.testing.assert_close(unet(**given).sample, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_bf16(small_unet: BuildUNet) -> None:
    unet, given = small_unet(cross_view_placement="every_block", cross_view_feed_forward=True), inputs(SQUARE)
    expected = unet(**given).sample
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = unet(**given).sample
    unet.to(torch.bfloat16)
    half = {key: value.to(torch.bfloat16) if torch.is_tensor(value) and value.is_floating_point() else value
            for key, value in given.items()}  # fmt: skip
    pure = unet(**half).sample
    assert pure.dtype == torch.bfloat16
    mixed = unet(**{**half, "pose_features": given["pose_features"]}).sample
    assert mixed.dtype == torch.bfloat16
    for output in (under_autocast, pure, mixed):
        assert (output.float() - expected).abs().mean() < 0.05 * expected.abs().mean()


@torch.no_grad()
def test_views_along_the_batch_axis_are_seen_alone(small_unet: BuildUNet) -> None:
    unet = small_unet(in_channels=4, view_layout="batch", cross_view_placement=None)
    single = small_unet(in_channels=4, cross_view_placement=None)
    given = inputs(ViewGrid(2, 3), channels=4)
    output = unet(**given).sample
    for row in range(2):
        for col in range(3):
            cell = (..., slice(row * 8, row * 8 + 8), slice(col * 4, col * 4 + 4))
            cut = {key: given[key][cell] for key in ("sample", "pose_features")}
            alone = single(**{**given, **cut, "view_grid": ViewGrid(1, 1)}).sample
            torch.testing.assert_close(output[cell], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_views_along_the_batch_axis_meet_in_cross_view_attention(small_unet: BuildUNet) -> None:
    unet, given = small_unet(view_layout="batch"), inputs(SQUARE)
    changed = {**given, "sample": given["sample"].clone()}
    changed["sample"][0, :, :8, :4] += 1
    difference = (unet(**given).sample - unet(**changed).sample).abs()
    assert difference[0, :, 8:, 4:].max() > 1e-3
    assert difference[1].max() == 0


def test_bad_settings_are_refused(small_unet: BuildUNet) -> None:
    with pytest.raises(ValueError, match="cross_view_placement 'all'"):
        small_unet(cross_view_placement="all")
    with pytest.raises(ValueError, match="view_layout 'time'"):
        small_unet(view_layout="time")
    with pytest.raises(ValueError, match="AttnDownBlock2D"):
        small_unet(down_block_types=("AttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"))
    unet, given = small_unet(), inputs(SQUARE)
    with pytest.raises(ValueError, match="12x8 latents does not fit a grid of 2x2.* multiples of 4"):
        unet(**{**given, "sample": given["sample"][:, :, :12]})


@torch.no_grad()
def test_an_input_skip_mixes_in_what_is_linear_in_noise_and_shown_latents(
    small_unet: BuildUNet, tmp_path: Path
) -> None:
    """By hand, canvas by canvas, with the gate half open and closed; bf16 layers do not round the linear part."""
    plain, unet = small_unet(), small_unet(input_skip=True)
    state = plain.state_dict()
    for name in ("conv_out.weight", "conv_out.bias"):
        state[name] = torch.cat([state[name], torch.zeros_like(state[name][:1])])
    unet.load_state_dict(state, strict=False)
    given = inputs(SQUARE)
    with torch.autocast("cpu", torch.bfloat16):
        layers = plain(**given).sample.float()
    for bias, gate in ((0.0, 0.5), (-200.0, 0.0), (200.0, 1.0)):
        unet.conv_out.bias[-1] = bias
        with torch.autocast("cpu", torch.bfloat16):
            found = unet(**given).sample
        for canvas in range(2):
            embedded = unet.time_embedding(unet.time_proj(given["timestep"][canvas : canvas + 1]))
            weights = unet.linear_skip.coefficients(embedded)[0]
            for channel in range(4):
                noisy, shown = given["sample"][canvas, channel], given["sample"][canvas, 4 + channel]
                linear = weights[channel] * noisy + weights[4 + channel] * shown
                expected = (1 - gate) * layers[canvas, channel] + gate * linear
                torch.testing.assert_close(found[canvas, channel], expected, rtol=0, atol=1e-5)
    unet.save_pretrained(tmp_path)
    again = IMAGPoseUNet.from_pretrained(tmp_path)
    torch.testing.assert_close(again(**given).sample, unet(**given).sample, rtol=0, atol=0)
    with pytest.raises(ValueError, match="input_skip needs masked latents: in_channels 9"):
        small_unet(input_skip=True, in_channels=5)
