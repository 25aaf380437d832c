"""Weights of the published code: names, order of channels, and that ours computes with them what theirs does."""

from __future__ import annotations

import json
from pathlib import Path

import published
import pytest
import torch

from imagpose.models import official
from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.presets import build_denoiser
from imagpose.models.unet import IMAGPoseUNet
from imagpose.views import ViewGrid

WIDTHS, CONTEXT = (32, 32, 64, 64), 24
FACTS = Path(__file__).parents[3] / "shared" / "reference" / "official-keys.json"


@pytest.fixture(scope="module")
def weights() -> published.Weights:
    return published.random_weights(published.unet_shapes(WIDTHS, CONTEXT), seed=0)


def tiny_unet() -> IMAGPoseUNet:
    config = {"block_out_channels": WIDTHS, "cross_attention_dim": CONTEXT, "attention_head_dim": 8, "in_channels": 9}
    return IMAGPoseUNet(**config, **official.OFFICIAL_CROSS_VIEW).eval()


def shapes(state: dict[str, torch.Tensor]) -> published.Shapes:
    return {name: tuple(weight.shape) for name, weight in state.items()}


@pytest.mark.skipif(not FACTS.is_file(), reason="the list of names is not part of the repository")
def test_the_rule_of_names_is_that_of_the_published_files() -> None:
    facts = json.loads(FACTS.read_text())
    rules = {
        "all_denoising_unet_keys": published.unet_shapes((320, 640, 1280, 1280), 768),
        "pose_guider": published.pose_shapes(320),
        "patch": published.patch_shapes(768),
    }
    for name, rule in rules.items():
        assert {key: list(shape) for key, shape in rule.items()} == facts[name], name


def test_names_and_shapes_at_full_size() -> None:
    with torch.device("meta"):
        ours = build_denoiser("official", 768, 4, 8)
    theirs = official.denoiser_to_official(ours.unet.state_dict())
    assert shapes(theirs) == published.unet_shapes((320, 640, 1280, 1280), 768)
    assert len(theirs) == 1274
    assert sum(".motion_modules." in name for name in theirs) == 588
    assert shapes(official.pose_encoder_to_official(ours.pose_encoder.state_dict())) == published.pose_shapes(320)
    assert shapes(official.texture_to_official(ours.feature_tokens.state_dict())) == published.patch_shapes(768)


@torch.no_grad()
def test_unet_computes_what_the_published_code_does(weights: published.Weights) -> None:
    unet = tiny_unet()
    unet.load_state_dict(official.denoiser_from_official(weights))
    generator = torch.Generator().manual_seed(1)
    noise, masked = torch.randn(2, 2, 4, 32, 16, generator=generator)
    mask = torch.randint(0, 2, (2, 1, 32, 16), generator=generator).float()
    context, pose = torch.randn(2, 5, CONTEXT, generator=generator), torch.randn(2, 32, 32, 16, generator=generator)
    timesteps = torch.tensor([3, 941])

    theirs = published.unet_output(weights, torch.cat([noise, mask, masked], 1), timesteps, context, pose)
    ours = unet(torch.cat([noise, masked, mask], 1), timesteps, context, pose, view_grid=ViewGrid(2, 2)).sample
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-4)
    assert theirs.std() > 0.1


@pytest.mark.parametrize("site", ["down_blocks.3.motion_modules.1", "mid_block.motion_modules.0"])
@pytest.mark.parametrize(
    "part", ["norms.1.bias", "attention_blocks.1.pos_encoder.pe", "ff.net.2.weight", "norm.weight"]
)
@torch.no_grad()
def test_the_comparison_sees_every_part(weights: published.Weights, site: str, part: str) -> None:
    """A small change of one weight of one module moves the plain computation by far more than the tolerance."""
    inner = f"{site}.temporal_transformer."
    name = inner + (part if part == "norm.weight" else f"transformer_blocks.0.{part}")
    changed = {**weights, name: weights[name] + torch.linspace(-1, 1, weights[name].shape[-1])}
    generator = torch.Generator().manual_seed(1)
    given = (
        torch.randn(1, 9, 16, 16, generator=generator),
        torch.tensor([500]),
        torch.randn(1, 5, CONTEXT, generator=generator),
        torch.randn(1, 32, 16, 16, generator=generator),
    )
    difference = published.unet_output(weights, *given) - published.unet_output(changed, *given)
    assert difference.abs().max() > 5e-3


@torch.no_grad()
def test_pose_encoder_and_texture_tokens_compute_what_the_published_code_does() -> None:
    weights = published.random_weights(published.pose_shapes(32), seed=2)
    encoder = PoseEncoder(32)
    encoder.load_state_dict(official.pose_encoder_from_official(weights))
    skeleton = torch.rand(2, 3, 32, 48)
    torch.testing.assert_close(
        encoder(skeleton).pose_features, published.pose_output(weights, skeleton), rtol=1e-4, atol=1e-5
    )

    patch = published.random_weights(published.patch_shapes(CONTEXT), seed=3)
    tokens = FeatureTokens(token_width=CONTEXT, encoder_width=CONTEXT)
    tokens.load_state_dict(official.texture_from_official(patch))
    image, latents = torch.randn(1, 3, CONTEXT), torch.randn(1, 4, 32, 16)
    features = tokens(image, latents).features
    assert torch.equal(features[:, :3], image)
    for index in range(2):
        cell = latents[0, :, 16 * index : 16 * index + 16]
        expected = torch.tensor([float((kernel * cell).sum()) for kernel in patch["proj.weight"]]) + patch["proj.bias"]
        torch.testing.assert_close(features[0, 3 + index], expected, rtol=1e-4, atol=1e-4)


def test_both_ways_are_exact(weights: published.Weights) -> None:
    half = {name: weight.half() for name, weight in weights.items()}
    back = official.denoiser_to_official(official.denoiser_from_official(half))
    assert back.keys() == half.keys()
    assert all(torch.equal(back[name], half[name]) and back[name].dtype == torch.float16 for name in half)


def test_the_mask_comes_last_here_and_fifth_there() -> None:
    with torch.device("meta"):
        state = tiny_unet().state_dict()
    state["conv_in.weight"] = torch.arange(9.0).view(1, 9, 1, 1).expand(32, 9, 3, 3)
    assert official.denoiser_to_official(state)["conv_in.weight"][0, :, 0, 0].tolist() == [0, 1, 2, 3, 8, 4, 5, 6, 7]
