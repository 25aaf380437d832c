"""The names of a checkpoint's entries are a promise: a later version resumes what this one wrote.

`checkpoint_entries.json` lists the entries of a denoiser's checkpoint as it was when the long run began, weights in the
order in which the optimiser numbers them. Names may be added to it, together with how a checkpoint without them is
resumed; none may be renamed or removed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_networks import denoiser_values

from imagpose.training.denoiser import DenoiserStage, fill_caches
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.loop import Training

ENTRIES = json.loads(Path(__file__).with_name("checkpoint_entries.json").read_text())


@pytest.fixture(scope="module")
def config(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> DenoiserConfig:
    values = denoiser_values(frozen, tmp_path_factory.mktemp("names"))
    return DenoiserConfig.model_validate(values | {"steps": 2, "validate_every": 10})


@pytest.fixture(scope="module")
def checkpoint(config: DenoiserConfig) -> Path:
    Training(new_stage(config), config).run(stop_after=1e-9)
    return config.output / "checkpoints" / "step-00000001"


def new_stage(config: DenoiserConfig) -> DenoiserStage:
    return DenoiserStage(config, fill_caches(config)[0])


def test_the_entries_are_there_under_their_names(checkpoint: Path) -> None:
    assert set(ENTRIES["files"]) <= {path.name for path in checkpoint.iterdir()}
    assert set(ENTRIES["progress"]) <= set(json.loads((checkpoint / "progress.json").read_text()))
    assert set(ENTRIES["weights"]) <= set(load_file(checkpoint / "ema.safetensors"))
    assert {*ENTRIES["weights"], *ENTRIES["buffers"]} <= set(load_file(checkpoint / "model.safetensors"))


def test_a_checkpoint_of_these_entries_is_resumed(config: DenoiserConfig, checkpoint: Path) -> None:
    shapes = {name: weight.shape for name, weight in load_file(checkpoint / "ema.safetensors").items()}
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shapes[name], generator=generator) for name in ENTRIES["weights"]}
    averages = {name: torch.randn(shapes[name], generator=generator) for name in ENTRIES["weights"]}
    stored = load_file(checkpoint / "model.safetensors")
    buffers = {name: stored[name] for name in ENTRIES["buffers"]}
    save_file(weights | buffers, checkpoint / "model.safetensors", metadata={"format": "pt"})
    save_file(averages, checkpoint / "ema.safetensors")
    facts = {"step": 1, "ema_step": 1, "samples": 7, "seconds": 2.5, "kept": False}
    (checkpoint / "progress.json").write_text(json.dumps({name: facts[name] for name in ENTRIES["progress"]}))
    stage = new_stage(config)
    training = Training(stage, config, "latest")
    named = dict(stage.named_parameters())
    assert list(named) == ENTRIES["weights"]
    for name, weight in named.items():
        assert torch.equal(weight, weights[name]), name
    assert all(torch.equal(training.average.state()[name], average) for name, average in averages.items())
    assert (training.outcome.step, training.outcome.samples, training.outcome.seconds) == (1, 7, 2.5)
