"""What a pipeline must keep: its memory, its numbers in half precision, its compiled and exported forms.

`python tools/trust.py --only pipeline` prints what `rows` finds, all of it on `mini`.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._dynamo.testing import CompileCounter

from imagpose import IMAGPosePipeline
from imagpose.pose import Pose
from imagpose.views import ViewGrid
from trust_networks import tiny_pipeline

PEAKS = Path(__file__).parents[1] / "benchmarks" / "peak_memory.py"
_POSE = np.concatenate([np.random.default_rng(1).uniform((4, 4), (12, 28), (18, 2)), np.ones((18, 1))], 1)


def half_precision() -> bool:
    """On the CPU: the same pictures within two steps of 255, or for `mini`, whose values are too large, an error."""
    images = []
    for dtype in (torch.float32, torch.float16):
        pipeline = tiny_pipeline().to(dtype)
        pipeline.set_progress_bar_config(disable=True)
        source = np.random.default_rng(0).integers(0, 256, (32, 16, 3), np.uint8)
        pose = Pose(_POSE.astype(np.float32), 16, 32)
        out = pipeline([source], [pose], num_inference_steps=4, generator=torch.Generator().manual_seed(0))
        images.append(np.asarray(out.images[0], np.int64))
    with contextlib.redirect_stdout(io.StringIO()):
        mini = IMAGPosePipeline.from_pretrained("mini", dtype=torch.float16)
    try:
        mini([source], [pose], num_inference_steps=1, height=64, width=64)
    except FloatingPointError as error:
        return bool(np.abs(images[0] - images[1]).max() <= 2) and "bfloat16" in str(error)
    return False


def memory(*words: str) -> bool:
    """Whether `benchmarks/peak_memory.py` says that memory does not grow."""
    return not subprocess.run([sys.executable, PEAKS, *words], capture_output=True).returncode


def _unet_inputs(grid: ViewGrid, side: int, seed: int) -> dict[str, Any]:
    """Arguments of `mini`'s UNet for views of `side` x `side` latents."""
    unet = _mini_unet()
    generator = torch.Generator().manual_seed(seed)
    shape = (grid.rows * side, grid.cols * side)
    return {
        "sample": torch.randn(1, unet.config.in_channels, *shape, generator=generator),
        "timestep": torch.tensor(seed),
        "encoder_hidden_states": torch.randn(1, 8, unet.config.cross_attention_dim, generator=generator),
        "pose_features": torch.randn(1, unet.config.block_out_channels[0], *shape, generator=generator),
        "view_grid": grid,
    }


def _mini_unet() -> Any:
    return IMAGPosePipeline.from_pretrained("mini").unet


@torch.no_grad()
def compiled() -> bool:
    """Without a graph break, and again only for a new grid or size; with the results of the UNet itself."""
    unet, counter = _mini_unet(), CompileCounter()
    quick = torch.compile(unet, backend=counter, fullgraph=True, dynamic=False)
    wide, square = ViewGrid(1, 2), ViewGrid(2, 2)
    counts = []
    for grid, side, seed in ((square, 8, 0), (square, 8, 1), (wide, 8, 2), (wide, 16, 3), (square, 8, 4), (wide, 8, 5)):
        given = _unet_inputs(grid, side, seed)
        torch.testing.assert_close(quick(**given)[0], unet(**given)[0])  # type: ignore[no-untyped-call]
        counts.append(counter.frame_count)
    return counts == [1, 1, 2, 3, 3, 3]


@torch.no_grad()
def exported() -> bool:
    """`torch.export` of the UNet computes what the UNet computes, on other inputs of the same shapes."""
    unet = _mini_unet()
    first, other = (_unet_inputs(ViewGrid(2, 2), 8, seed) for seed in range(2))
    program = torch.export.export(unet, (), first)
    torch.testing.assert_close(program.module()(**other)[0], unet(**other)[0])
    return True


def rows() -> Iterator[tuple[str, int, Callable[[], int]]]:
    """What is tried, how often, and what tries it and says how often it held."""
    tries: dict[str, Callable[[], bool]] = {
        "mini: peak memory of 200 poses at most 1.1 times that of 20, of 64 requests that of 4": memory,
        "mini: memory of 500 requests through one pipeline flat within 2 %": lambda: memory("--in-a-row", "500"),
        "fp16 on the CPU: the pictures of fp32, or an error": half_precision,
        "mini's UNet compiled: no graph break, again only for a new grid or size": compiled,
        "mini's UNet exported by torch.export: the same results": exported,
    }
    for what, holds in tries.items():
        yield what, 1, partial(_times, holds)


def _times(holds: Callable[[], bool]) -> int:
    return int(holds())
