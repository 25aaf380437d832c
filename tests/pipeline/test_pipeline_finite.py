"""Overflow is an error that says where it happened and what helps, never a black picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagpose.models.autoencoder import decode_latents
from imagpose.pipeline.finite import FiniteSteps
from imagpose.pose import write_openpose_json
from imagpose.serving.generate import generate

LARGE = 3e4  # float16 holds it, but not what a layer of such weights makes


@pytest.fixture
def draw(pipeline, picture, pose, seeded):
    """Runs the tiny pipeline on one source and one pose."""

    def run(**options: Any) -> Any:
        settings = {"num_inference_steps": 4, "generator": seeded(0), "output_type": "np"}
        return pipeline([picture(0)], [pose(0)], **{**settings, **options}).images

    return run


def refusal(draw: Any, **options: Any) -> str:
    with pytest.raises(FloatingPointError) as error:
        draw(**options)
    assert "\n" not in str(error.value)
    return str(error.value)


def enlarge(layer: torch.nn.Module) -> None:
    layer.weight.data = LARGE * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0)).sign()


def test_a_guidance_scale_that_overflows_is_named(draw) -> None:
    def raise_scale(pipe, index, timestep, tensors):
        pipe._guidance_scale = 1e38  # a call's own is refused before the work
        return {}

    message = refusal(draw, callback_on_step_end=raise_scale)
    assert "after step" in message and "guidance_scale is 1e+38; 1 to 10 is usual" in message


@pytest.mark.parametrize("output_type", ["np", "pil", "pt", "latent"])
def test_the_step_is_named_in_every_form_of_output(draw, output_type) -> None:
    def spoil(pipe, index, timestep, tensors):
        return {"latents": tensors["latents"] * (float("inf") if index == 2 else 1.0)}

    message = refusal(draw, callback_on_step_end=spoil, output_type=output_type)
    assert "not finite after step 3 of 4" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_given_latents_are_looked_at_before_the_work(pipeline, draw, monkeypatch, value) -> None:
    monkeypatch.setattr(pipeline.unet, "forward", lambda *args, **kwargs: pytest.fail("the UNet ran"))
    latents = torch.zeros(1, 4, 8, 4)
    latents[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match="latents hold values that are not finite"):
        draw(latents=latents)


@pytest.mark.parametrize(
    ("part", "layer", "said"),
    [
        ("unet", "conv_out", "the UNet overflows in float16"),
        ("feature_tokens", "project", "F_C, made of the first source, is not finite"),
        ("pose_encoder", "embedding.conv_out", "F_P, made of the skeletons, is not finite"),
        ("vae", "quant_conv", "is not finite: a network overflows"),
    ],
)
def test_what_overflows_in_half_precision_is_named(pipeline, draw, part, layer, said) -> None:
    enlarge(getattr(pipeline, part).get_submodule(layer))
    pipeline.to(torch.float16)
    message = refusal(draw)
    assert said in message and "dtype=torch.bfloat16 or torch.float32" in message


@pytest.mark.parametrize("scope", ["view", "joint"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_decoder_that_overflows_is_named_and_float32_helps(pipeline, draw, scope, whole) -> None:
    pipeline.register_to_config(vae_scope=scope)
    enlarge(pipeline.vae.decoder.conv_out)
    pipeline.to(torch.float16)
    options = {"guidance_scale": 1.0, "num_inference_steps": 1, "return_canvases": whole}
    assert "the VAE overflows in float16 while it decodes" in refusal(draw, **options)
    pipeline.vae.to(torch.float32)  # what the message says
    assert np.isfinite(draw(**options)).all()


def test_latents_too_large_for_the_vae_are_spoken_of(pipeline, draw) -> None:
    def enlarge_latents(pipe, index, timestep, tensors):
        return {"latents": torch.full_like(tensors["latents"], 1e38)}

    with torch.no_grad():
        assert not torch.isfinite(decode_latents(pipeline.vae, torch.full((1, 4, 4, 2), 1e38))).all()
    message = refusal(draw, num_inference_steps=1, callback_on_step_end=enlarge_latents)
    assert "the VAE (in float32) decodes pictures that are not finite" in message


def test_no_step_waits_for_the_device() -> None:
    steps = FiniteSteps()
    steps.add(torch.zeros(2, 4, 8, 8, device="meta"))  # a tensor without values cannot be asked for one
    with pytest.raises(RuntimeError):
        bool(torch.isfinite(torch.zeros(1, device="meta")).all())


def test_float16_on_the_cpu_gives_the_pictures_of_float32(pipeline, draw) -> None:
    exact = draw(num_inference_steps=2)
    pipeline.to(torch.float16)
    assert 0 < np.abs(exact - draw(num_inference_steps=2)).mean() < 3e-3


def test_nothing_is_written(pipeline, picture, pose, tmp_path: Path) -> None:
    pipeline.unet.conv_out.weight.data.fill_(3e38)
    pipeline.save_pretrained(tmp_path / "model")
    picture(0).save(tmp_path / "source.png")
    write_openpose_json(pose(0), tmp_path / "pose.json")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(FloatingPointError, match="not finite after step 1"):
        generate(
            tmp_path / "source.png", tmp_path / "pose.json", out=tmp_path / "out", model=str(tmp_path / "model"), steps=2,
        )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == before
