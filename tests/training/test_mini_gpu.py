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
    pieces, joined = tmp_path / "pieces", tmp_path / "joined"
    for _ in range(2):  # later pieces replace those before
        mini_gpu.write_pieces(tmp_path / "run", pieces)
    assert {path.suffix for path in pieces.glob("[!.]*")} == {".safetensors", ".tar"}
    mini_gpu.join_pieces(pieces, tmp_path / "run" / "weights", joined)
    again = IMAGPosePipeline.from_pretrained(str(joined))
    assert canvases_seen(str(joined)) == 12
    for name in ("unet", "pose_encoder", "feature_tokens", "vae", "image_encoder"):
        weights = getattr(trained, name).state_dict()
        for key, weight in getattr(again, name).state_dict().items():
            assert torch.allclose(weight.float(), weights[key].float(), rtol=1e-3, atol=1e-6), (name, key)


def test_missing_pieces_are_named(config: DenoiserConfig, tmp_path: Path) -> None:
    build_pipeline(config).save_pretrained(tmp_path / "run" / "weights")
    mini_gpu.write_pieces(tmp_path / "run", tmp_path / "pieces")
    for path in (tmp_path / "pieces").glob("*.safetensors"):
        path.unlink()
    with pytest.raises(ValueError, match="pieces lacks the weights of the UNet"):
        mini_gpu.join_pieces(tmp_path / "pieces", tmp_path, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_rendering_ends_with_a_whole_block_once_time_is_up(config: DenoiserConfig) -> None:
    assert mini_gpu.render_for(config, 1e-9) == config.data.block
    assert mini_gpu.render_for(config, 600) == config.data.identities


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with what `train_mini_gpu.sh` reads."""
    tree = tmp_path / "tree"
    names = ("denoiser", "denoiser_finish", "appearance_flow")
    for name in ("tools/train_mini_gpu.sh", *(f"configs/mini/{name}.yaml" for name in names)):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    (tree / "src/imagpose/models/weights").mkdir(parents=True)
    return tree


def run_there(tree: Path, **environment: str) -> list[str]:
    """What `train_mini_gpu.sh run batch_size=7` asks an interpreter that trains nothing, but for a flow's file."""
    asked, runs, interpreter = (tree.parent / name for name in ("asked", "runs", "python"))
    flow = runs / "appearance_flow" / "weights"
    interpreter.write_text(
        f'#!/usr/bin/env bash\nprintf "%s\\n" "$*" >> {asked}\n'
        'case "$*" in *" render "*) echo 128 ;; "- "*.yaml*) cat > /dev/null; echo 64 0 ;;\n'
        f'*" appearance-flow "*) mkdir -p {flow}; echo new > {flow}/appearance_flow.safetensors ;; esac\n'
    )
    interpreter.chmod(0o755)
    given = {"PYTHON": str(interpreter), "OUT": str(tree.parent / "out"), "IMAGPOSE_GPU_WORK": str(runs)}
    command = [str(tree / "tools" / "train_mini_gpu.sh"), "run", "batch_size=7"]
    subprocess.run(command, env=os.environ | given | environment, check=True, timeout=120)
    return [line for line in asked.read_text().splitlines() if " train " in line]


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_run_that_goes_on_skips_the_first_phases(tree: Path, tmp_path: Path, goes_on: bool) -> None:
    if goes_on:
        (tree / ".gpu" / "initial").mkdir(parents=True)
    flow, trained, finish = run_there(tree)
    assert f" appearance-flow --config {tmp_path}/runs/appearance_flow.yaml " in flow
    assert f" denoiser --config {tmp_path}/runs/denoiser.yaml " in trained and "data.identities=128" in trained
    *_, phases = trained.split(" phases=")
    assert phases.partition("]")[0].count("{") == (1 if goes_on else 3) and "batch_size=7" in phases
    assert (f"initial={tree}/.gpu/initial" in trained) == goes_on
    assert f" denoiser --config {tmp_path}/runs/denoiser_finish.yaml " in finish and "batch_size=7" not in finish
    assert f"initial: {tmp_path}/runs/denoiser/weights" in (tmp_path / "runs" / "denoiser_finish.yaml").read_text()


def test_the_denoiser_learns_with_the_new_flow_and_the_finish_can_be_left_out(tree: Path, tmp_path: Path) -> None:
    assert len(run_there(tree, IMAGPOSE_GPU_FINISH="0")) == 2
    for folder in (tree / "src/imagpose/models/weights", tmp_path / "out"):
        assert (folder / "appearance_flow.safetensors").read_text() == "new\n"


def test_what_does_not_travel_comes_back(tree: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tree)], check=True)
    kept = {
        tree / name: name
        for name in ("src/imagpose/weights/mini/unet/a", "docs/images/b", "src/imagpose/judges/weights/c")
    }
    for path, text in kept.items():
        path.parent.mkdir(parents=True)
        path.write_text(text)
    script = str(tree / "tools" / "train_mini_gpu.sh")
    environment = os.environ | {"PYTHON": "true"}  # fetches no wheels
    subprocess.run([script, "prepare"], env=environment, check=True, timeout=120)
    assert not any(path.exists() for path in kept)
    subprocess.run([script, "restore"], env=environment, check=True, timeout=120)
    assert {path: path.read_text() for path in kept} == kept
