"""How far a request is: steps, and previews of its pictures."""

from __future__ import annotations

import base64
import io
from math import ceil
from typing import Any

import torch
from PIL import Image

from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.conditions import AT_ONCE
from imagpose.pipeline.preview import clean_latents, preview_views
from imagpose.serving.web.desk import Job
from imagpose.serving.web.orders import Order

__all__ = ["Watch"]

_PREVIEWS = 5  # of a request


class Watch:
    """The pipeline's callback: says how far a job is, shows previews, and ends it when it is to end."""

    def __init__(self, order: Order, job: Job, steps: int) -> None:
        self._job, self._plan, self._size = job, order.plan, order.settings.size
        self._steps = steps
        self._parts = ceil(len(self._plan.canvases) / AT_ONCE)
        self._part = -1
        self._before: torch.Tensor | None = None
        self._previews: list[str | None] = [None] * len(order.inputs.poses)
        job.news = {"step": 0, "steps": self._parts * self._steps, "previews": self._previews}

    def __call__(
        self, pipeline: IMAGPosePipeline, step: int, timestep: torch.Tensor, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        self._job.check()
        self._part += step == 0
        latents = tensors["latents"]
        if step and (step + 1) % max(1, self._steps // _PREVIEWS) == 0 and step + 1 < self._steps:
            self._show(pipeline, clean_latents(pipeline.scheduler, step, self._before, latents))
        self._before = latents
        done = self._part * self._steps + min(step + 1, self._steps)
        self._job.news = {"step": done, "steps": self._parts * self._steps, "previews": list(self._previews)}
        return {}

    def _show(self, pipeline: IMAGPosePipeline, latents: torch.Tensor) -> None:
        first = self._part * AT_ONCE
        here = {
            number: (candidates[0][0] - first, candidates[0][1])
            for number, candidates in enumerate(self._plan.results)
            if first <= candidates[0][0] < first + len(latents)
        }
        size = self._size or (pipeline.config.view_height, pipeline.config.view_width)
        pictures = preview_views(pipeline, latents, self._plan.grid, list(here.values()), size)
        for number, picture in zip(here, pictures, strict=True):
            self._previews[number] = _inline(picture)


def _inline(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
