"""Shards of cached tensors: safetensors files that say what they were made with and appear by renaming."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from imagpose.data.canvas import ViewTensors
from imagpose.io import partial_file

Tensors = dict[str, torch.Tensor]


def stored_facts(path: Path) -> dict[str, str] | None:
    """What a shard was made with; None if there is none.

    Raises:
        ValueError: the file is damaged, or does not say what it was made with and so is no shard.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it") from None
    if "source" not in facts:
        raise ValueError(f"{path} was not written by this command: choose another folder for the cache")
    return facts


def load_shard(path: Path) -> Tensors:
    """The tensors of a shard, memory-mapped.

    Raises:
        FileNotFoundError: it has not been made.
        ValueError: the file is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: imagpose cache, with the configuration of the denoiser, makes it")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it") from None


def save_shard(path: Path, facts: Mapping[str, str], tensors: Tensors) -> None:
    """Write a shard to a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial_file(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, metadata=dict(facts))


class Block(Protocol):
    """Some identities of a cache, whose tensors lie in one shard per kind."""

    def path(self, kind: str) -> Path:
        """Where the shard of a kind lies."""

    def facts(self, source: str) -> dict[str, str]:
        """What a shard is made with: settings of the views, and `source`."""

    def read(self) -> ViewTensors:
        """Pixels (..., 3, H, W) and padded skeletons (..., 3, H', W') of its views."""


@dataclass(frozen=True)
class Kind:
    """A tensor per view that is computed once.

    Attributes:
        source: what it is made with, such as a network's fingerprint; shards made with something else are made again.
        compute: from a block's views to a tensor with the same leading sizes.
    """

    source: str
    compute: Callable[[ViewTensors], torch.Tensor]


def add_kinds(blocks: Sequence[Block], kinds: Mapping[str, Kind], title: str, process: int = 0, of: int = 1) -> None:
    """Compute what is missing, one block after another; several processes share the blocks out.

    An interrupted pass continues with the first shard that is missing.
    """
    wanted = [
        (
            block,
            {name: kind for name, kind in kinds.items() if stored_facts(block.path(name)) != block.facts(kind.source)},
        )
        for block in blocks[process::of]
    ]
    missing = [(block, lacking) for block, lacking in wanted if lacking]
    for block, lacking in track(missing, description=title, disable=not missing or process > 0):
        views = block.read()
        for name, kind in lacking.items():
            save_shard(block.path(name), block.facts(kind.source), {name: kind.compute(views)})
