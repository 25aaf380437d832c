"""What a request leaves: named pictures, a sheet and a record of how they were made, in a folder that is whole or absent."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from imagpose.io import clear_left_overs, read_json, write_json
from imagpose.outputs import result_folder
from imagpose.pictures import DAMAGE
from imagpose.pose import Pose, draw_skeleton
from imagpose.provenance import Origin, Signature, save_generated
from imagpose.serving.scores import Scores
from imagpose.sheets import Cell, SheetSection, draw_sheet
from imagpose.version import __version__

RECORD, SHEET = "result.json", "sheet.png"
_version = cache(version)  # 2 ms a package, too long for each request of a bulk job


@dataclass(frozen=True, eq=False)
class Output:
    """A generated picture.

    Attributes:
        name: of its file, without the ending.
        target: number of its pose among the target poses.
        sample: which of several answers, counted from 1.
        seed: of its noise.
        picture: RGB, or RGBA on a transparent ground.
        scores: see `scores.score_pictures`; None: nobody has looked.
        rejected: its score is less than the user wants.
    """

    name: str
    target: int
    sample: int
    seed: int
    picture: Image.Image
    scores: Scores | None
    rejected: bool = False

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.png"

    @property
    def score(self) -> float:
        """By which pictures of one pose are compared; 0 where nobody has looked."""
        return 0.0 if self.scores is None else self.scores.score


@dataclass(frozen=True)
class Generated:
    """What `generate` gives back.

    Attributes:
        images: the pictures, in the order of the poses, all samples of a pose together.
        names: of each, after its pose.
        record: what result.json holds.
        files: written, the pictures first, then the sheet and the record; none without a folder.
    """

    images: list[Image.Image]
    names: list[str]
    record: dict[str, Any]
    files: list[Path] = field(default_factory=list)


def finished(out: Path, request: str) -> Generated | None:
    """What lies in the folder, if it is the whole result of this very request.

    Args:
        request: digest of everything that decides the pictures.
    """
    clear_left_overs(out)
    try:
        record = read_json(out / RECORD)
        files = [out / entry["file"] for entry in record["outputs"]]
        if record["request"] != request or not all(file.is_file() for file in (*files, out / SHEET)):
            return None
        images = []
        for file in files:
            with Image.open(file) as picture:
                images.append(picture.copy())
    except (*DAMAGE, KeyError):
        return None
    return Generated(images, [file.stem for file in files], record, [*files, out / SHEET, out / RECORD])


def write_results(
    out: Path,
    outputs: Sequence[Output],
    sheet: Image.Image,
    record: Mapping[str, Any],
    model: str,
    signature: Signature | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write pictures, sheet and record into a folder that appears when all are complete; see `outputs.result_folder`."""
    seeds = {own.seed for own in outputs}
    with result_folder(out, overwrite) as folder:
        for own in outputs:
            save_generated(own.picture, folder / own.file, Origin(model, own.seed), signature)
        of_sheet = Origin(model, seeds.pop() if len(seeds) == 1 else None, composite=True)
        save_generated(sheet, folder / SHEET, of_sheet, signature)
        write_json(folder / RECORD, record, indent=2)
    return [*(out / own.file for own in outputs), out / SHEET, out / RECORD]


def request_sheet(sources: Sequence[Image.Image], poses: Sequence[Pose], outputs: Sequence[Output]) -> Image.Image:
    """Sources; then each target skeleton above its picture, with name and score, those below the least score in red."""
    in_view = [pose.fit(*outputs[0].picture.size) for pose in poses]
    skeletons = [draw_skeleton(pose, *skeleton_size(pose)) for pose in in_view]
    cells = [
        Cell([skeletons[own.target], own.picture], f"{own.name}  {own.score:.2f}", own.rejected) for own in outputs
    ]
    return draw_sheet(
        [
            SheetSection("sources", [Cell([picture]) for picture in sources]),
            SheetSection("target pose, generated; name and score", cells),
        ]
    )


def skeleton_size(pose: Pose) -> tuple[int, int]:
    """Width and height at which a pose is drawn to be looked at: its frame's shape, 384 pixels high."""
    return max(1, round(384 * pose.width / pose.height)), 384


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    libraries = {name: _version(name) for name in ("torch", "diffusers", "transformers", "numpy", "pillow")}
    return {"imagpose": __version__, "python": platform.python_version(), **libraries}
