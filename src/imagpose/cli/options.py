"""Options that several commands have, and how their texts are read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

Model = Annotated[str, typer.Option(help="'mini', the folder of a saved pipeline, or a Hub id.")]
Config = Annotated[Path, typer.Option(help="YAML configuration, see configs/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="key=value replacements, for example steps=1000 data.identities=512.", metavar="[KEY=VALUE]..."
    ),
]
World = Annotated[str, typer.Option(help="Backgrounds and framings: studio (mostly plain, whole bodies) or varied.")]
Style = Annotated[
    str | None,
    typer.Option(
        help="photographic, toon, ink, low-poly or watercolour; default: studio draws a tenth of the people.",
    ),
]
DETECTORS = "mediapipe (extra pose), rtmlib or rtmlib-cuda (extra rtmlib)"  # of pose.detection, which imports much
Detect = Annotated[str | None, typer.Option(metavar="DETECTOR", help=f"Find key points in the pictures: {DETECTORS}.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier call wrote; see docs/files.md.")]
ControlNet = Annotated[
    bool, typer.Option("--controlnet", help="Sticks of 4 pixels at any size and sharp edges, as ControlNet draws.")
]
Workers = Annotated[int | None, typer.Option(min=1, max=1024, help="Processes; default: all cores.")]


def option(*names: str, help: str, panel: str | None = None, **more: Any) -> Any:
    """`typer.Option` of a panel of the help."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


Size = Annotated[str | None, typer.Option(help="Height x width of the pictures; default: the model's views.")]
NoCrop = Annotated[
    bool, typer.Option("--no-crop", help="Take photos whole, instead of framing them around the person.")
]
Retarget = Annotated[
    bool, typer.Option(help="Fit poses to the body in the sources, where their poses are given or can be detected.")
]
Place = Annotated[
    str,
    typer.Option(
        help="pose or source: the person stands where and as large as in the pose, or as in the first source."
    ),
]
PixelMark = Annotated[
    str,
    typer.Option(
        "--mark",
        help="Mark the pixels too: visible (a line in the corner), invisible (extra watermark) or both.",
    ),
]

OptionTable = dict[str, tuple[Any, Any]]
"""Annotation and default of options, by their parameters' names; `inspect.Parameter.empty`: an option must be given."""

MANY_PANEL, _CHOICE, _READING_PANEL = "Many pictures", "Choosing", "Reading poses"


def _row(kind: Any, default: Any, *names: str, help: str, panel: str | None = "Sampling", **more: Any) -> Any:
    return Annotated[kind, option(*names, help=help, panel=panel, **more)], default


# Fields of `serving.settings.GenerateSettings` but those of sampling: the options of every command that makes pictures.
_SETTINGS: OptionTable = {
    "size": (Size, None),
    "samples": _row(int, 1, help="Pictures of each pose, with consecutive seeds.", panel=MANY_PANEL),
    "grid": _row(
        str | None,
        None,
        help="Rows x columns of the joint canvas, or auto, which fits it; default 2x2.",
        panel=MANY_PANEL,
    ),
    "anchor": _row(
        bool,
        False,
        "--anchor",
        help="Good pictures of the first canvas become sources of the others.",
        panel=MANY_PANEL,
    ),
    "keep_best": _row(
        bool, False, "--keep-best", help="Of the samples, keep the one with the best score.", panel=_CHOICE
    ),
    "min_score": _row(
        float | None, None, help="Mark pictures that score less, from 0 to 1, as rejected.", panel=_CHOICE
    ),
    "background": _row(
        str, "keep", help="keep, transparent, or a colour such as #ffffff, behind the person.", panel=None
    ),
    "mark": (PixelMark, "none"),
    "no_crop": (NoCrop, False),
    "retarget": (Retarget, True),
    "place": (Place, "pose"),
    "scenario": _row(str | None, None, help="T1, T2, T3 or star; default: any number to any number.", panel=None),
}

