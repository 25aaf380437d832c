"""Seconds that a distinct picture takes: wall time of whole calls, encoders and VAE included, one request at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from imagpose.data.dataset import PersonDataset
from imagpose.evaluation.model_pictures import answer_requests
from imagpose.evaluation.model_requests import Request
from imagpose.pipeline.sampling import Sampling

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

__all__ = ["seconds_per_picture"]


def seconds_per_picture(
    pipeline: IMAGPosePipeline,
    requests: Mapping[str, Sequence[Request]],
    dataset: PersonDataset,
    samplings: Sequence[Sampling],
) -> dict[tuple[str, Sampling], np.ndarray]:
    """Seconds of each call divided by the pictures it returns, one per pose.

    All settings take turns, so that what else the machine does meets them alike; a first round is not counted.

    Args:
        requests: per scenario what is asked, equally many of each; pictures in, pictures out.
        samplings: how each is sampled.

    Returns:
        Per scenario and sampling the seconds (requests,).
    """
    pipeline.set_progress_bar_config(disable=True)
    found: dict[tuple[str, Sampling], list[float]] = {}
    rounds = list(zip(*requests.values(), strict=True))
    for number, asked in enumerate([rounds[0], *rounds]):
        for request in asked:
            for sampling in samplings:
                started = time.perf_counter()
                answer_requests(pipeline, [request], dataset, 0, sampling)
                seconds = (time.perf_counter() - started) / len(request.poses)
                if number:
                    found.setdefault((request.scenario, sampling), []).append(seconds)
    return {setting: np.array(seconds) for setting, seconds in found.items()}
