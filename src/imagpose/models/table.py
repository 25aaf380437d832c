"""The presets as a table: what they are made of, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence

from imagpose.models.presets import ABLATIONS, PRESETS, find_preset
from imagpose.models.sizes import build_empty, count_parameters

__all__ = ["size_table"]

_HEAD = (
    "preset", "base", "image encoder", "width", "UNet", "CVA", "pose encoder", "feature tokens", "VAE", "image encoder",
)  # fmt: skip


def size_table(names: Sequence[str]) -> str:
    """A Markdown table: per preset its parts, and their parameters in millions.

    Args:
        names: of presets; none: all, and the ablations.

    Raises:
        ValueError: a preset is unknown.
    """
    rows = [_row(name) for name in names or (*PRESETS, *ABLATIONS)]
    lines = [_HEAD, ("---",) * 3 + ("---:",) * (len(_HEAD) - 3), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str) -> tuple[str, ...]:
    preset = find_preset(name)
    networks = build_empty(preset)
    return (
        name,
        "own" if preset.base is None else preset.base.title,
        "own" if preset.image_encoder is None else preset.image_encoder.title,
        str(networks.image_encoder.config.hidden_size),
        *(f"{count / 1e6:,.1f}" for count in count_parameters(networks).values()),
    )
