"""FSDP with the settings of configs/accelerate: two processes that hold half of each weight train what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from fake_people import without_people
from safetensors.torch import load_file
from tiny_networks import denoiser_values

from imagpose.training import processes
from imagpose.training.configs import RunConfig
from imagpose.training.denoiser import train_denoiser

SHIPPED = Path(__file__).parents[2] / "configs" / "accelerate" / "fsdp_8x80gb.yaml"
RATE = 0.01


def environment() -> dict[str, str]:
    """What `accelerate launch` makes of the shipped file."""
    values = yaml.safe_load(SHIPPED.read_text())["fsdp_config"]
    named = {
        name.upper().replace("TRANSFORMER_LAYER_CLS", "TRANSFORMER_CLS"): str(value) for name, value in values.items()
    }
    return {**named, "ACCELERATE_USE_FSDP": "true"}


def weights(folder: Path) -> dict[str, np.ndarray]:
    (path,) = (folder / "weights" / "unet").glob("*.safetensors")
    return {name: weight.numpy() for name, weight in load_file(path).items()}


def test_sharded_processes_train_resume_and_export_as_one(frozen: Path, tmp_path: Path) -> None:
    """In bf16, the precision of the shipped file; within 1e-3, since the halves of a batch are rounded apart."""
    changes = {"steps": 2, "validation": None, "precision": "bf16", "learning_rate": RATE, "ema_decay": 0.0}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(denoiser_values(frozen, tmp_path) | changes))
    one = train_denoiser(config, [f"output={tmp_path / 'one'}", "batch_size=4"])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run(
        [*command, str(Path(__file__).with_name("sharded_processes.py")), str(config), str(tmp_path)],
        env={**os.environ, **environment(), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=True,
        timeout=240,
    )
    stopped, resumed = json.loads((tmp_path / "0.json").read_text())
    assert json.loads((tmp_path / "1.json").read_text()) == [stopped, resumed]
    assert (len(stopped), len(resumed)) == (1, 1)
    np.testing.assert_allclose(stopped + resumed, one.losses, rtol=1e-3)
    expected, found = weights(tmp_path / "one"), weights(tmp_path / "sharded")
    assert expected.keys() == found.keys()
    differences = np.concatenate([(found[name] - expected[name]).ravel() for name in expected])
    assert np.abs(differences).mean() < 0.02 * RATE  # each of the two steps moves a weight by about RATE


class _Sharding:
    """An accelerator that a launcher has set up for FSDP."""

    def __init__(self, version: int, checkpointing: bool) -> None:
        self.is_fsdp2 = version == 2
        self.distributed_type = type("", (), {"value": "FSDP"})
        self.state = type("", (), {"fsdp_plugin": type("", (), {"activation_checkpointing": checkpointing})})


@pytest.mark.parametrize(
    ("version", "checkpointing", "message"),
    [(1, False, "fsdp_version: 2"), (2, True, "use gradient_checkpointing=true of the configuration")],
)
def test_what_the_loop_cannot_shard_is_refused(
    run_values: dict, monkeypatch: pytest.MonkeyPatch, version: int, checkpointing: bool, message: str
) -> None:
    monkeypatch.setattr(processes, "Accelerator", lambda **_: _Sharding(version, checkpointing))
    with pytest.raises(ValueError, match=message):
        processes.build_accelerator(RunConfig.model_validate(without_people(run_values)))


def test_a_launchers_number_of_accumulated_batches_divides_nothing(
    run_values: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    accelerator = processes.build_accelerator(RunConfig.model_validate(without_people(run_values)))
    assert accelerator.gradient_accumulation_steps == 1
