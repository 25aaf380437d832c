"""The networks of published metrics: LPIPS, FID, and the field's own Inception, and what they make of files.

The user brings the weights. Nothing is downloaded: what is absent is named, with the place where it belongs, and the
other metrics are computed. Weights are looked for where the libraries keep them, in torch hub's folder `checkpoints`
(`TORCH_HOME` moves it).
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from imagpose.devices import choose_device
from imagpose.evaluation.pixel_values import read_field_pair, read_mask, read_rgb
from imagpose.evaluation.store import Files, ValueStore
from imagpose.io import error_line
from imagpose.metrics.field import cubic_resize
from imagpose.metrics.perceptual import feature_distance, load_efficientnet
from imagpose.pixels import bytes_to_signed, bytes_to_unit

_PYTORCH = "https://download.pytorch.org/models/"
_TORCH_FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
_SIDE = 299  # pixels of an Inception network's input
_VERSION = "1"  # of what is computed, for the values that are kept
_LPIPS_PART, _FEATURE_PART = 64, 128
_BATCH = 32  # pictures that a network sees at once

_Input = Callable[[Sequence[np.ndarray]], torch.Tensor]  # arrays of one shape as a network takes them


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    Attributes:
        run: see `Networks`.
        identity: says which weights these are; values computed with others are computed anew.
    """

    run: Callable[..., torch.Tensor]
    identity: str


class Needs(str):
    """What is absent, in place of a network."""

    __slots__ = ()


@dataclass(frozen=True)
class Networks:
    """The networks of both protocols, or what each of them needs.

    Attributes:
        lpips: two batches (b, 3, H, W), float, to distances (b,). It expects [-1, 1]; the field gives it [0, 1].
        fid: uint8 (b, 3, H, W) to features (b, 2048).
        field_inception: float (b, 3, H, W) in [0, 1] to features (b, 2048).
        features: as `metrics.perceptual.feature_distance`, on the CPU.
    """

    lpips: Network | Needs
    fid: Network | Needs
    field_inception: Network | Needs
    features: Network | Needs = field(default_factory=lambda: find_efficientnet())


def find_networks() -> Networks:
    """All networks that this machine has packages and weights for, on its GPU if it has one.

    Raises:
        ValueError: a weights file is damaged or another network's.
    """
    return Networks(find_lpips(), find_fid(), find_field_inception())


def find_efficientnet() -> Network | Needs:
    """EfficientNet-lite0's features, whose weights come as a package."""
    try:
        load_efficientnet()
    except ValueError as error:
        return Needs(f"needs features: {error}")
    return Network(feature_distance, "EfficientNet-lite0")


def find_lpips() -> Network | Needs:
    """LPIPS 0.1 on AlexNet, from the package `lpips`. Source: Zhang et al., 2018."""
    file = _find(("torchvision", "lpips"), _PYTORCH, "alexnet-owt-7be5be79.pth")
    if isinstance(file, Needs):
        return file
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision by parameters that are on their way out
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    weights = _read(file)
    try:  # the package cuts AlexNet's `features` into slices and keeps their numbers
        weights = {name: weights[f"features.{name.split('.', 1)[1]}"] for name in network.net.state_dict()}
    except KeyError as error:
        raise ValueError(f"{file}: not the weights of AlexNet: {error} is absent") from None
    _load(network.net, weights, file)
    network = _ready(network)
    return Network(lambda one, other: network(one, other).flatten(), _identity(file))


def find_fid() -> Network | Needs:
    """The network of FID, pytorch-fid's weights, from the package `torch-fidelity`; it resizes to 299 as TensorFlow 1.

    Source: Heusel et al., 2017; the converted weights are those of pytorch-fid.
    """
    file = _find(("torchvision", "torch_fidelity"), _TORCH_FIDELITY, "weights-inception-2015-12-05-6726825d.pth")
    if isinstance(file, Needs):
        return file
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    _read(file)  # the package unpickles whatever it is given: only what is safe to unpickle gets there
    try:
        network = _ready(FeatureExtractorInceptionV3("fid", ["2048"], feature_extractor_weights_path=str(file)))
    except (RuntimeError, TypeError) as error:
        raise ValueError(_misfit(file, error)) from None
    return Network(lambda pixels: network(pixels)[0], _identity(file))


