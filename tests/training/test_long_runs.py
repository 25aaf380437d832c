"""What a run of days needs: its schedule, being stopped at any moment, going on with more steps."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from fake_people import without_people
from line_stage import LineStage
from safetensors.torch import load_file
from torch import nn

from imagpose.training import loop
from imagpose.training import stage as stages
from imagpose.training.checkpoints import list_checkpoints
from imagpose.training.configs import RunConfig
from imagpose.training.log import append_row
from imagpose.training.loop import Training
from imagpose.training.run import Trainer
from imagpose.training.schedule import build_schedule, schedule_phase
from imagpose.training.stage import ProgressReport
from imagpose.training.stopping import StopRequests


@pytest.fixture
def config(run_values: dict) -> RunConfig:
    values = {"lr_schedule": "hold_decay", "learning_rate": 0.05, "steps": 10, "decay_share": 0.4, "warmup_steps": 2}
    return RunConfig.model_validate(without_people(run_values) | values | {"keep_checkpoints": 1, "log_every": 1})


def changed(config: RunConfig, **values: object) -> RunConfig:
    return config.model_copy(update=values)


def exported(config: RunConfig) -> dict[str, torch.Tensor]:
    return load_file(config.output / "weights" / "line.safetensors")


def checkpoints(config: RunConfig) -> list[str]:
    return [path.name for path in list_checkpoints(config.output / "checkpoints")]


def test_hold_decay_holds_then_falls_to_zero(config: RunConfig) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(config, optimizer)
    rates = [schedule.lr_lambdas[0](step) for step in range(11)]
    assert rates == pytest.approx([0, 0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
    phases = [schedule_phase(config, step) for step in range(11)]
    assert phases == ["warm-up"] * 2 + ["hold"] * 4 + ["decay"] * 4 + ["finished"]


def test_a_warm_up_that_reaches_into_the_decay_is_refused(config: RunConfig) -> None:
    with pytest.raises(ValueError, match=r"warmup_steps \(7\) must end before the decay begins, at step 6"):
        RunConfig.model_validate(config.model_dump() | {"warmup_steps": 7})


def test_a_finished_run_goes_on_from_before_its_decay(config: RunConfig, tmp_path: Path) -> None:
    longer = changed(config, output=tmp_path / "longer", steps=20)
    expected = Training(LineStage(), longer).run()
    Training(LineStage(), config).run()
    assert checkpoints(config) == ["step-00000006", "step-00000010"]
    kept = str(config.output / "checkpoints" / "step-00000006")
    further = changed(longer, output=tmp_path / "further")
    outcome = Training(LineStage(), further, kept).run()
    assert outcome.losses == expected.losses[6:]
    assert (outcome.step, outcome.samples) == (20, 40)
    for name, weight in exported(longer).items():
        assert torch.equal(exported(further)[name], weight)


def test_a_decay_that_begins_where_a_run_was_resumed_keeps_that_checkpoint(config: RunConfig) -> None:
    Training(LineStage(), changed(config, steps=100, checkpoint_every=6)).run(stop_after=1e-9)
    assert checkpoints(config) == ["step-00000001"]
    Training(LineStage(), changed(config, steps=2, decay_share=0.5, warmup_steps=0), "latest").run()
    assert checkpoints(config) == ["step-00000001", "step-00000002"]


def test_going_on_from_inside_a_decay_says_so(config: RunConfig, capsys: pytest.CaptureFixture) -> None:
    Training(LineStage(), config).run()
    training = Training(LineStage(), changed(config, steps=20), "latest")
    assert "step 10 lies in the decay of a shorter run: the learning rate rises again" in capsys.readouterr().err
    assert training.optimizer.param_groups[0]["lr"] == 0.05
    capsys.readouterr()
    Training(LineStage(), config, "latest")
    assert "decay" not in capsys.readouterr().err


class StoppedWhile(LineStage):
    """Gets a signal while it measures, and would then go on for ever."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.returned = False

        def measure() -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(10**9):
                pass
            self.returned = True

        setattr(self, method, measure)


