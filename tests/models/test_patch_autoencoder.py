"""The patch autoencoder against diffusers' own on patches cut by a loop, and its tiling against the whole picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import nn

from imagpose.models.autoencoder import PatchAutoencoderKL, spatial_factor
from imagpose.models.folder import ModelFiles
from imagpose.models.loading import load_autoencoder

TINY = {"block_out_channels": (4, 8), "norm_num_groups": 2, "latent_channels": 5}
BLOCKS = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}


def tiny(**options) -> PatchAutoencoderKL:
    torch.manual_seed(0)
    return PatchAutoencoderKL(**{**TINY, **options}).eval()


def patches(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Channel c, row i and column j of a patch become channel (c side + i) side + j."""
    b, c, height, width = pixels.shape
    cut = torch.zeros(b, c * side * side, height // side, width // side)
    for channel in range(c):
        for i in range(side):
            for j in range(side):
                cut[:, (channel * side + i) * side + j] = pixels[:, channel, i::side, j::side]
    return cut


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(64, 48), (64, 56), (24, 8)])
def test_it_is_diffusers_autoencoder_on_patches(height: int, width: int) -> None:
    ours = tiny()
    torch.manual_seed(1)
    theirs = AutoencoderKL(
        in_channels=48, out_channels=48, layers_per_block=1, mid_block_add_attention=False, **TINY, **BLOCKS
    ).eval()
    ours.load_state_dict(theirs.state_dict())  # the same names and shapes, in both directions
    pixels = torch.rand(2, 3, height, width) * 2 - 1
    moments = ours.encode(pixels).latent_dist.parameters
    torch.testing.assert_close(moments, theirs.encode(patches(pixels, 4)).latent_dist.parameters)
    latents = torch.randn(2, 5, height // 8, width // 8)
    decoded = ours.decode(latents).sample
    assert decoded.shape == (2, 3, height, width)
    torch.testing.assert_close(patches(decoded, 4), theirs.decode(latents).sample)
    assert ours(pixels).sample.shape == pixels.shape


@pytest.mark.parametrize(
    ("options", "factor"),
    [({}, 8), ({"patch_size": 2}, 4), ({"patch_size": 2, "block_out_channels": (4, 4, 8)}, 8), ({"patch_size": 1}, 2)],
)
def test_factor(options: dict, factor: int) -> None:
    levels = len(options.get("block_out_channels", TINY["block_out_channels"]))
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    vae = tiny(**options, **blocks)
    assert spatial_factor(vae) == factor
    with torch.no_grad():
        assert vae.encode(torch.zeros(1, 3, 32, 16)).latent_dist.mean.shape == (1, 5, 32 // factor, 16 // factor)


def test_factor_of_stable_diffusions() -> None:
    assert (
        spatial_factor(AutoencoderKL(**{**TINY, "block_out_channels": (4,)}, down_block_types=("DownEncoderBlock2D",)))
        == 1
    )


def without_norms(vae: PatchAutoencoderKL) -> PatchAutoencoderKL:
    """Each output then depends on its neighbourhood only, not on the statistics of the picture or tile."""
    for module in list(vae.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    return vae


@torch.no_grad()
def test_tiles_join_to_the_whole_picture() -> None:
    vae = without_norms(tiny(sample_size=512))  # tiles of 64 latents, every 48; convolutions reach 12 latents at most
    pixels = torch.rand(1, 3, 648, 528) * 2 - 1
    encoded, latents = vae.encode(pixels).latent_dist.mean, torch.randn(1, 5, 81, 66)
    decoded = vae.decode(latents).sample
    vae.enable_tiling()
    for tiled, whole, f in (
        (vae.encode(pixels).latent_dist.mean, encoded, 1),
        (vae.decode(latents).sample, decoded, 8),
    ):
        assert tiled.shape == whole.shape
        for rows in (slice(0, 48 * f), slice(64 * f, None)):
            torch.testing.assert_close(tiled[..., rows, : 48 * f], whole[..., rows, : 48 * f], atol=1e-5, rtol=1e-4)
        assert float((tiled - whole).abs().max()) < 0.5 * float(whole.std())  # where two tiles are mixed
    vae.disable_tiling()
    assert torch.equal(vae.decode(latents).sample, decoded)


@torch.no_grad()
def test_slices_are_the_batch() -> None:
    vae, pixels = tiny(), torch.rand(3, 3, 16, 24)
    whole = vae(pixels).sample
    vae.enable_slicing()
    torch.testing.assert_close(vae(pixels).sample, whole)


def public(config: dict) -> dict:
    """As JSON, which knows lists only."""
    return json.loads(json.dumps({name: value for name, value in config.items() if not name.startswith("_")}))


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"decoder_block_out_channels": (8, 12), "scaling_factor": 0.7}])
def test_saved_and_loaded_it_is_the_same(options: dict, tmp_path: Path) -> None:
    vae = tiny(**options)
    vae.save_pretrained(tmp_path / "vae")
    stored = load_file(tmp_path / "vae/diffusion_pytorch_model.safetensors")
    for loaded in (
        PatchAutoencoderKL.from_pretrained(tmp_path / "vae"),
        load_autoencoder(ModelFiles(str(tmp_path), "vae")),
    ):
        assert type(loaded) is PatchAutoencoderKL
        assert public(loaded.config) == public(vae.config)
        assert all(torch.equal(weight, stored[name]) for name, weight in loaded.state_dict().items())
        pixels = torch.rand(1, 3, 16, 16)
        assert torch.equal(loaded(pixels).sample, vae(pixels).sample)
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_a_wider_decoder_leaves_the_encoder_as_it_is() -> None:
    vae, wide = tiny(), tiny(decoder_block_out_channels=(8, 12))
    shapes, wider = ({name: w.shape for name, w in part.state_dict().items()} for part in (vae, wide))
    changed = {name for name in {**shapes, **wider} if shapes.get(name) != wider.get(name)}
    assert changed and all(name.startswith("decoder.") for name in changed)
    assert wide.decoder.conv_in.out_channels == 12 and wide.decoder.conv_out.in_channels == 8


def test_what_is_refused(tmp_path: Path) -> None:
    for options, message in (
        ({"patch_size": 0}, "patch_size is 0; at least 1"),
        ({"sample_size": 100}, "sample_size is 100; a multiple of 32"),
        ({"decoder_block_out_channels": (8,)}, "decoder_block_out_channels has 1 levels, the encoder 2"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny(**options)
    with pytest.raises(ValueError, match="pictures of 36x48 pixels: sides that are multiples of 8"):
        tiny().encode(torch.zeros(1, 3, 36, 48))
    tiny().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "PatchAutoencoderKL", "patch_size": 2}))
    with pytest.raises(ValueError, match="104 weights are of another shape, first decoder.conv_in.bias"):
        load_autoencoder(ModelFiles(str(tmp_path)))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: not JSON"):
        load_autoencoder(ModelFiles(str(tmp_path)))
