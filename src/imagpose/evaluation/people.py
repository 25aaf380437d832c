"""`imagpose evaluate people`: held-out rendered people made into a data set, and `evaluate_model` on it."""

from __future__ import annotations

from pathlib import Path

from imagpose.data.pairs import write_pairs
from imagpose.data.rendered import prepare_people
from imagpose.evaluation.measure import MeasureSettings
from imagpose.evaluation.model import evaluate_model
from imagpose.evaluation.model_requests import ModelEvaluation
from imagpose.models.folder import resolve_model
from imagpose.people.splits import TEST_SEEDS
from imagpose.pipeline.sampling import Sampling

__all__ = ["evaluate_on_people"]

_VIEWS = 8  # four to choose sources from, view 0 from the front, then four to generate, one from each side
_SCENARIOS = ("T1", "T3")


def evaluate_on_people(out: Path, model: str, identities: int, sampling: Sampling, workers: int | None = None) -> str:
    """Render the first people of the test split into ``<out>/people``, in the model's size, and measure the model there.

    Of every person the front view is given (in T3 two further views besides) and four others are asked for: one each
    from the front, from behind and from both sides.

    Args:
        out, model, sampling: see `evaluate_model`; the same command continues.
        identities: number of people.
        workers: processes that render and measure; None for one per core.

    Returns:
        The tables, Markdown.

    Raises:
        ValueError, OSError: see `evaluate_model` and `prepare_people`.
    """
    from imagpose.pipeline import IMAGPosePipeline

    if not 1 <= identities <= len(TEST_SEEDS):
        raise ValueError(f"identities is {identities}; 1 to {len(TEST_SEEDS):,} expected")
    config = IMAGPosePipeline.load_config(resolve_model(model))
    if not {"view_height", "view_width"} <= config.keys():
        raise ValueError(f"model {model} does not say view_height and view_width: it is no IMAGPose pipeline")
    data, pairs = out / "people", out / "pairs.csv"
    size = config["view_height"], config["view_width"]
    prepare_people(TEST_SEEDS[0], identities, _VIEWS, *size, data, workers=workers)
    write_pairs([(f"{seed}/0", f"{seed}/{view}") for seed in TEST_SEEDS[:identities] for view in range(4, 8)], pairs)
    asked = ModelEvaluation(model, data, _SCENARIOS, pairs=pairs, sampling=sampling)
    return evaluate_model(out, asked, MeasureSettings(workers=workers))
