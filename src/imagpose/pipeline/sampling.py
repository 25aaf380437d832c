"""How pictures are drawn from a model: one object of settings for pipeline, commands, evaluation and training previews."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["GUIDANCE_KINDS", "MOST_GUIDANCE", "Sampling"]

GUIDANCE_KINDS = ("feature", "full")
MOST_GUIDANCE = 100
"""Of either sign. Pictures are noise long before, but finite: nothing else would say so."""


@dataclass(frozen=True)
class Sampling:
    """Settings of sampling; the commands' options have the same names.

    Attributes:
        steps: denoising steps, the pipeline's `num_inference_steps`.
        guidance_scale: s of Eq. 5, from -100 to 100; 1 switches guidance off (and halves the work), 1 to 10 is usual.
        guidance: `"feature"` guides against a null F_C, as the released code does; `"full"` against null F_C and null
            F_I (Eq. 5).
        guidance_interval: guidance applies at timesteps t with low <= t / T <= high, 0 the picture, 1 the noise; the
            other steps take half the work. Source: Kynkaanniemi et al., "Applying guidance in a limited interval
            improves sample and distribution quality in diffusion models", 2024.
        scheduler: a name of `models.scheduler.SCHEDULERS`; None: the model's own.
        seed: of the noise.

    Raises:
        ValueError: a value is not legal; the message names it and what would be.
    """

    steps: int = 20
    guidance_scale: float = 2.0
    guidance: str = "feature"
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    scheduler: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ValueError(f"steps (num_inference_steps) must be a whole number of at least 1, got {self.steps!r}")
        if not isinstance(self.guidance_scale, (int, float)) or not abs(self.guidance_scale) <= MOST_GUIDANCE:
            raise ValueError(
                f"guidance_scale must be a number from -{MOST_GUIDANCE} to {MOST_GUIDANCE}, got {self.guidance_scale!r}"
            )
        if self.guidance not in GUIDANCE_KINDS:
            raise ValueError(f"guidance must be one of {', '.join(GUIDANCE_KINDS)}, got {self.guidance!r}")
        self._check_interval()
        if self.scheduler is not None:
            from imagpose.models.scheduler import SCHEDULERS

            if self.scheduler not in SCHEDULERS:
                raise ValueError(f"scheduler must be one of {', '.join(SCHEDULERS)}, got {self.scheduler!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be a whole number from 0 to 2**63 - 1, got {self.seed!r}")

    def _check_interval(self) -> None:
        try:
            low, high = self.guidance_interval
            legal = 0 <= low <= high <= 1
        except (TypeError, ValueError):
            legal = False
        if not legal:
            raise ValueError(
                f"guidance_interval must be two numbers 0 <= low <= high <= 1, got {self.guidance_interval!r}"
            )

    def arguments(self) -> dict[str, Any]:
        """Arguments of the pipeline's call; scheduler and seed are no arguments of diffusers' pipelines."""
        return {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "guidance": self.guidance,
            "guidance_interval": self.guidance_interval,
        }

    def __str__(self) -> str:
        """Steps and guidance scale, and what differs from the defaults."""
        parts = [f"{self.steps} steps", f"guidance {self.guidance_scale:g}"]
        if self.guidance != "feature":
            parts.append(f"{self.guidance} guidance")
        if tuple(self.guidance_interval) != (0.0, 1.0):
            parts.append("guidance from {:g} to {:g}".format(*self.guidance_interval))
        if self.scheduler is not None:
            parts.append(f"scheduler {self.scheduler}")
        if self.seed:
            parts.append(f"seed {self.seed}")
        return ", ".join(parts)
