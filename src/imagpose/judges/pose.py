"""Key points told from a picture, so that generated people can be judged by the pose they were asked to take.

Source: own; the shape of the network is U-Net's (Ronneberger et al., 2015), one heatmap per key point as in Xiao et al.,
"Simple baselines for human pose estimation and tracking", 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from imagpose.judges.shipped import Judge, ascend, convolutions, descend, load_judge, working_batches
from imagpose.pixels import Padding, pad_views
from imagpose.pose.keypoints import MIRRORED

POSE_WEIGHTS = Path(__file__).parent / "weights" / "pose_estimator.safetensors"
NUM_KEYPOINTS = 18
HEATMAP_STRIDE = 4  # pixels per cell of a heatmap
_STEM = 24
_CHANNELS = (40, 64, 96, 128)
_SPREAD = 1.0  # cells: standard deviation of the target on a heatmap
_WINDOW = 2  # cells on each side of the highest that share in the position


class PoseEstimator(Judge):
    """Pixels (b, 3, H, W) in [-1, 1] to heatmaps and to what is in the picture at all; any H and W."""

    def __init__(self, height: int = 256) -> None:
        super().__init__(height)
        self.stem = nn.Sequential(
            nn.Conv2d(3, _STEM, 3, stride=2, padding=1), nn.GroupNorm(8, _STEM), nn.SiLU(),
            nn.Conv2d(_STEM, _CHANNELS[0], 3, stride=2, padding=1),
        )  # fmt: skip
        self.down = nn.ModuleList([convolutions(a, b) for a, b in pairwise((_CHANNELS[0], *_CHANNELS))])
        self.up = nn.ModuleList([convolutions(wide + narrow, narrow) for narrow, wide in pairwise(_CHANNELS)])
        self.heatmaps = nn.Conv2d(_CHANNELS[0], NUM_KEYPOINTS, 1)
        self.presence = nn.Sequential(nn.Linear(2 * _CHANNELS[-1], 64), nn.SiLU(), nn.Linear(64, NUM_KEYPOINTS))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Padding]:
        """Logits (b, 18, H' / 4, W' / 4) of where each key point is, and (b, 18) of whether it lies in the picture.

        Heatmaps are of the picture padded to sides H', W' that the network can halve; the padding is returned too.
        """
        padded, padding = pad_views(pixels, HEATMAP_STRIDE * 2 ** (len(_CHANNELS) - 1))
        levels = descend(self.down, self.stem(padded))
        pooled = torch.cat([levels[-1].mean(dim=(2, 3)), levels[-1].amax(dim=(2, 3))], dim=1)
        return self.heatmaps(ascend(self.up, levels)), self.presence(pooled), padding

    def keypoints(self, pixels: torch.Tensor) -> torch.Tensor:
        """Key points (b, 18, 3) of pixels (b, 3, H, W) in [-1, 1]: x, y in pixels, probability in [0, 1]."""
        heatmaps, presence, padding = self(pixels)
        positions = keypoints_from_heatmaps(heatmaps.float()) - pixels.new_tensor([padding.left, padding.top])
        return torch.cat([positions, presence.float().sigmoid()[..., None]], dim=-1)


def keypoints_from_heatmaps(logits: torch.Tensor) -> torch.Tensor:
    """Positions in pixels: the mean of the softmax in the window around its highest cell.

    Args:
        logits: (b, n, h, w).

    Returns:
        (b, n, 2) x, y in pixels; the middle of the first cell is at half of `HEATMAP_STRIDE`.
    """
    height, width = logits.shape[-2:]
    share = logits.flatten(2).softmax(dim=-1)
    highest = share.argmax(dim=-1, keepdim=True)
    rows, columns = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    rows, columns = rows.to(logits.device), columns.to(logits.device)
    near = ((rows - highest // width).abs() <= _WINDOW) & ((columns - highest % width).abs() <= _WINDOW)
    share = share * near
    share = share / share.sum(dim=-1, keepdim=True)
    x, y = ((share * (cells + 0.5)).sum(dim=-1) for cells in (columns, rows))
    return torch.stack([x, y], dim=-1) * HEATMAP_STRIDE


@cache
def load_pose_estimator() -> PoseEstimator:
    """The network with the weights that ship with the package."""
    return load_judge(PoseEstimator, POSE_WEIGHTS)


def find_keypoints(pictures: np.ndarray) -> np.ndarray:
    """Key points of the person in each picture.

    Args:
        pictures: uint8 (n, H, W, 3); looked at in the height that the network was trained at.

    Returns:
        float32 (n, 18, 3): x, y in pixels of the picture, and how probable it is that the point lies in the picture.
    """
    network = load_pose_estimator()
    height, width = pictures.shape[1:3]
    found = []
    for pixels in working_batches(pictures, network.height):
        with torch.inference_mode():
            points = network.keypoints(pixels).numpy()
        found.append(points * np.array([width / pixels.shape[-1], height / pixels.shape[-2], 1], np.float32))
    return np.concatenate(found) if found else np.zeros((0, NUM_KEYPOINTS, 3), np.float32)


def heatmap_loss(logits: torch.Tensor, positions: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the softmax over each heatmap against a Gaussian around the key point, mean over those present.

    Args:
        logits: (b, n, h, w).
        positions: (b, n, 2) x, y in pixels.
        present: (b, n), 1 where the key point lies in the picture.
    """
    height, width = logits.shape[-2:]
    columns = (torch.arange(width, device=logits.device) + 0.5) * HEATMAP_STRIDE
    rows = (torch.arange(height, device=logits.device) + 0.5) * HEATMAP_STRIDE
    spread = 2 * (_SPREAD * HEATMAP_STRIDE) ** 2
    across = -(columns - positions[..., :1]).square() / spread
    along = -(rows - positions[..., 1:]).square() / spread
    target = (along[..., :, None] + across[..., None, :]).flatten(2).softmax(dim=-1)
    entropy = -(target * logits.flatten(2).log_softmax(dim=-1)).sum(dim=-1)
    return (entropy * present).sum() / present.sum().clamp(min=1)


