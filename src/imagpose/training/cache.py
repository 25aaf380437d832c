"""Views of identities on disk: one safetensors shard per block of identities and kind, memory-mapped for training.

The kinds ``views`` and ``surface`` hold what is rendered; other kinds (latents, texture latents, encoder tokens,
skeletons) are computed from ``views`` by a second pass. A shard appears by renaming, so an interrupted pass continues
with the next missing one.

Tensors of ``views`` (n identities, v views of H x W pixels): ``pictures`` uint8 (n, v, H, W, 3); ``keypoints`` float32
(n, v, 18, 3), x and y in pixels, confidence; ``foreground`` uint8 (n, v, ceil(H * W / 8)), `numpy.packbits`; ``parts``
uint8 (n, v, ceil(H * W / 2)), two indices into `PART_NAMES` a byte, the first in the upper half; ``yaw`` float32 (n, v),
degrees; ``seeds`` int64 (n,). Tensor of ``surface``: ``surface`` float16 (n, v, H' / 8, W' / 8, 4), see `surface.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from imagpose import people
from imagpose.data.canvas import ViewTensors
from imagpose.people.splits import TRAIN_SEEDS, VALIDATION_SEEDS
from imagpose.people.world import RENDERER
from imagpose.pixels import bytes_to_signed
from imagpose.pose import Pose, draw_skeletons
from imagpose.training.configs import RenderedPeopleConfig, ViewCacheConfig
from imagpose.training.shards import Tensors, load_shard, save_shard, stored_facts
from imagpose.training.surface import CELL, MULTIPLE, surface_grid


def check_split(data: Any, validation: Any) -> None:
    """Refuse rendered training identities outside TRAIN_SEEDS and validation identities outside VALIDATION_SEEDS.

    Raises:
        ValueError: an identity lies outside its split.
    """
    for name, config, allowed in (("data", data, TRAIN_SEEDS), ("validation", validation, VALIDATION_SEEDS)):
        if not isinstance(config, RenderedPeopleConfig):
            continue
        if config.seeds[0] not in allowed or config.seeds[-1] not in allowed:
            raise ValueError(
                f"{name}: seeds {config.seeds[0]}..{config.seeds[-1]} lie outside "
                f"{allowed.start}..{allowed.stop - 1}, the identities for {name}"
            )


def render_views(config: ViewCacheConfig) -> None:
    """Render the missing shards of ``views`` and ``surface``, on all cores.

    Raises:
        ValueError: the folder holds views that were made with other settings, or a damaged file.
    """
    missing = [block for block in seed_blocks(config) if not _is_rendered(RenderedBlock(config, block, 1))]
    for seeds in track(missing, description=f"rendering {config.folder}", disable=not missing):
        rendered = people.iterate_views(seeds, config.views, config.height, config.width, world=config.world)
        stored = [_stored(seed, views) for seed, views in rendered]
        tensors = {name: torch.from_numpy(np.stack([person[name] for person in stored])) for name in stored[0]}
        block = RenderedBlock(config, seeds, 1)
        for kind, held in (("surface", {"surface": tensors.pop("surface")}), ("views", tensors)):
            save_shard(block.path(kind), block.facts(_SOURCES[kind]), held)


_SOURCES = {"views": "", "surface": f"cells of {CELL}, multiple {MULTIPLE}"}


def _is_rendered(block: RenderedBlock) -> bool:
    complete = True
    for kind, source in _SOURCES.items():
        path, wanted = block.path(kind), block.facts(source)
        found = stored_facts(path)
        if found not in (None, wanted):
            raise ValueError(f"{path} holds {found}, the configuration says {wanted}: use another folder or remove it")
        complete &= found is not None
    return complete


def _stored(seed: int, views: list[people.View]) -> dict[str, np.ndarray]:
    """One row of each rendered tensor."""
    return {
        "pictures": np.stack([view.picture for view in views]),
        "keypoints": np.stack([view.pose.keypoints for view in views]),
        "foreground": np.stack([np.packbits(view.foreground) for view in views]),
        "parts": np.stack([_packed(view.parts) for view in views]),
        "surface": np.stack([surface_grid(view.surface, view.foreground) for view in views]),
        "yaw": np.array([view.spec.yaw for view in views], np.float32),
        "seeds": np.array(seed, np.int64),
    }


def _packed(parts: np.ndarray) -> np.ndarray:
    """Numbers below 16, two a byte."""
    flat = np.append(parts, np.zeros(parts.size % 2, np.uint8))
    packed: np.ndarray = flat[::2] << 4 | flat[1::2]
    return packed


class ViewCache:
    """Read access to the cached identities; tensors are memory-mapped, so opening costs nothing."""

    def __init__(self, config: ViewCacheConfig, kinds: Iterable[str] = ()) -> None:
        """Open the shards of ``views`` and of `kinds`.

        Raises:
            FileNotFoundError: a shard has not been made.
        """
        self.config = config
        self.num_identities = config.identities
        self.num_views = config.views
        self._shards = []
        for seeds in seed_blocks(config):
            tensors: Tensors = {}
            for kind in ("views", *kinds):
                tensors |= load_shard(RenderedBlock(config, seeds, 1).path(kind))
            self._shards.append(tensors)

    def get(self, name: str, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Tensor `name` (n, ...) of n (identity, view) pairs; identities count from 0."""
        with torch.autocast("cpu", enabled=False):  # which has no rule for stacking half precision, as in validation
            return torch.stack(self.get_each(name, identities, views))

    def get_each(self, name: str, identities: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        """As `get`, one view into the mapped file per pair: what is not touched is not read."""
        block = self.config.block
        return [self._shards[i // block][name][i % block, v] for i, v in zip(identities, views, strict=True)]

    def names(self, identities: np.ndarray, views: np.ndarray) -> list[str]:
        """What n (identity, view) pairs are called in messages."""
        first = self.config.first_seed
        return [
            f"seed {first + int(identity)} view {int(view)}" for identity, view in zip(identities, views, strict=True)
        ]

    def pixels(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Pictures (n, 3, H, W) in [-1, 1]."""
        return bytes_to_signed(self.get("pictures", identities, views))

    def foreground(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Foreground masks (n, H, W), bool."""
        height, width = self.config.height, self.config.width
        bits = np.unpackbits(self.get("foreground", identities, views).numpy(), axis=-1, count=height * width)
        return torch.unflatten(torch.from_numpy(bits.astype(bool)), 1, (height, width))

    def parts(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Part maps uint8 (n, H, W), index into `PART_NAMES`, 0 outside of the person."""
        height, width = self.config.height, self.config.width
        pairs = self.get("parts", identities, views)
        both = torch.stack([pairs >> 4, pairs & 15], -1).flatten(1)
        return torch.unflatten(both[:, : height * width], 1, (height, width))


def seed_blocks(config: ViewCacheConfig) -> list[range]:
    """Seeds of the identities of each shard."""
    seeds = config.seeds
    return [seeds[start : start + config.block] for start in range(0, len(seeds), config.block)]


@dataclass(frozen=True)
class RenderedBlock:
    """The shards of consecutive identities; see `shards.Block`. Tensors lead with (identities, views).

    Attributes:
        config: the cache.
        seeds: its identities.
        multiple: sides of skeletons are padded to multiples of this.
    """

    config: ViewCacheConfig
    seeds: range
    multiple: int

    def path(self, kind: str) -> Path:
        """Where the shard of a kind lies."""
        return self.config.folder / f"{self.seeds.start:08d}-{self.seeds.stop - 1:08d}.{kind}.safetensors"

    def facts(self, source: str) -> dict[str, str]:
        """Size and number of the views, their world, what rendered them, and `source`."""
        asked = {name: str(getattr(self.config, name)) for name in ("views", "height", "width", "world")}
        return {**asked, "renderer": str(RENDERER), "source": source}

    def read(self) -> ViewTensors:
        """Pixels (n, v, 3, H, W) and skeletons (n, v, 3, H', W')."""
        views = load_shard(self.path("views"))
        height, width = self.config.height, self.config.width
        poses = [Pose(points, width, height) for points in views["keypoints"].flatten(0, 1).numpy()]
        skeletons = torch.unflatten(
            draw_skeletons(poses, height, width, self.multiple), 0, views["keypoints"].shape[:2]
        )
        return ViewTensors(bytes_to_signed(views["pictures"]), skeletons)
