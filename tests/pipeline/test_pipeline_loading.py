"""Saving, loading, and what is refused while loading."""

import gc
import json
import shutil

import numpy as np
import pytest
import torch
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES
from safetensors.torch import load_file, save_file

from imagpose import IMAGPosePipeline
from imagpose.models import folder as model_folder_module
from imagpose.models.autoencoder import PatchAutoencoderKL
from imagpose.pipeline.loading import load_pipeline

UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory, build_pipeline):
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    build_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def broken(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "broken")


def test_a_saved_pipeline_gives_identical_pictures(pipeline, saved, picture, pose, seeded):
    loaded = IMAGPosePipeline.from_pretrained(saved)
    loaded.set_progress_bar_config(disable=True)
    assert not loaded.unet.training
    results = [
        pipe([picture(0)], [pose(0)], num_inference_steps=2, generator=seeded(0), output_type="np").images
        for pipe in (pipeline, loaded)
    ]
    np.testing.assert_array_equal(*results)
    assert (loaded.config.view_height, loaded.config.view_width) == (32, 16)


def test_a_patch_autoencoder_comes_back_as_one(pipeline, tmp_path, picture, pose, seeded):
    vae = PatchAutoencoderKL(block_out_channels=(4, 8), norm_num_groups=2, latent_channels=4).eval()
    pipeline.register_modules(vae=vae)
    pipeline.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["vae"] == ["imagpose", "PatchAutoencoderKL"]
    loaded = IMAGPosePipeline.from_pretrained(tmp_path)
    assert type(loaded.vae) is PatchAutoencoderKL
    loaded.set_progress_bar_config(disable=True)
    results = [
        pipe([picture(0)], [pose(0)], num_inference_steps=2, generator=seeded(0), output_type="np").images
        for pipe in (pipeline, loaded)
    ]
    np.testing.assert_array_equal(*results)


def test_model_index_names_the_library_and_not_our_files(saved):
    index = json.loads((saved / "model_index.json").read_text())
    assert index["_class_name"] == "IMAGPosePipeline"
    assert index["unet"] == ["imagpose", "IMAGPoseUNet"]
    assert index["feature_tokens"] == ["imagpose", "FeatureTokens"]
    assert index["pose_encoder"] == ["imagpose", "PoseEncoder"]
    assert index["vae"] == ["diffusers", "AutoencoderKL"]
    assert index["image_encoder"] == ["transformers", "Dinov2Model"]
    assert index["image_processor"] == ["transformers", "BitImageProcessorPil"]
    assert (index["view_height"], index["view_width"]) == (32, 16)


def test_diffusers_table_of_loadable_classes_is_as_we_extend_it():
    # Semi-private in diffusers: a change of its form would silently freeze our file layout into saved models.
    assert LOADABLE_CLASSES["imagpose"] == {"ModelMixin": ["save_pretrained", "from_pretrained"]}
    assert LOADABLE_CLASSES["diffusers"]["ModelMixin"] == ["save_pretrained", "from_pretrained"]


def test_weights_saved_in_half_precision_are_loaded_in_full(build_pipeline, tmp_path):
    build_pipeline().to(torch.float16).save_pretrained(tmp_path / "half")
    loaded = IMAGPosePipeline.from_pretrained(tmp_path / "half")
    networks = [part for part in loaded.components.values() if isinstance(part, torch.nn.Module)]
    assert len(networks) == 5
    assert {parameter.dtype for network in networks for parameter in network.parameters()} == {torch.float32}


def test_shard_size_and_variant_reach_every_network(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path, variant="fp16", max_shard_size="4KB")
    for name in ("vae", "image_encoder", "unet", "pose_encoder", "feature_tokens"):
        files = [path.name for path in (tmp_path / name).glob("*.safetensors")]
        assert len(files) > 1 and all(".fp16" in file for file in files), (name, files)
    loaded = IMAGPosePipeline.from_pretrained(tmp_path, variant="fp16")
    assert torch.equal(loaded.unet.conv_out.weight, pipeline.unet.conv_out.weight)


