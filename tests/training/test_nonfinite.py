"""A loss or gradient that is not finite: the run stops and says where, or leaves the step out where it may."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from fake_people import without_people
from line_stage import LineStage
from planted import check_planted, plant_nan
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_networks import denoiser_values

from imagpose.training.autoencoder import train_autoencoder
from imagpose.training.checkpoints import list_checkpoints
from imagpose.training.configs import RunConfig
from imagpose.training.denoiser import train_denoiser
from imagpose.training.encoder import train_encoder
from imagpose.training.judges import train_pose_estimator
from imagpose.training.loop import Training
from imagpose.training.run import Trainer
from imagpose.training.stage import Batch


class PoisonedStage(LineStage):
    """Inputs that are NaN at some steps."""

    def __init__(self, *steps: int) -> None:
        super().__init__()
        self.poisoned = steps

    def batch(self, step: int, samples: range) -> Batch:
        batch = super().batch(step, samples)
        return batch | {"inputs": batch["inputs"] * (float("nan") if step in self.poisoned else 1.0)}


@pytest.fixture
def config(run_values: dict) -> RunConfig:
    return RunConfig.model_validate(without_people(run_values) | {"learning_rate": 0.05, "log_every": 2})


def changed(config: RunConfig, **values: object) -> RunConfig:
    return config.model_copy(update=values)


def test_the_message_says_step_items_and_learning_rate(config: RunConfig) -> None:
    with pytest.raises(FloatingPointError) as caught:
        Training(PoisonedStage(4), config).run()
    assert str(caught.value) == (
        "step 4: loss nan, gradient norm nan, learning rate 0.05, batch of sample 0, sample 1; training stopped, the last"
        f" good checkpoint is {config.output / 'checkpoints' / 'step-00000003'}"
    )


def test_only_the_accumulated_batch_that_is_broken_is_named(config: RunConfig) -> None:
    class HalfPoisoned(LineStage):
        def batch(self, step: int, samples: range) -> Batch:
            batch = super().batch(step, samples)
            return batch | {"inputs": batch["inputs"] * (float("inf") if samples.start == 4 else 1.0)}

    with pytest.raises(FloatingPointError, match=r"^step 0: .*, batch of sample 4, sample 5; .*no checkpoint"):
        Training(HalfPoisoned(), changed(config, gradient_accumulation=3)).run()


def test_a_gradient_alone_is_enough(config: RunConfig) -> None:
    stage = LineStage()
    stage.line.weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(
        FloatingPointError, match=r"^step 0: loss \d\.\d+, gradient norm nan, .*batch of sample 0, sample 1"
    ):
        Training(stage, config).run()


def test_a_skipped_step_leaves_weights_average_and_schedule(config: RunConfig) -> None:
    stage = PoisonedStage(2)
    linear = changed(config, lr_schedule="linear", skip_nonfinite_steps=1, keep_checkpoints=6, checkpoint_every=1)
    training = Training(stage, linear)
    outcome = training.run()
    assert (outcome.step, outcome.skipped, outcome.reason) == (6, 1, "finished")
    assert np.array_equal(stage.seen[2], stage.seen[3]) and not np.array_equal(stage.seen[3], stage.seen[4])
    assert np.isnan(outcome.losses[2]) and np.isfinite(np.delete(outcome.losses, 2)).all()
    folder = config.output / "checkpoints"
    averages = [(folder / f"step-{step:08d}" / "ema.safetensors").read_bytes() for step in (2, 3, 4)]
    assert averages[0] == averages[1] != averages[2]
    assert training.schedule.get_last_lr()[0] == pytest.approx(0.05 / 6)  # five of the six steps of the schedule
    assert json.loads((config.output / "weights" / "training.json").read_text())["skipped_steps"] == 1


def test_what_is_recorded_is_finite_and_the_count(config: RunConfig, capsys: pytest.CaptureFixture) -> None:
    Training(PoisonedStage(2, 4, 5), changed(config, skip_nonfinite_steps=3)).run()
    events = EventAccumulator(str(config.output / "tensorboard")).Reload()
    losses = {event.step: event.value for event in events.Scalars("train/loss")}
    assert np.isfinite([losses[2], losses[4]]).all() and np.isnan(losses[6])  # of whose two steps neither was made
    assert [event.value for event in events.Scalars("train/skipped_steps")] == [1, 2, 3]
    assert "line step 4: loss nan, " in (shown := capsys.readouterr().err) and "skipped, 2 of at most 3" in shown


def test_the_allowance_is_the_whole_runs(config: RunConfig) -> None:
    allowed = changed(config, skip_nonfinite_steps=1, checkpoint_every=2)
    Training(PoisonedStage(0, 4), allowed).run(stop_after=1e-9)
    with pytest.raises(
        FloatingPointError, match=r"step 4: .* training stopped after 1 that were skipped, .*step-00000004"
    ):
        Training(PoisonedStage(0, 4), allowed, "latest").run()
    assert Training(PoisonedStage(0, 4), changed(allowed, skip_nonfinite_steps=2), "latest").run().skipped == 2


def test_running_statistics_of_a_skipped_step_are_taken_back(config: RunConfig) -> None:
    class Normalised(PoisonedStage):
        def __init__(self, *steps: int) -> None:
            super().__init__(*steps)
            self.norm = torch.nn.BatchNorm1d(2)

        def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return super().forward(batch | {"inputs": self.norm(batch["inputs"])})

    stage = Normalised(3)
    Training(stage, changed(config, skip_nonfinite_steps=1)).run()
    assert torch.isfinite(stage.norm.running_mean).all() and int(stage.norm.num_batches_tracked) == 5


def test_the_loss_scales_own_skips_are_not_counted(config: RunConfig) -> None:
    """The first overflows are the scale's affair; a loss that is not finite is the data's, whatever the scale."""
    stage, overflows = PoisonedStage(4), [True, True, False, False, False, False]
    stage.line.weight.register_hook(lambda gradient: gradient * (float("inf") if overflows.pop(0) else 1.0))
    training = Training(stage, changed(config, skip_nonfinite_steps=1))
    scaler = training.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    training.optimizer = AcceleratedOptimizer(training.optimizer.optimizer, device_placement=False, scaler=scaler)
    training.accelerator.unscale_gradients = lambda *_: scaler.unscale_(training.optimizer.optimizer)
    outcome = training.run()
    assert (outcome.step, outcome.skipped) == (6, 1)
    assert scaler.get_scale() == 1.0  # halved by two overflows and by the NaN
    moved = [
        not np.array_equal(one, other) for one, other in zip(stage.seen, [*stage.seen[1:], stage.flat()], strict=True)
    ]
    assert moved == [False, False, True, True, False, True]


AUTOENCODER = {
    "model": {"block_out_channels": [8, 8], "latent_channels": 4, "norm_num_groups": 4},
    "crop_size": 32, "head_fraction": 0.5, "head_crop_size": 32,
}  # fmt: skip
ENCODER = {"model": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}, "projection_size": 4}


@pytest.mark.parametrize(
    ("trainer", "changes"),
    [(train_autoencoder, AUTOENCODER), (train_encoder, ENCODER), (train_pose_estimator, {})],
    ids=["autoencoder", "encoder", "pose estimator"],
)
def test_the_person_behind_a_nan_is_named(trainer: Trainer, changes: dict, run_values: dict, tmp_path: Path) -> None:
    config = trainer.config.model_validate(run_values | changes | {"steps": 5})
    stage = trainer.build(config)
    seed = int(stage.items(2, range(2))[0].split()[1])
    if trainer is train_pose_estimator:
        stage.cache.get = _poisoned(stage.cache.get, seed)
    else:
        plant_nan(stage.cache, seed)
    check_planted(stage, config, seed, tmp_path)


def _poisoned(get, seed: int):
    def poisoned(name: str, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        found = get(name, identities, views)
        if name == "keypoints":
            found[torch.from_numpy(identities == seed)] = float("nan")
        return found

    return poisoned


def test_the_person_behind_a_nan_is_named_by_the_denoiser(frozen: Path, tmp_path: Path) -> None:
    values = denoiser_values(frozen, tmp_path) | {
        "steps": 5,
        "validation": None,
        "grids": {"1x2": 1.0},
        "batch_size": 1,
    }
    config = train_denoiser.config.model_validate(values)
    stage = train_denoiser.build(config)
    seed = int(stage.items(1, range(1))[0].split()[1])
    read = stage.data.get_each

    def get_each(name: str, identities: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        scale = {True: float("nan"), False: 1.0}
        found = read(name, identities, views)
        if name != "latents":
            return found
        return [latents * scale[bool(identity == seed)] for latents, identity in zip(found, identities, strict=True)]

    stage.data.get_each = get_each
    check_planted(stage, config, seed, tmp_path)


def test_the_last_good_checkpoint_resumes(config: RunConfig) -> None:
    with pytest.raises(FloatingPointError):
        Training(PoisonedStage(4), config).run()
    assert [path.name for path in list_checkpoints(config.output / "checkpoints")] == ["step-00000003"]
    assert Training(LineStage(), config, "latest").run().step == 6
