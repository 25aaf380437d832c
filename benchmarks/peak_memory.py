"""Peak memory of a call above the loaded model: it must not grow with what is asked for, nor from call to call.

python benchmarks/peak_memory.py [--model mini] [--steps 2]
python benchmarks/peak_memory.py --in-a-row 500 [--model mini] [--steps 2]

Each row is a process of its own. What grows is the pictures themselves: of sources and results, and the noise that the
canvases in the works start from. On a GPU torch's own count is taken, elsewhere the process's resident memory (Linux),
with glibc told to give freed blocks back at once. The second form asks one pipeline for one picture after the other.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagpose.pipeline import IMAGPosePipeline, IMAGPosePipelineOutput
from imagpose.pipeline.loading import load_pipeline
from imagpose.pipeline.sampling import AT_ONCE
from imagpose.pose import Pose

PAIRS = (
    (("1 pose", 1, 1),),
    (("20 poses", 1, 20), ("200 poses", 1, 200)),
    (("4 requests", 4, 1), ("64 requests", 64, 1)),
)  # one pose is one canvas, the others fill the parts in which canvases are drawn: compared within a pair
ALLOWED = 1.1
ALLOWED_IN_A_ROW = 1.02
_WARM = 20  # calls until what is made once has been made
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def main() -> None:
    """Print the table; exit code 1 where a larger request takes over a tenth more, its pictures aside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--in-a-row", type=int, metavar="CALLS", help="this many calls of one pipeline")
    parser.add_argument("--case", type=int, nargs=2, metavar=("REQUESTS", "POSES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(*measure(arguments.model, arguments.steps, *arguments.case))
        return
    if arguments.in_a_row is not None:
        sys.exit(
            int(print_in_a_row(load_pipeline(arguments.model), arguments.in_a_row, arguments.steps) > ALLOWED_IN_A_ROW)
        )
    print("| asked for | peak above the model, MB | of it pictures, MB | the rest, MB | times the smaller |")
    print("| --- | ---: | ---: | ---: | ---: |")
    worst = 0.0
    for pair in PAIRS:
        first = None
        for name, requests, poses in pair:
            command = [sys.executable, __file__, "--model", arguments.model, "--steps", str(arguments.steps)]
            made = subprocess.run(
                [*command, "--case", str(requests), str(poses)],
                env={**os.environ, **MALLOC}, check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            peak, pictures = (int(number) / 1e6 for number in made.split()[-2:])
            first = first or peak - pictures
            ratio = (peak - pictures) / first
            worst = max(worst, ratio)
            print(f"| {name} | {peak:.1f} | {pictures:.1f} | {peak - pictures:.1f} | {ratio:.2f} |", flush=True)
    sys.exit(int(worst > ALLOWED))


def measure(model: str, steps: int, requests: int, poses: int) -> tuple[int, int]:
    """Bytes at the peak above the loaded model, and bytes of the call's pictures: views of the sources, and results."""
    pipeline = load_pipeline(model)
    pipeline.set_progress_bar_config(disable=True)
    picture, pose = inputs(pipeline)
    height, width = pipeline.config.view_height, pipeline.config.view_width
    call: dict[str, Any] = {"num_inference_steps": steps, "generator": torch.Generator().manual_seed(0)}
    pipeline([[picture]] * AT_ONCE, [[pose]] * AT_ONCE, **call)  # what is made once: kernels, buffers of the libraries
    before = start_count()
    out = pipeline([[picture]] * requests, [[pose] * poses] * requests, **call)
    peak = end_count() - before
    assert isinstance(out, IMAGPosePipelineOutput)
    assert [len(own) for own in out.images] == [poses] * requests
    on_host = 0 if torch.cuda.is_available() else height * width * 4  # as Pillow holds RGB; a GPU counts none of them
    return peak, on_host * requests * (1 + poses)


def print_in_a_row(pipeline: IMAGPosePipeline, calls: int, steps: int) -> float:
    """Asks for one picture `calls` times, prints a table, and gives the memory at its highest over that after the first."""
    if calls <= _WARM:
        raise ValueError(f"--in-a-row {calls}: more than {_WARM} expected, what is made once takes so many")
    pipeline.set_progress_bar_config(disable=True)
    picture, pose = inputs(pipeline)
    used = []
    for number in range(calls):
        pipeline([picture], [pose], num_inference_steps=steps, generator=torch.Generator().manual_seed(number))
        used.append(torch.cuda.memory_allocated() if torch.cuda.is_available() else resident("VmRSS"))
    first, highest = used[_WARM - 1], max(used[_WARM:])
    print(f"| after call | {_WARM} | {calls} | highest | times the first |\n| --- | ---: | ---: | ---: | ---: |")
    print(f"| memory, MB | {first / 1e6:.1f} | {used[-1] / 1e6:.1f} | {highest / 1e6:.1f} | {highest / first:.3f} |")
    return highest / first


def inputs(pipeline: IMAGPosePipeline) -> tuple[Image.Image, Pose]:
    """A picture and a pose of the size of the pipeline's views."""
    height, width = pipeline.config.view_height, pipeline.config.view_width
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    return picture, standing(width, height)


def standing(width: int, height: int) -> Pose:
    """Some pose in a frame of this size."""
    points = np.random.default_rng(1).uniform((0.2, 0.1), (0.8, 0.9), (18, 2)) * (width, height)
    return Pose(np.concatenate([points, np.ones((18, 1))], 1).astype(np.float32), width, height)


def start_count() -> int:
    """Bytes in use now; the peak is counted from here on."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    return resident("VmRSS")


def end_count() -> int:
    """Bytes at the peak."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else resident("VmHWM")


def resident(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    line = next(own for own in Path("/proc/self/status").read_text().splitlines() if own.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
