"""What answers requests, wherever it runs: one model, one batch after the other."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagpose.io import error_line
from imagpose.provenance import Origin, generated_png
from imagpose.serving.bulk.requests import Batch, Defaults, Task, read_request
from imagpose.serving.drawn import Prepared, draw_sample, draw_together, finished_outputs, prepare
from imagpose.serving.generate import model_label, picture_record, request_digest
from imagpose.serving.photos import Photos

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline


@dataclass(frozen=True)
class WorkerSettings:
    """How workers are set up.

    Attributes:
        open_model: gives the pipeline; called once in each worker.
        defaults: of the requests.
    """

    open_model: Callable[[], Any]
    defaults: Defaults


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        id, digest: of the request.
        pictures: PNG files by their names, marked as generated.
        record: what `result.json` says.
        failed: why there are no pictures.
        again: another try may succeed, alone or at another worker.
    """

    id: str
    digest: str
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    failed: str | None = None
    again: bool = False

    @classmethod
    def of_failure(cls, task: Task, reason: BaseException | str, again: bool) -> Answer:
        """No pictures."""
        if isinstance(reason, BaseException):
            text, is_ours = error_line(reason), isinstance(reason, (ValueError, OSError, FloatingPointError))
            reason = text if is_ours else f"{type(reason).__name__}: {text}"
        return cls(task.request.id, task.digest, failed=reason, again=again)


class BulkWorker:
    """One model that answers batches."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.defaults = settings.defaults
        self.pipeline: IMAGPosePipeline = settings.open_model()
        self.pipeline.set_progress_bar_config(disable=True)
        self._photos = Photos()

    def ready(self) -> None:
        """Nothing; that it returns says that the model is loaded."""

    def answer(self, batch: Batch) -> list[Answer]:
        """An answer to each task of the batch, in their order; no error of a request gets out."""
        with _one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ready: dict[str, tuple[Prepared, list[str]]] = {}
            answers: dict[str, Answer] = {}
            for task in batch.tasks:
                try:
                    ready[task.request.id] = self._prepare(task)
                except Exception as error:
                    again = not isinstance(error, (ValueError, FileNotFoundError))
                    answers[task.request.id] = Answer.of_failure(task, error, again)
            tasks = [task for task in batch.tasks if task.request.id in ready]
            if tasks:
                for answer in self._draw(tasks, ready, batch.calls):
                    answers[answer.id] = answer
        return [answers[task.request.id] for task in batch.tasks]

    def _prepare(self, task: Task) -> tuple[Prepared, list[str]]:
        inputs, settings, notes = read_request(task.request, self.defaults, self._photos)
        if request_digest(inputs, settings, self.defaults.model, self.defaults.dtype) != task.digest:
            raise ValueError("a photo or pose file has changed since the table was checked: run the command again")
        return prepare(self.pipeline, inputs, settings), notes

    def _draw(
        self, tasks: Sequence[Task], ready: Mapping[str, tuple[Prepared, list[str]]], calls: int
    ) -> Iterator[Answer]:
        requests = [ready[task.request.id][0] for task in tasks]
        started = time.perf_counter()
        try:
            drawn = self._samples(requests, calls)
        except Exception as error:
            alone = len(tasks) == 1
            again = not alone or not isinstance(error, (ValueError, FloatingPointError))
            yield from (Answer.of_failure(task, error, again) for task in tasks)
            return
        seconds = (time.perf_counter() - started) / len(tasks)
        for task, request, samples in zip(tasks, requests, drawn, strict=True):
            try:
                yield self._finish(task, request, samples, ready[task.request.id][1], calls, seconds)
            except Exception as error:
                yield Answer.of_failure(task, error, again=not isinstance(error, ValueError))

    def _samples(self, requests: Sequence[Prepared], calls: int) -> list[list[list[Any]]]:
        """Of each request, of each sample, the pictures."""
        samples = requests[0].settings.samples
        seeds = [request.settings.sampling.seed for request in requests]
        if calls == 1:
            (request,) = requests
            return [[draw_sample(self.pipeline, request, seeds[0] + sample) for sample in range(samples)]]
        filling = calls - len(requests)
        requests, seeds = [*requests, *[requests[-1]] * filling], [*seeds, *[seeds[-1]] * filling]
        drawn = [draw_together(self.pipeline, requests, [seed + sample for seed in seeds]) for sample in range(samples)]
        return [list(own) for own in zip(*drawn, strict=True)][: calls - filling]

    def _finish(
        self,
        task: Task,
        request: Prepared,
        drawn: Sequence[Sequence[Any]],
        notes: list[str],
        calls: int,
        seconds: float,
    ) -> Answer:
        drawn_at = time.perf_counter()
        outputs = finished_outputs(request, drawn, self.defaults.scored)
        took = {"generate": round(seconds, 3), "score": round(time.perf_counter() - drawn_at, 3)}
        record = picture_record(self.pipeline, request, outputs, self.defaults.dtype, took, together=calls)
        model = model_label(self.pipeline)
        pictures = {own.file: generated_png(own.picture, Origin(model, own.seed)) for own in outputs}
        named = {"id": task.request.id, **record, "request": task.digest, "notes": notes}
        return Answer(task.request.id, task.digest, pictures, named)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for what runs on the CPU: how many there are may change the last bits of a sum."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
