"""What ComfyUI gives to a node: folders of models, inputs and outputs, memory on its device, progress and interruption."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import folder_paths
import torch
from PIL import Image

from imagpose.io import partial_folder
from imagpose.models.folder import EMBEDDED_MODELS
from imagpose.pipeline.loading import load_pipeline, networks_of
from imagpose.serving.inputs import POSE_ENDINGS, GenerateInputs
from imagpose.serving.progress import Watch
from imagpose.serving.settings import GenerateSettings

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

_MODELS = "imagpose"
_PREVIEW_SIDE = 512  # at most, in pixels


def add_models_folder() -> None:
    """Make `models/imagpose` a folder of models, which `extra_model_paths.yaml` may have named already."""
    folder_paths.add_model_folder_path(_MODELS, str(Path(folder_paths.models_dir) / _MODELS))


def model_names() -> list[str]:
    """The models that ship, and the saved pipelines in the folders of models."""
    return [*EMBEDDED_MODELS, *_model_folders()]


def _model_folders() -> dict[str, Path]:
    indices = [
        index
        for folder in folder_paths.get_folder_paths(_MODELS)
        for index in sorted(Path(folder).glob("*/model_index.json"))
    ]
    return {index.parent.name: index.parent for index in reversed(indices)}


@dataclass(frozen=True, eq=False)
class Model:
    """A pipeline whose networks ComfyUI's memory management moves between the GPU and the CPU.

    Attributes:
        pipeline: wherever its networks are.
        patcher: by which ComfyUI knows them.
        dtype: their precision, if one was asked for.
    """

    pipeline: IMAGPosePipeline
    patcher: comfy.model_patcher.ModelPatcher
    dtype: str | None

    def placed(self) -> IMAGPosePipeline:
        """The pipeline on ComfyUI's device, where other models have made room."""
        comfy.model_management.load_models_gpu([self.patcher], force_full_load=True)
        self.patcher.model.to(self.patcher.load_device)  # buffers of modules without weights stay behind
        return self.pipeline


def load_model(name: str, dtype: str | None, backend: str) -> Model:
    """Load a model of `model_names` without taking memory on the device.

    Raises:
        ValueError, OSError: as `pipeline.loading.load_pipeline`.
    """
    device, rest = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    place = str(_model_folders().get(name, name))
    pipeline = load_pipeline(place, None, str(device), dtype, backend, move=False)
    pipeline.set_progress_bar_config(disable=True)
    # A holder, since ComfyUI writes attributes such as `device` to what it is given, which diffusers' networks refuse.
    holder = torch.nn.ModuleDict(networks_of(pipeline)).to(rest)
    return Model(pipeline, comfy.model_patcher.ModelPatcher(holder, load_device=device, offload_device=rest), dtype)


def pose_files() -> list[str]:
    """Files of key points in ComfyUI's input folder."""
    folder = Path(folder_paths.get_input_directory())
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in POSE_ENDINGS)
    return sorted(path.relative_to(folder).as_posix() for path in files)


def input_file(name: str) -> Path:
    """A file of `pose_files`.

    Raises:
        ValueError: there is none of this name; no other file of the machine is read.
    """
    if name not in pose_files():
        raise ValueError(f"{name}: no such file of key points in ComfyUI's input folder")
    return Path(folder_paths.get_input_directory()) / name


def output_folder(prefix: str) -> Path:
    """A folder that is not there yet below ComfyUI's output folder: `prefix`_00001, ...

    Raises:
        Exception: ComfyUI's own, for one that would lie elsewhere.
    """
    folder, name, number, *_ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
    return Path(folder) / f"{name}_{number:05}"


@contextmanager
def frames_folder(prefix: str) -> Iterator[Path]:
    """A folder for frames: that of `output_folder`, if the block ends well; without a prefix one that ends with it."""
    if prefix.strip():
        with partial_folder(output_folder(prefix)) as folder:
            yield folder
    else:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)


def teller() -> Callable[..., None]:
    """A function of steps done, those in all and a preview (RGB, or none) that moves ComfyUI's progress bar.

    It raises ComfyUI's own exception where the request was interrupted.
    """
    bar = comfy.utils.ProgressBar(1)

    def tell(done: int, total: int, shown: Image.Image | None = None) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total, None if shown is None else ("JPEG", shown, _PREVIEW_SIDE))

    return tell


def watch(inputs: GenerateInputs, settings: GenerateSettings) -> Watch:
    """The callback that moves ComfyUI's progress bar with previews, and ends a request that was interrupted."""
    tell = teller()

    def tell_previews(done: int, total: int, previews: Mapping[int, Image.Image]) -> None:
        tell(done, total, next(iter(previews.values()), None))

    return Watch(inputs, settings, comfy.model_management.throw_exception_if_processing_interrupted, tell_previews)