def find_field_inception() -> Network | Needs:
    """The field's network: torchvision's ImageNet Inception, whose input is scaled as if it were normalised.

    The scaling is meant for pictures that are normalised for ImageNet, but gets [0, 1], so that the network sees values
    in -0.19..0.43 instead of -1..1. Source: an early version of pytorch-fid, as PCDMs' `inception.py` keeps it.
    """
    file = _find(("torchvision",), _PYTORCH, "inception_v3_google-0cc3c7bd.pth")
    if isinstance(file, Needs):
        return file
    import torchvision

    network = torchvision.models.inception_v3(weights=None, aux_logits=True, init_weights=False, transform_input=False)
    _load(network, _read(file), file)
    network.fc = torch.nn.Identity()
    network = _ready(network)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def run(pixels: torch.Tensor) -> torch.Tensor:
        pixels = functional.interpolate(pixels, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        output: torch.Tensor = network(pixels * (deviation / 0.5).to(pixels) + ((mean - 0.5) / 0.5).to(pixels))
        return output

    return Network(run, _identity(file))


def _find(packages: Iterable[str], address: str, name: str) -> Path | Needs:
    """The weights file, or what is absent."""
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    if absent:
        return Needs(f"needs {', '.join(absent).replace('_', '-')}: pip install 'imagpose[eval]'")
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:
        return Needs(f"needs a torchvision that fits torch {torch.__version__} ({error})")
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    return file if file.is_file() else Needs(f"needs the weights {name} in {file.parent}, from {address}{name}")


def _read(file: Path) -> dict[str, torch.Tensor]:
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to
        raise ValueError(_misfit(file, error)) from None
    if not isinstance(weights, dict):
        raise ValueError(f"{file}: holds a {type(weights).__name__}, not the weights of a network")
    return weights


def _load(network: torch.nn.Module, weights: dict[str, torch.Tensor], file: Path) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(_misfit(file, error)) from None


def _misfit(file: Path, error: Exception) -> str:
    return f"{file}: not the weights that belong there; download the file again ({error_line(error, 120)})"


def _ready(network: torch.nn.Module) -> torch.nn.Module:
    return network.eval().requires_grad_(False).to(choose_device())


def _identity(file: Path) -> str:
    stat = file.stat()
    return f"{file.name} {stat.st_size} {stat.st_mtime_ns}"


def lpips_values(store: ValueStore, protocol: str, items: Sequence[Files], network: Network) -> np.ndarray:
    """LPIPS (n,) of (generated, reference); one that differs in size is resized in the field's protocol.

    Raises:
        ValueError: damaged pictures.
    """
    read, scaled = (_read_pictures, _signed) if protocol == "clean" else (read_field_pair, _unit)
    work = partial(_rows, run=network.run, read=read, inputs=(lambda own: _placed(scaled(own)),) * 2)
    what = f"{protocol}-lpips {_VERSION} {network.identity}"
    return store.values(what, items, _LPIPS_PART, work, shared=False)[:, 0]


def feature_values(store: ValueStore, items: Sequence[Files], network: Network) -> np.ndarray:
    """Distances (n,) in the network's features of (generated, reference, mask), inside the mask.

    Raises:
        ValueError: damaged pictures, or a mask that marks nothing.
    """
    work = partial(_rows, run=network.run, read=_read_masked_pair, inputs=(_signed, _signed, _stacked))
    return store.values(f"features {_VERSION} {network.identity}", items, _FEATURE_PART, work, shared=False)[:, 0]


def set_features(
    store: ValueStore, protocol: str, files: Sequence[Path], network: Network, size: tuple[int, int]
) -> np.ndarray:
    """Feature vectors (n, d) of files: 8-bit pictures as they are in the clean protocol, resized floats in the field's.

    Args:
        size: width and height that the field resizes all pictures to.

    Raises:
        ValueError: damaged pictures.
    """

    def read_resized(path: Path | None) -> tuple[np.ndarray, ...]:
        return (cubic_resize(read_rgb(path), size[1], size[0]),)

    read, scaled = (_read_pictures, _channels_first) if protocol == "clean" else (read_resized, _unit)
    work = partial(_rows, run=network.run, read=read, inputs=(lambda own: _placed(scaled(own)),))
    what = f"{protocol}-features {_VERSION} {'' if protocol == 'clean' else size} {network.identity}"
    return store.values(what, [(file,) for file in files], _FEATURE_PART, work, shared=False)


def _rows(
    items: Sequence[Files],
    run: Callable[..., torch.Tensor],
    read: Callable[..., tuple[np.ndarray, ...]],
    inputs: Sequence[_Input],
) -> np.ndarray:
    """What a network makes of the pictures that `read` gives of each item, at most 32 neighbours of one shape at a time."""
    found = []
    for _, equal in groupby([read(*item) for item in items], lambda own: own[0].shape):
        pictures = list(equal)
        for start in range(0, len(pictures), _BATCH):
            columns = zip(*pictures[start : start + _BATCH], strict=True)
            with torch.inference_mode():
                values = run(*(own(column) for own, column in zip(inputs, columns, strict=True))).cpu()
            found.append((values.double()[:, None] if values.ndim == 1 else values.float()).numpy())
    return np.concatenate(found)


def _read_pictures(*paths: Path | None) -> tuple[np.ndarray, ...]:
    return tuple(map(read_rgb, paths))


def _read_masked_pair(generated: Path, reference: Path, mask: Path) -> tuple[np.ndarray, ...]:
    picture, truth = _read_pictures(generated, reference)
    return picture, truth, read_mask(mask, truth)


def _stacked(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays))


def _channels_first(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures (H, W, 3) as (b, 3, H, W) of their number type."""
    return _stacked(pictures).movedim(-1, 1)


def _signed(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    return bytes_to_signed(np.stack(pictures))


def _unit(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    return bytes_to_unit(_channels_first(pictures))


def _placed(pixels: torch.Tensor) -> torch.Tensor:
    """The pixels where the networks are; ranges are changed before, on the CPU, so that every machine sees the same."""
    return pixels.contiguous().to(choose_device())
