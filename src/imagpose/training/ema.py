"""EMA weights and their use, whole or sharded: under FSDP a process holds a part of each weight only."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from imagpose.training.processes import is_sharded, whole
from imagpose.training.stage import Stage


class AveragedWeights:
    """The exponential moving average of a stage's weights, and the stage with them in place.

    Where the weights are sharded, a second, whole copy of the stage lies in the main process's memory; it takes the
    average when it is asked for, because the sharded networks cannot be called part by part.
    """

    def __init__(
        self, stage: Stage, decay: float, accelerator: Accelerator, every: int = 1, on_cpu: bool = False
    ) -> None:
        """Take `stage` before it is prepared; `start` follows after.

        Args:
            stage: what is trained.
            decay: largest decay of a step.
            accelerator: of the run.
            every: steps between updates; an update has the decay of as many steps.
            on_cpu: keep the average in the CPU's memory; an update then brings the weights there.
        """
        self.stage = stage
        self.decay = decay**every
        self.every = every
        self.accelerator = accelerator
        self.device = torch.device("cpu") if on_cpu else accelerator.device
        sharded = is_sharded(accelerator)
        self._whole = _twin(stage) if sharded and accelerator.is_main_process else None

    def start(self) -> None:
        """Begin to average the prepared stage's weights."""
        self.ema = EMAModel(self.stage.parameters(), decay=self.decay, foreach=True)
        self.ema.to(self.device)
        self._steps = 0

    @property
    def steps(self) -> int:
        """Steps of the optimiser so far; with it the warm-up of the decay and the cadence go on."""
        return self._steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self._steps = steps
        self.ema.optimization_step = steps // self.every

    def step(self) -> None:
        """The optimiser has made a step."""
        self._steps += 1
        if self._steps % self.every == 0:
            self.ema.step(self._brought(weight) for weight in self.stage.parameters())

    def _brought(self, weight: nn.Parameter) -> torch.Tensor:
        """A weight on the average's device, itself if it is there."""
        if weight.device == self.device or self.device.type != "cpu":
            return weight
        # It says whether it learns: of others the average is a copy.
        return weight.detach().to(self.device).requires_grad_(weight.requires_grad)

    def state(self) -> dict[str, torch.Tensor]:
        """The average of each weight, whole. Every process calls it."""
        names = [name for name, _ in self.stage.named_parameters()]
        return {name: whole(weight) for name, weight in zip(names, self.ema.shadow_params, strict=True)}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Put the averages back, each process its part.

        Raises:
            KeyError, RuntimeError: they are another model's.
        """
        for (name, _), shadow in zip(self.stage.named_parameters(), self.ema.shadow_params, strict=True):
            if isinstance(shadow, DTensor):
                weight = state[name].to(self.accelerator.device)
                shadow.copy_(distribute_tensor(weight, shadow.device_mesh, shadow.placements))
            else:
                shadow.copy_(state[name])

    @contextmanager
    def used(self) -> Iterator[Stage]:
        """The stage with averaged weights, in evaluation mode, without gradients, in the run's precision, uncompiled.

        Every process enters; where weights are sharded only the main process may call what it gets.
        """
        # Uncompiled, because measuring brings batches of other sizes, each of which would be compiled anew.
        with torch.no_grad(), self.accelerator.autocast(), torch.compiler.set_stance("force_eager"):
            if is_sharded(self.accelerator):
                yield self._unsharded()
                return
            parameters = list(self.stage.parameters())
            self.ema.store(parameters)
            self.ema.copy_to(parameters)
            self.stage.eval()
            try:
                yield self.stage
            finally:
                self.ema.restore(parameters)

    def _unsharded(self) -> Stage:
        state = self.state()
        if self._whole is None:
            return self.stage
        buffers = dict(self.stage.named_buffers())
        self._whole.load_state_dict(
            {**state, **buffers}, strict=False
        )  # not strict: buffers that are no part of a state
        return self._whole.to(self.accelerator.device).eval()


def _twin(stage: Stage) -> Stage:
    """The stage with networks of its own; what it only reads (data, frozen networks, settings) is shared."""
    twin = copy.copy(stage)
    twin._modules = copy.deepcopy(stage._modules)
    return twin