@dataclass(frozen=True)
class Reach:
    """How far `move` goes at most.

    Attributes:
        turn: degrees.
        zoom: enlargement, at least 1; 1 / zoom is the smallest.
        shift: share of the picture's sides.
    """

    turn: float
    zoom: float
    shift: float


def move(
    pixels: torch.Tensor, keypoints: torch.Tensor, reach: Reach, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror, turn, zoom and shift pictures together with their key points.

    Args:
        pixels: (b, 3, H, W).
        keypoints: (b, 18, 3) x, y in pixels and confidence.
        reach: bounds of what is drawn.
        rng: draws everything.

    Returns:
        Both moved; a key point that leaves the picture has confidence 0.
    """
    count, _, height, width = pixels.shape
    size = torch.tensor([width, height], dtype=torch.float32)
    turn = np.deg2rad(rng.uniform(-reach.turn, reach.turn, count))
    zoom = reach.zoom ** rng.uniform(-1, 1, count)
    shift = torch.from_numpy(rng.uniform(-reach.shift, reach.shift, (count, 2)).astype(np.float32)) * size
    mirrored = torch.from_numpy(rng.random(count) < 0.5)

    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
    swapped = keypoints[:, list(MIRRORED)]
    swapped = torch.cat([width - swapped[..., :1], swapped[..., 1:]], dim=-1)
    keypoints = torch.where(mirrored[:, None, None], swapped, keypoints)

    cosine, sine = (torch.from_numpy((zoom * part).astype(np.float32)) for part in (np.cos(turn), np.sin(turn)))
    forward = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], 1)  # about the middle
    places = (keypoints[..., :2] - size / 2) @ forward.transpose(1, 2) + size / 2 + shift[:, None]
    inside = ((places >= 0) & (places < size)).all(dim=-1)
    confidence = torch.where(inside, keypoints[..., 2], 0.0)

    # grid_sample goes from a place in the output to one in the input, in halves of the picture's sides.
    halves = size / 2
    backward = torch.linalg.inv(forward)
    linear = backward * halves[None, None, :] / halves[None, :, None]
    offset = -(backward @ shift[..., None])[..., 0] / halves
    sampling = functional.affine_grid(
        torch.cat([linear, offset[..., None]], -1), list(pixels.shape), align_corners=False
    )
    moved = functional.grid_sample(pixels, sampling, mode="bilinear", padding_mode="border", align_corners=False)
    return moved, torch.cat([places, confidence[..., None]], dim=-1)
