"""A job from its table to its data set: what is there is kept, what is missing is made, what cannot be made is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagpose.io import locked_folder
from imagpose.outputs import check_output_folder, claim_folder
from imagpose.pipeline.loading import load_pipeline
from imagpose.pipeline.sampling import AT_ONCE
from imagpose.pose import PoseOptions
from imagpose.serving.bulk.engines import Engine, LocalEngine
from imagpose.serving.bulk.progress import Counter, counted
from imagpose.serving.bulk.requests import Batch, Checked, Defaults, Task, check_rows, form_batches
from imagpose.serving.bulk.store import FORMATS, Store, check_new_store, open_store, write_failed
from imagpose.serving.bulk.table import BulkRequest, Refused, check_ids, read_table
from imagpose.serving.bulk.worker import Answer, WorkerSettings
from imagpose.serving.generate import model_label, warn_of_photographs
from imagpose.serving.settings import GenerateSettings
from imagpose.workers import in_order

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

_BACKENDS = ("torch", "compile", "openvino")
_CHECKED_AT_A_TIME = 64
_FEW = 512  # rows that are checked before other processes would have started
_FAILED_EVERY = 30.0  # seconds


@dataclass(frozen=True)
class BulkReport:
    """What a job did.

    Attributes:
        made: ids whose results were made now.
        kept: ids whose results were there.
        failed: ids that have no result, and why.
    """

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


Requests = Path | str | Sequence[BulkRequest]


def check_bulk(
    requests: Requests,
    *,
    model: str = "mini",
    settings: GenerateSettings | None = None,
    reading: PoseOptions | None = None,
    dtype: str | None = None,
    workers: int | None = 1,
) -> dict[str, str]:
    """The rows that cannot be answered, by their ids, and why: every photo and pose file is read, no model is loaded.

    Args:
        requests, model, settings, reading, dtype: as of `run_bulk`.
        workers: processes; None: one per core.

    Raises:
        ValueError, OSError: the table cannot be read, or two rows have one id.
    """
    rows = _read(requests)
    defaults = Defaults((settings or GenerateSettings()).settled(model), reading, model_label(model), dtype)
    return {own.id: own.reason for own in _checked(rows, defaults, workers) if isinstance(own, Refused)}


def run_bulk(
    requests: Requests,
    out: Path | str,
    *,
    model: str | IMAGPosePipeline = "mini",
    settings: GenerateSettings | None = None,
    reading: PoseOptions | None = None,
    form: str = "files",
    engine: Engine | None = None,
    alone: bool = False,
    scored: bool = False,
    retries: int = 2,
    device: str | None = None,
    dtype: str | None = None,
    backend: str = "torch",
    overwrite: bool = False,
    open_model: Callable[[], Any] | None = None,
) -> BulkReport:
    """Answer the requests that have no result in `out` yet.

    Args:
        requests: a table (`table.read_table`), or requests; an id is one request's.
        out: folder of the job's results, `store` says what is in it.
        model: "mini", the folder of a saved pipeline, a Hub id, or, in this process alone, a pipeline that is loaded.
        settings, reading: of all requests, as of `generate`; a row's options and seed come first.
        form: "files" or "parquet".
        engine: where the work is done; None: in this process.
        alone: every request has calls of the pipeline for itself, which gives the bytes of `generate` with one thread.
            Otherwise requests of one canvas that are alike share calls.
        scored: every picture is scored, which takes its time; otherwise only where `min_score` or `keep_best` need it.
        retries: further tries of a request that failed for another reason than its input, each without others in its pass.
            One is made at least: in the first try others share its pass and its worker, and it may have been their fault.
        device, dtype, backend: see `pipeline.loading.load_pipeline`; by default fp32 for all networks, and torch, so that
            they are the same wherever the work is done. Those of a pipeline that is loaded are its own.
        overwrite: a changed request is answered anew; otherwise it is one that failed.
        open_model: gives the pipeline, in place of loading `model`; other processes must be able to import it.

    Raises:
        ValueError, OSError: the job cannot be done at all. A request that cannot be answered is in the report and in
            ``failed.csv``.
    """
    if form not in FORMATS:
        raise ValueError(f"format {form!r}: one of {', '.join(FORMATS)} expected")
    if backend not in _BACKENDS:
        raise ValueError(
            f"backend {backend!r}: one of {', '.join(_BACKENDS)} expected, since a job's is always the same"
        )
    out, asked = Path(out), settings or GenerateSettings()
    place: Engine = engine or LocalEngine()
    rows = _read(requests)
    if open_model is None:
        asked = asked.settled(model)
        warn_of_photographs(model_label(model), next((row.sources for row in rows if isinstance(row, BulkRequest)), ()))
        if isinstance(model, (str, Path)):
            dtype = dtype or "fp32"
        else:
            backend = model.backend.asked
    check_output_folder(out)
    check_new_store(out)
    try:
        used = place.open(device, dtype)
        opened = open_model or _opener(model, asked.sampling.scheduler, used, dtype, backend, place)
        worker = WorkerSettings(opened, Defaults(asked, reading, model_label(model), dtype, scored))
        pins = _pins(worker.defaults, used, backend, alone, form)
        with locked_folder(out):
            checked = _checked(rows, worker.defaults, place.check_workers)
            claim_folder(out, pins)
            job = _Job(out, open_store(out, form), place, worker, pins["requests_at_once"], retries, overwrite)
            return job.run({row.id: row for row in rows if isinstance(row, BulkRequest)}, checked)
    finally:
        place.close()


def _read(requests: Requests) -> list[BulkRequest | Refused]:
    rows: list[BulkRequest | Refused]
    rows = read_table(Path(requests)) if isinstance(requests, (str, Path)) else [*requests]
    check_ids(rows)
    return rows


def _checked(rows: Sequence[BulkRequest | Refused], defaults: Defaults, workers: int | None) -> list[Checked | Refused]:
    chunks = [rows[start : start + _CHECKED_AT_A_TIME] for start in range(0, len(rows), _CHECKED_AT_A_TIME)]
    workers = 1 if len(rows) <= _FEW else workers
    checked: list[Checked | Refused] = []
    with counted("checking", len(rows)) as counter:
        for own in in_order(partial(check_rows, defaults=defaults), chunks, workers):
            checked += own
            counter.add(len(own))
    return checked


def _opener(
    model: str | IMAGPosePipeline,
    scheduler: str | None,
    device: str,
    dtype: str | None,
    backend: str,
    engine: Engine,
) -> Callable[[], Any]:
    if isinstance(model, (str, Path)):
        return partial(load_pipeline, str(model), scheduler, device, dtype, backend)
    if scheduler is not None or dtype is not None:
        raise ValueError("the pipeline is loaded already: give its scheduler and dtype to the pipeline itself")
    if engine.check_workers != 1:
        raise ValueError("a pipeline that is loaded works in this process alone: give the model's name or folder")
    return lambda: model


def _pins(defaults: Defaults, device: str, backend: str, alone: bool, form: str) -> dict[str, Any]:
    """What all results of a folder have in common, so that each could be any other's neighbour."""
    return {
        "format": form,
        "model": defaults.model,
        "scheduler": defaults.settings.sampling.scheduler,
        "device": device.partition(":")[0],
        "dtype": defaults.dtype,
        "backend": backend,
        "canvases_at_once": AT_ONCE,
        "requests_at_once": 1 if alone else AT_ONCE,
        "scored": defaults.scored,
    }


