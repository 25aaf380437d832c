"""Views of identities on disk: one safetensors shard per block of identities and kind, memory-mapped for training.

The kind ``views`` holds what is rendered; other kinds (latents, texture latents, encoder tokens, skeletons) are
computed from it by a second pass. A shard appears by renaming, so an interrupted pass continues with the next missing
one.

Tensors of ``views`` (n identities, v views of H x W pixels): ``pictures`` uint8 (n, v, H, W, 3); ``keypoints`` float32
(n, v, 18, 3), x and y in pixels, confidence; ``foreground`` uint8 (n, v, ceil(H * W / 8)), `numpy.packbits`; ``yaw``
float32 (n, v), degrees; ``seeds`` int64 (n,).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from imagpose import people
from imagpose.people.splits import TRAIN_SEEDS, VALIDATION_SEEDS
from imagpose.training.config import ViewCacheConfig

Tensors = dict[str, torch.Tensor]


def check_split(data: ViewCacheConfig, validation: ViewCacheConfig) -> None:
    """Refuse training identities outside TRAIN_SEEDS and validation identities outside VALIDATION_SEEDS.

    Raises:
        ValueError: an identity lies outside its split.
    """
    for name, config, allowed in (("data", data, TRAIN_SEEDS), ("validation", validation, VALIDATION_SEEDS)):
        if config.seeds[0] not in allowed or config.seeds[-1] not in allowed:
            raise ValueError(
                f"{name}: seeds {config.seeds[0]}..{config.seeds[-1]} lie outside "
                f"{allowed.start}..{allowed.stop - 1}, the identities for {name}"
            )


def render_views(config: ViewCacheConfig) -> None:
    """Render the missing shards of ``views``, on all cores."""
    missing = [block for block in _blocks(config) if not _is_complete(_shard(config, "views", block), config, "")]
    for block in track(missing, description=f"rendering {config.folder}", disable=not missing):
        identities = list(people.iterate_views(block, config.views, config.height, config.width))
        _save(_shard(config, "views", block), config, "", _views_shard(identities))


def _views_shard(identities: list) -> Tensors:
    pictures = np.stack([np.stack([view.picture for view in views]) for _, views in identities])
    keypoints = np.stack([np.stack([view.pose.keypoints for view in views]) for _, views in identities])
    foreground = np.stack([np.stack([np.packbits(view.foreground) for view in views]) for _, views in identities])
    yaw = np.array([[view.spec.yaw for view in views] for _, views in identities], dtype=np.float32)
    seeds = np.array([seed for seed, _ in identities], dtype=np.int64)
    arrays = {"pictures": pictures, "keypoints": keypoints, "foreground": foreground, "yaw": yaw, "seeds": seeds}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def add_kind(config: ViewCacheConfig, kind: str, source: str, compute: Callable[[Tensors], torch.Tensor]) -> None:
    """Second pass: compute one tensor per view for the shards that lack it.

    Args:
        config: the cache, whose views are complete.
        kind: name of the tensor and of its shards.
        source: what the tensor was made with (see `fingerprint`); shards made with something else are made again.
        compute: from a shard of ``views`` to a tensor (n, v, ...).
    """
    missing = [block for block in _blocks(config) if not _is_complete(_shard(config, kind, block), config, source)]
    for block in track(missing, description=f"{kind} of {config.folder}", disable=not missing):
        views = _load(_shard(config, "views", block))
        _save(_shard(config, kind, block), config, source, {kind: compute(views)})


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
        for block in _blocks(config):
            tensors: Tensors = {}
            for kind in ("views", *kinds):
                path = _shard(config, kind, block)
                if not path.is_file():
                    raise FileNotFoundError(f"{path} is missing: build the cache first")
                tensors |= _load(path)
            self._shards.append(tensors)

    def get(self, name: str, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Tensor `name` (n, ...) of n (identity, view) pairs; identities count from 0."""
        with torch.autocast("cpu", enabled=False):  # which has no rule for stacking half precision, as in validation
            return torch.stack(self.get_each(name, identities, views))

    def get_each(self, name: str, identities: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        """As `get`, one view into the mapped file per pair: what is not touched is not read."""
        block = self.config.block
        return [self._shards[i // block][name][i % block, v] for i, v in zip(identities, views, strict=True)]

    def pixels(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Pictures (n, 3, H, W) in [-1, 1]."""
        return to_pixels(self.get("pictures", identities, views))

    def foreground(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Foreground masks (n, H, W), bool."""
        height, width = self.config.height, self.config.width
        bits = np.unpackbits(self.get("foreground", identities, views).numpy(), axis=-1, count=height * width)
        return torch.from_numpy(bits.astype(bool)).unflatten(1, (height, width))


def to_pixels(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures uint8 (..., H, W, 3) as float32 (..., 3, H, W) in [-1, 1]."""
    return pictures.movedim(-1, -3).float() / 127.5 - 1.0


def _blocks(config: ViewCacheConfig) -> list[range]:
    seeds = config.seeds
    return [seeds[start : start + config.block] for start in range(0, len(seeds), config.block)]


def _shard(config: ViewCacheConfig, kind: str, block: range) -> Path:
    return config.folder / f"{block.start:08d}-{block.stop - 1:08d}.{kind}.safetensors"


def _description(config: ViewCacheConfig, source: str) -> dict[str, str]:
    return {"views": str(config.views), "height": str(config.height), "width": str(config.width), "source": source}


def _is_complete(path: Path, config: ViewCacheConfig, source: str) -> bool:
    """Whether the shard exists; one made with other settings is refused (views) or made again (other kinds)."""
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it") from None
    wanted = _description(config, source)
    if found == wanted:
        return True
    if path.name.endswith(".views.safetensors"):
        raise ValueError(f"{path} holds {found}, the configuration says {wanted}: use another folder or remove it")
    return False


def _load(path: Path) -> Tensors:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping


def _save(path: Path, config: ViewCacheConfig, source: str, tensors: Tensors) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, partial, metadata=_description(config, source))
    os.replace(partial, path)
