"""The UNet under guidance (Eq. 5), step by step: which steps take the branch with the null condition, what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from imagpose.models.conditions import guidance_embedding
from imagpose.models.kept_features import KeptFeatures
from imagpose.pipeline.backends import Backend, Work
from imagpose.pipeline.conditions import JointConditions
from imagpose.pipeline.sampling import Sampling

if TYPE_CHECKING:
    from imagpose.models.unet import IMAGPoseUNet


class GuidedUNet:
    """Predictions for some canvases, one step after the other.

    Steps inside the interval of guidance take both branches, in one call with twice as many canvases. With
    `guidance_every` k only every k-th of them does; the steps between use the last difference of the branches:

        null + s (conditioned - null) = conditioned + (s - 1) (conditioned - null)

    Source of the second: Castillo et al., "Adaptive guidance: training-free acceleration of conditional diffusion models",
    2023, whose estimate of the null branch is linear in earlier steps; ours is the simplest.

    A UNet that takes the scale as an input (a few-step student) has guidance inside: one branch at every step.

    Args:
        unet: evaluated by `backend`.
        conditions: of the canvases.
        sampling: kind, interval and reuse of guidance, reuse of features.
        shares: t / T of each step.
        scale: s at the beginning; a callback may change it.
    """

    def __init__(
        self,
        unet: IMAGPoseUNet,
        backend: Backend,
        conditions: JointConditions,
        sampling: Sampling,
        shares: Sequence[float],
        scale: float,
    ) -> None:
        low, high = sampling.guidance_interval
        takes_scale = unet.config.time_cond_proj_dim is not None
        self._guided = [not takes_scale and low <= share <= high for share in shares]
        self._every = sampling.guidance_every
        self._unet, self._conditions = unet, conditions
        self._both = conditions.without_image(sampling.guidance).concat(conditions)
        twice = 0 if scale == 1 else -(-sum(self._guided) // self._every)
        work = Work.of(conditions, len(shares) + twice, sampling.features_every > 1)
        self._evaluate = backend.choose(unet, work)
        self._features = KeptFeatures(unet, sampling.features_every)
        self._difference: torch.Tensor | None = None
        self._age = self._branches = 0

    def __call__(self, index: int, t: torch.Tensor, canvases: torch.Tensor, scale: float) -> torch.Tensor:
        """The guided prediction (n, c, rows*h, cols*w), float32, for noisy canvases as the scheduler scales them."""
        if not self._guided[index] or scale == 1:
            return self._predict(t, canvases, self._conditions, scale, branches=1)
        if self._difference is None or self._age == self._every:
            both = self._predict(t, torch.cat([canvases, canvases]), self._both, scale, branches=2)
            null, conditioned = both.chunk(2)
            self._difference, self._age = conditioned - null, 1
            # Eq. 5; what the null branch lacks is `Sampling.guidance`'s.
            return null + scale * self._difference
        self._age += 1
        return self._predict(t, canvases, self._conditions, scale, branches=1) + (scale - 1) * self._difference

    def _predict(
        self, t: torch.Tensor, canvases: torch.Tensor, conditions: JointConditions, scale: float, branches: int
    ) -> torch.Tensor:
        unet = self._unet
        if branches != self._branches:  # what is kept is of other canvases, or of as many as with other guidance
            self._features.renew()
            if unet.is_cache_enabled:
                unet._reset_stateful_cache()
        self._branches = branches
        embedded = guidance_embedding(unet, scale)
        options: dict[str, Any] = {} if embedded is None else {"timestep_cond": embedded}
        with self._features.call():
            return self._evaluate(
                torch.cat([canvases.to(unet.dtype), conditions.image], dim=1),
                t,
                conditions.features,
                pose_features=conditions.pose_features,
                view_grid=conditions.grid,
                **options,
                return_dict=False,
            )[0].float()
