"""From files to files: the core of `imagpose generate`."""

import platform
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from imagpose.io import check_replaceable, result_folder, write_json
from imagpose.models.folder import model_name, resolve_model
from imagpose.models.licences import model_licence
from imagpose.pictures import load_picture
from imagpose.pipeline.loading import load_pipeline
from imagpose.pipeline.requests import read_requests
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import Pose, PoseOptions, draw_skeleton, read_pose_file
from imagpose.provenance import Origin, Signature, generated_by, save_generated
from imagpose.serving.sheet import Cell, SheetSection, draw_sheet
from imagpose.version import __version__

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

CHECK_VIEW_SIZE = (256, 256)  # inputs are checked before the model says its own view size; any legal size serves


@dataclass(frozen=True)
class GenerateInputs:
    """Pictures and poses as read from the files, in the order given; and what was read from each pose file."""

    sources: list[Image.Image]
    poses: list[Pose]
    source_poses: list[Pose] | None
    said: list[str] = field(default_factory=list)


def generate_files(
    sources: Sequence[Path],
    poses: Sequence[Path],
    source_poses: Sequence[Path] = (),
    *,
    out: Path,
    model: str = "mini",
    scenario: str | None = None,
    grid: str | None = None,
    sampling: Sampling = Sampling(),
    reading: PoseOptions | None = None,
    signature: Signature | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Writes `target-0.png`, ... in the order of the poses, `sheet.png` and `result.json` into the folder `out`.

    All inputs are checked before the model is loaded, and files appear in `out` only when all of them are complete.

    Args:
        sources: picture files of one person.
        poses: files of target poses, see `pose.read_pose_file`; one that holds several gives as many targets.
        source_poses: none, or one per source, in the same forms.
        model: `"mini"`, the folder of a saved pipeline, or a Hub id.
        scenario, grid: see `IMAGPosePipeline.__call__`.
        sampling: settings of sampling.
        reading: what settles units, frame and person of the poses; the frame of a source's pose is its picture's.
        signature: signs the pictures by C2PA.
        overwrite: replace the folder of an earlier request, as a whole.

    Returns:
        the files written, `target-*.png` first.

    Raises:
        ValueError, OSError: an input is not legal or not there; one line says which and what would be. Nothing has
            been written then.
    """
    out = Path(out)
    check_replaceable(out, overwrite)
    inputs = read_inputs(sources, poses, source_poses, reading)
    read_requests(inputs.sources, inputs.poses, inputs.source_poses, grid, scenario, *CHECK_VIEW_SIZE)
    resolve_model(model)
    if signature is not None:
        signature.check()

    started = time.perf_counter()
    pipeline = load_pipeline(model, sampling.scheduler)
    loaded = time.perf_counter()
    images = run_pipeline(pipeline, inputs, scenario, grid, sampling)
    seconds = {"load": round(loaded - started, 3), "generate": round(time.perf_counter() - loaded, 3)}

    name_of_model = model_name(model)
    names = [f"target-{index}.png" for index in range(len(images))]
    record = {
        "marked": generated_by(name_of_model),
        "licence": model_licence(model),
        "signed": signature is not None,
        "settings": {"model": model, "scenario": scenario, "grid": grid, **asdict(sampling)},
        "sources": [str(path) for path in sources],
        "poses": [str(path) for path in poses],
        "source_poses": [str(path) for path in source_poses],
        "read": inputs.said,
        "outputs": names,
        "size": {"height": images[0].height, "width": images[0].width},
        "versions": versions(),
        "device": str(pipeline.device),
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        "seconds": seconds,
    }
    with result_folder(out, overwrite) as stage:
        for name, image in zip(names, images, strict=True):
            save_generated(image, stage / name, Origin(name_of_model, sampling.seed), signature)
        sheet_of = Origin(name_of_model, sampling.seed, composite=True)
        save_generated(request_sheet(inputs, images), stage / "sheet.png", sheet_of, signature)
        write_json(stage / "result.json", record, indent=2)
    return [out / name for name in (*names, "sheet.png", "result.json")]


def read_inputs(
    sources: Sequence[Path],
    poses: Sequence[Path],
    source_poses: Sequence[Path] = (),
    reading: PoseOptions | None = None,
) -> GenerateInputs:
    """Reads all files.

    Raises:
        ValueError, OSError: a list is empty or does not match, or a file is missing or not what it should be.
    """
    if not sources:
        raise ValueError("no source picture: give at least one")
    if not poses:
        raise ValueError("no target pose: give at least one")
    if source_poses and len(source_poses) != len(sources):
        raise ValueError(f"{len(source_poses)} source poses for {len(sources)} sources: give one for each, or none")
    pictures = [load_picture(path) for path in sources]
    reading = reading or PoseOptions()
    of_source = replace(reading, frame=None)  # a source's pose lies in its picture
    own_files = [
        read_pose_file(path, of_source, picture=(picture.height, picture.width))
        for path, picture in zip(source_poses, pictures, strict=False)
    ]
    files = [read_pose_file(path, reading) for path in poses]
    for file in (*own_files, *files):
        for note in file.notes:
            warnings.warn(f"{file.name}: {note}", UserWarning, stacklevel=3)
    for file in own_files:
        if len(file.poses) > 1:
            raise ValueError(f"{file.name}: {len(file.poses)} poses; a source has one")
    return GenerateInputs(
        pictures,
        [pose for file in files for pose in file.poses],
        [file.poses[0] for file in own_files] or None,
        [line for file in (*own_files, *files) for line in file.lines()],
    )


def run_pipeline(
    pipeline: "IMAGPosePipeline", inputs: GenerateInputs, scenario: str | None, grid: str | None, sampling: Sampling
) -> list[Image.Image]:
    """One picture per target pose; the noise is drawn on the CPU, so that it is the same on any device."""
    import torch

    pictures: list[Image.Image] = pipeline(
        sources=inputs.sources,
        target_poses=inputs.poses,
        source_poses=inputs.source_poses,
        grid=grid,
        scenario=scenario,
        **sampling.arguments(),
        generator=torch.Generator().manual_seed(sampling.seed),
        return_dict=False,
    )[0]
    return pictures


def request_sheet(inputs: GenerateInputs, images: Sequence[Image.Image]) -> Image.Image:
    """Sources; below them each target skeleton and its picture."""
    skeletons = [draw_skeleton(pose, *skeleton_size(pose)) for pose in inputs.poses]
    return draw_sheet(
        [
            SheetSection("sources", [Cell([picture]) for picture in inputs.sources]),
            SheetSection("target pose, generated", [Cell(own) for own in zip(skeletons, images, strict=True)]),
        ]
    )


def skeleton_size(pose: Pose) -> tuple[int, int]:
    """Width and height at which a pose is drawn to be looked at: its frame's shape, 384 pixels high.

    A frame is as wide as its file says; wider than four times its height it is squeezed.
    """
    return min(max(1, round(384 * pose.width / pose.height)), 4 * 384), 384


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    libraries = {name: version(name) for name in ("torch", "diffusers", "transformers", "numpy", "pillow")}
    return {"imagpose": __version__, "python": platform.python_version(), **libraries}
