"""Learning a few canvases by heart: the same batches come again, and the command says whether it worked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_networks import denoiser_values
from typer.testing import CliRunner

from imagpose.cli.commands import app
from imagpose.training import denoiser
from imagpose.training.denoiser import DenoiserConfig, DenoiserStage, fill_caches
from imagpose.training.log import Outcome


@pytest.fixture(scope="module")
def stage(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> DenoiserStage:
    values = denoiser_values(frozen, tmp_path_factory.mktemp("overfit")) | {"validation": None, "overfit": 8}
    config = DenoiserConfig.model_validate(values)
    return DenoiserStage(config, fill_caches(config)[0])


def test_the_same_canvases_come_again(stage: DenoiserStage) -> None:
    size = stage.config.batch_size
    rounds = 8 // size
    assert rounds > 1
    first, second, again = (stage.batch(step, range(size)) for step in (0, 1, rounds))
    for name in ("latents", "noise", "mask", "timesteps", "skeletons", "keep_texture"):
        assert torch.equal(first[name], again[name]), name
    assert first["noise"].shape != second["noise"].shape or not torch.equal(first["noise"], second["noise"])
    assert stage.items(rounds, range(size)) == stage.items(0, range(size))


def test_canvases_that_steps_do_not_divide_are_refused(stage: DenoiserStage) -> None:
    config = DenoiserConfig.model_validate(stage.config.model_dump() | {"overfit": stage.config.batch_size + 1})
    with pytest.raises(ValueError, match="a multiple of a step's"):
        DenoiserStage(config, stage.pipeline)


@pytest.mark.parametrize(("last", "code", "words"), [(0.05, 0, "0.050"), (0.4, 1, "more steps")])
def test_the_command_fails_where_the_loss_is_not_reached(monkeypatch, last: float, code: int, words: str) -> None:
    given = []

    def train(*arguments):
        given.append(arguments)
        return Outcome(step=100, losses=[1.0] * 92 + [last] * 8)

    monkeypatch.setattr(denoiser, "train_denoiser", train)
    result = CliRunner().invoke(app, ["train", "denoiser", "--config", "x.yaml", "--overfit", "8", "steps=100"])
    assert result.exit_code == code and words in result.output
    assert given[0][1] == ["steps=100", "overfit=8", "validation=null"]
