"""What diffusers' users expect of a pipeline beside its pictures: forms of input, memory options, caches, loading, cards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMInverseScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    PyramidAttentionBroadcastConfig,
)
from diffusers.utils import hub_utils

import imagpose
from imagpose import IMAGPosePipeline
from imagpose.models.autoencoder import PatchAutoencoderKL

CPU = "cpu:0"  # a device of its own for diffusers, which refuses to offload from "cpu"


@pytest.fixture
def draw(picture, pose, seeded):
    """Runs a pipeline on one source and two poses."""

    def run(pipe: IMAGPosePipeline, **options: Any) -> np.ndarray:
        settings = {"num_inference_steps": 2, "generator": seeded(0), "output_type": "np"}
        return pipe([picture(0)], [pose(0), pose(1)], **{**settings, **options}).images

    return run


@pytest.fixture
def arrays(picture) -> np.ndarray:
    """Four pictures, (4, H, W, 3) in [0, 1]."""
    return np.stack([np.asarray(picture(seed)) / 255 for seed in range(4)])


def as_tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).movedim(-1, -3)


@pytest.mark.parametrize("form", [np.asarray, as_tensor])
class TestArraysAndTensors:
    def test_a_leading_one_is_one_picture(self, pipeline, pose, seeded, arrays, form) -> None:
        def run(sources):
            return pipeline(sources, pose(0), num_inference_steps=1, generator=seeded(0), output_type="np").images

        expected = run(form(arrays[0]))
        assert expected.shape == (1, 32, 16, 3)
        np.testing.assert_array_equal(run(form(arrays[:1])), expected)
        np.testing.assert_array_equal(run([form(arrays[:1])]), expected)

    def test_several_are_the_sources_of_one_request(self, pipeline, pose, seeded, arrays, form) -> None:
        def run(sources):
            return pipeline(sources, [pose(0)], num_inference_steps=1, generator=seeded(0), output_type="np").images

        expected = run([form(own) for own in arrays[:3]])
        np.testing.assert_array_equal(run(form(arrays[:3])), expected)
        assert np.abs(expected - run(form(arrays[:2]))).max() > 1e-4

    def test_with_lists_of_poses_they_are_a_batch(self, pipeline, pose, seeded, arrays, form) -> None:
        def run(sources):
            poses = [[pose(0)], [pose(1), pose(2)]]
            out = pipeline(sources, poses, num_inference_steps=1, generator=seeded(0), output_type="pt")
            return [own.numpy() for own in out.images]

        one_each = run([[form(arrays[0])], [form(arrays[1])]])
        assert [own.shape for own in one_each] == [(1, 3, 32, 16), (2, 3, 32, 16)]
        for own, other in zip(one_each, run(form(arrays[:2])), strict=True):
            np.testing.assert_array_equal(own, other)
        two_each = run([[form(own) for own in arrays[:2]], [form(own) for own in arrays[2:]]])
        stacked = form(arrays.reshape(2, 2, *arrays.shape[1:]))
        for sources in (stacked, [form(arrays[:2]), form(arrays[2:])]):
            for own, other in zip(two_each, run(sources), strict=True):
                np.testing.assert_array_equal(own, other)

    def test_what_cannot_be_meant_is_refused(self, pipeline, pose, arrays, form) -> None:
        with pytest.raises(ValueError, match=r"sources\[1\] holds 2 pictures"):
            pipeline([form(arrays[0]), form(arrays[:2])], [pose(0)])
        with pytest.raises(ValueError, match="batch of requests"):
            pipeline(form(arrays[None]), [pose(0)])


def test_options_that_change_nothing_but_memory_and_time(pipeline, draw) -> None:
    whole = draw(pipeline)
    pipeline.unfuse_qkv_projections()  # nothing is fused yet, nothing happens
    for on, off in (
        (pipeline.enable_vae_slicing, pipeline.disable_vae_slicing),
        (pipeline.enable_attention_slicing, pipeline.disable_attention_slicing),
        (pipeline.fuse_qkv_projections, pipeline.unfuse_qkv_projections),
    ):
        on()
        np.testing.assert_allclose(draw(pipeline), whole, atol=2e-5)
        off()
        np.testing.assert_array_equal(draw(pipeline), whole)


@pytest.mark.parametrize("part", ["unet", "vae"])
@pytest.mark.parametrize("again", [False, True], ids=["fused", "unfused again"])
def test_a_pipeline_that_was_fused_is_saved_as_any_other(pipeline, draw, tmp_path, part, again) -> None:
    pipeline.save_pretrained(tmp_path / "plain")
    kind = {"unet": part == "unet", "vae": part == "vae"}
    pipeline.fuse_qkv_projections(**kind)
    fused = draw(pipeline)
    if again:
        pipeline.unfuse_qkv_projections(**kind)
    pipeline.save_pretrained(tmp_path / "saved")
    files = {file.relative_to(tmp_path / "plain") for file in (tmp_path / "plain").rglob("*.safetensors")}
    for file in files:
        assert (tmp_path / "saved" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes(), file
    np.testing.assert_array_equal(draw(pipeline), fused if not again else draw(pipeline))
    loaded = IMAGPosePipeline.from_pretrained(tmp_path / "saved")
    loaded.set_progress_bar_config(disable=True)
    np.testing.assert_allclose(draw(loaded), fused, atol=2e-5)


def test_views_larger_than_a_tile_are_decoded_in_tiles(pipeline, draw, monkeypatch) -> None:
    whole = draw(pipeline, height=64, width=64)
    pipeline.enable_vae_tiling()
    pipeline.vae.tile_sample_min_size, pipeline.vae.tile_latent_min_size = 32, 4
    sizes = []
    decode = pipeline.vae.decoder.forward
    monkeypatch.setattr(
        pipeline.vae.decoder, "forward", lambda z, *rest: (sizes.append(z.shape[-2:]), decode(z, *rest))[1]
    )
    tiled = draw(pipeline, height=64, width=64)
    assert max(max(size) for size in sizes) == 4 and len(sizes) > 2
    assert 0 < np.abs(tiled - whole).mean() < 0.1
    pipeline.disable_vae_tiling()
    np.testing.assert_array_equal(draw(pipeline, height=64, width=64), whole)


def test_freeu_changes_the_pictures_until_it_is_disabled(pipeline, draw) -> None:
    whole = draw(pipeline)
    pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    assert np.abs(draw(pipeline) - whole).max() > 1e-3
    pipeline.disable_freeu()
    np.testing.assert_array_equal(draw(pipeline), whole)


def test_model_offload_takes_one_network_at_a_time(pipeline, build_pipeline, draw) -> None:
    whole = draw(pipeline)
    offloaded = build_pipeline()
    offloaded.enable_model_cpu_offload(device=CPU)
    assert len(offloaded._all_hooks) == 5 and offloaded._execution_device == torch.device(CPU)
    for _ in range(2):  # the hooks are there for the next call
        np.testing.assert_array_equal(draw(offloaded), whole)


@pytest.mark.parametrize(
    "kind", [{"offload_type": "leaf_level"}, {"offload_type": "block_level", "num_blocks_per_group": 1}]
)
def test_group_offload(pipeline, build_pipeline, draw, kind) -> None:
    whole = draw(pipeline)
    offloaded = build_pipeline()
    offloaded.enable_group_offload(onload_device=torch.device("cpu"), **kind)
    np.testing.assert_array_equal(draw(offloaded), whole)


def test_sequential_offload_leaves_no_weight_on_the_device(pipeline) -> None:
    # It cannot run here: without an accelerator accelerate fails within diffusers' own networks.
    pipeline.enable_sequential_cpu_offload(device=CPU)
    assert pipeline._execution_device == torch.device(CPU)
    for name in ("vae", "image_encoder", "feature_tokens", "pose_encoder", "unet"):
        assert all(weight.is_meta for weight in getattr(pipeline, name).parameters()), name


def attention_cache(pipeline: IMAGPosePipeline) -> PyramidAttentionBroadcastConfig:
    return PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-1, 1001),
        current_timestep_callback=lambda: int(pipeline.current_timestep),
    )


def test_a_cache_forgets_between_parts_calls_and_kinds_of_guidance(pipeline, picture, pose, seeded, draw) -> None:
    for name, weight in pipeline.unet.named_parameters():
        if ".to_v." in name or ".to_out." in name:  # fresh attention hardly counts
            torch.nn.init.normal_(weight, std=1.0)
    exact = draw(pipeline, num_inference_steps=4)
    pipeline.unet.enable_cache(attention_cache(pipeline))
    cached = draw(pipeline, num_inference_steps=4)
    assert 1e-5 < np.abs(cached - exact).max() < 0.5
    np.testing.assert_array_equal(draw(pipeline, num_inference_steps=4), cached)
    assert pipeline.current_timestep is None
    draw(pipeline, num_inference_steps=4, guidance_interval=(0.0, 0.8))  # a larger batch from the second step on

    poses = [pose(index) for index in range(15)]  # five canvases: parts of four and one
    many = pipeline([picture(0)], poses, num_inference_steps=3, generator=seeded(1), output_type="np").images
    first = pipeline([picture(0)], poses[:12], num_inference_steps=3, generator=seeded(1), output_type="np").images
    np.testing.assert_allclose(many[:12], first, atol=2e-4)
    pipeline.unet.disable_cache()
    np.testing.assert_array_equal(draw(pipeline, num_inference_steps=4), exact)


def test_a_compiled_unet_in_the_pipeline(pipeline, draw, tmp_path) -> None:
    whole = draw(pipeline)
    pipeline.unet = torch.compile(pipeline.unet, backend="eager", fullgraph=True, dynamic=False)
    np.testing.assert_allclose(draw(pipeline), whole, atol=1e-6)
    pipeline.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["unet"] == ["imagpose", "IMAGPoseUNet"]


@pytest.mark.parametrize("kind", [FlowMatchEulerDiscreteScheduler, DDIMInverseScheduler])
def test_a_scheduler_of_another_kind_is_refused_by_name(pipeline, draw, kind) -> None:
    pipeline.scheduler = kind()
    with pytest.raises(ValueError, match=rf"^a {kind.__name__} cannot sample here.*one of DDIMScheduler"):
        draw(pipeline)


@pytest.mark.parametrize("patches", [False, True])
def test_another_pipeline_of_the_same_networks(pipeline, draw, patches) -> None:
    if patches:
        vae = PatchAutoencoderKL(block_out_channels=(4, 8), norm_num_groups=2, latent_channels=4).eval()
        pipeline.register_modules(vae=vae)
    again = IMAGPosePipeline.from_pipe(pipeline)
    again.set_progress_bar_config(disable=True)
    assert again.unet is pipeline.unet and again.vae is pipeline.vae and again.config.view_height == 32
    np.testing.assert_array_equal(draw(again), draw(pipeline))


def test_ip_adapters_are_refused_by_name(pipeline) -> None:
    for call in (pipeline.load_ip_adapter, pipeline.set_ip_adapter_scale):
        with pytest.raises(ValueError, match="IP-Adapter is not part of this model: sources"):
            call("h94/IP-Adapter", subfolder="models")


def test_diffusion_pipeline_loads_our_folders(pipeline, draw, tmp_path) -> None:
    pipeline.save_pretrained(tmp_path)
    assert not list(tmp_path.rglob("*.py"))
    loaded = DiffusionPipeline.from_pretrained(tmp_path)
    assert type(loaded) is IMAGPosePipeline
    loaded.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(draw(loaded), draw(pipeline))


@pytest.mark.parametrize("first", ["imagpose", "diffusers"])
def test_diffusers_knows_the_pipeline_whichever_is_imported_first(first) -> None:
    second = "diffusers" if first == "imagpose" else "imagpose"
    code = (
        f"import {first}\nimport sys\n"
        "light = 'torch' not in sys.modules\n"
        f"import {second}\nimport diffusers\n"
        "assert 'imagpose.pipeline.pipeline' not in sys.modules\n"
        "assert diffusers.IMAGPosePipeline is __import__('imagpose').IMAGPosePipeline\n"
        "print(light)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(first == "imagpose")


def test_a_saved_pipeline_says_which_version_wrote_it(pipeline, tmp_path) -> None:
    pipeline.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["_imagpose_version"] == imagpose.__version__
    assert "_imagpose_version" in json.loads((tmp_path / "unet" / "config.json").read_text())


@pytest.fixture
def pushed(monkeypatch) -> dict[str, str]:
    """What is uploaded: the text of each README, by repository; the hub has cards of those in it beforehand."""
    cards: dict[str, str] = {}

    def load(name: str, **_: Any) -> hub_utils.ModelCard:
        if name in cards:
            return hub_utils.ModelCard(cards[name])
        raise hub_utils.EntryNotFoundError.__new__(hub_utils.EntryNotFoundError)

    def upload(repo_id: str, folder_path: str, **_: Any) -> str:
        assert (Path(folder_path) / "unet" / "config.json").is_file()
        cards[repo_id] = (Path(folder_path) / "README.md").read_text(encoding="utf-8")
        return repo_id

    monkeypatch.setattr(hub_utils, "create_repo", lambda name, **_: type("Repository", (), {"repo_id": name}))
    monkeypatch.setattr(hub_utils.ModelCard, "load", staticmethod(load))
    monkeypatch.setattr(hub_utils, "upload_folder", upload)
    return cards


def test_the_card_on_the_hub_says_something(pipeline, pushed, tmp_path) -> None:
    pipeline.push_to_hub("somebody/unsaved")
    card = pushed["somebody/unsaved"]
    assert card.startswith("---\nlicense: other\n") and "automatically" not in card and "More Information" not in card
    for heading in ("## Data and licence", "## Sizes", "## Limits", "## Use"):
        assert card.count(f"{heading}\n") == 1
    weights = sum(weight.numel() for weight in pipeline.unet.parameters()) / 1e6
    assert "Views of 32x16 pixels" in card and f"| `unet` | IMAGPoseUNet | {weights:,.1f} |" in card
    assert imagpose.__version__ in card

    folder = tmp_path / "model"
    pipeline.save_pretrained(folder)
    own = "---\nlicense: apache-2.0\n---\n\n# Mine\n\n## Limits\n\nNone but these.\n"
    (folder / "README.md").write_text(own)
    loaded = IMAGPosePipeline.from_pretrained(folder)
    loaded.push_to_hub("somebody/mine")
    card = pushed["somebody/mine"]
    assert card.startswith(own.rstrip()) and card.count("## Limits") == 1 and "## Sizes" in card
    assert str(tmp_path) not in card


def test_a_card_that_somebody_wrote_on_the_hub_stays(pipeline, pushed) -> None:
    pushed["somebody/written"] = "---\nlicense: mit\nlibrary_name: diffusers\n---\n\n# Written by hand\n"
    pipeline.push_to_hub("somebody/written")
    assert "# Written by hand" in pushed["somebody/written"] and "## Sizes" not in pushed["somebody/written"]
