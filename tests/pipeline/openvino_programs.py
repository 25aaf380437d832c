"""Programs by OpenVINO compute what the UNet computes; run by `test_backends.py`, in a process of its own."""

from __future__ import annotations

import numpy as np
import torch

from imagpose.models.exported import ExportedUNet
from imagpose.pipeline.loading import load_pipeline
from imagpose.views import ViewGrid

GRID = ViewGrid(2, 2)


def test_openvino_computes_what_the_unet_computes(pipeline, tmp_path, monkeypatch):
    for parameter in pipeline.unet.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    unet = pipeline.unet.eval()
    program = ExportedUNet(unet, tmp_path)
    config = unet.config
    for canvases in (2, 1, 3):
        inputs = (
            torch.randn(canvases, config.in_channels, 8, 4), torch.tensor(500),
            torch.randn(canvases, 5, config.cross_attention_dim),
            torch.randn(canvases, config.block_out_channels[0], 8, 4), GRID,
        )  # fmt: skip
        with torch.no_grad():
            truth = unet(*inputs, return_dict=False)[0]
        output = program(*inputs)[0]
        assert (output - truth).norm() / truth.norm() < 1e-4
    assert len(list(tmp_path.glob("*/network.bin"))) == 1
    assert program.is_stored((8, 4), 5, GRID) and not program.is_stored((8, 8), 5, GRID)
    with torch.no_grad():
        unet.conv_in.bias += 1
        changed = unet(*inputs, return_dict=False)[0]
    assert (program(*inputs)[0] - changed).norm() / changed.norm() < 1e-4
    assert len(list(tmp_path.glob("*/network.bin"))) == 2


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
