"""The shared loop, seen with a two-parameter stage whose every number can be recomputed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_people import without_people
from line_stage import LineStage
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from imagpose.training import checkpoints
from imagpose.training.checkpoints import list_checkpoints
from imagpose.training.configs import RunConfig
from imagpose.training.loop import Training
from imagpose.training.stage import keyed_generator


@pytest.fixture
def config(run_values: dict) -> RunConfig:
    return RunConfig.model_validate(without_people(run_values) | {"lr_schedule": "cosine", "learning_rate": 0.05})


def exported(config: RunConfig) -> dict[str, torch.Tensor]:
    return load_file(config.output / "weights" / "line.safetensors")


def test_resumed_run_repeats_the_uninterrupted_one(config: RunConfig, tmp_path: Path) -> None:
    whole = Training(LineStage(), config.model_copy(update={"output": tmp_path / "whole"}))
    expected = whole.run()
    losses: list[float] = []
    for sitting in range(3):
        training = Training(LineStage(), config, "latest" if sitting else None)
        outcome = training.run(stop_after=1e-9 if sitting < 2 else None)
        losses += outcome.losses
        assert outcome.reason == ("stopped" if sitting < 2 else "finished")
        assert not list(config.output.glob("*.partial"))
        (config.output / "progress.csv.12.partial").write_text("what a killed process left")
    assert len(expected.losses) == 6
    assert losses == expected.losses
    reference = load_file(tmp_path / "whole" / "weights" / "line.safetensors")
    for name, tensor in exported(config).items():
        assert torch.equal(tensor, reference[name])


def test_exported_weights_are_the_moving_average(config: RunConfig) -> None:
    stage = LineStage()
    Training(stage, config.model_copy(update={"ema_decay": 0.3})).run()
    trajectory = [*stage.seen[1:], stage.flat()]
    average = stage.seen[0]
    for step, weights in enumerate(trajectory, start=1):
        decay = 0.0 if step == 1 else min(step / (9 + step), 0.3)
        average = decay * average + (1 - decay) * weights
    weights = exported(config)
    np.testing.assert_allclose(np.append(weights["line.weight"], weights["line.bias"]), average, rtol=1e-5)
    assert not np.allclose(average, stage.flat(), rtol=1e-3)


def test_nan_names_the_step_and_keeps_the_last_checkpoint(config: RunConfig) -> None:
    stage = LineStage()

    def poison() -> None:
        with torch.no_grad():
            stage.line.weight.fill_(float("nan"))

    stage.at_step[4] = poison
    with pytest.raises(FloatingPointError, match=r"step 4: .*step-00000003"):
        Training(stage, config).run()
    assert [path.name for path in list_checkpoints(config.output / "checkpoints")] == ["step-00000003"]
    assert not (config.output / "weights").exists()
    resumed = Training(LineStage(), config, "latest").run()
    assert resumed.step == 6 and np.isfinite(resumed.losses).all()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_finishes_the_step_and_saves(config: RunConfig, number: int) -> None:
    stage = LineStage()
    stage.at_step[1] = lambda: os.kill(os.getpid(), number)
    before = signal.getsignal(number)
    outcome = Training(stage, config).run()
    assert (outcome.step, outcome.reason) == (2, "interrupted")
    assert [path.name for path in list_checkpoints(config.output / "checkpoints")] == ["step-00000002"]
    assert exported(config)
    assert signal.getsignal(number) is before


def test_killed_while_writing_leaves_the_checkpoint_before(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = config.output / "checkpoints"
    Training(LineStage(), config).run(stop_after=1e-9)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", die)
        with pytest.raises(KeyboardInterrupt):
            Training(LineStage(), config, "latest").run()
    assert [path.name for path in list_checkpoints(folder)] == ["step-00000001"]
    assert list(folder.glob("*.partial"))
    assert Training(LineStage(), config, "latest").run().step == 6
    assert not list(folder.glob("*.partial"))


def test_the_last_checkpoints_are_kept(config: RunConfig) -> None:
    Training(LineStage(), config.model_copy(update={"checkpoint_every": 1, "keep_checkpoints": 3})).run()
    names = [path.name for path in list_checkpoints(config.output / "checkpoints")]
    assert names == ["step-00000004", "step-00000005", "step-00000006"]


def test_a_resumed_run_has_the_rates_of_its_configuration(config: RunConfig) -> None:
    before = LineStage()
    Training(before, config).run(stop_after=1e-9)
    stage = LineStage()
    still = config.model_copy(update={"learning_rate": 1e-12, "weight_decay": 0.25})
    training = Training(stage, still, "latest")
    group = training.optimizer.param_groups[0]
    assert group["lr"] == pytest.approx(1e-12 * (1 + np.cos(np.pi / 6)) / 2)  # cosine over 6 steps, one of them done
    assert group["weight_decay"] == 0.25
    training.run()
    np.testing.assert_allclose(stage.flat(), before.flat(), rtol=1e-6)


def test_damaged_checkpoint(config: RunConfig) -> None:
    Training(LineStage(), config).run(stop_after=1e-9)
    (config.output / "checkpoints" / "step-00000001" / "ema.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"step-00000001 cannot be read"):
        Training(LineStage(), config, "latest")


def test_start_over_is_refused(config: RunConfig) -> None:
    Training(LineStage(), config).run(stop_after=1e-9)
    with pytest.raises(ValueError, match="--resume latest"):
        Training(LineStage(), config)


def test_latest_without_any_checkpoint_starts_at_the_beginning(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    expected = Training(LineStage(), config.model_copy(update={"output": tmp_path / "whole"})).run()
    assert "no checkpoint" not in capsys.readouterr().err
    (config.output / "checkpoints" / "step-00000003.partial").mkdir(parents=True)  # killed in its first checkpoint
    outcome = Training(LineStage(), config, "latest").run()
    assert f"no checkpoint in {config.output} yet: starting at step 0" in capsys.readouterr().err
    assert outcome.losses == expected.losses


def test_a_checkpoint_that_is_named_must_be_there(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*step-00000003"):
        Training(LineStage(), config, str(tmp_path / "step-00000003"))


def test_another_models_checkpoint_is_refused(config: RunConfig) -> None:
    stage = LineStage()
    stage.line = torch.nn.Linear(3, 1)
    Training(LineStage(), config).run(stop_after=1e-9)
    with pytest.raises(ValueError, match=r"step-00000001 cannot be read: .*size mismatch"):
        Training(stage, config, "latest")


def test_later_checkpoints_are_never_taken_for_those_of_a_run_that_went_back(config: RunConfig, tmp_path: Path) -> None:
    kept = config.model_copy(update={"checkpoint_every": 2, "keep_checkpoints": 3})
    Training(LineStage(), kept).run()
    folder = config.output / "checkpoints"
    early = str(folder / "step-00000002")
    with pytest.raises(ValueError, match=r"step 2 is to be resumed, but .* holds step-00000006"):
        Training(LineStage(), kept, early)
    assert [path.name for path in list_checkpoints(folder)] == ["step-00000002", "step-00000004", "step-00000006"]
    elsewhere = kept.model_copy(update={"output": tmp_path / "elsewhere", "steps": 4})
    assert Training(LineStage(), elsewhere, early).run().step == 4
    assert [path.name for path in list_checkpoints(elsewhere.output / "checkpoints")] == ["step-00000004"]


def test_validation_sees_the_moving_average_and_leaves_the_weights(config: RunConfig) -> None:
    stage = LineStage()
    outcome = Training(stage, config).run()
    assert outcome.validation["weight"] == pytest.approx(float(exported(config)["line.weight"][0, 0]))
    assert outcome.validation["weight"] != float(stage.line.weight.detach()[0, 0])


def test_validation_sees_evaluation_mode_and_the_next_step_training_mode(config: RunConfig) -> None:
    stage, modes = LineStage(), []
    stage.line.register_forward_pre_hook(lambda line, _: modes.append(line.training))
    outcome = Training(stage, config.model_copy(update={"validate_every": 2})).run()
    assert (outcome.validation["training"], outcome.validation["gradients"]) == (0, 0)
    assert modes == [True] * 6


def scalars(config: RunConfig, name: str) -> dict[int, float]:
    """What TensorBoard shows, by step."""
    events = EventAccumulator(str(config.output / "tensorboard")).Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def samples_of(step: int, count: int) -> np.ndarray:
    """Inputs (count, 2) of a step."""
    drawn = [torch.randn(2, generator=keyed_generator(5, step, sample)) for sample in range(count)]
    return torch.stack(drawn).numpy()


def test_what_is_recorded_is_the_mean_over_the_steps_and_their_batches(config: RunConfig) -> None:
    stage = LineStage()
    often = config.model_copy(update={"log_every": 3, "gradient_accumulation": 2, "validate_every": 3})
    outcome = Training(stage, often).run()
    losses, firsts = [], []
    for step, weights in enumerate(stage.seen[::2]):  # two batches of two samples in a step
        inputs = samples_of(step, 4)
        losses.append(np.mean((inputs @ weights[:2] + weights[2] - inputs.sum(axis=1)) ** 2))
        firsts.append(inputs.mean())
    np.testing.assert_allclose(outcome.losses, losses, rtol=1e-5)
    for name, values in (("train/loss", losses), ("train/first", firsts)):
        recorded = scalars(config, name)
        assert list(recorded) == [3, 6]
        np.testing.assert_allclose(list(recorded.values()), np.reshape(values, (2, 3)).mean(axis=1), rtol=1e-5)
    assert scalars(config, "validation/weight")[6] == pytest.approx(outcome.validation["weight"])
    assert outcome.samples == 6 * 4


def test_accumulated_batches_have_the_gradient_of_one(config: RunConfig, tmp_path: Path) -> None:
    """AdamW's steps hardly depend on the gradient's scale, its moments do."""
    moments = []
    for number, changes in enumerate(({"batch_size": 4}, {"batch_size": 2, "gradient_accumulation": 2})):
        changes |= {"output": tmp_path / str(number), "gradient_clip": 1e9, "steps": 2}
        training = Training(LineStage(), config.model_copy(update=changes))
        training.run()
        states = training.optimizer.state.values()
        moments.append(torch.cat([state["exp_avg"].flatten() for state in states]))
    assert moments[0].abs().min() > 0
    torch.testing.assert_close(moments[0], moments[1])


def test_runs_of_different_precisions_follow_each_other_in_a_process(config: RunConfig, tmp_path: Path) -> None:
    for precision in ("bf16", "fp32", "bf16"):
        own = config.model_copy(update={"precision": precision, "output": tmp_path / precision})
        assert Training(LineStage(), own, "latest").run().reason == "finished"
