"""A pipeline as commands need it: on the GPU where there is one, with the scheduler that was asked for.

The libraries are imported when it is called, so that commands refuse bad input without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagpose.pipeline.pipeline import IMAGPosePipeline

__all__ = ["load_pipeline"]


def load_pipeline(model: str, scheduler: str | None = None) -> IMAGPosePipeline:
    """The pipeline of a name, folder or Hub id, on the GPU where there is one, without the libraries' progress bars.

    Args:
        model: see `IMAGPosePipeline.from_pretrained`, and its errors.
        scheduler: as `Sampling.scheduler`.
    """
    import diffusers
    import torch
    import transformers

    from imagpose.models.scheduler import named_scheduler
    from imagpose.pipeline.pipeline import IMAGPosePipeline

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipeline = IMAGPosePipeline.from_pretrained(model)
    if scheduler is not None:
        pipeline.scheduler = named_scheduler(scheduler, pipeline.scheduler)
    placed: IMAGPosePipeline = pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    return placed
