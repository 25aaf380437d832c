"""What is not finite, planted in one person's data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from imagpose.training.cache import ViewCache
from imagpose.training.checkpoints import list_checkpoints
from imagpose.training.configs import RunConfig
from imagpose.training.loop import Training
from imagpose.training.stage import Stage


def plant_nan(cache: ViewCache, identity: int) -> None:
    """Let the pictures of an identity be NaN."""
    read = cache.pixels

    def pixels(identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        found = read(identities, views).clone()
        found[torch.from_numpy(np.asarray(identities) == identity)] = float("nan")
        return found

    cache.pixels = pixels


def check_planted(stage: Stage, config: RunConfig, seed: int, output: Path) -> None:
    """Whose data of seed `seed` are NaN: the first step that shows them stops the run, or all such steps are skipped."""
    shown = [
        step
        for step in range(config.steps)
        if any(f"seed {seed} " in item for item in stage.items(step, range(config.batch_size)))
    ]
    assert shown and 0 < len(shown) < config.steps, "the test has to choose another seed"
    first = shown[0]
    strict = config.model_copy(update={"output": output / "strict", "checkpoint_every": 1, "skip_nonfinite_steps": 0})
    before = {name: weight.clone() for name, weight in stage.state_dict().items()}
    with pytest.raises(FloatingPointError) as caught:
        Training(stage, strict).run()
    assert re.search(rf"^step {first}: loss nan, .*learning rate .*, batch of .*seed {seed} view", str(caught.value))
    kept = [path.name for path in list_checkpoints(strict.output / "checkpoints")]
    assert kept[-1:] == ([f"step-{first:08d}"] if first else [])
    stage.load_state_dict(before)
    stage.zero_grad()
    lenient = config.model_copy(update={"output": output / "lenient", "skip_nonfinite_steps": len(shown)})
    outcome = Training(stage, lenient).run()
    assert outcome.skipped == len(shown)
    assert [step for step, loss in enumerate(outcome.losses) if not np.isfinite(loss)] == shown
    assert all(torch.isfinite(value).all() for value in stage.state_dict().values())
