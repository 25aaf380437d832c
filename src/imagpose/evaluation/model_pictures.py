"""The pictures behind `imagpose evaluate model`: true views, reconstructions and generated ones, as PNG on disk.

views/<identity>/<view>.png                         what the data set has
masks/<identity>/<view>.png                         where it has masks
parts/<identity>/<view>.png                         where it has part maps
autoencoder/<identity>/<view>.png                   the view encoded and decoded
<scenario>/<identity>/<source>_to_<target>_<n>.png  generated in run n
mean colours/<identity>/<source>_to_<target>_0.png  the target's parts in the source's colours
train/<identity>/<view>.png                         the training pictures, where a network wants them

A file is there only when it is complete, and is not made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.pairs import ViewPair
from imagpose.data.records import ViewRecord, identity_of
from imagpose.evaluation.folders import list_pictures, refuse
from imagpose.evaluation.model_requests import DatasetRequest
from imagpose.io import partial_file
from imagpose.pipeline.sampling import Sampling

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

MEAN_COLOURS = "mean colours"
"""Method that fills the target's true parts with the source's mean colours."""

_REQUESTS_AT_ONCE, _VIEWS_AT_ONCE = 4, 8
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of one output folder lie."""

    folder: Path

    def view(self, name: str, kind: str = "views") -> Path:
        """File of a view "<identity>/<view>", of one of the kinds above."""
        identity, _, view = name.rpartition("/")
        return self.folder / kind / _text(identity) / f"{_text(view)}.png"

    def generated(self, scenario: str, pair: ViewPair, number: int) -> Path:
        """File of what one run generated for a pair; `scenario` with its grid, as `DatasetRequest.name`."""
        (source, target) = (_text(name.rpartition("/")[2]) for name in pair)
        return self.folder / _text(scenario) / _text(identity_of(pair[0])) / f"{source}_to_{target}_{number}.png"

    def store_views(self, records: Iterable[ViewRecord], kind: str = "views") -> None:
        """Write pictures, and masks and part maps beside "views" where the records have them."""
        for record in records:
            _save(record.decode(), self.view(record.name, kind))
            for beside, name_of_map in (("masks", "mask"), ("parts", "parts")):
                if kind == "views" and getattr(record, name_of_map) is not None:
                    _save(record.stored(name_of_map), self.view(record.name, beside))


