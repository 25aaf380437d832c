"""The noise schedule, built in one place for training and inference."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from diffusers import DDIMScheduler

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""Schedulers to sample with, by the class of diffusers; all of them run on a schedule of zero terminal SNR."""


def build_scheduler(
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon",
    beta_schedule: Literal["scaled_linear", "linear"] = "scaled_linear",
    zero_terminal_snr: bool = False,
    betas: tuple[float, float] = (0.00085, 0.012),
) -> DDIMScheduler:
    """DDIM over 1000 training steps.

    Timesteps are spaced "trailing", so that sampling starts at the last, noisiest step whatever their number. Source: Lin et
    al., "Common diffusion noise schedules and sample steps are flawed", 2024, §3.3; zero terminal SNR is its §3.1.

    Args:
        prediction_type: what the UNet predicts.
        beta_schedule: "scaled_linear", in which the square roots of the betas rise linearly: what Stable Diffusion was
            trained with, and what the published code trains with. "linear", in which the betas do: the paper's word
            (Table 6).
        zero_terminal_snr: rescale the betas so that the last step is pure noise; needs v_prediction.
        betas: the first and the last; Stable Diffusion's if not given.

    Raises:
        ValueError: zero terminal SNR with epsilon: at zero SNR the noise says nothing about the picture.
    """
    from diffusers import DDIMScheduler

    if zero_terminal_snr and prediction_type == "epsilon":
        raise ValueError("zero_terminal_snr needs prediction_type v_prediction")
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=betas[0],
        beta_end=betas[1],
        beta_schedule=beta_schedule,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=zero_terminal_snr,
    )


def check_scheduler(scheduler: Any) -> None:
    """Raises `ValueError` if a scheduler is not one of noise levels: flow matching and inversion know none."""
    missing = [name for name in ("init_noise_sigma", "scale_model_input", "add_noise") if not hasattr(scheduler, name)]
    if missing:
        raise ValueError(
            f"a {type(scheduler).__name__} cannot sample here, it has no {', '.join(missing)}:"
            f" one of {', '.join(SCHEDULERS.values())} or of their kind is expected"
        )


def named_scheduler(name: str, trained: Any) -> Any:
    """The scheduler of a name of `SCHEDULERS`, with the noise schedule of the one that a model was trained with."""
    kind = getattr(import_module("diffusers"), SCHEDULERS[name])
    return kind.from_config(trained.config)
