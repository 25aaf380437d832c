"""The settings of sampling: they reach the pipeline, and the model is loaded with the scheduler that they name."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from diffusers import EulerDiscreteScheduler

from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.loading import load_pipeline, settled_sampling
from imagpose.pipeline.sampling import Sampling


def test_arguments_are_the_pipelines_and_have_its_defaults():
    parameters = inspect.signature(IMAGPosePipeline.__call__).parameters
    assert Sampling().arguments() == {name: parameters[name].default for name in Sampling().arguments()}
    given = Sampling(3, 1.5, "full", (0.1, 0.9))
    assert given.arguments() == {
        "num_inference_steps": 3, "guidance_scale": 1.5, "guidance": "full", "guidance_interval": (0.1, 0.9),
        "guidance_every": 1, "features_every": 1,
    }  # fmt: skip


def test_the_text_says_what_differs():
    assert str(Sampling(20, 2.0)) == "20 steps, guidance 2"
    assert str(Sampling()) == "the model's steps, guidance the model's"
    texts = {
        str(own)
        for own in (Sampling(), Sampling(5), Sampling(guidance_scale=3), Sampling(guidance="full"), Sampling(seed=4),
                    Sampling(guidance_interval=(0.1, 1.0)), Sampling(guidance_interval=(0.0, 0.9)),
                    Sampling(scheduler="euler"), Sampling(guidance_every=2), Sampling(features_every=2))
    }  # fmt: skip
    assert len(texts) == 10


def test_a_models_folder_says_its_own_steps_and_guidance(pipeline, picture, pose, seeded, tmp_path):
    ordinary = Sampling(seed=3)
    assert settled_sampling(ordinary, pipeline) == Sampling(20, 2.0, seed=3)
    pipeline.register_to_config(default_steps=3, default_guidance_scale=1.0)
    pipeline.save_pretrained(tmp_path)
    assert settled_sampling(ordinary, str(tmp_path)) == Sampling(3, 1.0, seed=3)
    assert settled_sampling(Sampling(7), str(tmp_path)) == Sampling(7, 1.0)
    loaded = IMAGPosePipeline.from_pretrained(tmp_path)
    asked = {"sources": [picture(0)], "target_poses": [pose(0)], "output_type": "np"}
    own = loaded(**asked, generator=seeded(0)).images
    assert loaded.num_timesteps == 3 and not loaded.do_classifier_free_guidance
    given = loaded(**asked, num_inference_steps=3, guidance_scale=1.0, generator=seeded(0)).images
    np.testing.assert_array_equal(own, given)


@pytest.mark.parametrize("name", ["default_steps", "default_guidance_scale"])
def test_a_folder_whose_own_settings_are_illegal_is_refused(pipeline, tmp_path, name):
    pipeline.register_to_config(**{name: "many"})
    pipeline.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=name):
        load_pipeline(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps"), ({"steps": True}, "steps"), ({"guidance_scale": float("inf")}, "guidance_scale"),
        ({"guidance_scale": float("nan")}, "guidance_scale"), ({"guidance_scale": "2"}, "guidance_scale"),
        ({"guidance_scale": 1e20}, r"guidance_scale must be a number from -100 to 100, got 1e\+20"),
        ({"guidance_scale": -100.1}, "guidance_scale"),
        ({"guidance": "none"}, "feature, full"), ({"guidance_interval": (0.0,)}, "guidance_interval"),
        ({"guidance_interval": (-0.1, 1.0)}, "guidance_interval"), ({"guidance_every": 0}, "guidance_every"),
        ({"features_every": 1.5}, "features_every"),
        ({"scheduler": "ddin"}, "ddim"), ({"seed": -1}, "seed"),
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
