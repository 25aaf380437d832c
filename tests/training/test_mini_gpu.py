"""What `tools/train_mini_gpu.sh` carries to the machine and brings back."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from tiny_networks import denoiser_values

import mini_gpu
from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.networks import build_pipeline, canvases_seen

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(frozen: Path, tmp_path: Path) -> DenoiserConfig:
    return DenoiserConfig.model_validate(denoiser_values(frozen, tmp_path))


def test_pieces_and_frozen_networks_make_the_pipeline_again(config: DenoiserConfig, tmp_path: Path) -> None:
    trained = build_pipeline(config)
    trained.save_pretrained(tmp_path / "run" / "weights")
    (tmp_path / "run" / "weights" / "training.json").write_text('{"step": 3, "canvases": 12}')
    pieces, carried, joined = (tmp_path / name for name in ("pieces", "carried", "joined"))
    for _ in range(2):  # later pieces replace those before
        mini_gpu.write_pieces(tmp_path / "run", pieces)
    assert {path.suffix for path in pieces.glob("[!.]*")} == {".safetensors", ".tar"}
    mini_gpu.copy_frozen(config, carried)
    mini_gpu.join_pieces(pieces, carried, joined)
    again = IMAGPosePipeline.from_pretrained(str(joined))
    assert canvases_seen(str(joined)) == 12
    for name in ("unet", "pose_encoder", "feature_tokens", "vae", "image_encoder"):
        weights = getattr(trained, name).state_dict()
        for key, weight in getattr(again, name).state_dict().items():
            assert torch.allclose(weight.float(), weights[key].float(), rtol=1e-3, atol=1e-6), (name, key)


def test_missing_pieces_and_networks_are_named(config: DenoiserConfig, tmp_path: Path) -> None:
    build_pipeline(config).save_pretrained(tmp_path / "run" / "weights")
    mini_gpu.write_pieces(tmp_path / "run", tmp_path / "pieces")
    for path in (tmp_path / "pieces").glob("*.safetensors"):
        path.unlink()
    with pytest.raises(ValueError, match="pieces lacks the weights of the UNet"):
        mini_gpu.join_pieces(tmp_path / "pieces", tmp_path, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
    missing = config.model_copy(update={"autoencoder": str(tmp_path / "nowhere")})
    with pytest.raises(FileNotFoundError, match="autoencoder .*nowhere: no such folder; train it first"):
        mini_gpu.copy_frozen(missing, tmp_path / "carried")


def test_rendering_ends_with_a_whole_block_once_time_is_up(config: DenoiserConfig) -> None:
    assert mini_gpu.render_for(config, 1e-9) == config.data.block
    assert mini_gpu.render_for(config, 600) == config.data.identities


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_run_that_goes_on_skips_the_first_phases(tmp_path: Path, goes_on: bool) -> None:
    tree = tmp_path / "tree"
    for name in ("tools/train_mini_gpu.sh", "configs/mini/denoiser.yaml"):
        (tree / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tree / name)
    if goes_on:
        (tree / ".gpu" / "initial").mkdir(parents=True)
    interpreter = tmp_path / "python"  # notes what is asked, and says how many people there are and in which blocks
    interpreter.write_text(
        f'#!/usr/bin/env bash\nprintf "%s\\n" "$*" >> {tmp_path}/asked\n'
        'case "$*" in *" render "*) echo 128 ;; "- "*.yaml*) cat > /dev/null; echo 64 0 ;; esac\n'
    )
    interpreter.chmod(0o755)
    environment = {
        "PYTHON": str(interpreter),
        "OUT": str(tmp_path / "out"),
        "IMAGPOSE_GPU_WORK": str(tmp_path / "work"),
    }
    command = [str(tree / "tools" / "train_mini_gpu.sh"), "run", "batch_size=7"]
    subprocess.run(command, env=os.environ | environment, check=True, timeout=120)
    (trained,) = [line for line in (tmp_path / "asked").read_text().splitlines() if " train denoiser " in line]
    config = next(tmp_path.glob("work/denoiser.yaml"))
    assert f"--config {config} " in trained and "data.identities=128" in trained
    *_, phases = trained.split(" phases=")
    assert phases.partition("]")[0].count("{") == (1 if goes_on else 3) and "batch_size=7" in phases
    assert (f"initial={tree}/.gpu/initial" in trained) == goes_on
