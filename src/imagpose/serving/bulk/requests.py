"""Requests of a table checked without a model, and laid into batches.

A batch is either one request, which has calls of the pipeline for itself, or as many requests of one canvas as go through
the networks together, alike in all that shapes a tensor. Every tensor of such a call has a full first dimension whoever is
in it, so a request's picture does not depend on the others, nor on its place among them. A batch that is not full is filled
with repetitions, which are thrown away.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from imagpose.io import error_line
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import PoseOptions
from imagpose.serving.bulk.table import BulkRequest, Refused
from imagpose.serving.generate import check_request, request_digest
from imagpose.serving.inputs import GenerateInputs, read_inputs
from imagpose.serving.photos import Photos
from imagpose.serving.settings import GenerateSettings, read_settings
from imagpose.views import plan

_OF_THE_JOB = ("seed", "scheduler")


@dataclass(frozen=True)
class Defaults:
    """What holds for every row that does not say otherwise, and what all have in common.

    Attributes:
        settings: of `generate`.
        reading: of pose files.
        model: its name in results.
        dtype: precision that was asked for.
        scored: whether pictures are scored where the settings do not need it.
    """

    settings: GenerateSettings
    reading: PoseOptions | None
    model: str
    dtype: str | None
    scored: bool = False


@dataclass(frozen=True)
class Checked:
    """A request that can be worked on.

    Attributes:
        id: of the request.
        digest: of everything that decides its pictures; see `generate.request_digest`.
        shape: requests with the same may share a call; None: it needs calls of its own.
    """

    id: str
    digest: str
    shape: str | None


@dataclass(frozen=True, eq=False)
class Task:
    """A request to be answered, and the digest that it had when it was checked."""

    request: BulkRequest
    digest: str


@dataclass(frozen=True, eq=False)
class Batch:
    """What a worker gets at a time.

    Attributes:
        tasks: their requests.
        calls: requests in each call of the pipeline: 1, or more than there are tasks where they are repeated.
    """

    tasks: Sequence[Task]
    calls: int


def read_request(
    request: BulkRequest, defaults: Defaults, photos: Photos
) -> tuple[GenerateInputs, GenerateSettings, list[str]]:
    """Photos, poses and settings of a row, and what its reading warned of; `photos` knows those of other rows.

    Raises:
        ValueError, OSError: as `inputs.read_inputs` and `settings.read_settings`.
    """
    for name in _OF_THE_JOB:
        if name in request.options:
            own = "a column of its own" if name == "seed" else "one value for all requests of a job"
            raise ValueError(f"options: {name} has {own}: leave it out of options")
    given = read_settings(request.options)
    if request.seed is not None:
        given["seed"] = request.seed
    settings = defaults.settings.replaced(given)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inputs = read_inputs(request.sources, request.poses, request.source_poses, defaults.reading, photos=photos)
    return inputs, settings, list(dict.fromkeys(str(own.message) for own in caught))


def check_rows(rows: Sequence[BulkRequest | Refused], defaults: Defaults) -> list[Checked | Refused]:
    """Read everything that the rows name, and lay the requests out."""
    photos = Photos()
    return [row if isinstance(row, Refused) else _check(row, defaults, photos) for row in rows]


def _check(request: BulkRequest, defaults: Defaults, photos: Photos) -> Checked | Refused:
    try:
        inputs, settings, _ = read_request(request, defaults, photos)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_request(inputs, settings)
        digest = request_digest(inputs, settings, defaults.model, defaults.dtype)
        return Checked(request.id, digest, _shape(inputs, settings))
    except (ValueError, OSError) as error:
        return Refused(request.id, error_line(error))


def _shape(inputs: GenerateInputs, settings: GenerateSettings) -> str | None:
    num_sources, num_targets = len(inputs.sources), len(inputs.poses)
    grid = settings.view_grid(num_sources, num_targets)
    if len(plan(num_sources, num_targets, grid, settings.scenario).canvases) > 1:
        return None
    record = settings.record()
    sampling = [record[own.name] for own in fields(Sampling) if own.name != "seed"]
    on_canvas = min(num_sources, grid.num_views - 1)
    return json.dumps([str(grid), on_canvas, num_targets, *map(record.get, ("size", "scenario", "samples")), *sampling])


def form_batches(tasks: Iterable[tuple[Task, str | None]], together: int) -> list[Batch]:
    """Batches of tasks with their shapes; those of one shape in their order, what is left over last."""
    batches: list[Batch] = []
    waiting: dict[str, list[Task]] = {}
    for task, shape in tasks:
        if shape is None or together == 1:
            batches.append(Batch([task], 1))
            continue
        group = waiting.setdefault(shape, [])
        group.append(task)
        if len(group) == together:
            batches.append(Batch(waiting.pop(shape), together))
    return batches + [Batch(group, together) for group in waiting.values()]
