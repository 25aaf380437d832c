"""Guidance and sampling against closed forms: the UNet is replaced by a known affine function."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline

from imagpose.models.conditions import guidance_embedding

ALPHA, BETA, GAMMA, DELTA = 0.4, 0.7, 0.9, 0.3


class AffineUNet(torch.nn.Module):
    """Predicts ALPHA * noisy + BETA * mean(F_C) + GAMMA * mask + DELTA * mean(F_P), a function known in closed form."""

    config = SimpleNamespace(in_channels=9, block_out_channels=(8, 16), time_cond_proj_dim=None)
    dtype = torch.float32
    device = torch.device("cpu")
    is_cache_enabled = False

    def forward(self, sample, timestep, encoder_hidden_states, pose_features=None, view_grid=None, return_dict=True):
        prediction = (
            ALPHA * sample[:, :4]
            + BETA * encoder_hidden_states.mean(dim=(1, 2))[:, None, None, None]
            + GAMMA * sample[:, 8:9]
            + DELTA * pose_features.mean(dim=(1, 2, 3))[:, None, None, None]
        )
        return (prediction,)


@pytest.fixture
def known(pipeline, monkeypatch):
    """The pipeline with the affine UNet, and the values of F_C, F_P and the mask that it will see."""
    seen = {}
    for name in ("feature_tokens", "pose_encoder"):
        module = getattr(pipeline, name)

        def record(*args, original=module.forward, name=name, **kwargs):
            output = original(*args, **kwargs)  # of return_dict=False
            seen[name] = output[0]
            return output

        monkeypatch.setattr(module, "forward", record)
    pipeline.unet = AffineUNet()
    return pipeline, seen


def ddim_loop(noise, predict, pipeline, steps):
    """DDIM with eta 0 written from its equation (Song et al. 2021, Eq. 12), in float64."""
    cumulative = pipeline.scheduler.alphas_cumprod.double().numpy()
    stride = 1000 // steps
    x = noise.astype(np.float64)
    for t in pipeline.scheduler.timesteps.tolist():
        now = cumulative[t]
        before = cumulative[t - stride] if t >= stride else cumulative[0]
        epsilon = predict(x)
        clean = (x - np.sqrt(1 - now) * epsilon) / np.sqrt(now)
        x = np.sqrt(before) * clean + np.sqrt(1 - before) * epsilon
    return x


@pytest.mark.parametrize(("guidance", "scale"), [("feature", 1.0), ("feature", 3.0), ("full", 1.0), ("full", 3.0)])
def test_guided_ddim_equals_the_closed_form(known, picture, pose, guidance, scale):
    pipeline, seen = known
    noise = torch.randn(1, 4, 8, 4, generator=torch.Generator().manual_seed(0))
    out = pipeline(
        [picture(0)],
        [pose(0), pose(1), pose(2)],
        num_inference_steps=5,
        guidance=guidance,
        guidance_scale=scale,
        latents=noise,
        output_type="latent",
        return_canvases=True,
    )
    mask = np.zeros((1, 1, 8, 4))
    mask[:, :, :4, :2] = 1  # the source sits in the first slot of 2 x 2
    features, skeleton = float(seen["feature_tokens"].mean()), float(seen["pose_encoder"].mean())
    # guided = null + scale * (conditioned - null): what the null branch keeps counts once, what it lacks scale times
    image_scale = 1.0 if guidance == "feature" else scale
    constant = scale * BETA * features + image_scale * GAMMA * mask + DELTA * skeleton
    expected = ddim_loop(noise.numpy(), lambda x: ALPHA * x + constant, pipeline, 5)
    np.testing.assert_allclose(out.canvases.numpy(), expected, rtol=1e-4, atol=1e-4)
    # the conditions must have weight here, or the test would pass without them
    assert abs(BETA * features) > 1e-3 and abs(DELTA * skeleton) > 1e-3


@pytest.mark.parametrize(
    ("every", "interval", "canvases"),
    [(1, (0.0, 1.0), [2, 2, 2, 2, 2]), (3, (0.0, 1.0), [2, 1, 1, 2, 1]), (2, (0.0, 0.6), [1, 1, 2, 1, 2])],
)
def test_the_null_branch_is_evaluated_every_so_many_steps_and_its_difference_kept(
    known, picture, pose, monkeypatch, every, interval, canvases
):
    """The affine UNet's branches differ by a constant, so what is kept of them is exact."""
    pipeline, _ = known
    noise = torch.randn(1, 4, 8, 4, generator=torch.Generator().manual_seed(0))
    call = {"num_inference_steps": 5, "guidance_scale": 3.0, "guidance": "full", "latents": noise}
    call |= {"guidance_interval": interval, "output_type": "latent", "return_canvases": True}
    expected = pipeline([picture(0)], [pose(0)], **call).canvases
    seen = []
    original = pipeline.unet.forward
    monkeypatch.setattr(
        pipeline.unet, "forward", lambda *own, **named: seen.append(len(own[0])) or original(*own, **named)
    )
    kept = pipeline([picture(0)], [pose(0)], **call, guidance_every=every).canvases
    assert seen == canvases
    torch.testing.assert_close(kept, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("every", "deep"), [(1, [1, 1, 2, 2, 2]), (2, [1, 2, 2]), (5, [1, 2])])
