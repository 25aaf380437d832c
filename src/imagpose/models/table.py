"""The presets as a table: what they are made of, how large they are, what training them takes."""

from __future__ import annotations

from collections.abc import Sequence

from imagpose.models.presets import ABLATIONS, PRESETS, find_preset
from imagpose.models.sizes import build_empty, count_parameters, training_memory

__all__ = ["size_table"]

_HEAD = (
    "preset", "base", "image encoder", "width", "UNet", "CVA", "pose encoder", "feature tokens", "VAE", "image encoder",
    "GiB", "GiB, checkpointing",
)  # fmt: skip


def size_table(names: Sequence[str], batch_size: int, height: int, width: int) -> str:
    """A Markdown table: per preset its parts, their parameters in millions, and the memory of a training step.

    The memory is `sizes.training_memory`'s for canvases of 2 x 2 views in bf16, VAE and image encoder cached, without
    and with gradient checkpointing.

    Args:
        names: of presets; none: all, and the ablations.
        batch_size: canvases per device.
        height, width: of a view in pixels.

    Raises:
        ValueError: a preset is unknown, or a number is below 1.
    """
    if min(batch_size, height, width) < 1:
        raise ValueError(f"batch size {batch_size} and size {height}x{width}: at least 1 each")
    rows = [_row(name, batch_size, height, width) for name in names or (*PRESETS, *ABLATIONS)]
    lines = [_HEAD, ("---",) * 3 + ("---:",) * (len(_HEAD) - 3), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str, batch_size: int, height: int, width: int) -> tuple[str, ...]:
    preset = find_preset(name)
    networks = build_empty(preset)
    memory = [
        training_memory(networks, batch_size, height, width, gradient_checkpointing=saving, cached=True).total
        for saving in (False, True)
    ]
    return (
        name,
        "own" if preset.base is None else preset.base.title,
        "own" if preset.image_encoder is None else preset.image_encoder.title,
        str(networks.image_encoder.config.hidden_size),
        *(f"{count / 1e6:,.1f}" for count in count_parameters(networks).values()),
        *(f"{size / 2**30:.1f}" for size in memory),
    )
