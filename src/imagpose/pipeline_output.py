"""What the pipeline returns."""

from dataclasses import dataclass
from typing import Any

from diffusers.utils import BaseOutput


@dataclass
class IMAGPosePipelineOutput(BaseOutput):
    """Generated pictures of one request, or of a batch of requests.

    Args:
        images: one picture per target pose, in the order of the poses. By `output_type`: `"pil"` a list of T
            `PIL.Image`, `"np"` an array (T, H, W, 3) in [0, 1], `"pt"` a tensor (T, 3, H, W) in [0, 1], `"latent"`
            scaled latents (T, c, h, w) of the padded views. For a batch of requests: a list of these.
        canvases: with `return_canvases`, one joint canvas (all slots, sources too, as the model drew them) per canvas
            of the plan, in the same form: pictures of rows*H x cols*W pixels. `None` otherwise.
    """

    images: Any
    canvases: Any | None = None
