"""`imagpose generate`: pictures of one person, or of many, in poses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagpose.cli.options import MANY_PANEL, Model, Overwrite, option, with_reading, with_settings

if TYPE_CHECKING:
    from imagpose.pose import PoseOptions
    from imagpose.provenance import Signature
    from imagpose.serving.settings import GenerateSettings


_PLACE = "Model and files"
Files = list[Path] | None
Source = Annotated[Files, option(help="Photo of the person, at least one; repeat for several.")]
Poses = Annotated[
    list[str] | None,
    option(
        help='Target poses, at least one: a file of any usual kind, a folder of them, a pattern in quotes ("dance/*.json"),'
        ' or names of the library (walk-03, "walk-*"); repeat for several.'
    ),
]
SourcePose = Annotated[
    list[str] | None,  # "detect" and "./detect" would be one path
    option(
        help="Poses of the sources, one for each in the same order; default: PHOTO.json beside each photo. Give the word"
        " detect in place of one, or once for all, to read none from a file."
    ),
]
Photos = Annotated[
    Path | None,
    option(help="In place of --source: a folder with a folder of photos for each person; resumable.", panel=MANY_PANEL),
]
Out = Annotated[Path, option(help="Folder for <pose>.png, ..., sheet.png and result.json; new, or empty.")]
Mask = Annotated[
    Files, option(help="With --background: white where a source shows the person, one for each source (optional).")
]
Device = Annotated[str | None, option(help="cuda, cuda:1, mps or cpu; default: a GPU if there is one.", panel=_PLACE)]
Dtype = Annotated[
    str | None,
    option(help="fp32, bf16 or fp16; default fp32, and bf16 for the UNet on CPUs that multiply it.", panel=_PLACE),
]
BackendName = Annotated[
    str | None,
    option(
        "--backend",
        help="auto, torch, compile or openvino (extra openvino); default auto, by how much work it is.",
        panel=_PLACE,
    ),
]
Certificate = Annotated[
    Path | None,
    option(help="Your certificate and its chain (PEM): sign by C2PA (extra provenance).", panel=_PLACE),
]
Key = Annotated[Path | None, option(help="The certificate's private key (PEM, no password).", panel=_PLACE)]


@with_settings
@with_reading
def generate(
    settings: GenerateSettings,
    reading: PoseOptions,
    out: Out,
    source: Source = None,
    pose: Poses = None,
    source_pose: SourcePose = None,
    photos: Photos = None,
    mask: Mask = None,
    model: Model = "mini",
    device: Device = None,
    dtype: Dtype = None,
    backend: BackendName = None,
    overwrite: Overwrite = False,
    c2pa_certificate: Certificate = None,
    c2pa_key: Key = None,
) -> None:
    """Generate one picture per pose, named after the poses."""
    from imagpose.serving.generate import generate as generate_one
    from imagpose.serving.ground import KEEP
    from imagpose.serving.many import generate_people

    if mask and settings.background == KEEP:
        raise ValueError("--mask says what --background replaces: give that too, or leave --mask out")
    if settings.keep_best and settings.samples == 1:
        raise ValueError("--keep-best chooses one of several samples: give --samples too, or leave --keep-best out")
    signature = read_signature(c2pa_certificate, c2pa_key)
    options: dict[str, Any] = {
        "out": out, "model": model, "reading": reading, "device": device, "dtype": dtype, "backend": backend,
        "overwrite": overwrite, "signature": signature, **vars(settings),
    }  # fmt: skip
    if photos is None:
        files = generate_one(source or (), pose or (), source_pose or (), masks=mask or (), **options).files
    else:
        if source or mask:
            raise ValueError("--photos stands in place of --source and --mask: leave them out")
        people = generate_people(photos, pose or (), source_pose or (), **options)
        files = [file for own in people.values() for file in own]
    for file in files:
        typer.echo(file)


def read_signature(certificate: Path | None, key: Path | None) -> Signature | None:
    """The signature that both options name; none where neither is given."""
    from imagpose.provenance import Signature

    if (certificate is None) != (key is None):
        raise ValueError("a signature needs both --c2pa-certificate and --c2pa-key")
    return None if certificate is None or key is None else Signature(certificate, key)
