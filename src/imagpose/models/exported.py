"""The UNet as a program of OpenVINO: traced once for a grid and a size, kept on disk, compiled per number of canvases.

A program has the UNet's weights, packed for the processor, and fused operations. Where the UNet is in bfloat16 the
program multiplies in it too. Source: own; the optional dependency is the extra `openvino`.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import shutil
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from imagpose.io import cache_folder, json_digest, partial_folder
from imagpose.outputs import check_free_space
from imagpose.version import __version__
from imagpose.views import ViewGrid

if TYPE_CHECKING:
    from imagpose.models.unet import IMAGPoseUNet

_MOST_BYTES = 8 * 2**30
"""Of all exported networks on disk; one of Stable Diffusion 1.5's size has 3.5 GB."""
_MOST_PROGRAMS = 2
"""Held in memory, each with weights of its own: with and without guidance."""
_FILE = "network.xml"


def is_installed() -> bool:
    """Whether OpenVINO can be imported."""
    return find_spec("openvino") is not None


@cache
def _core() -> Any:
    """OpenVINO's core: one for the process, never released.

    Its CPU plugin gives the thread that starts it a stack for signal handlers and unmaps that stack when the core goes
    (seen in 2026.4). After a second core, or if the core goes on another thread, the thread still points to the lost stack,
    and the next signal with a handler (Ctrl-C, or the end of a child where torch's data loader watches its workers) kills
    the process by SIGSEGV.
    """
    import openvino

    return openvino.Core()


def exported_folder() -> Path:
    """Where exported networks are kept: ``exported`` in `io.cache_folder`. It may be removed at any time."""
    return cache_folder() / "exported"


