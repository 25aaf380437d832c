"""Requests for another engine: sources as the model would get them, skeletons of any size, names, and a JSON of it all.

So readers, detection, framing, retargeting and naming serve any model that takes a photo and a skeleton.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagpose.io import write_json
from imagpose.outputs import check_replaceable, result_folder
from imagpose.pictures import fit_view
from imagpose.pose import PoseOptions, draw_skeleton, write_openpose_json
from imagpose.pose.retarget import PLACES
from imagpose.serving.drawn import frame_sources
from imagpose.serving.fitting import fit_inputs
from imagpose.serving.inputs import GenerateInputs, PoseLike, as_list, read_inputs, read_targets
from imagpose.serving.many import check_source_poses, people_photos
from imagpose.serving.photos import PictureLike
from imagpose.serving.settings import GenerateSettings
from imagpose.version import __version__

_DEFAULT_SIZE = (768, 512)


def export_requests(
    sources: Mapping[str, Sequence[PictureLike]] | Path,
    poses: PoseLike | Sequence[PoseLike],
    source_poses: PoseLike | Sequence[PoseLike | None] | None = None,
    *,
    out: Path | str,
    size: tuple[int, int] = _DEFAULT_SIZE,
    crop: bool = True,
    controlnet: bool = False,
    retarget: bool = True,
    place: str = PLACES[0],
    reading: PoseOptions | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a folder for each person: ``sources/``, ``skeletons/``, ``poses/`` and ``request.json``.

    Args:
        sources: photos by the person's name; or a folder with a folder of photos for each person.
        poses, source_poses, reading: as of `generate.generate`; source poses of many people are none, or "detect".
        out: the folder.
        size: height and width of sources and skeletons.
        crop: frame the photos around the person; otherwise they are fitted whole.
        controlnet: sticks of 4 pixels at any size, as ControlNet's own drawings have.
        retarget, place: see `settings.GenerateSettings`.
        overwrite: see `outputs.result_folder`.

    Returns:
        The JSON file of each person.

    Raises:
        ValueError, OSError: as `generate.generate`; nothing has been written then.
    """
    out = Path(out)
    settings = GenerateSettings(size=size, crop=crop, retarget=retarget, place=place)
    check_replaceable(out, overwrite)
    targets = read_targets(as_list(poses), reading)
    if isinstance(sources, Path):
        check_source_poses(source_poses)
        sources = people_photos(sources)
    people = {name: read_inputs(own, targets, source_poses, reading) for name, own in sources.items()}
    with result_folder(out, overwrite) as folder:
        for person, inputs in people.items():
            _write_request(folder / person, person, inputs, settings, controlnet)
    return [out / person / "request.json" for person in people]


def _write_request(
    folder: Path, person: str, inputs: GenerateInputs, settings: GenerateSettings, controlnet: bool
) -> None:
    height, width = settings.size or _DEFAULT_SIZE
    for inner in ("sources", "skeletons", "poses"):
        (folder / inner).mkdir(parents=True)
    sources: list[dict[str, Any]] = []
    framed = frame_sources(inputs, settings, height, width)
    inputs, how_fitted = fit_inputs(inputs, framed, settings)
    for number, own in enumerate(framed, 1):
        file, pose_file = f"sources/{number}.png", None
        fit_view(own.picture, width, height).save(folder / file)
        if own.pose is not None:
            pose_file = f"sources/{number}.json"  # not in poses/: a target may have any name
            write_openpose_json(own.pose.resize(*own.picture.size).fit(width, height), folder / pose_file)
        sources.append({"picture": file, "pose": pose_file, "from": inputs.files["sources"][number - 1]})
    targets = []
    for name, pose, origin in zip(inputs.names, inputs.poses, inputs.files["poses"], strict=True):
        fitted = pose.fit(width, height)
        draw_skeleton(fitted, exact=controlnet, hands=True).save(folder / f"skeletons/{name}.png")
        write_openpose_json(fitted, folder / f"poses/{name}.json")
        targets.append(
            {"name": name, "skeleton": f"skeletons/{name}.png", "pose": f"poses/{name}.json", "from": origin}
        )
    record = {"version": __version__, "person": person, "height": height, "width": width, "fitted": how_fitted}
    write_json(folder / "request.json", {**record, "sources": sources, "targets": targets}, indent=2)
