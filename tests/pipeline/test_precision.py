"""The precision that a pipeline is loaded in on a CPU, and what it costs the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imagpose import devices
from imagpose.metrics.pixels import psnr
from imagpose.models import onednn
from imagpose.pipeline import loading
from imagpose.pipeline.loading import load_pipeline, networks_of, precision_of
from imagpose.pose import read_pose
from imagpose.serving.demo import PEOPLE_FOLDER


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx512f avx512_bf16", True), ("fpu amx_bf16", True), ("avx512_bf16x avx2", False)]
)
def test_a_processor_says_whether_it_multiplies_bf16(tmp_path, monkeypatch, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    monkeypatch.setattr(devices, "Path", lambda _: tmp_path / "cpuinfo")
    assert devices.multiplies_bf16("cpu") is expected
    assert not devices.multiplies_bf16("cuda")


def test_only_the_unet_is_in_bf16_by_default_and_only_where_it_is_multiplied(pipeline, tmp_path, monkeypatch):
    pipeline.save_pretrained(tmp_path)
    said = {}
    for able in (True, False):
        monkeypatch.setattr(loading, "multiplies_bf16", lambda _, able=able: able)
        loaded = load_pipeline(str(tmp_path), device="cpu")
        said[able] = precision_of(loaded)
        assert loaded.unet.dtype == (torch.bfloat16 if able else torch.float32)
        assert {network.dtype for name, network in networks_of(loaded).items() if name != "unet"} == {torch.float32}
    assert said == {True: "bfloat16 (unet), float32", False: "float32"}
    asked = load_pipeline(str(tmp_path), device="cpu", dtype="fp32")
    assert precision_of(asked) == "float32"
    assert precision_of(load_pipeline(str(tmp_path), device="cpu", dtype="bf16")) == "bfloat16"
    linear = asked.unet.time_embedding.linear_1
    assert onednn.is_available() == (type(linear) is not torch.nn.Linear)


def test_pictures_of_mini_keep_40_db_with_the_unet_in_bf16():
    person = PEOPLE_FOLDER / "2000003"
    pictures = []
    for able in (False, True):
        loaded = load_pipeline("mini", device="cpu", dtype="fp32")
        if able:
            loaded.unet.to(torch.bfloat16)
        loaded.set_progress_bar_config(disable=True)
        pictures += loaded(
            [person / "0.png"], [read_pose(person / "1.json")], num_inference_steps=4,
            generator=torch.Generator().manual_seed(0),
        ).images  # fmt: skip
    assert 40 < psnr(*(np.asarray(own) for own in pictures)) < 100