class ExportedUNet:
    """What a UNet computes, by OpenVINO on the CPU; called as the pipeline calls the UNet.

    Args:
        unet: its weights may change between calls: programs of other weights are never used.
        folder: of exported networks.
        most_bytes: that they may take together; the ones used least recently make room.
    """

    def __init__(self, unet: IMAGPoseUNet, folder: Path | None = None, most_bytes: int = _MOST_BYTES) -> None:
        self._unet = unet
        self._folder = exported_folder() if folder is None else folder
        self._most_bytes = most_bytes
        self._programs: dict[tuple[Any, ...], Any] = {}
        self._weights: tuple[list[tuple[int, int]], str] | None = None
        self._versions = [__version__, *(version(name) for name in ("openvino", "torch", "diffusers"))]

    @torch.no_grad()
    def __call__(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        pose_features: torch.Tensor,
        view_grid: ViewGrid,
        timestep_cond: torch.Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[torch.Tensor]:
        """The prediction (b, c, rows * h, cols * w) in float32; arguments as `IMAGPoseUNet.forward`, one timestep."""
        given = [sample, timestep.reshape(()), encoder_hidden_states, pose_features]
        if timestep_cond is not None:
            given.append(timestep_cond.expand(len(sample), -1))
        inputs = [own.float().contiguous().numpy() for own in given]
        request = self._program([own.shape for own in inputs], view_grid)
        return (torch.from_numpy(request.infer(inputs, share_inputs=True)[0]),)

    def is_stored(self, canvas: Sequence[int], tokens: int, grid: ViewGrid) -> bool:
        """Whether the network of these weights is on disk for canvases of h x w latents and so many tokens of F_C."""
        return (self._folder / self._key(canvas, tokens, grid) / _FILE).is_file()

    def _program(self, shapes: list[tuple[int, ...]], grid: ViewGrid) -> Any:
        key = self._key(shapes[0][2:], shapes[2][1], grid)
        place = (key, shapes[0][0])
        if place not in self._programs:
            import openvino

            network = self._network(key, shapes, grid)
            for input, shape in zip(network.inputs, shapes, strict=True):
                input.get_node().set_partial_shape(openvino.PartialShape(list(shape)))
            network.validate_nodes_and_infer_types()
            options = {
                "INFERENCE_PRECISION_HINT": "bf16" if self._unet.dtype == torch.bfloat16 else "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
            }
            while len(self._programs) >= _MOST_PROGRAMS:
                self._programs.pop(next(iter(self._programs)))
            compiled = _core().compile_model(network, "CPU", options)
            self._programs[place] = compiled.create_infer_request()
        self._programs[place] = self._programs.pop(place)  # the one used last stays longest
        return self._programs[place]

    def _network(self, key: str, shapes: list[tuple[int, ...]], grid: ViewGrid) -> Any:
        """The network of any number of canvases, from disk or exported now."""
        import openvino

        folder = self._folder / key
        if (folder / _FILE).is_file():
            with suppress(RuntimeError):  # damaged: exported again
                network = _core().read_model(folder / _FILE)
                os.utime(folder)
                return network
        network = _export(self._unet, shapes, grid)
        size = sum(weight.numel() * 4 for weight in self._unet.state_dict().values())
        if size > self._most_bytes:
            return network
        try:
            check_free_space(self._folder, size)
            _make_room(self._folder, self._most_bytes - size)
            with partial_folder(folder, replace=True) as new:
                openvino.save_model(network, new / _FILE, compress_to_fp16=False)
                # Mapped from the disk, its weights leave their memory to the compiler; also if the file goes soon.
                network = _core().read_model(new / _FILE)
        except OSError as error:
            warnings.warn(f"the exported network is not kept for the next call: {error}", UserWarning, stacklevel=2)
        return network

    def _key(self, canvas: Sequence[int], tokens: int, grid: ViewGrid) -> str:
        settings = {key: value for key, value in self._unet.config.items() if not key.startswith("_")}
        return json_digest([self._digest(), settings, list(canvas), tokens, str(grid), self._versions])[:32]

    def _digest(self) -> str:
        """Of the weights, taken again where one has changed."""
        weights = self._unet.state_dict()
        state = [(own.data_ptr(), own._version) for own in weights.values()]
        if self._weights is None or self._weights[0] != state:
            digest = hashlib.sha256()
            for name, own in weights.items():
                digest.update(f"{name} {own.dtype} ".encode())
                digest.update(own.detach().contiguous().flatten().view(torch.uint8).numpy().data)
            self._weights = (state, digest.hexdigest())
        return self._weights[1]


class _Positional(nn.Module):
    """The UNet with tensors as its only arguments, for one grid."""

    def __init__(self, unet: IMAGPoseUNet, grid: ViewGrid) -> None:
        super().__init__()
        self.unet, self.grid = unet, grid

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        features: torch.Tensor,
        pose_features: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
    ) -> torch.Tensor:
        output: torch.Tensor = self.unet(
            sample, timestep, features, pose_features, self.grid, timestep_cond=timestep_cond, return_dict=False
        )[0]
        return output


def _export(unet: IMAGPoseUNet, shapes: list[tuple[int, ...]], grid: ViewGrid) -> Any:
    """A network of float32 for any number of canvases. Two are traced: sides of length 1 would be taken for broadcast."""
    import openvino

    network = unet if unet.dtype == torch.float32 else copy.deepcopy(unet).float()
    example = tuple(torch.zeros(2, *shape[1:]) if shape else torch.tensor(1.0) for shape in shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: checks of shapes become constants
        return openvino.convert_model(
            _Positional(network, grid).eval(),
            example_input=example,
            input=[[-1, *shape[1:]] if shape else [] for shape in shapes],
        )


def _make_room(folder: Path, most_bytes: int) -> None:
    """Remove the exported networks used least recently until the others have no more than so many bytes."""
    own = [path for path in folder.glob("*") if re.fullmatch("[0-9a-f]{32}", path.name) and (path / _FILE).is_file()]
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in own}
    for path in sorted(own, key=lambda path: path.stat().st_mtime):
        if sum(sizes.values()) <= most_bytes:
            break
        shutil.rmtree(path, ignore_errors=True)
        del sizes[path]
