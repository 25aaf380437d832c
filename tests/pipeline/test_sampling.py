"""The settings of sampling: they reach the pipeline, and the model is loaded with the scheduler that they name."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from diffusers import EulerDiscreteScheduler

from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.loading import load_pipeline
from imagpose.pipeline.sampling import Sampling


def test_arguments_are_the_pipelines_and_have_its_defaults():
    parameters = inspect.signature(IMAGPosePipeline.__call__).parameters
    assert Sampling().arguments() == {name: parameters[name].default for name in Sampling().arguments()}
    given = Sampling(3, 1.5, "full", (0.1, 0.9))
    assert given.arguments() == {
        "num_inference_steps": 3, "guidance_scale": 1.5, "guidance": "full", "guidance_interval": (0.1, 0.9)
    }  # fmt: skip


def test_the_text_says_what_differs():
    assert str(Sampling()) == "20 steps, guidance 2"
    texts = {
        str(own)
        for own in (Sampling(), Sampling(5), Sampling(guidance_scale=3), Sampling(guidance="full"), Sampling(seed=4),
                    Sampling(guidance_interval=(0.1, 1.0)), Sampling(guidance_interval=(0.0, 0.9)),
                    Sampling(scheduler="euler"))
    }  # fmt: skip
    assert len(texts) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps"), ({"steps": True}, "steps"), ({"guidance_scale": float("inf")}, "guidance_scale"),
        ({"guidance_scale": float("nan")}, "guidance_scale"), ({"guidance_scale": "2"}, "guidance_scale"),
        ({"guidance_scale": 1e20}, r"guidance_scale must be a number from -100 to 100, got 1e\+20"),
        ({"guidance_scale": -100.1}, "guidance_scale"),
        ({"guidance": "none"}, "feature, full"), ({"guidance_interval": (0.0,)}, "guidance_interval"),
        ({"guidance_interval": (-0.1, 1.0)}, "guidance_interval"), ({"scheduler": "ddin"}, "ddim"), ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
    ],
)  # fmt: skip
def test_illegal_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**changes)


def test_a_pipeline_is_loaded_with_the_named_scheduler(pipeline, picture, pose, seeded, tmp_path):
    pipeline.save_pretrained(tmp_path)
    own, euler = load_pipeline(str(tmp_path)), load_pipeline(str(tmp_path), "euler")
    assert type(own.scheduler) is type(pipeline.scheduler)
    assert type(euler.scheduler) is EulerDiscreteScheduler
    assert euler.scheduler.config.beta_end == own.scheduler.config.beta_end
    first, other = (
        pipe([picture(0)], [pose(0)], num_inference_steps=3, generator=seeded(0), output_type="np").images
        for pipe in (own, euler)
    )
    assert np.isfinite(other).all() and np.abs(first - other).max() > 1e-3
