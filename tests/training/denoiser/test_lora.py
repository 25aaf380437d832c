"""An adapter alone is trained, and is what a pipeline loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_networks import denoiser_values

from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.denoiser import lora as lora_stage
from imagpose.training.denoiser import train_denoiser
from imagpose.training.denoiser.lora import LoraConfig, LoraStage, train_lora
from imagpose.training.loop import Training
from imagpose.views import ViewGrid

pytest.importorskip("peft", reason="needs the extra lora")


@pytest.fixture(scope="module")
def values(frozen: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A run that starts from a denoiser's run of some steps, on the same people."""
    folder = tmp_path_factory.mktemp("lora")
    base = denoiser_values(frozen, folder) | {"validation": None, "grids": {"1x2": 1.0}, "learning_rate": 3e-3}
    path = folder / "base.yaml"
    path.write_text(yaml.safe_dump(base | {"output": str(folder / "base"), "steps": 4}))
    train_denoiser(path)
    return base | {
        "output": str(folder / "lora"), "initial": str(folder / "base" / "weights"), "autoencoder": None,
        "image_encoder": None, "rank": 4, "alpha": 8, "steps": 24, "learning_rate": 0.02, "ema_decay": 0.5,
        "checkpoint_every": 24, "lr_schedule": "constant",
    }  # fmt: skip


@torch.no_grad()
def loss_of(stage: LoraStage) -> float:
    """Eq. 4 over fixed canvases, which no step shows."""
    return float(np.mean([float(stage(stage.batch(step, range(2)))[0]) for step in range(1000, 1008)]))


def test_the_loss_falls_the_base_stays_and_the_pipeline_loads_it(values: dict) -> None:
    config = LoraConfig.model_validate(values)
    stage = train_lora.build(config)
    pipeline = IMAGPosePipeline.from_pretrained(values["initial"])
    before, everything = loss_of(stage), {name: weight.clone() for name, weight in stage.state_dict().items()}
    Training(stage, config).run()
    assert loss_of(stage) < 0.99 * before
    for name, weight in stage.state_dict().items():
        assert torch.equal(weight, everything[name]) or ".lora_" in name, name
    weights = Path(values["output"]) / "weights"
    adapter = load_file(weights / "pytorch_lora_weights.safetensors")
    assert adapter and all(name.startswith("unet.") and "lora" in name for name in adapter)
    assert any("cross_view" in name for name in adapter)
    sample = torch.randn(1, pipeline.unet.config.in_channels, 8, 16, generator=torch.Generator().manual_seed(0))
    inputs = sample, torch.tensor([500]), torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(1))
    plain = _predicted(pipeline, *inputs)
    pipeline.load_lora_weights(weights)
    adapted = _predicted(pipeline, *inputs)
    assert float((adapted - plain).abs().max()) > 1e-3
    with torch.no_grad():  # the exported weights are the average
        trained = dict(load_file(values["output"] + "/checkpoints/step-00000024/ema.safetensors"))
        stage.load_state_dict(trained, strict=False)
        found = stage.unet(*inputs, view_grid=ViewGrid(1, 2), return_dict=False)[0]
    torch.testing.assert_close(found, adapted, rtol=1e-4, atol=1e-4)
    pipeline.unload_lora_weights()
    torch.testing.assert_close(_predicted(pipeline, *inputs), plain, rtol=0, atol=1e-6)


def test_a_stopped_run_goes_on(values: dict, write_config, tmp_path: Path) -> None:
    path = write_config(values | {"output": str(tmp_path / "stopped"), "steps": 2})
    assert train_lora(path, stop_after=1e-9).step == 1
    assert len(train_lora(path, resume="latest").losses) == 1


@torch.no_grad()
def _predicted(pipeline: IMAGPosePipeline, *inputs: torch.Tensor) -> torch.Tensor:
    return pipeline.unet(*inputs, view_grid=ViewGrid(1, 2), return_dict=False)[0]


def test_a_layer_that_no_name_fits_is_named(values: dict, write_config, tmp_path: Path) -> None:
    config = write_config(values | {"layers": ["to_x"], "output": str(tmp_path / "none")})
    with pytest.raises(ValueError, match="to_x"):
        train_lora(config)


def test_without_peft_one_line_says_what_to_install(
    values: dict, write_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(lora_stage, "import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'imagpose\[lora\]'"):
        train_lora(write_config(values | {"output": str(tmp_path / "none")}))
    assert not (tmp_path / "none").exists()
