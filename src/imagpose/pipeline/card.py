"""The card of a pipeline (README.md) for the hub: its model's own where it has one, and what every card must say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from imagpose.version import __version__

_UNKNOWN = """---
license: other
library_name: diffusers
tags: [imagpose]
---

# A model of imagpose

## Data and licence

The data that it was trained on and the licences of its parts are not known here. Base, image encoder and data hand
theirs on: write both here before anybody else gets this model.
"""
_LIMITS = """## Limits

It shows people as its data do and nothing else well. Faces, hands and prints may be wrong. It is not for identifying
people, nor for pictures of people who do not want them. Pictures saved by `output.save` or `imagpose generate` carry
marks that say that they were generated.
"""
_USE = """## Use

    import imagpose
    pipeline = imagpose.IMAGPosePipeline.from_pretrained(FOLDER_OR_ID)
    pipeline([photo], [pose]).images
"""


def pipeline_card(pipeline: Any, folder: str | None) -> str:
    """Markdown with front matter: data and licence, sizes, limits, use.

    Args:
        pipeline: an `IMAGPosePipeline`.
        folder: where it was loaded from; a card that lies there is kept, and gets the sections that it lacks.
    """
    stored = Path(folder or "") / "README.md"
    card = stored.read_text(encoding="utf-8") if folder and stored.is_file() else _UNKNOWN
    for section in (_sizes(pipeline), _LIMITS, _USE):
        if section.partition("\n")[0] not in card.splitlines():
            card = f"{card.rstrip()}\n\n{section}"
    return card


def is_template(card: str) -> bool:
    """Whether a card is what diffusers writes of itself, which says nothing."""
    return re.search("model card has been (automatically generated|generated automatically)", card) is not None


def _sizes(pipeline: Any) -> str:
    height, width = pipeline.config.view_height, pipeline.config.view_width
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    counts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in networks.items()}
    rows = [f"| `{name}` | {type(part).__name__} | {counts[name] / 1e6:,.1f} |" for name, part in networks.items()]
    return "\n".join(
        [
            "## Sizes",
            "",
            f"Views of {height}x{width} pixels (height x width), any number of sources and poses.",
            f"Saved by imagpose {__version__}.",
            "",
            "| part | class | million parameters |",
            "| --- | --- | ---: |",
            *rows,
            "",
        ]
    )
