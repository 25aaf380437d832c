"""Runs that are killed, that meet a full disk, that share the work between processes."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_people import without_people
from line_stage import LineStage
from safetensors import SafetensorError
from safetensors.torch import load_file

from imagpose.training import checkpoints
from imagpose.training.checkpoints import list_checkpoints
from imagpose.training.configs import RunConfig
from imagpose.training.loop import Training
from imagpose.training.run import Trainer

HANGS = 600


@pytest.fixture
def config(run_values: dict) -> RunConfig:
    return RunConfig.model_validate(without_people(run_values) | {"learning_rate": 0.05, "checkpoint_every": 2})


def killed(run: Callable[[], None], sign: Callable[[], bool]) -> None:
    """Start `run` in a process of its own and kill it with SIGKILL once `sign` tells that it is where it should be."""
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    until = time.monotonic() + 60
    while not sign() and time.monotonic() < until:
        assert process.is_alive()
        time.sleep(0.005)
    assert sign()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_run_that_another_one_overtook_writes_nothing(config: RunConfig) -> None:
    """It has read what was there before the other began, and gets the folder when the other has ended."""
    late = Training(LineStage(), config, "latest")
    Training(LineStage(), config).run()
    there = {file: file.read_bytes() for file in config.output.rglob("*") if file.is_file()}
    with pytest.raises(BlockingIOError, match="another process has meanwhile trained in"):
        late.run()
    assert {file: file.read_bytes() for file in config.output.rglob("*") if file.is_file()} == there


def test_others_files_beside_checkpoints_and_weights_stay(config: RunConfig) -> None:
    output = config.output
    mine = [output / "weights" / "notes.txt", output / "checkpoints" / "mine.partial" / "notes.txt", output / "a.txt"]
    Training(LineStage(), config).run()
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    left_over = output / "checkpoints" / "step-00000001.partial"
    left_over.mkdir()
    (output / "weights" / "line.safetensors").write_bytes(b"replaced")
    longer = config.model_copy(update={"steps": config.steps + 2})
    Training(LineStage(), longer, "latest").run()
    assert [file.read_text() for file in mine] == ["mine"] * 3 and not left_over.exists()
    assert set(load_file(output / "weights" / "line.safetensors")) == {"line.weight", "line.bias"}


def test_weights_that_no_run_wrote_are_refused_before_anything_is_made(write_config, run_values: dict) -> None:
    trainer = Trainer(RunConfig, lambda _: pytest.fail("the stage was built"))
    path = write_config(without_people(run_values))
    weights = Path(run_values["output"]) / "weights"
    weights.mkdir(parents=True)
    (weights / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="weights exists and was not written by a run"):
        trainer(path)
    (weights / "training.json").write_text('{"step": 6}')
    assert trainer(path, resume="latest").step == 6  # a finished run's, of a version that did not list its files


def test_what_a_killed_process_left_goes_although_the_run_was_finished(write_config, run_values: dict) -> None:
    trainer, path = Trainer(RunConfig, lambda _: LineStage()), write_config(without_people(run_values))
    finished, output = trainer(path), Path(run_values["output"])
    left = [output / ".weights-99999999-abcdefgh.partial", output / "checkpoints" / ".new-99999999-abcdefgh.partial"]
    for folder in left:
        folder.mkdir()
    assert trainer(path, resume="latest").step == finished.step and not any(folder.exists() for folder in left)


def test_a_second_process_is_kept_out_of_the_folder(config: RunConfig, tmp_path: Path) -> None:
    reached = tmp_path / "reached"

    def run() -> None:
        stage = LineStage()
        stage.at_step[3] = lambda: (reached.touch(), time.sleep(HANGS))
        Training(stage, config).run()

    def refused() -> bool:
        if reached.exists():
            with pytest.raises(BlockingIOError, match="is being written by another process"):
                Training(LineStage(), config, "latest").run()
        return reached.exists()

    killed(run, refused)
    assert Training(LineStage(), config, "latest").run().step == config.steps


def test_killed_in_a_step(config: RunConfig, tmp_path: Path) -> None:
    expected = Training(LineStage(), config.model_copy(update={"output": tmp_path / "whole"})).run()
    reached = tmp_path / "reached"

    def run() -> None:
        stage = LineStage()
        stage.at_step[3] = lambda: (reached.touch(), time.sleep(HANGS))
        Training(stage, config).run()

    killed(run, reached.exists)
    resumed = Training(LineStage(), config, "latest").run()
    assert resumed.losses == expected.losses[2:]
    assert_same_weights(config.output, tmp_path / "whole")


def test_killed_in_the_middle_of_a_checkpoint(config: RunConfig, tmp_path: Path) -> None:
    expected = Training(LineStage(), config.model_copy(update={"output": tmp_path / "whole"})).run()
    written = config.output / "checkpoints" / "step-00000004.partial" / "ema.safetensors"

    def run() -> None:
        complete = checkpoints.save_file

        def half(tensors: dict[str, torch.Tensor], path: Path) -> None:
            complete(tensors, path)
            if path == written:
                os.truncate(path, 20)
                time.sleep(HANGS)

        checkpoints.save_file = half
        Training(LineStage(), config).run()

    killed(run, lambda: written.exists() and written.stat().st_size == 20)
    resumed = Training(LineStage(), config, "latest").run()
    assert resumed.losses == expected.losses[2:]
    assert not list(written.parent.parent.glob("*.partial"))
    assert_same_weights(config.output, tmp_path / "whole")


def test_killed_while_old_checkpoints_are_removed(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half removed checkpoint never stands under its name."""
    removed = []
    remove = checkpoints.shutil.rmtree

    def interrupted(path: Path, **options: object) -> None:
        if "step-00000002" in str(path) and list_checkpoints(config.output / "checkpoints"):
            removed.append(Path(path).name)
        remove(path, **options)

    monkeypatch.setattr(checkpoints.shutil, "rmtree", interrupted)
    Training(LineStage(), config.model_copy(update={"keep_checkpoints": 1})).run()
    assert set(removed) == {"step-00000002.partial"}
    assert [path.name for path in list_checkpoints(config.output / "checkpoints")] == ["step-00000006"]


