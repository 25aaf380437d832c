"""Two processes (torchrun, gloo) train what one does, stop together, and continue; also where each holds half of a weight.

The latter is FSDP with the settings of configs/accelerate. All runs of two processes share one start: imports take longer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_networks import UNET, denoiser_values
from two_processes import validated_run

from imagpose.training.denoiser import train_denoiser

SHIPPED = Path(__file__).parents[2] / "configs" / "accelerate" / "fsdp_8x80gb.yaml"
RATE = 0.01
SHALLOW = UNET | {"layers_per_block": 1}
STEPS = 3
GRIDS = {"2x2": 0.3, "1x2": 0.2, "2x3": 0.5}
"""A step of 2x3 has 3 canvases, which two processes cannot share evenly."""


def sharding() -> dict[str, str]:
    """What `accelerate launch` makes of the shipped file; `two_processes.py` turns it on."""
    values = yaml.safe_load(SHIPPED.read_text())["fsdp_config"]
    return {
        name.upper().replace("TRANSFORMER_LAYER_CLS", "TRANSFORMER_CLS"): str(value) for name, value in values.items()
    }


def write(folder: Path, values: dict) -> Path:
    folder.mkdir(exist_ok=True)
    config = folder / "config.yaml"
    config.write_text(json.dumps(values))
    return config


def weights(folder: Path) -> dict[str, np.ndarray]:
    (path,) = (folder / "weights" / "unet").glob("*.safetensors")
    return {name: weight.numpy() for name, weight in load_file(path).items()}


@pytest.fixture(scope="module")
def runs(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Losses of one process with batches of 4, and of two processes with batches of 2, whole weights and shared out."""
    folder = tmp_path_factory.mktemp("two")
    changes = {
        "steps": STEPS,
        "validation": None,
        "visible_weight": 0.2,
        "precision": "fp32",
        "grids": GRIDS,
        "log_every": 1,
        "unet": SHALLOW,
    }
    config = write(folder, denoiser_values(frozen, folder) | changes)
    one = train_denoiser(config, [f"output={folder / 'one'}", "batch_size=4"])
    changes = {
        "steps": 2,
        "validation": None,
        "precision": "bf16",
        "learning_rate": RATE,
        "ema_decay": 0.0,
        "unet": SHALLOW,
    }
    halves = folder / "halves"
    unsharded = train_denoiser(
        write(halves, denoiser_values(frozen, halves) | changes), [f"output={halves / 'one'}", "batch_size=4"]
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = Path(__file__).with_name("two_processes.py")
    subprocess.run(
        [*command, str(script), str(config), str(folder)],
        env={**os.environ, **sharding(), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=True,
        timeout=900,
    )
    validated = train_denoiser(*validated_run(str(config), folder, 8))
    found = {"one": one.losses, "samples": one.samples, "validation": validated.validation, "folder": folder}
    found |= {"unsharded": unsharded.losses}
    return found | {rank: json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)}


def test_two_processes_have_the_losses_of_one_with_the_same_global_batch(runs: dict) -> None:
    """Within 1e-4: sums of float32 in another order, over three steps of training."""
    np.testing.assert_allclose(runs[0]["whole"], runs["one"], rtol=1e-4)
    assert runs[0]["whole"] == runs[1]["whole"]
    assert len(set(runs["one"])) == STEPS
    assert runs[0]["samples"] == runs["samples"]


def test_scalars_are_means_over_the_processes(runs: dict) -> None:
    events = EventAccumulator(str(runs["folder"] / "whole" / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("train/rank")] == [0.5] * STEPS


def test_validation_is_that_of_one_process_with_other_batches(runs: dict) -> None:
    """One process with batches of 8, two with batches of 3; fp32."""
    for name in ("loss", "loss_masked", "loss_visible"):
        assert runs[0]["validation"][name] == pytest.approx(runs["validation"][name], rel=1e-5), name
    assert runs["validation"]["loss_visible"] != pytest.approx(runs["validation"]["loss_masked"], rel=1e-3)


def test_a_signal_to_one_process_stops_both_and_the_run_continues_exactly(runs: dict) -> None:
    for rank in (0, 1):
        assert runs[rank]["reason"] == "interrupted"
        assert len(runs[rank]["stopped"]) == 2
        assert runs[rank]["stopped"] + runs[rank]["resumed"] == runs[rank]["whole"]


def test_sharded_processes_train_resume_and_export_as_one(runs: dict) -> None:
    """In bf16, the precision of the shipped file; within 1e-3, since the halves of a batch are rounded apart."""
    stopped, resumed = runs[0]["sharded"]
    assert runs[1]["sharded"] == [stopped, resumed] and runs[0]["distributed_type"] == "FSDP"
    assert (len(stopped), len(resumed)) == (1, 1)
    np.testing.assert_allclose(stopped + resumed, runs["unsharded"], rtol=1e-3)
    expected, found = (weights(runs["folder"] / "halves" / name) for name in ("one", "sharded"))
    assert expected.keys() == found.keys()
    differences = np.concatenate([(found[name] - expected[name]).ravel() for name in expected])
    assert np.abs(differences).mean() < 0.02 * RATE  # each of the two steps moves a weight by about RATE
