"""Numbers that overflowed: they would come out as black pictures, so they are errors that say where and what helps."""

from __future__ import annotations

from dataclasses import fields

import torch
from diffusers import AutoencoderKL

from imagpose.pipeline.conditions import JointConditions

_HALF = "load the model with dtype=torch.bfloat16 or torch.float32, float16 holds no number above 65504"
_USUAL_SCALE = 20.0
_NAMES = {
    "features": "F_C, made of the first source,",
    "image": "F_I, the latents of the sources,",
    "null_image": "F_I, the latents of the black view,",
    "pose_features": "F_P, made of the skeletons,",
}


class FiniteSteps:
    """Whether the latents were finite after each step of a loop; the device is asked once, after the last step."""

    def __init__(self) -> None:
        self._finite: list[torch.Tensor] = []

    def add(self, latents: torch.Tensor) -> None:
        """Looks at the latents of the next step."""
        self._finite.append(torch.isfinite(latents).all())

    def check(self, conditions: JointConditions, dtype: torch.dtype, guidance_scale: float) -> None:
        """Looks back at the steps.

        Args:
            conditions: of the loop.
            dtype: of the UNet.
            guidance_scale: of the call.

        Raises:
            FloatingPointError: a step's latents were not finite; the message says which and what helps.
        """
        finite = torch.stack(self._finite).tolist() if self._finite else []
        if all(finite):
            return
        for field in fields(conditions):
            condition = getattr(conditions, field.name)
            if field.name in _NAMES and not bool(torch.isfinite(condition).all()):
                raise FloatingPointError(f"{_NAMES[field.name]} is not finite: a network overflows; {_HALF}")
        where = f"the latents are not finite after step {finite.index(False) + 1} of {len(finite)}"
        if abs(guidance_scale) > _USUAL_SCALE:
            raise FloatingPointError(f"{where}: guidance_scale is {guidance_scale:g}; 1 to 10 is usual")
        if dtype == torch.float16:
            raise FloatingPointError(f"{where}, the UNet overflows in float16: {_HALF}")
        raise FloatingPointError(
            f"{where} (UNet in {_short(dtype)}): try another scheduler or fewer changes of the latents in callbacks; if"
            " neither was changed, the weights are not those of a trained model"
        )


def check_decoded(pixels: torch.Tensor, vae: AutoencoderKL) -> None:
    """Looks at decoded pixels.

    Raises:
        FloatingPointError: they are not finite, though the latents were; the message says what helps.
    """
    if bool(torch.isfinite(pixels).all()):
        return
    if vae.dtype == torch.float16:
        raise FloatingPointError(
            "the VAE overflows in float16 while it decodes: run it alone in float32 (pipeline.vae.to(torch.float32)), or"
            f" {_HALF}"
        )
    raise FloatingPointError(
        f"the VAE (in {_short(vae.dtype)}) decodes pictures that are not finite: the latents are too large for it, as"
        " after a guidance_scale far above the usual 1 to 10"
    )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
