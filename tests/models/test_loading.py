"""Networks of presets from tiny folders of every family, and what is said where a file is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tiny_models import CLIP_SIDE, CROSS_ATTENTION, picture, pose, save_base, save_clip, save_dinov2, tiny_vae
from transformers import CLIPVisionModel, Dinov2Model

from imagpose import IMAGPosePipeline
from imagpose.models.autoencoder import PatchAutoencoderKL
from imagpose.models.loading import PresetNetworks, load_networks
from imagpose.models.scheduler import build_scheduler

TINY = {"cross_view_heads": 4}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "1.5": save_base(root / "sd15"),
        "2.1": save_base(root / "sd21", "2.1"),
        "clip": save_clip(root / "clip", 24),
        "dinov2": save_dinov2(root / "dinov2", 24),
        "dinov2 wide": save_dinov2(root / "dinov2-wide", 40),
    }


@pytest.fixture
def own(folders: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Copies of the folders, to be damaged."""
    return {
        name: Path(shutil.copytree(folders[name], tmp_path / folders[name].name)) for name in ("1.5", "dinov2", "clip")
    }


def load(folders: dict[str, Path], version: str = "1.5", encoder: str = "dinov2") -> PresetNetworks:
    torch.manual_seed(3)
    kind = "clip-b32" if encoder == "clip" else "dinov2-b"
    name = f"sd{version.replace('.', '')}-{kind}"
    return load_networks(name, folders[version], folders[encoder], **TINY)


@pytest.mark.parametrize(
    ("version", "encoder"), [("1.5", "clip"), ("1.5", "dinov2"), ("2.1", "clip"), ("2.1", "dinov2 wide")]
)
def test_base_and_encoder_make_a_pipeline_that_generates(
    folders: dict[str, Path], version: str, encoder: str, tmp_path: Path
) -> None:
    networks = load(folders, version, encoder)
    scheduler = build_scheduler(networks.prediction_type)
    pipeline = IMAGPosePipeline(**networks.components(), scheduler=scheduler, view_height=64, view_width=64)
    pipeline.save_pretrained(tmp_path)
    images = []
    for model in (pipeline, IMAGPosePipeline.from_pretrained(tmp_path)):
        model.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        call = {"num_inference_steps": 2, "generator": generator, "output_type": "pt"}
        images.append(model([picture(1)], [pose(2), pose(3)], **call).images)
    assert images[0].shape == (2, 3, 64, 64) and images[0].std() > 0.01
    torch.testing.assert_close(*images, rtol=0, atol=1e-2)  # sampling enlarges what other memory alignment changes
    assert pipeline.scheduler.config.prediction_type == {"1.5": "epsilon", "2.1": "v_prediction"}[version]


def test_the_bases_scheduler_says_what_its_unet_predicts(own: dict[str, Path]) -> None:
    file = own["1.5"] / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": "v_prediction"}))
    assert load(own).prediction_type == "v_prediction"
    shutil.rmtree(file.parent)
    assert load(own).prediction_type == "epsilon"  # the preset's


@pytest.mark.parametrize("version", ["1.5", "2.1"])
def test_weights_of_the_base_arrive(folders: dict[str, Path], version: str) -> None:
    networks = load(folders, version)
    stored = load_file(folders[version] / "unet/diffusion_pytorch_model.safetensors")
    state = networks.unet.state_dict()
    for name, weight in stored.items():
        assert torch.equal(state[name][:, :4] if name == "conv_in.weight" else state[name], weight), name
    vae = load_file(folders[version] / "vae/diffusion_pytorch_model.safetensors")
    assert all(torch.equal(networks.vae.state_dict()[name], weight) for name, weight in vae.items())
    assert networks.unet.config.cross_attention_dim == CROSS_ATTENTION[version]
    assert networks.unet.config.use_linear_projection == (version == "2.1")
    frozen = [*networks.vae.parameters(), *networks.image_encoder.parameters()]
    assert not any(weight.requires_grad for weight in frozen)
    assert all(weight.requires_grad for weight in networks.unet.parameters())


def test_of_a_clip_the_vision_tower_is_taken(folders: dict[str, Path]) -> None:
    networks = load(folders, encoder="clip")
    assert isinstance(networks.image_encoder, CLIPVisionModel)
    stored = load_file(folders["clip"] / "model.safetensors")
    vision = {name: weight for name, weight in stored.items() if name.startswith("vision_model.")}
    state = networks.image_encoder.state_dict()
    arrived = [any(torch.equal(weight, other) for other in state.values()) for weight in vision.values()]
    assert len(vision) > 20 and all(arrived)
    assert not any("text" in name for name in state)
    assert networks.image_processor.crop_size["height"] == CLIP_SIDE
    assert networks.image_processor.image_mean[0] == pytest.approx(0.48145466)


@pytest.mark.parametrize(("version", "encoder"), [("1.5", "dinov2"), ("1.5", "dinov2 wide"), ("2.1", "dinov2 wide")])
def test_image_tokens_are_projected_where_widths_differ(folders: dict[str, Path], version: str, encoder: str) -> None:
    networks = load(folders, version, encoder)
    assert isinstance(networks.image_encoder, Dinov2Model)
    width, wanted = networks.image_encoder.config.hidden_size, CROSS_ATTENTION[version]
    tokens = torch.randn(1, 3, width)
    features = networks.feature_tokens(tokens, torch.zeros(1, 4, 16, 16)).features[:, :3]
    if width == wanted:
        assert torch.equal(features, tokens)
    else:
        weight, bias = networks.feature_tokens.project.weight, networks.feature_tokens.project.bias
        assert weight.shape == (wanted, width)
        torch.testing.assert_close(features, tokens @ weight.T + bias)