@pytest.mark.parametrize("method", ["validate", "sample_grid", "measure_progress"])
def test_a_signal_ends_what_is_being_measured(config: RunConfig, method: str) -> None:
    stage = StoppedWhile(method)
    often = changed(config, validate_every=2, sample_every=2, progress_every=4)
    outcome = Training(stage, often).run()
    assert (outcome.step, outcome.reason, stage.returned) == (2, "interrupted", False)
    assert checkpoints(config) == ["step-00000002"]
    reference = LineStage()
    Training(reference, changed(often, output=config.output.with_name("whole"), steps=3)).run()
    assert np.array_equal(stage.flat(), reference.seen[2])  # the weights, no longer their average
    assert Training(LineStage(), often, "latest").run().step == 10


def test_validation_that_was_cut_short_is_not_recorded(config: RunConfig) -> None:
    assert Training(StoppedWhile("validate"), changed(config, validate_every=2)).run().validation == {}


def test_a_second_signal_does_not_lose_the_checkpoint(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    save = loop.save_checkpoint

    def signalled_save(*arguments: object) -> Path:
        os.kill(os.getpid(), signal.SIGTERM)
        path = save(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        return path

    monkeypatch.setattr(loop, "save_checkpoint", signalled_save)
    stage = LineStage()
    stage.at_step[1] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert Training(stage, config).run().reason == "interrupted"
    assert checkpoints(config) == ["step-00000002"] and exported(config)


def averaged(trajectory: list[np.ndarray], every: int, decay: float) -> np.ndarray:
    average = trajectory[0]
    for update, step in enumerate(range(every, len(trajectory), every), start=1):
        kept = 0.0 if update == 1 else min(update / (9 + update), decay**every)
        average = kept * average + (1 - kept) * trajectory[step]
    return average


def test_the_average_is_updated_every_few_steps(config: RunConfig) -> None:
    stage = LineStage()
    Training(stage, changed(config, ema_every=3, ema_decay=0.6)).run()
    expected = averaged([*stage.seen, stage.flat()], 3, 0.6)
    weights = exported(config)
    np.testing.assert_allclose(np.append(weights["line.weight"], weights["line.bias"]), expected, rtol=1e-5)


def test_the_averages_cadence_survives_a_stop(config: RunConfig, tmp_path: Path) -> None:
    rare = changed(config, ema_every=3)
    Training(LineStage(), changed(rare, output=tmp_path / "whole")).run()
    while Training(LineStage(), rare, "latest").run(stop_after=1e-9).reason == "stopped":
        pass
    for name, weight in exported(changed(rare, output=tmp_path / "whole")).items():
        assert torch.equal(exported(rare)[name], weight)


class OwnLine(nn.Linear):
    """torch does not compile its own layers alone."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs)


class CompilableStage(LineStage):
    def __init__(self) -> None:
        super().__init__()
        self.line = OwnLine(2, 1)

    def compilable(self) -> list[nn.Module]:
        return [self.line]


def test_compiled_networks_keep_the_names_of_their_weights(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: list) -> Callable:
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(stages, "_why_not_compiled", lambda _: None)
    plain = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda network: plain(network, backend=backend))
    stage = CompilableStage()
    Training(stage, changed(config, compile=True)).run(stop_after=1e-9)
    assert len(compiled) == 1
    path = config.output / "checkpoints" / "step-00000001"
    for name in ("model.safetensors", "ema.safetensors"):
        assert set(load_file(path / name)) == {"line.weight", "line.bias"}
    assert Training(LineStage(), config, "latest").run().step == 10


def test_without_a_compiler_the_run_goes_on(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> Callable:
        raise RuntimeError("Failed to find\na compiler")

    monkeypatch.setattr(torch, "compile", broken)
    assert Training(CompilableStage(), changed(config, compile=True)).run().step == 10
    assert "compile: no compiler, going on uncompiled (Failed to find a compiler)" in capsys.readouterr().err


class CurveStage(LineStage):
    sample_name = "canvases"
    measure = "known_psnr"

    def measure_progress(self) -> ProgressReport:
        return ProgressReport(np.full((2, 3, 3), 7, np.uint8), {self.measure: float(self.line.weight[0, 0])})


def test_progress_is_a_curve(config: RunConfig, capsys: pytest.CaptureFixture) -> None:
    often = changed(config, progress_every=6, ema_decay=0.0, validate_every=4)
    stage = CurveStage()
    stage.samples_before = 100
    Training(stage, often).run(stop_after=1e-9)
    Training(CurveStage(), often, "latest").run()
    lines = (config.output / "progress.csv").read_text().splitlines()
    assert lines[0] == "canvases,seconds,learning_rate,known_psnr"
    rows = np.array([[float(value) for value in line.split(",")] for line in lines[1:]])
    assert rows[:, 0].tolist() == [102, 108, 114, 120]
    # The rate of the step to come; warm-up 0, 1/2, 1, decay from step 6 on.
    np.testing.assert_allclose(rows[:, 2], [0.025, 0.05, 0.0375, 0.0])
    assert sorted(path.name for path in (config.output / "progress").iterdir()) == [
        f"{canvases:08d}.png" for canvases in (102, 108, 114, 120)
    ]
    facts = json.loads((config.output / "weights" / "training.json").read_text())
    assert facts.pop("seconds") >= 0
    assert facts == {"stage": "line", "step": 10, "steps": 10, "phase": "finished", "canvases": 120}
    shown = capsys.readouterr().err
    assert "line step 5/10: 110 canvases, " in shown and " canvases/s, loss " in shown


def test_a_curve_with_other_measures_is_set_aside(config: RunConfig) -> None:
    often = changed(config, progress_every=6)
    Training(CurveStage(), changed(often, steps=4)).run()
    stage = CurveStage()
    stage.measure = "detail"
    Training(stage, often, "latest").run()
    assert (config.output / "progress.csv").read_text().splitlines()[0].endswith("detail")
    assert (config.output / "progress-1.csv").read_text().splitlines()[0].endswith("known_psnr")


def test_rows_after_the_checkpoint_are_replaced(config: RunConfig) -> None:
    often = changed(config, progress_every=2, checkpoint_every=4)
    stage = CurveStage()
    stage.at_step[7] = lambda: (_ for _ in ()).throw(KeyboardInterrupt)  # as a kill: no checkpoint after step 4
    with pytest.raises(KeyboardInterrupt):
        Training(stage, often).run()
    before = (config.output / "progress.csv").read_text().splitlines()
    Training(CurveStage(), often, "latest").run()
    lines = (config.output / "progress.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in before[1:]] == [str(canvases) for canvases in range(2, 15, 2)]
    assert [line.split(",")[0] for line in lines[1:]] == [str(canvases) for canvases in range(2, 21, 2)]


def test_a_second_signal_lets_what_is_cut_short_clean_up(config: RunConfig) -> None:
    cleaned = []

    def measure() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("not cut short")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append(True)

    with StopRequests() as requests:
        assert requests.unless_stopped(measure) is None
        assert requests.received and cleaned


def test_what_python_swallows_is_raised_again(config: RunConfig) -> None:
    """Nothing can be raised in a destructor."""

    class Signals:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # in which the signal's handler is called
                pass

    def measure() -> None:
        thing = Signals()
        del thing
        for _ in range(10**9):
            pass
        raise AssertionError("not cut short")

    hook = sys.unraisablehook
    with StopRequests() as requests:
        assert requests.unless_stopped(measure) is None and requests.received
    assert sys.unraisablehook is hook


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_is_made_before_the_first_step(config: RunConfig, tmp_path: Path, number: int) -> None:
    def build(_: RunConfig) -> LineStage:
        os.kill(os.getpid(), number)
        for _ in range(10**9):
            pass
        raise AssertionError("not cut short")

    path = tmp_path / "line.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    before = signal.getsignal(number)
    outcome = Trainer(RunConfig, build)(path)
    assert (outcome.step, outcome.reason, config.output.exists()) == (0, "interrupted", False)
    assert signal.getsignal(number) is before


def test_a_signal_between_building_and_the_first_step_is_not_lost(config: RunConfig, tmp_path: Path) -> None:
    class Signalled(LineStage):
        def compilable(self) -> tuple:
            os.kill(os.getpid(), signal.SIGTERM)
            return ()

    path = tmp_path / "line.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json") | {"compile": True}))
    outcome = Trainer(RunConfig, lambda _: Signalled())(path)
    assert (outcome.step, outcome.reason) == (1, "interrupted")
    assert checkpoints(config) == ["step-00000001"]


def test_a_checkpoint_from_before_samples_were_counted(config: RunConfig) -> None:
    Training(LineStage(), config).run(stop_after=1e-9)
    path = config.output / "checkpoints" / "step-00000001" / "progress.json"
    path.write_text(json.dumps({"step": 1, "ema_step": 1}))
    outcome = Training(LineStage(), config, "latest").run()
    assert outcome.samples == 20 and outcome.seconds > 0


class GrowingStage(LineStage):
    """Batches of other sizes, as with views of half their size."""

    def samples_in(self, batch: dict[str, torch.Tensor]) -> int:
        return 10 * len(batch["inputs"])


def test_what_is_in_the_batches_is_counted(config: RunConfig, capsys: pytest.CaptureFixture) -> None:
    outcome = Training(GrowingStage(), config).run()
    assert outcome.samples == 10 * 10 * 2
    assert "line step 10/10: 200 samples, " in capsys.readouterr().err


def test_samples_and_seconds_are_those_of_all_sittings(config: RunConfig) -> None:
    first = Training(LineStage(), config).run(stop_after=1e-9)
    second = Training(LineStage(), config, "latest").run()
    assert (first.samples, second.samples) == (2, 20)
    assert second.seconds > first.seconds > 0


def test_a_finished_run_is_left_as_it_is(config: RunConfig, tmp_path: Path) -> None:
    built: list[RunConfig] = []

    def build(values: RunConfig) -> LineStage:
        built.append(values)
        return LineStage()

    train = Trainer(RunConfig, build)
    path = tmp_path / "line.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert train(path, resume="latest").losses
    assert (train(path, resume="latest").step, len(built)) == (10, 1)
    assert train(path, ["steps=12"], resume="latest").step == 12 and len(built) == 2


@pytest.mark.parametrize("when", ["in the last step", "in the last validation"])
def test_a_run_that_is_stopped_at_its_very_end_is_measured_when_it_goes_on(config: RunConfig, when: str) -> None:
    stage = LineStage()
    if when == "in the last step":
        stage.at_step[9] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    else:
        stage = StoppedWhile("validate")
    train = Trainer(RunConfig, lambda _: stage)
    path = config.output.with_name("line.yaml")
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    stopped = train(path)
    assert (stopped.step, stopped.reason, stopped.validation) == (10, "interrupted", {})
    facts = config.output / "weights" / "training.json"
    assert json.loads(facts.read_text())["phase"] == "decay"
    stage = LineStage()
    resumed = train(path, resume="latest")
    assert (resumed.step, resumed.reason, resumed.losses) == (10, "finished", [])
    assert resumed.validation["weight"] == pytest.approx(float(exported(config)["line.weight"][0, 0]))
    assert json.loads(facts.read_text())["phase"] == "finished"
    assert train(path, resume="latest").validation == {}


def test_a_run_whose_time_is_up_with_its_last_step_is_finished(config: RunConfig) -> None:
    outcome = Training(LineStage(), changed(config, steps=1, warmup_steps=0)).run(stop_after=1e-9)
    assert outcome.reason == "finished" and outcome.validation


def test_weights_are_exported_while_a_run_goes_on(config: RunConfig) -> None:
    stage, steps = LineStage(), []
    facts = config.output / "weights" / "training.json"
    stage.at_step[7] = lambda: steps.append(json.loads(facts.read_text())["step"])
    Training(stage, changed(config, export_minutes=1e-9)).run()
    assert steps == [7]


@pytest.mark.parametrize("content", [b"canvases,psnr\nx,1\n", b"canvases,psnr\n\xff"], ids=["no number", "no text"])
def test_a_damaged_curve_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "progress.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"progress\.csv: damaged"):
        append_row(path, {"canvases": 2.0, "psnr": 0.5})
    assert path.read_bytes() == content