def test_deep_layers_are_computed_every_so_many_steps_and_for_every_number_of_branches(
    pipeline, picture, pose, seeded, every, deep
):
    seen = {"deep": [], "all": []}
    unet = pipeline.unet
    unet.mid_block.resnets[0].conv1.register_forward_pre_hook(lambda _, given: seen["deep"].append(len(given[0])))
    unet.conv_out.register_forward_pre_hook(lambda _, given: seen["all"].append(len(given[0])))
    for _ in range(2):  # nothing is kept from one call of the pipeline to the next
        pipeline(
            [picture(0)], [pose(0)], num_inference_steps=5, guidance_scale=3.0, guidance_interval=(0.0, 0.6),
            features_every=every, generator=seeded(0),
        )  # fmt: skip
    assert seen == {"deep": 2 * deep, "all": 2 * [1, 1, 2, 2, 2]}


def test_the_null_branch_sees_black_views_only_in_full_guidance(pipeline, picture, pose, seeded, monkeypatch):
    inputs = []
    original = pipeline.unet.forward

    def record(sample, *args, **kwargs):
        inputs.append(sample)
        return original(sample, *args, **kwargs)

    monkeypatch.setattr(pipeline.unet, "forward", record)
    for guidance in ("feature", "full"):
        pipeline([picture(0)], [pose(0)], num_inference_steps=1, guidance=guidance, generator=seeded(0))
    feature, full = inputs
    with torch.no_grad():
        black = pipeline.vae.encode(-torch.ones(1, 3, 32, 16)).latent_dist.mean * pipeline.vae.config.scaling_factor
        source = torch.from_numpy(np.asarray(picture(0)).copy()).movedim(-1, 0)[None] / 127.5 - 1
        seen = pipeline.vae.encode(source).latent_dist.mean * pipeline.vae.config.scaling_factor
    torch.testing.assert_close(feature[0], feature[1])  # both branches alike
    torch.testing.assert_close(feature[0, 4:8, :4, :2], seen[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(feature[0, 4:8, :4, 2:], black[0], atol=1e-5, rtol=1e-4)
    assert feature[0, 8].tolist() == [[1.0, 1.0, 0.0, 0.0]] * 4 + [[0.0] * 4] * 4
    torch.testing.assert_close(full[1], feature[0])  # the conditioned branch is the second half
    torch.testing.assert_close(full[0, 4:8], black[0].repeat(1, 2, 2), atol=1e-5, rtol=1e-4)
    assert not full[0, 8].any()


def test_the_null_features_are_zero(pipeline, picture, pose, monkeypatch):
    states = []
    original = pipeline.unet.forward

    def record(sample, timestep, encoder_hidden_states, **kwargs):
        states.append(encoder_hidden_states)
        return original(sample, timestep, encoder_hidden_states, **kwargs)

    monkeypatch.setattr(pipeline.unet, "forward", record)
    pipeline([[picture(0)], [picture(1)]], [[pose(0)], [pose(0)]], num_inference_steps=1)
    null, conditioned = states[0].chunk(2)
    assert not null.any()
    assert (conditioned[0] - conditioned[1]).abs().max() > 1e-4  # each request has its own F_C


def test_outside_its_interval_guidance_costs_nothing_and_changes_nothing(pipeline, picture, pose, seeded, monkeypatch):
    rows = []
    original = pipeline.unet.forward

    def record(sample, timestep, *args, **kwargs):
        rows.append((int(timestep), len(sample)))
        return original(sample, timestep, *args, **kwargs)

    monkeypatch.setattr(pipeline.unet, "forward", record)

    def run(**settings):
        rows.clear()
        call = {"num_inference_steps": 5, "output_type": "latent", "generator": seeded(0), **settings}
        return pipeline([picture(0)], [pose(0)], **call).images

    run(guidance_scale=3.0, guidance_interval=(0.399, 0.599))  # its ends belong to it
    assert rows == [(999, 1), (799, 1), (599, 2), (399, 2), (199, 1)]
    never = run(guidance_scale=3.0, guidance_interval=(1.0, 1.0))
    assert torch.equal(never, run(guidance_scale=1.0))
    always = run(guidance_scale=3.0, guidance_interval=(0.0, 1.0))
    assert torch.equal(always, run(guidance_scale=3.0)) and not torch.equal(always, never)


def test_a_unet_that_takes_the_scale_evaluates_one_branch(pipeline, picture, pose, seeded):
    torch.manual_seed(0)
    unet = type(pipeline.unet).from_config(pipeline.unet.config, time_cond_proj_dim=16)
    unet.load_state_dict(pipeline.unet.state_dict(), strict=False)
    torch.nn.init.normal_(unet.time_embedding.cond_proj.weight, std=5.0)  # of a fresh one the scale hardly counts
    pipeline.register_modules(unet=unet)
    calls = []
    handle = unet.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    asked = {"sources": [picture(0)], "target_poses": [pose(0)], "num_inference_steps": 2, "output_type": "np"}
    weak, strong = (pipeline(**asked, guidance_scale=scale, generator=seeded(0)).images for scale in (1.5, 4.0))
    handle.remove()
    assert calls == [1] * 4 and np.abs(weak - strong).max() > 1e-3


def test_the_embedding_of_a_scale_is_that_of_diffusers_consistency_pipelines():
    unet = SimpleNamespace(config=SimpleNamespace(time_cond_proj_dim=32), device="cpu", dtype=torch.float32)
    scales = torch.tensor([1.0, 2.0, 7.5])
    theirs = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, scales - 1, embedding_dim=32)
    torch.testing.assert_close(guidance_embedding(unet, scales), theirs, rtol=0, atol=1e-3)  # sines of 6500