def test_ablations_of_a_base(folders: dict[str, Path]) -> None:
    networks = load_networks("sd15-dinov2-b:B1", folders["1.5"], folders["dinov2"], **TINY)
    assert networks.unet.conv_in.weight.shape[1] == 5
    assert networks.feature_tokens.texture is None
    assert any(".cross_view." in name for name in networks.unet.state_dict())


def test_minis_family_has_own_networks() -> None:
    networks = load_networks("B2")
    shipped = IMAGPosePipeline.from_pretrained("mini")
    for part in ("vae", "image_encoder"):
        state = getattr(shipped, part).state_dict()
        assert all(torch.equal(state[name], weight) for name, weight in getattr(networks, part).state_dict().items())
    assert networks.image_processor.size == shipped.image_processor.size
    assert networks.prediction_type is None
    with pytest.raises(ValueError, match="preset B2 has no base"):
        load_networks("B2", "stable-diffusion")


def test_another_autoencoder_takes_the_place_of_the_bases(folders: dict[str, Path], tmp_path: Path) -> None:
    torch.manual_seed(9)
    vae = tiny_vae()
    vae.save_pretrained(tmp_path / "vae")
    networks = load_networks("sd15-dinov2-b", folders["1.5"], folders["dinov2"], tmp_path / "vae", **TINY)
    assert torch.equal(networks.vae.decoder.conv_in.weight, vae.decoder.conv_in.weight)


def test_a_base_in_half_precision_files_only(tmp_path: Path, folders: dict[str, Path]) -> None:
    base = save_base(tmp_path / "half", variant="fp16")
    assert not (base / "unet/diffusion_pytorch_model.safetensors").exists()
    networks = load_networks("sd15-dinov2-b", base, folders["dinov2"], **TINY)
    assert networks.unet.conv_out.weight.dtype == torch.float32


def test_an_autoencoder_of_the_first_days_is_understood(own: dict[str, Path]) -> None:
    """The files of Stable Diffusion 1.5 call the VAE's attention layers query, key, value and proj_attn."""
    path = own["1.5"] / "vae/diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    old = {}
    for name, weight in weights.items():
        for new_part, old_part in names.items():
            name = name.replace(f"attentions.0.{new_part}.", f"attentions.0.{old_part}.")
        old[name] = weight
    assert old.keys() != weights.keys()
    save_file(old, path, {"format": "pt"})
    vae = load_networks("sd15-dinov2-b", own["1.5"], own["dinov2"], **TINY).vae
    assert all(torch.equal(vae.state_dict()[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize(
    ("model", "file", "repository"),
    [
        ("1.5", "unet/config.json", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("1.5", "unet/diffusion_pytorch_model.safetensors", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("1.5", "vae/diffusion_pytorch_model.safetensors", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("dinov2", "config.json", "facebook/dinov2-base"),
        ("dinov2", "model.safetensors", "facebook/dinov2-base"),
        ("dinov2", "preprocessor_config.json", "facebook/dinov2-base"),
    ],
)
def test_a_missing_file_names_folder_file_and_repository(
    own: dict[str, Path], model: str, file: str, repository: str
) -> None:
    path = own[model] / file
    path.unlink()
    with pytest.raises(FileNotFoundError) as error:
        load(own)
    message = str(error.value)
    assert str(path.parent) in message and path.name in message and repository in message and "\n" not in message


def test_a_missing_folder_and_a_missing_shard(own: dict[str, Path]) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere: get it from facebook/dinov2-base"):
        load_networks("sd15-dinov2-b", own["1.5"], own["1.5"] / "nowhere", **TINY)
    UNet2DConditionModel.from_pretrained(own["1.5"] / "unet").save_pretrained(
        own["1.5"] / "parts", max_shard_size="2MB"
    )
    shutil.rmtree(own["1.5"] / "unet")
    shards = sorted((own["1.5"] / "parts").rename(own["1.5"] / "unet").glob("*.safetensors"))
    assert len(shards) > 1
    load(own)
    shards[1].unlink()
    with pytest.raises(FileNotFoundError, match=shards[1].name):
        load(own)


def test_damaged_and_incomplete_weights(own: dict[str, Path]) -> None:
    path = own["1.5"] / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    save_file(
        {name: weight for name, weight in weights.items() if not name.startswith("conv_out")}, path, {"format": "pt"}
    )
    with pytest.raises(ValueError, match=r"unet: 2 weights are missing, first conv_out.bias"):
        load(own)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=f"damaged weights file {path}"):
        load(own)


def test_a_preset_without_a_base_takes_its_own_embedded_networks() -> None:
    mini = load_networks("mini")
    assert isinstance(mini.vae, PatchAutoencoderKL) and mini.vae.config.latent_channels == 16
    assert mini.unet.config.in_channels == 33
    size = mini.image_processor.size
    tokens = mini.image_encoder(torch.zeros(1, 3, size["height"], size["width"])).last_hidden_state
    assert tokens.shape == (1, 55, 192)


def test_what_does_not_fit_is_refused(own: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="unet: .*depht"):
        load_networks("sd15-dinov2-b", own["1.5"], own["dinov2"], cross_view_depht=2)
    with pytest.raises(ValueError, match=r"preset 'sd16': one of mini, sd15-clip-b16"):
        load_networks("sd16", own["1.5"], own["dinov2"])
    config = own["dinov2"] / "config.json"
    config.write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(ValueError, match="dinov2"):
        load(own)


def test_without_a_network_the_repository_is_named(own: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        OSError, match=r"'facebook/dinov2-base' from the hub.*hf download facebook/dinov2-base"
    ) as error:
        load_networks("sd15-dinov2-b", own["1.5"], **TINY)
    assert "\n" not in str(error.value)
