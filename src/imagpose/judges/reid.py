"""The re-identification network: a strong baseline (BoT) on a ResNet of transformers.

The last stage keeps its input's size (stride 1); the pooled feature is trained with the triplet loss, a normalised one
behind a batch norm without bias (BNNeck) with the classifier, and the latter is what pictures are compared by.
Source: Luo et al., "Bag of tricks and a strong baseline for deep person re-identification", 2019.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import ResNetConfig, ResNetModel

from imagpose.io import error_line, read_json, write_json
from imagpose.pixels import bytes_to_signed, signed_to_unit

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of pixels in [0, 1]
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "resnet50": {"depths": [3, 4, 6, 3], "hidden_sizes": [256, 512, 1024, 2048], "layer_type": "bottleneck"},
    "resnet18": {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"},
    # Half as wide and a quarter of the work: what a CPU trains in minutes.
    "resnet18-half": {
        "depths": [2, 2, 2, 2], "hidden_sizes": [32, 64, 128, 256], "layer_type": "basic", "embedding_size": 32,
    },
}  # fmt: skip
_BATCH = 64
_WEIGHTS, _DESCRIPTION = "reid.safetensors", "reid.json"


class ReidNetwork(nn.Module):
    """Pixels (b, 3, H, W) in [-1, 1] to the features before and after the neck, (b, d) each.

    Args:
        architecture: key of `ARCHITECTURES`.
        height, width: size in pixels that pictures are brought to.

    Raises:
        ValueError: no such architecture.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, architecture: str = "resnet50", height: int = 256, width: int = 128) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"network {architecture!r}: one of {', '.join(ARCHITECTURES)} expected")
        self.architecture, self.size = architecture, (height, width)
        self.backbone = ResNetModel(ResNetConfig(**ARCHITECTURES[architecture]))
        _keep_size(self.backbone.encoder.stages[-1].layers[0])
        self.width = ARCHITECTURES[architecture]["hidden_sizes"][-1]
        self.neck = nn.BatchNorm1d(self.width)
        self.neck.bias.requires_grad_(False)
        for name, values in (("mean", MEAN), ("spread", SPREAD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.backbone((signed_to_unit(pixels) - self.mean) / self.spread).last_hidden_state
        pooled = hidden.mean(dim=(2, 3))
        return pooled, self.neck(pooled)

    def save(self, folder: Path) -> None:
        """Write ``reid.safetensors`` and ``reid.json``."""
        save_file({name: own.contiguous() for name, own in self.state_dict().items()}, folder / _WEIGHTS)
        description = {"network": self.architecture, "height": self.size[0], "width": self.size[1]}
        write_json(folder / _DESCRIPTION, description)


def _keep_size(block: nn.Module) -> None:
    """Take the stride out of a residual block: its convolutions and its shortcut."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)


def is_reid_network(folder: Path | str) -> bool:
    """Whether a folder says that it holds what `ReidNetwork.save` wrote."""
    return (Path(folder) / _DESCRIPTION).is_file()


def load_reid_network(folder: Path | str) -> ReidNetwork:
    """A network that `ReidNetwork.save` wrote, frozen, in evaluation mode.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the files are damaged.
    """
    folder = Path(folder)
    if not (folder / _DESCRIPTION).is_file() or not (folder / _WEIGHTS).is_file():
        raise FileNotFoundError(f"{folder} holds no re-identification network ({_DESCRIPTION}, {_WEIGHTS})")
    described = read_json(folder / _DESCRIPTION)
    try:
        network = ReidNetwork(described["network"], int(described["height"]), int(described["width"]))
        network.load_state_dict(load_file(folder / _WEIGHTS))
    except (KeyError, TypeError, RuntimeError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder}: damaged re-identification network: {error_line(error, 200)}") from None
    return network.eval().requires_grad_(False)


def take_backbone_weights(network: ReidNetwork, path: Path | str) -> None:
    """Start from ImageNet's weights, which the user has: a file of transformers' or of torchvision's names.

    Args:
        network: of the same architecture; its neck stays as it is.
        path: ``.safetensors``, or ``.pth``/``.bin`` of tensors (nothing in it is run).

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such file, or of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights not found: {path}")
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds for a file that is none of theirs
        raise ValueError(f"{path}: not a file of weights: {error_line(error, 200)}") from None
    if not isinstance(found, Mapping):
        raise ValueError(f"{path}: weights by name expected, found {type(found).__name__}")
    weights = {name: own for key, own in found.items() if (name := _backbone_name(key)) is not None}
    ours = network.backbone.state_dict()
    wrong = [
        name for name, own in ours.items()
        if not name.endswith("num_batches_tracked") and (name not in weights or weights[name].shape != own.shape)
    ]  # fmt: skip
    if wrong or not set(weights) <= set(ours):
        first = (wrong or sorted(set(weights) - set(ours)))[0]
        raise ValueError(f"{path} does not hold the weights of a {network.architecture}: {first} differs")
    network.backbone.load_state_dict(weights, strict=False)


def _backbone_name(name: str) -> str | None:
    """transformers' name of a weight of a ResNet in either library's spelling; None for the classifier's."""
    name = name.removeprefix("module.").removeprefix("resnet.")
    if name.startswith(("fc.", "classifier.")):
        return None
    if stem := re.fullmatch(r"(conv|bn)1\.(\w+)", name):
        return f"embedder.embedder.{_LAYERS[stem[1]]}.{stem[2]}"
    if block := re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn)(\d)\.(\w+)", name):
        place = f"encoder.stages.{int(block[1]) - 1}.layers.{block[2]}.layer.{int(block[4]) - 1}"
        return f"{place}.{_LAYERS[block[3]]}.{block[5]}"
    if shortcut := re.fullmatch(r"layer(\d)\.(\d+)\.downsample\.([01])\.(\w+)", name):
        layer = _LAYERS["conv" if shortcut[3] == "0" else "bn"]
        return f"encoder.stages.{int(shortcut[1]) - 1}.layers.{shortcut[2]}.shortcut.{layer}.{shortcut[4]}"
    return name


_LAYERS = {"conv": "convolution", "bn": "normalization"}


def resized(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """A picture as uint8 (H, W, 3) of a height and width, bilinear, its aspect not kept, as the field does it."""
    height, width = size
    return np.asarray(
        picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.BILINEAR)
    )


def embed_pictures(network: ReidNetwork, pictures: Iterable[Image.Image]) -> np.ndarray:
    """Features behind the neck, float32 (n, d) of length 1; on the device where the network is.

    Args:
        network: in evaluation mode.
        pictures: RGB, of any size.
    """
    return np.concatenate(list(_embedded(network, pictures)) or [np.zeros((0, network.width), np.float32)])


def _embedded(network: ReidNetwork, pictures: Iterable[Image.Image]) -> Iterator[np.ndarray]:
    device = next(network.parameters()).device
    pictures = iter(pictures)
    while part := list(islice(pictures, _BATCH)):
        pixels = bytes_to_signed(np.stack([resized(picture, network.size) for picture in part]))
        with torch.inference_mode():
            yield functional.normalize(network(pixels.to(device))[1].float(), dim=-1).cpu().numpy()
