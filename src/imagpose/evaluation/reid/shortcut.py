"""Whether generated pictures can be told from real ones: a small classifier, and its AUC on people it has not seen.

A network that is trained on both can learn this difference in place of people. Source: own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from imagpose.data.reid import ReidPicture
from imagpose.judges.reid import resized
from imagpose.metrics.ranking import separability
from imagpose.pictures import load_picture
from imagpose.pixels import bytes_to_signed

_SIZE, _MOST, _STEPS, _BATCH = (128, 64), 1000, 150, 32


def real_or_generated(real: Sequence[ReidPicture], generated: Sequence[ReidPicture]) -> float | None:
    """AUC of real against generated on the half of the people that the classifier was not trained on.

    0.5: it cannot tell them apart; 1: always. None where fewer than two people are on either side. It is a lower bound:
    a larger classifier may see more.

    Args:
        real, generated: at most 1,000 of each are looked at, always the same ones.
    """
    people = sorted({own.identity for own in generated})
    seen = set(people[::2])
    parts = [
        [_some([own for own in kind if (own.identity in seen) == half]) for kind in (generated, real)]
        for half in (True, False)
    ]
    if not all(len({own.identity for own in kind}) >= 2 for part in parts for kind in part):
        return None
    (trained, held_out) = ([_pixels(kind) for kind in part] for part in parts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _trained(*trained)
    with torch.inference_mode():
        made, taken = ([float(own) for part in torch.split(kind, 256) for own in network(part)] for kind in held_out)
    return separability(np.array(made), np.array(taken))


def _some(pictures: list[ReidPicture]) -> list[ReidPicture]:
    chosen = np.random.default_rng(0).permutation(len(pictures))[: _MOST // 2]
    return [pictures[number] for number in sorted(chosen)]


def _pixels(pictures: Sequence[ReidPicture]) -> torch.Tensor:
    return bytes_to_signed(np.stack([resized(load_picture(own.file), _SIZE) for own in pictures]))


def _trained(generated: torch.Tensor, real: torch.Tensor) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    rng = np.random.default_rng(0)
    truth = torch.cat([torch.ones(_BATCH), torch.zeros(_BATCH)])
    for _ in range(_STEPS):
        pixels = torch.cat([own[rng.integers(0, len(own), _BATCH)] for own in (generated, real)])
        pixels = torch.where(
            torch.from_numpy(rng.random(2 * _BATCH) < 0.5)[:, None, None, None], pixels.flip(-1), pixels
        )
        loss = functional.binary_cross_entropy_with_logits(network(pixels), truth)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return network.eval()