@dataclass(eq=False)
class _Job:
    """The work on a folder that is locked."""

    out: Path
    store: Store
    engine: Engine
    worker: WorkerSettings
    together: int
    retries: int
    overwrite: bool
    report: BulkReport = field(default_factory=BulkReport)
    found: dict[str, str] = field(default_factory=dict)
    failed_at: float = 0.0

    def run(self, requests: dict[str, BulkRequest], checked: Sequence[Checked | Refused]) -> BulkReport:
        try:
            tasks = self._todo(requests, checked)
            with counted("requests", len(tasks)) as counter:
                self._work(form_batches(tasks, self.together), counter)
        finally:
            with suppress(OSError):  # the disk may be what ended the job; its error is on its way
                self._note_failed()
            self.store.close()
        return self.report

    def _todo(
        self, requests: dict[str, BulkRequest], checked: Sequence[Checked | Refused]
    ) -> list[tuple[Task, str | None]]:
        self.found = self.store.found()
        tasks = []
        for own in checked:
            if isinstance(own, Refused):
                self.report.failed[own.id] = own.reason
            elif self.found.get(own.id) == own.digest:
                self.report.kept.append(own.id)
            elif own.id in self.found and not self.overwrite:
                self.report.failed[own.id] = (
                    "its result answers another request (a photo, pose or setting has changed):"
                    " give it another id, or answer it anew with --overwrite"
                )
            else:
                tasks.append((Task(requests[own.id], own.digest), own.shape))
        self._note_failed()
        return tasks

    def _work(self, batches: Sequence[Batch], counter: Counter) -> None:
        """Answer all batches; those that may succeed alone are tried again, after the others."""
        tries = 0
        while batches:
            tasks = {task.request.id: (task, batch.calls) for batch in batches for task in batch.tasks}
            again = []
            last = tries >= max(1, self.retries)
            for answers in self.engine.answers(self.worker, batches, alone=tries > 0):
                for answer in answers:
                    if answer.again and not last:
                        again.append(tasks[answer.id])
                        continue
                    self._take(answer, counter)
            batches = [Batch([task], calls) for task, calls in again]
            tries += 1

    def _take(self, answer: Answer, counter: Counter) -> None:
        reason = answer.failed
        if reason is None:
            try:
                self.store.add(answer, replace=answer.id in self.found)
            except ValueError as error:  # somebody's files are where its results belong
                reason = str(error)
        if reason is None:
            self.report.made.append(answer.id)
        else:
            self.report.failed[answer.id] = reason
            if time.monotonic() - self.failed_at > _FAILED_EVERY:
                self._note_failed()
        counter.add(1, failed=reason is not None)

    def _note_failed(self) -> None:
        write_failed(self.out, [Refused(*own) for own in self.report.failed.items()])
        self.failed_at = time.monotonic()
