"""Two held-out people, and pipelines that need no network."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from imagpose.evaluation.held_out import HeldOutPerson, held_out_people

HEIGHT, WIDTH = 64, 48


class StandInPipeline:
    """Answers a request by a rule of its source pictures and target pose, and keeps what it was asked."""

    config = SimpleNamespace(view_height=HEIGHT, view_width=WIDTH)

    def __init__(self, rule) -> None:
        self.rule = rule
        self.calls: list[dict] = []

    def set_progress_bar_config(self, **_: object) -> None: ...

    def __call__(self, sources, target_poses, source_poses, **settings):
        self.calls.append({"sources": sources, "poses": target_poses, "source_poses": source_poses, **settings})
        images = [
            [Image.fromarray(self.rule(own, pose, settings["scenario"])) for pose in poses]
            for own, poses in zip(sources, target_poses, strict=True)
        ]
        return (images,)


@pytest.fixture(scope="session")
def people() -> list[HeldOutPerson]:
    return list(held_out_people(2, HEIGHT, WIDTH))


@pytest.fixture
def copying() -> StandInPipeline:
    """Returns the first source."""
    return StandInPipeline(lambda sources, pose, scenario: sources[0])


@pytest.fixture
def omniscient(people) -> StandInPipeline:
    """Returns the truth in T1, and a grey picture in T3."""
    truths = {view.pose.keypoints.tobytes(): view.picture for person in people for view in person.targets.values()}
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    return StandInPipeline(
        lambda sources, pose, scenario: truths[pose.keypoints.tobytes()] if scenario == "T1" else grey
    )
