"""What `compare_behaviour.py` reads of result files, as named values, and how it compares two sets of them bit for bit."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Values = dict[str, torch.Tensor | str]
"""Numbers are tensors of their own type, all else is text."""

_LEFT_OUT = (".pkl",)  # states of global generators: what a run draws is keyed by (seed, step, sample)
_SPEEDS = ("train/samples_per_second", "train/batch_share")
_UNCOMPARED = ("seconds", "digest", "settings", "versions", "notes", "name", "definition")
"""Fields of JSON files: what the clock says, the checksum of a checkpoint's progress, which holds that too, and what may be
said in other words."""
_NAMED_BY = (("protocol", "key", "best_of"), ("method", "name", "sample"), ("method", "against", "column"))
"""Fields that tell apart the items of a report's lists, so that one more item does not shift the others."""


def read_results(folder: Path, pattern: str) -> Values:
    """All values of the files in `folder` that match a glob pattern, named by file and by their place in it."""
    values: Values = {}
    for path in sorted(path for path in folder.glob(pattern) if path.is_file() and path.suffix not in _LEFT_OUT):
        place = path.parent / "events" if _is_events(path) else path  # whose names hold the time and the process
        values |= {f"{place.relative_to(folder)}: {name}": value for name, value in read_file(path).items()}
    return values


def read_file(path: Path) -> Values:
    """The values of one file by its kind; what a clock measured is left out.

    Raises:
        ValueError: files of this kind cannot be read.
    """
    if path.suffix == ".png":
        return _picture(Image.open(path))
    if path.suffix == ".json":
        return dict(_leaves(json.loads(path.read_text(encoding="utf-8")), ""))
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    if path.suffix == ".bin":
        return dict(_leaves(torch.load(path, weights_only=True), ""))
    if path.suffix == ".parquet":
        return dict(_leaves(pq.read_table(path).to_pylist(), ""))
    if path.suffix in (".csv", ".md", ".txt"):
        return dict(_leaves(path.read_text(encoding="utf-8").splitlines(), ""))
    if _is_events(path):
        return _events(path)
    raise ValueError(f"{path}: no way to compare such files")


def difference(before: Values, after: Values) -> str:
    """Empty where both hold the same names with the same bits.

    Else how many values differ, the first of them and the largest, and what only one of both holds.
    """
    if not before and not after:
        return "nothing to compare"
    both = [name for name in before if name in after]
    differing = [(name, *apart) for name in both if (apart := _apart(before[name], after[name])) is not None]
    parts = []
    if differing:
        first, largest = differing[0], max(differing, key=lambda entry: entry[1])
        parts.append(f"{len(differing)} of {len(both)} differ, first {first[0]} {first[2]}")
        if largest[1] > first[1]:
            parts.append(f"largest {largest[0]} {largest[2]}")
    for side, missing in (("before", before.keys() - after.keys()), ("after", after.keys() - before.keys())):
        if missing:
            parts.append(f"{len(missing)} only {side}, first {min(missing)}")
    return "; ".join(parts)


def _apart(before: torch.Tensor | str, after: torch.Tensor | str) -> tuple[float, str] | None:
    """Size and description of a difference; the size is infinite where there is no number for it."""
    if isinstance(before, str) or isinstance(after, str):
        return None if _is_same_text(before, after) else (np.inf, f"{_short(before)} -> {_short(after)}")
    if (before.dtype, before.shape) != (after.dtype, after.shape):
        return np.inf, f"{before.dtype} {tuple(before.shape)} -> {after.dtype} {tuple(after.shape)}"
    if _bits(before) == _bits(after):
        return None
    apart = (before.double() - after.double()).abs()
    if apart.isnan().any():
        return np.inf, "NaN differs"
    greatest = float(before.double().abs().max())
    return float(apart.max()), f"by {apart.max():.3g} of {greatest:.3g}, {int((apart > 0).sum())} of {apart.numel()}"


def _is_same_text(before: Any, after: Any) -> bool:
    return isinstance(before, str) and isinstance(after, str) and before == after


def _short(value: torch.Tensor | str) -> str:
    return repr(value)[:80]


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _picture(picture: Image.Image) -> Values:
    marks = {str(name): str(value) for name, value in picture.info.items()}
    return {"pixels": torch.from_numpy(np.array(picture)), **marks}


def _leaves(value: Any, place: str) -> Iterator[tuple[str, torch.Tensor | str]]:
    """Numbers, tensors and texts in nested lists and mappings; a measure of a list is named by its own names."""
    if isinstance(value, torch.Tensor):
        yield place, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _UNCOMPARED:
                yield from _leaves(inner, f"{place}/{name}")
    elif isinstance(value, (list, tuple)):
        for name, inner in zip(_names(value), value, strict=True):
            yield from _leaves(inner, f"{place}/{name}")
    elif isinstance(value, (int, float)):
        yield place, torch.tensor(value, dtype=torch.float64)
    else:
        yield place, str(value)


def _names(items: Sequence[Any]) -> list[str]:
    """Of a list's items: what tells them apart, else their numbers."""
    for fields in _NAMED_BY:
        if all(isinstance(item, dict) and item.keys() >= set(fields) for item in items):
            names = [" ".join(str(item[field]) for field in fields) for item in items]
            if len(set(names)) == len(names):
                return names
    return [str(number) for number in range(len(items))]


def _is_events(path: Path) -> bool:
    return ".tfevents." in path.name


def _events(path: Path) -> Values:
    """Scalars and pictures that TensorBoard holds."""
    held = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0}).Reload()
    values: Values = {}
    for tag in held.Tags()["scalars"]:
        if tag not in _SPEEDS:
            values |= {f"{tag} {event.step}": torch.tensor(event.value) for event in held.Scalars(tag)}
    for tag in held.Tags()["images"]:
        for event in held.Images(tag):
            pixels = np.array(Image.open(io.BytesIO(event.encoded_image_string)))
            values[f"{tag} {event.step}"] = torch.from_numpy(pixels)
    return values