def test_dtype_is_passed_on(saved):
    loaded = IMAGPosePipeline.from_pretrained(saved, dtype=torch.bfloat16)
    kinds = {component.dtype for component in loaded.components.values() if isinstance(component, torch.nn.Module)}
    assert kinds == {torch.bfloat16}


def test_components_can_be_given(saved):
    vae = IMAGPosePipeline.from_pretrained(saved).vae
    assert IMAGPosePipeline.from_pretrained(saved, vae=vae).vae is vae


def test_unknown_model_is_refused_with_the_legal_ones():
    with pytest.raises(ValueError, match="unknown model 'minni': give 'mini', the folder .* or a Hub id"):
        IMAGPosePipeline.from_pretrained("minni")


def test_the_name_of_a_model_is_no_path_of_the_machine(saved):
    names = [model_folder_module.model_name(model) for model in (saved, str(saved) + "/", "mini", "owner/name")]
    assert names == ["tiny", "tiny", "mini", "owner/name"]


def test_a_folder_without_a_pipeline_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no model_index.json"):
        IMAGPosePipeline.from_pretrained(tmp_path)


def test_missing_embedded_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(model_folder_module, "WEIGHTS_ROOT", tmp_path)
    with pytest.raises(ValueError, match="weights of 'mini' are not in this installation"):
        IMAGPosePipeline.from_pretrained("mini")


def refuse(folder):
    with pytest.raises(ValueError) as error:
        IMAGPosePipeline.from_pretrained(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_truncated_weights_are_refused_by_name(broken):
    path = broken / UNET_WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refuse(broken)


def test_weights_that_are_no_safetensors_are_refused_by_name(broken):
    path = broken / "vae/diffusion_pytorch_model.safetensors"
    path.write_bytes(b"not a weights file")
    assert str(path) in refuse(broken)


def test_missing_and_infinite_weights_are_refused_by_name(broken):
    path = broken / UNET_WEIGHTS
    weights = load_file(path)
    key = "conv_in.weight"
    save_file({name: value for name, value in weights.items() if name != key}, path)
    message = refuse(broken)
    assert str(path) in message and key in message
    weights[key][0, 0, 0, 0] = float("nan")
    save_file(weights, path)
    message = refuse(broken)
    assert str(path) in message and key in message


def test_a_damaged_configuration_is_refused_by_name(broken):
    (broken / "unet/config.json").write_text("{")
    assert str(broken / "unet") in refuse(broken)


def test_weights_of_another_shape_are_refused(broken):
    path = broken / UNET_WEIGHTS
    weights = load_file(path)
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :4].contiguous()
    save_file(weights, path)
    assert str(broken) in refuse(broken)


@pytest.mark.parametrize("is_on", [True, False])
def test_garbage_is_not_collected_while_a_pipeline_is_read_and_as_before_after_it(saved, monkeypatch, is_on):
    seen, made = [], []
    read = IMAGPosePipeline.from_pretrained

    def watched(*given, **named):
        seen.append(gc.isenabled())
        made.extend([] for _ in range(5000))
        if len(seen) == 2:
            raise OSError("cut short")
        return read(*given, **named)

    monkeypatch.setattr(IMAGPosePipeline, "from_pretrained", watched)
    threshold = gc.get_threshold()
    gc.set_threshold(10**9)  # so that nothing grows old by a look
    if not is_on:
        gc.disable()
    try:
        load_pipeline(str(saved), device="cpu")
        young = {id(own) for generation in (0, 1) for own in gc.get_objects(generation)}
        assert (gc.isenabled(), gc.get_freeze_count()) == (is_on, 0)
        assert not is_on or young.isdisjoint(map(id, made))
        with pytest.raises(OSError, match="cut short"):
            load_pipeline(str(saved), device="cpu")
        assert gc.isenabled() is is_on
    finally:
        gc.enable()
        gc.set_threshold(*threshold)
    assert seen == [False, False]


def test_what_a_caller_has_frozen_stays_so(saved):
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        load_pipeline(str(saved), device="cpu")
        assert gc.get_freeze_count() >= 0.9 * frozen > 0
    finally:
        gc.unfreeze()
