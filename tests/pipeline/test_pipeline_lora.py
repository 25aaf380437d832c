"""Adapters on the pipeline: diffusers' interface, and what may be saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from imagpose.pipeline import IMAGPosePipeline

peft = pytest.importorskip("peft", reason="needs the extra lora")

Drawn = Callable[[IMAGPosePipeline], np.ndarray]


def add_adapter(pipeline: IMAGPosePipeline, name: str, seed: int) -> None:
    """An adapter that changes something: fresh ones do not."""
    torch.manual_seed(seed)
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    pipeline.unet.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=4, target_modules=layers, init_lora_weights=False), adapter_name=name
    )


@pytest.fixture
def saved(build_pipeline: Callable[[], IMAGPosePipeline], tmp_path: Path) -> Path:
    """Folder with two adapters, a and b, each in a folder of its own."""
    for seed, name in enumerate(("a", "b")):
        pipeline = build_pipeline()
        add_adapter(pipeline, name, seed)
        IMAGPosePipeline.save_lora_weights(
            tmp_path / name,
            unet_lora_layers=peft.get_peft_model_state_dict(pipeline.unet, adapter_name=name),
            unet_lora_adapter_metadata=pipeline.unet.peft_config[name].to_dict(),
        )
    return tmp_path


@pytest.fixture
def drawn(picture, pose, seeded) -> Drawn:
    """What a pipeline draws, float (H, W, 3)."""

    def draw(pipeline: IMAGPosePipeline) -> np.ndarray:
        options = {"num_inference_steps": 2, "output_type": "np", "generator": seeded(0)}
        return np.asarray(pipeline([picture(0)], [pose(0)], **options).images[0])

    return draw


def test_an_adapter_changes_the_picture_by_its_weight_and_leaves_no_trace(
    pipeline: IMAGPosePipeline, saved: Path, drawn: Drawn
) -> None:
    before = {name: weight.clone() for name, weight in pipeline.unet.state_dict().items()}
    plain = drawn(pipeline)
    pipeline.load_lora_weights(saved / "a", adapter_name="a")
    adapted = drawn(pipeline)
    assert pipeline.get_active_adapters() == ["a"] and np.abs(adapted - plain).max() > 1e-3
    pipeline.set_adapters("a", 0.0)
    assert np.abs(drawn(pipeline) - plain).max() < 1e-5
    pipeline.set_adapters("a", 0.5)
    half = drawn(pipeline)
    assert 0 < np.abs(half - plain).mean() < np.abs(adapted - plain).mean()
    pipeline.disable_lora()
    assert np.array_equal(drawn(pipeline), plain)
    pipeline.unload_lora_weights()
    after = pipeline.unet.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(weight, after[name]) for name, weight in before.items())


def test_the_formula(pipeline: IMAGPosePipeline, saved: Path) -> None:
    """A layer with an adapter gives W x + alpha / rank B A x."""
    name, layer = next((name, layer) for name, layer in pipeline.unet.named_modules() if name.endswith("attn1.to_q"))
    weight = layer.weight.detach().clone()
    pipeline.load_lora_weights(saved / "a", adapter_name="a")
    adapted = pipeline.unet.get_submodule(name)
    inputs = torch.randn(3, weight.shape[1], generator=torch.Generator().manual_seed(0))
    change = adapted.lora_B["a"].weight @ adapted.lora_A["a"].weight
    torch.testing.assert_close(adapted(inputs), inputs @ (weight + 4 / 2 * change).T)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_two_adapters_together(pipeline: IMAGPosePipeline, saved: Path, drawn: Drawn) -> None:
    for name in ("a", "b"):
        pipeline.load_lora_weights(saved / name, adapter_name=name)
    pictures = []
    for weights in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0]):
        pipeline.set_adapters(["a", "b"], weights)
        pictures.append(drawn(pipeline))
    assert all(np.abs(pictures[one] - pictures[other]).max() > 1e-3 for one, other in ((0, 1), (0, 2), (1, 2)))


def test_a_fused_adapter_is_saved_with_the_model(
    pipeline: IMAGPosePipeline, saved: Path, drawn: Drawn, tmp_path: Path
) -> None:
    pipeline.load_lora_weights(saved / "a")
    adapted = drawn(pipeline)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    np.testing.assert_allclose(drawn(pipeline), adapted, atol=1e-4)
    pipeline.save_pretrained(tmp_path / "fused")
    loaded = IMAGPosePipeline.from_pretrained(tmp_path / "fused")
    loaded.set_progress_bar_config(disable=True)
    np.testing.assert_allclose(drawn(loaded), adapted, atol=1e-4)


def test_unfusing_gives_the_base_back(pipeline: IMAGPosePipeline, saved: Path, drawn: Drawn) -> None:
    plain = drawn(pipeline)
    pipeline.load_lora_weights(saved / "a")
    pipeline.fuse_lora()
    pipeline.unfuse_lora()
    pipeline.disable_lora()
    np.testing.assert_allclose(drawn(pipeline), plain, atol=1e-4)


def test_a_live_adapter_is_not_saved_into_a_damaged_folder(
    pipeline: IMAGPosePipeline, saved: Path, drawn: Drawn, tmp_path: Path
) -> None:
    pipeline.load_lora_weights(saved / "a", adapter_name="a")
    for part, folder in ((pipeline, tmp_path / "pipeline"), (pipeline.unet, tmp_path / "unet")):
        with pytest.raises(ValueError, match=r"LoRA adapters \(a\).*save_lora_weights.*fuse_lora"):
            part.save_pretrained(folder)
        assert not folder.exists()
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(tmp_path / "pipeline")
    assert IMAGPosePipeline.from_pretrained(tmp_path / "pipeline").unet.config.in_channels == 9


def test_an_adapter_of_another_model_is_refused(pipeline: IMAGPosePipeline, saved: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = saved / "a" / "pytorch_lora_weights.safetensors"
    save_file({name: weight[:, :1].contiguous() for name, weight in load_file(path).items()}, path)
    with pytest.raises((RuntimeError, ValueError)):
        pipeline.load_lora_weights(saved / "a")
