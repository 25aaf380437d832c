"""How far a request is: its steps, and previews of its pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import torch
from PIL import Image

from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.preview import clean_latents, preview_views
from imagpose.pipeline.sampling import AT_ONCE
from imagpose.serving.inputs import GenerateInputs
from imagpose.serving.settings import GenerateSettings
from imagpose.views import plan

_PREVIEWS = 5  # of a request


class Watch:
    """The pipeline's callback: says how far a request is, shows previews, and ends it when it is to end.

    Args:
        inputs: of the request.
        settings: settled; not with `anchor`, whose canvases depend on its first pictures.
        check: called before each report; what it raises ends the request.
        tell: called after each step with the steps done, those of the whole request, and previews by the number of their
            target pose, where the step gave some.
    """

    def __init__(
        self,
        inputs: GenerateInputs,
        settings: GenerateSettings,
        check: Callable[[], None],
        tell: Callable[[int, int, Mapping[int, Image.Image]], None],
    ) -> None:
        sources, targets = len(inputs.sources), len(inputs.poses)
        self._plan = plan(sources, targets, settings.view_grid(sources, targets), settings.scenario)
        assert settings.sampling.steps is not None
        self._settings, self._steps = settings, settings.sampling.steps
        self._check, self._tell = check, tell
        self._parts = ceil(len(self._plan.canvases) / AT_ONCE)  # of a sample
        self.total = settings.samples * self._parts * self._steps
        self._part = -1
        self._before: torch.Tensor | None = None

    def __call__(
        self, pipeline: IMAGPosePipeline, step: int, timestep: torch.Tensor, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        self._check()
        self._part += step == 0
        latents = tensors["latents"]
        previews: dict[int, Image.Image] = {}
        if step and (step + 1) % max(1, self._steps // _PREVIEWS) == 0 and step + 1 < self._steps:
            previews = self._previews(pipeline, clean_latents(pipeline.scheduler, step, self._before, latents))
        self._before = latents
        self._tell(self._part * self._steps + min(step + 1, self._steps), self.total, previews)
        return {}

    def _previews(self, pipeline: IMAGPosePipeline, latents: torch.Tensor) -> dict[int, Image.Image]:
        first = self._part % self._parts * AT_ONCE
        here = {
            number: (candidates[0][0] - first, candidates[0][1])
            for number, candidates in enumerate(self._plan.results)
            if first <= candidates[0][0] < first + len(latents)
        }
        pictures = preview_views(
            pipeline, latents, self._plan.grid, list(here.values()), self._settings.picture_size(pipeline)
        )
        return dict(zip(here, pictures, strict=True))
