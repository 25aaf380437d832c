"""Damaged files are refused in one line that names them, or are read to something legal: never a traceback, never a hang."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from PIL import Image

import trust_samples
from imagpose import IMAGPosePipeline
from imagpose.io import read_json
from imagpose.judges.pose import PoseEstimator
from imagpose.judges.shipped import load_judge, save_judge
from imagpose.outputs import claim_folder
from imagpose.provenance import read_marks
from imagpose.training.shards import load_shard, save_shard
from trust_damage import Sample, Tally, cut, damage, try_damaged
from trust_networks import tiny_pipeline

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("room", trust_samples.MAKERS)
def test_files_damaged_by_chance(tmp_path: Path, room: str) -> None:
    tallies = [damage(sample, 3 if room == "networks" else 6, 0) for sample in trust_samples.samples(tmp_path, room)]
    assert [fault for tally in tallies for fault in tally.faults] == []
    assert tallies and sum((tally.counts for tally in tallies), Tally().counts)["refused"]


def test_the_tool_tells_a_traceback_a_hang_and_many_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trust_damage

    monkeypatch.setattr(trust_damage, "LIMIT", 0.1)

    def fails() -> None:
        raise KeyError("shapes")

    def hangs() -> None:
        while True:
            pass

    def says_much() -> None:
        raise ValueError("first\nsecond")

    for read, word in ((fails, "KeyError"), (hangs, "longer than"), (says_much, "2 lines")):
        outcome, _, fault = try_damaged(Sample("a", tmp_path / "a", b"abc", read), b"abd", "abc")
        assert outcome == "fault" and word in fault


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def refusal(model: Path) -> str:
    with pytest.raises(ValueError) as error:
        IMAGPosePipeline.from_pretrained(model)
    assert "\n" not in str(error.value)
    return str(error.value)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("content", ['"someone/model"', "3", "[]", DEEP, "{", "\xff"], ids=lambda text: text[:8])
@pytest.mark.parametrize(
    "name",
    ["model_index.json", "unet/config.json", "vae/config.json", "image_encoder/config.json",
     "scheduler/scheduler_config.json", "image_processor/preprocessor_config.json"],
)  # fmt: skip
def test_a_configuration_that_is_no_object_is_named_and_asks_no_hub(
    model: Path, name: str, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("asks the network"))
    (model / name).write_bytes(content.encode("latin-1"))
    assert str(model / name) in refusal(model)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("image_encoder/config.json", {"hidden_size": "x"}),
        ("image_encoder/config.json", {"num_hidden_layers": {}}),
        ("unet/config.json", {"down_block_types": "", "up_block_types": ""}),
        ("unet/config.json", {"block_out_channels": [[1]]}),
        ("unet/config.json", {"norm_num_groups": 0}),
        ("vae/config.json", {"latent_channels": -1}),
        ("feature_tokens/config.json", {"token_width": None}),
        ("pose_encoder/config.json", {"block_channels": 3}),
    ],
    ids=str,
)
def test_a_value_of_another_kind_is_named_with_its_part(model: Path, name: str, values: dict[str, object]) -> None:
    change(model / name, **values)
    assert str(model / name.split("/")[0]) in refusal(model)


@pytest.mark.parametrize("place", ["../unet/diffusion_pytorch_model.safetensors", "/etc/passwd", 3, None, ["a"], ""])
def test_shards_lie_beside_their_index(model: Path, place: object) -> None:
    (model / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    index = model / "vae" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"encoder.conv_in.weight": place}}))
    assert f"{index}: a weight_map" in refusal(model)


def test_cut_weights_are_named(model: Path, tmp_path: Path) -> None:
    import random

    judge, shard, vae = tmp_path / "judge.safetensors", tmp_path / "shard.safetensors", model / "vae"
    save_judge(PoseEstimator(64), judge)
    save_shard(shard, {}, {"views": torch.zeros(9)})
    torch.save(tiny_pipeline().vae.state_dict(), vae / "diffusion_pytorch_model.bin")
    (vae / "diffusion_pytorch_model.safetensors").unlink()
    readers = {
        judge: lambda: load_judge(PoseEstimator, judge),
        shard: lambda: load_shard(shard),
        vae / "diffusion_pytorch_model.bin": lambda: IMAGPosePipeline.from_pretrained(model),
    }
    for path, read in readers.items():
        content, rng = path.read_bytes(), random.Random(0)
        for _ in range(5):
            path.write_bytes(cut(content, rng))
            with pytest.raises(ValueError, match=path.name):
                read()


def test_json_that_is_nested_without_end_is_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(DEEP)
    with pytest.raises(ValueError, match=r"settings\.json.*nested"):
        read_json(path)
    with pytest.raises(ValueError, match="other settings"):
        claim_folder(tmp_path, {"size": 3})


def test_no_program_is_run_for_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow runs Ghostscript for an EPS, whatever its name ends with."""
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 20)).save(path, format="EPS")
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("runs a program"))
    with pytest.raises(ValueError, match=r"a\.png"):
        read_marks(path)


def test_a_pictures_header_may_lie_about_its_size(tmp_path: Path) -> None:
    good, path = tmp_path / "good.png", tmp_path / "bomb.png"
    Image.new("1", (12_000, 12_000)).save(good)  # 144 million pixels in some kilobytes
    shutil.move(good, path)
    with pytest.raises(ValueError, match=r"bomb\.png"):
        read_marks(path)
