"""How pictures are drawn from a model: one object of settings for pipeline, commands, evaluation and training previews."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

AT_ONCE = 4
"""Pictures or canvases that go through a network together; under guidance the UNet takes both branches of as many."""
GUIDANCE_KINDS = ("feature", "full")
MOST_GUIDANCE = 100
"""Of either sign. Pictures are noise long before, but finite: nothing else would say so."""
USUAL_STEPS, USUAL_GUIDANCE = 20, 2.0
"""Of a model whose folder says nothing else."""


@dataclass(frozen=True)
class Sampling:
    """Settings of sampling; the commands' options have the same names.

    Attributes:
        steps: denoising steps, the pipeline's `num_inference_steps`; None: the model's own, 20 unless its folder says more.
        guidance_scale: s of Eq. 5, from -100 to 100; 1 switches guidance off (and halves the work), 1 to 10 is usual.
            None: the model's own, 2 unless its folder says more.
        guidance: `"feature"` guides against a null F_C, as the released code does; `"full"` against null F_C and null
            F_I (Eq. 5).
        guidance_interval: guidance applies at timesteps t with low <= t / T <= high, 0 the picture, 1 the noise; the
            other steps take half the work. Source: Kynkaanniemi et al., "Applying guidance in a limited interval
            improves sample and distribution quality in diffusion models", 2024.
        scheduler: a name of `models.scheduler.SCHEDULERS`; None: the model's own.
        seed: of the noise.
        guidance_every: of the guided steps only every so many-th takes the branch with the null condition too; the others
            use the last difference of the branches (`pipeline.guidance`). 1: all do.
        features_every: of the steps only every so many-th computes all layers of the UNet; the others keep what its deep
            layers gave (`models.kept_features`), but where the number of branches changes. Only torch does so. 1: all do.

    Raises:
        ValueError: a value is not legal; the message names it and what would be.
    """

    steps: int | None = None
    guidance_scale: float | None = None
    guidance: str = "feature"
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    scheduler: str | None = None
    seed: int = 0
    guidance_every: int = 1
    features_every: int = 1

    def __post_init__(self) -> None:
        if self.steps is not None:
            check_steps("steps (num_inference_steps)", self.steps)
        if self.guidance_scale is not None:
            check_guidance("guidance_scale", self.guidance_scale)
        if self.guidance not in GUIDANCE_KINDS:
            raise ValueError(f"guidance must be one of {', '.join(GUIDANCE_KINDS)}, got {self.guidance!r}")
        self._check_interval()
        check_steps("guidance_every", self.guidance_every)
        check_steps("features_every", self.features_every)
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

    def settled(self, config: Mapping[str, Any]) -> Sampling:
        """With numbers where the model's own are meant.

        Args:
            config: of a pipeline (`model_index.json`).
        """
        steps = config.get("default_steps", USUAL_STEPS) if self.steps is None else self.steps
        scale = (
            config.get("default_guidance_scale", USUAL_GUIDANCE) if self.guidance_scale is None else self.guidance_scale
        )
        return replace(self, steps=steps, guidance_scale=scale)

    def arguments(self) -> dict[str, Any]:
        """Arguments of the pipeline's call; scheduler and seed are no arguments of diffusers' pipelines."""
        return {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "guidance": self.guidance,
            "guidance_interval": self.guidance_interval,
            "guidance_every": self.guidance_every,
            "features_every": self.features_every,
        }

    def __str__(self) -> str:
        """Steps and guidance scale, and what differs from the defaults."""
        steps = "the model's" if self.steps is None else self.steps
        scale = "the model's" if self.guidance_scale is None else f"{self.guidance_scale:g}"
        parts = [f"{steps} step{'' if steps == 1 else 's'}", f"guidance {scale}"]
        if self.guidance != "feature":
            parts.append(f"{self.guidance} guidance")
        if tuple(self.guidance_interval) != (0.0, 1.0):
            parts.append("guidance from {:g} to {:g}".format(*self.guidance_interval))
        if self.guidance_every != 1:
            parts.append(f"null branch at every {self.guidance_every} guided steps")
        if self.features_every != 1:
            parts.append(f"deep features at every {self.features_every} steps")
        if self.scheduler is not None:
            parts.append(f"scheduler {self.scheduler}")
        if self.seed:
            parts.append(f"seed {self.seed}")
        return ", ".join(parts)


def check_steps(name: str, steps: Any) -> int:
    """Steps as they are, if they are a whole number of at least 1.

    Raises:
        ValueError: they are not; the message calls them `name`.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {steps!r}")
    return steps


def check_guidance(name: str, scale: Any) -> float:
    """A scale of guidance as it is, if it is legal.

    Raises:
        ValueError: it is not; the message calls it `name`.
    """
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not abs(scale) <= MOST_GUIDANCE:
        raise ValueError(f"{name} must be a number from -{MOST_GUIDANCE} to {MOST_GUIDANCE}, got {scale!r}")
    return float(scale)
