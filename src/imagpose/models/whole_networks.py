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

from diffusers import ModelMixin
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from imagpose.models.folder import (
    check_configurations,
    check_finite_weights,
    check_stored_weights,
    failures_of,
    refuse_differing,
)

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
    if not issubclass(kind, ModelMixin):
        options["ignore_mismatched_sizes"] = True  # else they are refused without their names
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # of a whole CLIP it would list the text tower, weight by weight
    try:
        read: tuple[Any, dict[str, Any]] = kind.from_pretrained(place, output_loading_info=True, **options)
        return read
    finally:
        transformers_logging.set_verbosity(verbosity)


def check_read(info: dict[str, Any], place: str | Path) -> None:
    """Raises `ValueError` where weights are missing, unknown (but for `_LEFT_OUT`) or of another shape."""
    refuse_differing(
        str(place),
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
        check_configurations(Path(place))
        if issubclass(kind, ModelMixin):
            check_stored_weights(kind, Path(place), options.get("variant"), options.get("use_safetensors"))
        with failures_of(Path(place)):
            network, info = read_network(kind, place, **options)
        check_read(info, place)
        check_finite_weights(network, Path(place))
        return network.eval()

    # Of the same name, by which diffusers knows whose a configuration is; what it reads is of the class itself.
    return type(
        kind.__name__, (kind,), {"__module__": kind.__module__, "from_pretrained": classmethod(from_pretrained)}
    )
