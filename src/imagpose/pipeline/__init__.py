"""From what a user gives to pictures: requests (checked), conditions (encoded once), the pipeline, settings of sampling.

The pipeline is loaded when it is first used: with diffusers and transformers it takes three times as long to import as
the rest, which refuses bad input without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagpose.pipeline.canvases import IMAGPosePipelineOutput
    from imagpose.pipeline.pipeline import IMAGPosePipeline

__all__ = ["IMAGPosePipeline", "IMAGPosePipelineOutput"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from imagpose.pipeline import pipeline

    return getattr(pipeline, name)
