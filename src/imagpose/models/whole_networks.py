"""Networks of diffusers, transformers and ours from files that hold all of their weights, and no others.

diffusers finds the class of a pipeline's part by two names: of a library, and of an attribute of it. This module is such
a library; its attribute ``transformers.Dinov2Model`` is that class, but with a `from_pretrained` that checks what it read.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.utils import logging as diffusers_logging
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from imagpose.models.folder import check_configurations, failures_of, refuse_differing

__all__ = ["ModelMixin", "PreTrainedModel"]  # diffusers looks here for the base classes of what it loads from here

_LEFT_OUT = re.compile(r"text_model\..*|(text|visual)_projection\.weight|logit_scale|classifier\..*|.*\.position_ids")
"""Weights in image encoders' files that are not read: of a CLIP all but its vision tower, of a classifier its head."""


def read_network(kind: Any, place: str | Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A network, and what its library says of its weights, for `check_read`.

    Args:
        kind: its class, of diffusers, transformers or ours.
        place: a folder, or a repository on the hub.
        options: of the class's `from_pretrained`.

    Raises:
        Exception: what the library raises for damaged files, see `folder.failures_of`.
    """
    options["ignore_mismatched_sizes"] = True  # else the libraries refuse them, each in its own words or without names
    loggings = diffusers_logging, transformers_logging
    verbosities = [own.get_verbosity() for own in loggings]
    for own in loggings:
        own.set_verbosity_error()  # of a whole CLIP it would list the text tower, weight by weight
    try:
        read: tuple[Any, dict[str, Any]] = kind.from_pretrained(place, output_loading_info=True, **options)
        return read
    finally:
        for own, verbosity in zip(loggings, verbosities, strict=True):
            own.set_verbosity(verbosity)


def check_read(info: dict[str, Any], where: str) -> None:
    """Raises `ValueError`, with `where` at its head, for weights missing, unknown (but `_LEFT_OUT`) or of another shape."""
    refuse_differing(
        where,
        sorted(info["missing_keys"]),
        sorted(key for key in info["unexpected_keys"] if not _LEFT_OUT.fullmatch(key)),
        sorted(f"{key} {tuple(found)} instead of {tuple(wanted)}" for key, found, wanted in info["mismatched_keys"]),
    )


def whole_part(entry: Any) -> Any:
    """An entry of model_index.json, [library, class]: of a network as one of this module, any other as it is."""
    if not isinstance(entry, (list, tuple)) or len(entry) != 2 or not all(isinstance(name, str) for name in entry):
        return entry
    kind = getattr(importlib.import_module(entry[0]), entry[1], object)
    return [__name__, ".".join(entry)] if _is_network(kind) else entry


def __getattr__(name: str) -> Any:
    library, dot, kind = name.rpartition(".")
    if not dot:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _whole(getattr(importlib.import_module(library), kind))


def _is_network(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, (ModelMixin, PreTrainedModel))


@cache
def _whole(kind: Any) -> type:
    def from_pretrained(_: type[Any], /, place: str | Path, **options: Any) -> Any:
        folder = Path(place)
        check_configurations(folder)
        with failures_of(folder):
            network, info = read_network(kind, folder, **options)
        files = sorted(str(path) for path in folder.glob("*") if path.suffix in (".safetensors", ".bin"))
        where = f"damaged weights file {', '.join(files)}"
        check_read(info, where)
        for name, weight in network.named_parameters():
            if weight.is_meta or not bool(torch.isfinite(weight).all()):
                raise ValueError(f"{where}: {name} has values that are missing or not finite")
        return network

    # Of the same name, by which diffusers knows whose a configuration is; what it reads is of the class itself.
    return type(
        kind.__name__, (kind,), {"__module__": kind.__module__, "from_pretrained": classmethod(from_pretrained)}
    )
