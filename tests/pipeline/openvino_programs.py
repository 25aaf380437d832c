"""Programs by OpenVINO compute what the UNet computes; run by `test_backends.py`, in a process of its own."""

from __future__ import annotations

import gc
import signal

import numpy as np
import pytest
import torch

from imagpose.models.exported import ExportedUNet
from imagpose.pipeline.loading import load_pipeline
from imagpose.views import ViewGrid

GRID = ViewGrid(2, 2)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder for exported networks, so that the tiny UNet is exported once."""
    return tmp_path_factory.mktemp("exported")


def inputs_of(unet, canvases: int) -> tuple:
    """Of a UNet, for canvases of 8 x 4 latents and 5 tokens."""
    config = unet.config
    return (
        torch.randn(canvases, config.in_channels, 8, 4), torch.tensor(500),
        torch.randn(canvases, 5, config.cross_attention_dim),
        torch.randn(canvases, config.block_out_channels[0], 8, 4), GRID,
    )  # fmt: skip


def test_openvino_computes_what_the_unet_computes(pipeline, stored):
    unet = pipeline.unet
    program = ExportedUNet(unet, stored)
    for canvases in (2, 1, 3):
        inputs = inputs_of(unet, canvases)
        with torch.no_grad():
            truth = unet(*inputs, return_dict=False)[0]
        output = program(*inputs)[0]
        assert (output - truth).norm() / truth.norm() < 1e-4
    assert len(list(stored.glob("*/network.bin"))) == 1
    assert program.is_stored((8, 4), 5, GRID) and not program.is_stored((8, 8), 5, GRID)
    with torch.no_grad():
        unet.conv_in.bias += 1
        changed = unet(*inputs, return_dict=False)[0]
    assert (program(*inputs)[0] - changed).norm() / changed.norm() < 1e-4
    assert len(list(stored.glob("*/network.bin"))) == 2


def test_a_picture_by_openvino_is_the_picture(pipeline, tmp_path, picture, pose, seeded, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    pipeline.save_pretrained(tmp_path / "model")
    pictures = []
    for backend in ("torch", "openvino", "openvino"):
        loaded = load_pipeline(str(tmp_path / "model"), device="cpu", dtype="fp32", backend=backend)
        call = {"num_inference_steps": 2, "generator": seeded(0), "output_type": "np"}
        pictures.append(loaded([picture(0)], [pose(0)], **call).images)
        assert loaded.backend.record()["used"] == [backend]
    np.testing.assert_allclose(pictures[1], pictures[0], atol=1e-4)
    np.testing.assert_array_equal(pictures[2], pictures[1])


def test_signals_are_handled_after_programs_are_gone(pipeline, stored):
    """By a handler on the thread's stack for signals; without one the process dies, by Ctrl-C or the end of a child."""
    programs = [ExportedUNet(pipeline.unet, stored) for _ in range(2)]
    for program in programs:
        program(*inputs_of(pipeline.unet, 1))
    del program
    while programs:
        programs.pop(0)
        gc.collect()
    handled = []
    before = signal.signal(signal.SIGTERM, lambda number, _: handled.append(number))
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handled == [signal.SIGTERM]
