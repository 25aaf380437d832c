"""What saves memory: moments in 8 bits, the average on the CPU, accumulation from a global batch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_people import without_people
from line_stage import LineStage
from torch import nn

from imagpose.training import processes
from imagpose.training import stage as stages
from imagpose.training.configs import RunConfig
from imagpose.training.ema import AveragedWeights
from imagpose.training.loop import Training
from imagpose.training.processes import accumulating, refuse_sharded
from imagpose.training.stage import Batch, keyed_generator


class WideStage(LineStage):
    """As its base, with enough weights that their moments are kept in 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(64, 128, bias=False)

    def batch(self, step: int, samples: range) -> Batch:
        inputs = torch.stack([torch.randn(64, generator=keyed_generator(5, step, sample)) for sample in samples])
        return {"inputs": inputs, "truth": inputs.cumsum(dim=1).repeat(1, 2)}


def config_of(run_values: dict, **changes: object) -> RunConfig:
    return RunConfig.model_validate(without_people(run_values) | {"learning_rate": 0.02} | changes)


def test_moments_in_8_bits_learn_as_those_in_32_and_a_resumed_run_repeats_itself(
    run_values: dict, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the extra optim8bit")
    losses, configs = {}, {}
    for name in ("adamw", "adamw8bit"):
        configs[name] = config_of(run_values, steps=60, optimizer=name, output=tmp_path / name, checkpoint_every=100)
        training = Training(WideStage(), configs[name])
        losses[name] = np.array(training.run().losses)
    moments = [state["state1"] for state in training.optimizer.optimizer.state.values()]
    assert [moment.dtype for moment in moments] == [torch.uint8] and moments[0].numel() == 64 * 128
    assert losses["adamw8bit"][-10:].mean() < 0.5 * losses["adamw8bit"][:10].mean()
    np.testing.assert_allclose(losses["adamw8bit"], losses["adamw"], rtol=0.1)
    resumed = configs["adamw8bit"].model_copy(update={"output": tmp_path / "resumed", "steps": 20})
    found = [Training(WideStage(), resumed, own).run(stop_after=stop) for own, stop in ((None, 1e-9), ("latest", None))]
    together = [loss for outcome in found for loss in outcome.losses]
    np.testing.assert_array_equal(together, losses["adamw8bit"][:20])


def test_8_bits_need_a_package_and_whole_weights(run_values: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(run_values, optimizer="adamw8bit")
    for changes in ({"optimizer": "adamw8bit"}, {"ema_on_cpu": True}):
        with pytest.raises(ValueError, match=f"{next(iter(changes))}.*with FSDP"):
            refuse_sharded(config_of(run_values, **changes))

    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(stages, "import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'imagpose\[optim8bit\]'"):
        WideStage().optimizer(config)


def test_an_average_on_another_device_is_that_of_the_weights_and_copies_what_does_not_learn() -> None:
    stage = LineStage()
    stage.line.bias.requires_grad_(False)
    accelerator = SimpleNamespace(device=torch.device("cpu"), distributed_type=SimpleNamespace(value="NO"))
    average = AveragedWeights(stage, 0.5, accelerator, on_cpu=True)
    average.device = torch.device("cpu:0")  # another one by its name, so that weights are brought to it
    average.start()
    shadow = stage.line.weight.detach().clone()
    for step in range(1, 6):
        with torch.no_grad():
            stage.line.weight.add_(step)
            stage.line.bias.fill_(step)
        average.step()
        decay = 0.0 if step == 1 else min(step / (9 + step), 0.5)
        shadow = decay * shadow + (1 - decay) * stage.line.weight.detach()
    state = average.state()
    torch.testing.assert_close(state["line.weight"], shadow)
    assert float(state["line.bias"]) == 5 and stage.line.weight.requires_grad


def test_accumulation_follows_from_the_global_batch(run_values: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(run_values, global_batch=12)  # batches of 2
    assert accumulating(config).gradient_accumulation == 6
    monkeypatch.setattr(processes, "this_process", lambda: (0, 3))
    assert accumulating(config).gradient_accumulation == 2
    assert accumulating(config_of(run_values)).gradient_accumulation == 1
    with pytest.raises(ValueError, match="global_batch is 9; a multiple of 6 expected"):
        accumulating(config_of(run_values, global_batch=9))
    with pytest.raises(ValueError, match="global_batch is 4; a multiple of 6"):
        accumulating(config_of(run_values, global_batch=4))
    with pytest.raises(ValueError, match="remove one of both"):
        config_of(run_values, global_batch=12, gradient_accumulation=2)
