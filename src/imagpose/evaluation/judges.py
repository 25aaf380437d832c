"""The two networks that judge pictures of rendered people: key points (`find_keypoints`) and who is shown (`embed_people`).

They ship with the package and were trained on rendered people of the training split, apart from every generator. Of
photographs they know nothing. Source: own; `imagpose train pose-estimator` and `imagpose train identity`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from imagpose.evaluation.silhouette import WORKING_HEIGHT, find_foreground
from imagpose.models.identity_network import IdentityNetwork
from imagpose.models.pose_estimator import PoseEstimator

__all__ = [
    "IDENTITY_WEIGHTS", "POSE_WEIGHTS", "embed_people", "find_keypoints", "first_ranks", "load_identity_network",
    "load_pose_estimator",
]  # fmt: skip

_ASSETS = Path(__file__).parent / "assets"
POSE_WEIGHTS, IDENTITY_WEIGHTS = _ASSETS / "pose_estimator.safetensors", _ASSETS / "identity.safetensors"
_BATCH = 32


@cache
def load_pose_estimator() -> PoseEstimator:
    """The network with the weights that ship with the package, in evaluation mode."""
    network = PoseEstimator()
    _load(network, POSE_WEIGHTS)
    return network


@cache
def load_identity_network() -> IdentityNetwork:
    """The network with the weights that ship with the package, in evaluation mode."""
    network = IdentityNetwork()
    _load(network, IDENTITY_WEIGHTS)
    return network


def _load(network: nn.Module, path: Path) -> None:
    weights = load_file(path)
    network.load_state_dict({name: own.float() if own.is_floating_point() else own for name, own in weights.items()})
    network.eval().requires_grad_(False)


def find_keypoints(pictures: np.ndarray) -> np.ndarray:
    """Key points of the person in each picture.

    Args:
        pictures: uint8 (n, H, W, 3). Where H is not 128 they are looked at in that height, their aspect kept.

    Returns:
        float32 (n, 18, 3): x, y in pixels of the picture, and how probable it is that the point lies in the picture.
    """
    network = load_pose_estimator()
    height, width = pictures.shape[1:3]
    found = []
    for pixels in _working_pixels(pictures):
        with torch.inference_mode():
            points = network.keypoints(pixels).numpy()
        found.append(points * np.array([width / pixels.shape[-1], height / pixels.shape[-2], 1], np.float32))
    return np.concatenate(found) if found else np.zeros((0, 18, 3), np.float32)


def embed_people(pictures: np.ndarray) -> np.ndarray:
    """What tells people apart: float32 (n, 128), of length 1.

    Only the person is looked at: the ground, which all views of a shoot share, is replaced by grey where
    `silhouette.find_foreground` sees nobody.

    Args:
        pictures: uint8 (n, H, W, 3). Where H is not 128 they are looked at in that height, their aspect kept.
    """
    network = load_identity_network()
    alone = np.where(find_foreground(pictures)[..., None], pictures, np.uint8(128))
    found = []
    for pixels in _working_pixels(alone):
        with torch.inference_mode():
            found.append(network(pixels).numpy())
    return np.concatenate(found) if found else np.zeros((0, 128), np.float32)


def first_ranks(
    queries: np.ndarray, wanted: np.ndarray, gallery: np.ndarray, owners: np.ndarray, left_out: np.ndarray
) -> np.ndarray:
    """Whether the gallery's nearest picture to each query shows the person that is wanted (rank-1).

    Args:
        queries: (n, d), of length 1; nearness is their cosine.
        wanted: (n,) the identity of each query.
        gallery: (m, d), of length 1; owners: (m,) their identities.
        left_out: bool (n, m), pictures that do not count for a query.

    Returns:
        bool (n,).
    """
    nearness = np.where(left_out, -np.inf, queries @ gallery.T)
    return owners[nearness.argmax(axis=1)] == wanted


def _working_pixels(pictures: np.ndarray) -> Iterator[torch.Tensor]:
    """Batches (b, 3, 128, W) in [-1, 1]."""
    height, width = pictures.shape[1:3]
    size = WORKING_HEIGHT, max(16, round(width * WORKING_HEIGHT / height))
    for start in range(0, len(pictures), _BATCH):
        pixels = torch.tensor(pictures[start : start + _BATCH]).movedim(-1, 1).float() / 127.5 - 1
        if (height, width) != size:
            pixels = functional.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)
        yield pixels
