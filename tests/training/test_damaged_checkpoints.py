"""A checkpoint that is not what was written gives way to the one before it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake_people import without_people
from line_stage import LineStage
from safetensors.torch import load_file

from imagpose.training.checkpoints import finished_at, list_checkpoints
from imagpose.training.configs import RunConfig
from imagpose.training.loop import Training

WEIGHTS = ("model.safetensors", "ema.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl")


@pytest.fixture
def config(run_values: dict) -> RunConfig:
    values = {"learning_rate": 0.05, "checkpoint_every": 2, "keep_checkpoints": 3}
    return RunConfig.model_validate(without_people(run_values) | values)


@pytest.fixture
def stopped(config: RunConfig) -> list[Path]:
    """Checkpoints after steps 2, 4 and 5 of a run of 6."""
    Training(LineStage(), config.model_copy(update={"steps": 5})).run()
    return list_checkpoints(config.output / "checkpoints")


@pytest.fixture
def whole(config: RunConfig, tmp_path: Path) -> dict:
    own = config.model_copy(update={"output": tmp_path / "whole"})
    Training(LineStage(), own).run()
    return load_file(own.output / "weights" / "line.safetensors")


def names(config: RunConfig) -> list[str]:
    return sorted(path.name for path in (config.output / "checkpoints").iterdir())


def test_an_entry_for_each_file(stopped: list[Path]) -> None:
    entries = json.loads((stopped[-1] / "progress.json").read_text())
    assert set(entries["files"]) == {path.name for path in stopped[-1].iterdir()} - {"progress.json"} == set(WEIGHTS)


@pytest.mark.parametrize("file", [*WEIGHTS, "progress.json"])
@pytest.mark.parametrize("kind", ["cut", "flipped", "removed"])
def test_a_damaged_file_is_noticed(
    config: RunConfig, stopped: list[Path], whole: dict, capsys: pytest.CaptureFixture, file: str, kind: str
) -> None:
    rng = np.random.default_rng([ord(kind[0]), len(file)])
    path = stopped[-1] / file
    content = bytearray(path.read_bytes())
    if kind == "removed":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[: rng.integers(len(content))])
    else:
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
    outcome = Training(LineStage(), config, "latest").run()
    assert len(outcome.losses) == 2  # steps 4 and 5
    said = capsys.readouterr().err
    assert "step-00000005 cannot be read: " in said and file in said and "going back to step-00000004" in said
    assert names(config) == ["step-00000002", "step-00000004", "step-00000005.damaged", "step-00000006"]
    for name, weight in load_file(config.output / "weights" / "line.safetensors").items():
        assert weight.equal(whole[name])


def test_two_damaged_ones_go_back_two(config: RunConfig, stopped: list[Path]) -> None:
    for path in stopped[1:]:
        (path / "model.safetensors").write_bytes(b"")
    assert len(Training(LineStage(), config, "latest").run().losses) == 4


def test_nothing_is_set_aside_before_the_folder_is_ours(config: RunConfig, stopped: list[Path]) -> None:
    """Another process may be writing there."""
    (stopped[-1] / "ema.safetensors").write_bytes(b"")
    Training(LineStage(), config, "latest")
    assert list_checkpoints(config.output / "checkpoints") == stopped


def test_where_all_are_damaged_nothing_starts_anew(config: RunConfig, stopped: list[Path]) -> None:
    for path in stopped:
        (path / "ema.safetensors").unlink()
    with pytest.raises(ValueError, match=r"step-00000002 cannot be read: .*ema\.safetensors"):
        Training(LineStage(), config, "latest")
    assert list_checkpoints(config.output / "checkpoints") == stopped


def test_a_damaged_checkpoint_that_is_named_is_refused(config: RunConfig, stopped: list[Path]) -> None:
    (stopped[1] / "optimizer.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"step-00000004 cannot be read: optimizer\.bin is not what was written"):
        Training(LineStage(), config, str(stopped[1]))


def test_one_from_before_checksums_gives_way_too_where_it_cannot_be_read(
    config: RunConfig, stopped: list[Path]
) -> None:
    for path in stopped:
        (path / "progress.json").write_text(json.dumps({"step": int(path.name[5:]), "ema_step": int(path.name[5:])}))
    content = (stopped[-1] / "optimizer.bin").read_bytes()
    (stopped[-1] / "optimizer.bin").write_bytes(content[: len(content) // 2])
    assert len(Training(LineStage(), config, "latest").run().losses) == 2


def test_a_damaged_old_checkpoint_does_not_stop_a_run_that_tidies_up(config: RunConfig, stopped: list[Path]) -> None:
    (stopped[0] / "progress.json").write_text("{")
    assert Training(LineStage(), config.model_copy(update={"keep_checkpoints": 1}), "latest").run().step == 6
    assert names(config) == ["step-00000002", "step-00000006"]


def test_a_damaged_record_of_the_export_does_not_stop_a_run(config: RunConfig, stopped: list[Path]) -> None:
    facts = config.output / "weights" / "training.json"
    assert finished_at(config.output) == 5
    for text in ("", "{", "[]", '{"step": null}', "\x00"):
        facts.write_text(text)
        assert finished_at(config.output) is None
