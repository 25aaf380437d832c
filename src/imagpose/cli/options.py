"""Options that several commands have, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option(help="'mini', the folder of a saved pipeline, or a Hub id.")]
Steps = Annotated[int, typer.Option(help="DDIM steps.")]
Guidance = Annotated[float, typer.Option(help="Guidance scale; 1 switches guidance off.")]
Seed = Annotated[int, typer.Option(help="Seed: the same seed gives the same pictures.")]
Config = Annotated[Path, typer.Option(help="YAML configuration, see configs/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="key=value replacements, for example steps=1000 data.identities=512.", metavar="[KEY=VALUE]..."
    ),
]
World = Annotated[str, typer.Option(help="Grounds and framings: studio (mostly plain, whole bodies) or varied.")]
Style = Annotated[
    str | None,
    typer.Option(
        help="photographic, toon, ink, low-poly or watercolour; default: studio draws a tenth of the people.",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; default: all cores.")]


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of a text such as 256x176."""
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise ValueError(f"size is {text!r}; height x width expected, for example 256x176")
    return int(height), int(width)


def parse_named(texts: list[str] | None, option: str) -> dict[str, str]:
    """Repeated NAME=FOLDER options as a dictionary, in their order."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not (name and separator and value) or name in found:
            raise ValueError(f"{option} {text!r}: NAME=FOLDER expected, each name once")
        found[name] = value
    return found