def _text(name: str) -> str:
    """A name as part of a path; different names stay different, long ones by a digest at their end.

    A letter beyond ASCII takes up to 12 characters here, and a file's name may have 255: with two names of 100, "_to_", the
    sample's number and what is added while a file is written, it has at most 240.
    """
    text = quote(name, safe=" ")
    if text in (".", ".."):
        return text.replace(".", "%2E")
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[: _LONGEST_NAME - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _save(picture: Image.Image, path: Path) -> None:
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial_file(path) as partial:
        picture.save(partial, format="PNG")


def find_made(folder: Path, pairs: Sequence[ViewPair]) -> list[Path]:
    """What another method made of each pair: "<identity>/<source>_to_<target>" below the folder, any picture's ending.

    Where there is none of this name, "<source>_to_<target>_0" counts: the first sample in a scenario's folder of another
    evaluation. Characters that no file's name can hold are written as in `Pictures`; other pictures are passed over.

    Raises:
        FileNotFoundError, ValueError: as `list_pictures`; or a pair has no picture.
    """
    files = list_pictures(folder, "generated")
    root = Pictures(Path())
    first = [root.generated("", pair, 0).with_suffix("").as_posix() for pair in pairs]
    found = {name: files.get(name.removesuffix("_0"), files.get(name)) for name in first}
    refuse([name.removesuffix("_0") for name in first if not found[name]], f"pairs that {folder} has no picture of")
    return [file for name in first if (file := found[name])]


def generate(
    pipeline: IMAGPosePipeline,
    requests: Sequence[DatasetRequest],
    dataset: PersonDataset,
    pictures: Pictures,
    number: int,
    sampling: Sampling,
) -> Iterator[int]:
    """Answer the requests whose pictures are not all there, as run `number`; poses of the sources are given.

    Yields:
        The number of requests that have been seen to, some at a time.
    """
    missing = [
        request
        for request in requests
        if not all(pictures.generated(request.name, pair, number).is_file() for pair in request.pairs)
    ]
    yield len(requests) - len(missing)
    for start in range(0, len(missing), _REQUESTS_AT_ONCE):
        batch = missing[start : start + _REQUESTS_AT_ONCE]
        for request, images in zip(batch, answer_requests(pipeline, batch, dataset, number, sampling), strict=True):
            for pair, image in zip(request.pairs, images[: len(request.targets)], strict=True):
                _save(image, pictures.generated(request.name, pair, number))
        yield len(batch)


def answer_requests(
    pipeline: IMAGPosePipeline,
    requests: Sequence[DatasetRequest],
    dataset: PersonDataset,
    number: int,
    sampling: Sampling,
) -> list[list[Image.Image]]:
    """The pictures of some requests of one scenario on one grid, one per pose, those of the targets first."""
    import torch

    records = [dataset.by_name(identity_of(request.sources[0])) for request in requests]
    sources = [[own[name] for name in request.sources] for own, request in zip(records, requests, strict=True)]
    targets = [[own[name] for name in request.poses] for own, request in zip(records, requests, strict=True)]
    pictures: list[list[Image.Image]] = pipeline(
        sources=[[view.decode() for view in views] for views in sources],
        target_poses=[[view.pose for view in views] for views in targets],
        source_poses=[[view.pose for view in views] for views in sources],
        grid=requests[0].grid,
        scenario=requests[0].plan_scenario,
        height=targets[0][0].height,
        width=targets[0][0].width,
        **sampling.arguments(),
        generator=[torch.Generator().manual_seed(request.seed(sampling.seed + number)) for request in requests],
        return_dict=False,
    )[0]
    return pictures


def reconstruct(pipeline: IMAGPosePipeline, names: Sequence[str], pictures: Pictures) -> None:
    """Write what the autoencoder makes of stored views, without a denoiser between: the most a model can reach."""
    import torch

    from imagpose.models.autoencoder import decode_latents, encode_latents, spatial_factor
    from imagpose.pictures import load_picture
    from imagpose.pixels import pad_views, pictures_to_signed, signed_to_pictures

    missing = [name for name in names if not pictures.view(name, "autoencoder").is_file()]
    for start in range(0, len(missing), _VIEWS_AT_ONCE):
        batch = missing[start : start + _VIEWS_AT_ONCE]
        pixels = pictures_to_signed(load_picture(pictures.view(name)) for name in batch).to(pipeline.vae.device)
        padded, padding = pad_views(pixels, spatial_factor(pipeline.vae))
        with torch.inference_mode():
            decoded = padding.crop(decode_latents(pipeline.vae, encode_latents(pipeline.vae, padded)))
        for name, picture in zip(batch, signed_to_pictures(decoded), strict=True):
            _save(picture, pictures.view(name, "autoencoder"))


def draw_mean_colours(pairs: Sequence[ViewPair], pictures: Pictures) -> None:
    """Write `colour_parts` of stored views with their part maps: what knowing outlines and colours alone is worth."""
    for source, target in pairs:
        views = pictures.view(source), pictures.view(source, "parts"), pictures.view(target, "parts")
        given, source_parts, target_parts = (_read(file) for file in views)
        drawing = colour_parts(given, source_parts, target_parts)
        _save(Image.fromarray(drawing), pictures.generated(MEAN_COLOURS, (source, target), 0))


def colour_parts(source: np.ndarray, source_parts: np.ndarray, target_parts: np.ndarray) -> np.ndarray:
    """The target's true part map, every part filled with its mean colour in the source.

    An oracle, for it knows the target's outline; it knows no texture, no shading and no face. A part that the source
    does not show gets the mean colour of the whole person, the ground that of the source's ground.

    Args:
        source: uint8 (H, W, 3), in which a person is seen.
        source_parts: uint8 (H, W), 0 outside of the person; target_parts: uint8 (H', W').

    Returns:
        uint8 (H', W', 3).
    """
    person = source[source_parts > 0].mean(0)
    colours = np.tile(person, (max(int(source_parts.max()), int(target_parts.max())) + 1, 1))
    for part in np.unique(source_parts):
        colours[part] = source[source_parts == part].mean(0)
    picture: np.ndarray = colours.round().astype(np.uint8)[target_parts]
    return picture


def _read(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture)