_BUILT = ("GenerateSettings", "Sampling", "PoseOptions", "Measuring")  # imported for type checking only
# Fields of `pipeline.sampling.Sampling`: the options of every command that samples.
SAMPLING: OptionTable = {
    "steps": _row(int | None, None, help="Denoising steps; default: the model's own, mostly 20."),
    "guidance_scale": _row(
        float | None,
        None,
        "--guidance-scale",
        "--guidance",
        help="1 switches guidance off; default: the model's own, mostly 2.",
    ),
    "guidance": _row(str, "feature", "--guidance-kind", help="feature (null F_C) or full (null F_C and F_I, Eq. 5)."),
    "guidance_interval": _row(
        tuple[float, float],
        (0.0, 1.0),
        metavar="LOW HIGH",
        help="Timesteps with guidance, from 0 (picture) to 1 (noise).",
    ),
    "guidance_every": _row(
        int, 1, help="1: all guided steps evaluate the null branch; 2: every other one, and so on; the rest reuse it."
    ),
    "features_every": _row(
        int, 1, help="1: all steps compute the UNet's deep layers; 2: every other one, and so on; the rest reuse them."
    ),
    "scheduler": _row(
        str | None, None, help="ddim, ddpm, dpm++, euler, euler-ancestral or unipc; default: the model's own."
    ),
    "seed": _row(int, 0, help="The same seed gives the same pictures."),
}

# Fields of `pose.PoseOptions`: the options of every command that reads poses.
_READING: OptionTable = {
    "units": _row(
        str | None,
        None,
        "--pose-units",
        help="pixels, fractions ([0, 1]), percent ([0, 100]) or signed ([-1, 1]).",
        panel=_READING_PANEL,
    ),
    "frame": _row(
        str | None,
        None,
        "--pose-frame",
        help="Height x width of the frame of files that state none.",
        panel=_READING_PANEL,
    ),
    "person": _row(int | None, None, help="Which of several people, from 1 in the file's order.", panel=_READING_PANEL),
    "min_confidence": _row(float, 0.1, help="Key points of less confidence are missing.", panel=_READING_PANEL),
}


def with_sampling(command: Callable[..., None]) -> Callable[..., None]:
    """A command with all options of sampling in place of its argument `sampling`, behind its own.

    An option of these names that the command has itself stays its own; its `sampling` has the default there.
    """

    def build(**settings: Any) -> Any:
        from imagpose.pipeline.sampling import Sampling

        return Sampling(**settings)

    return with_options(command, "sampling", SAMPLING, build)


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """A command with all options of making pictures, and of sampling, in place of its argument `settings`."""

    def build(size: str | None, no_crop: bool, **values: Any) -> Any:
        from imagpose.serving.settings import GenerateSettings

        return GenerateSettings.of({**values, "size": maybe_size(size), "crop": not no_crop})

    return with_options(command, "settings", {**_SETTINGS, **SAMPLING}, build)


def with_reading(command: Callable[..., None]) -> Callable[..., None]:
    """A command with all options of reading poses in place of its argument `reading`, behind its own."""

    def build(frame: str | None, **settings: Any) -> Any:
        from imagpose.pose import PoseOptions

        return PoseOptions(frame=maybe_size(frame), **settings)

    return with_options(command, "reading", _READING, build)


def with_options(
    command: Callable[..., None], argument: str, table: OptionTable, build: Callable[..., Any]
) -> Callable[..., None]:
    """A command whose `argument` is built from a table's options, behind its own; what must be given comes first.

    Args:
        build: takes those options of the table that the command does not have itself, by name.
    """
    hints = get_type_hints(command, localns=dict.fromkeys(_BUILT, object), include_extras=True)
    own = inspect.signature(command).parameters.values()
    keyword, empty = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    parameters = [
        parameter.replace(kind=keyword, annotation=hints[parameter.name])
        for parameter in own
        if parameter.name != argument
    ]
    taken = [name for name in table if name not in hints]
    for name in taken:
        annotation, default = table[name]
        parameters.append(inspect.Parameter(name, keyword, default=default, annotation=annotation))
    parameters.sort(key=lambda parameter: parameter.default is not empty)

    @wraps(command)
    def built(**arguments: Any) -> None:
        settings = {name: arguments.pop(name) for name in taken}
        command(**arguments, **{argument: build(**settings)})

    built.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    built.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return built


def parse_size(text: str) -> tuple[int, int]:
    """`pictures.parse_size`, imported when a size is given: numpy and Pillow would slow down every --help."""
    from imagpose import pictures

    return pictures.parse_size(text)


def maybe_size(text: str | None) -> tuple[int, int] | None:
    """As `parse_size`; None where no size is given."""
    return None if text is None else parse_size(text)


def parse_named(texts: list[str] | None, option: str) -> dict[str, str]:
    """Repeated NAME=FOLDER options as a dictionary, in their order."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not (name and separator and value) or name in found:
            raise ValueError(f"{option} {text!r}: NAME=FOLDER expected, each name once")
        found[name] = value
    return found