def assert_same_weights(one: Path, other: Path) -> None:
    weights, expected = (load_file(folder / "weights" / "line.safetensors") for folder in (one, other))
    for name, weight in expected.items():
        assert torch.equal(weights[name], weight), name


def full_at(step: int, error: Exception) -> Callable[..., None]:
    """Writes as usual until the checkpoint of `step`, of which a part is written."""
    complete = checkpoints.save_file

    def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if f"{step:08d}" in str(path):
            path.write_bytes(b"part")
            raise error
        complete(tensors, path)

    return save


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("PytorchStreamWriter failed writing file\n: No space left on device"),
    ],
)
def test_full_disk_keeps_the_last_good_checkpoint(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder = config.output / "checkpoints"
    expected = Training(LineStage(), config.model_copy(update={"output": tmp_path / "whole"})).run()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full_at(4, error))
        with pytest.raises(
            OSError, match=r"step 4: .*No space left on device; the last good .*step-00000002"
        ) as caught:
            Training(LineStage(), config).run()
    assert "\n" not in str(caught.value)
    assert [path.name for path in folder.iterdir()] == ["step-00000002"]
    assert Training(LineStage(), config, "latest").run().losses == expected.losses[2:]


def test_full_disk_in_the_export_keeps_checkpoint_and_weights_of_before(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors has an error of its own for a full disk."""
    Training(LineStage(), config).run(stop_after=1e-9)
    before = (config.output / "weights" / "line.safetensors").read_bytes()

    def export(_: LineStage, folder: Path) -> None:
        (folder / "line.safetensors").write_bytes(b"part")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(LineStage, "export", export)
        with pytest.raises(OSError, match=r"step 6: weights .*No space left .*the last good .*step-00000006"):
            Training(LineStage(), config, "latest").run()
    assert sorted(path.name for path in config.output.iterdir()) == [".lock", "checkpoints", "tensorboard", "weights"]
    assert (config.output / "weights" / "line.safetensors").read_bytes() == before
    assert Training(LineStage(), config, "latest").run().losses == []


def test_accumulated_batches_are_one_large_batch(config: RunConfig, tmp_path: Path) -> None:
    runs = [
        Training(LineStage(), config.model_copy(update={"output": tmp_path / str(parts), **sizes})).run()
        for parts, sizes in (
            (1, {"batch_size": 6}),
            (3, {"batch_size": 2, "gradient_accumulation": 3}),
        )
    ]
    np.testing.assert_allclose(runs[0].losses, runs[1].losses, rtol=1e-5)
    assert len(set(runs[0].losses)) == 6


def test_batches_prepared_ahead_are_the_same(config: RunConfig, tmp_path: Path) -> None:
    expected = Training(LineStage(), config.model_copy(update={"output": tmp_path / "whole"})).run()
    ahead = config.model_copy(update={"workers": 2})
    first = Training(LineStage(), ahead).run(stop_after=1e-9)
    second = Training(LineStage(), ahead, "latest").run()
    assert first.losses + second.losses == expected.losses


class SignalledStage(LineStage):
    """In its first step all processes get a signal, as `timeout`, a terminal or Slurm send it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number: int | None = number

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if self.number is not None:
            for process in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
                os.kill(process, self.number)
            self.number = None
            time.sleep(0.5)  # in which a worker would die of it
        return super().forward(batch)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_leaves_the_workers_alive(config: RunConfig, number: int) -> None:
    outcome = Training(SignalledStage(number), config.model_copy(update={"workers": 2})).run()
    assert (outcome.step, outcome.reason) == (1, "interrupted")
    assert [path.name for path in list_checkpoints(config.output / "checkpoints")] == ["step-00000001"]
    assert not multiprocessing.active_children()


def test_fp16_needs_a_gpu(config: RunConfig) -> None:
    from imagpose.training.run import prepare_run

    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        prepare_run(config.model_copy(update={"precision": "fp16"}), ())
