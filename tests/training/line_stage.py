"""A stage of three parameters, whose every number can be recomputed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from imagpose.training.stage import Batch, Stage, keyed_generator


class LineStage(Stage):
    """Fits a line; what happens at a step can be arranged."""

    name = "line"
    samples_per_batch = 2

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(2, 1)
        self.at_step: dict = {}
        self.seen: list[np.ndarray] = []

    def batch(self, step: int, samples: range) -> Batch:
        self.seen.append(self.flat())
        self.at_step.get(step, lambda: None)()
        inputs = torch.stack([torch.randn(2, generator=keyed_generator(5, step, sample)) for sample in samples])
        return {"inputs": inputs, "truth": inputs.sum(dim=1, keepdim=True)}

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return (self.line(batch["inputs"]) - batch["truth"]).square().mean(), {"first": batch["inputs"].mean()}

    def validate(self) -> dict[str, float]:
        modes = {"training": float(self.training), "gradients": float(torch.is_grad_enabled())}
        return {"weight": float(self.line.weight[0, 0]), **modes}

    def export(self, folder: Path) -> None:
        save_file({name: tensor.clone() for name, tensor in self.state_dict().items()}, folder / "line.safetensors")

    def flat(self) -> np.ndarray:
        return np.concatenate([parameter.detach().numpy().ravel().copy() for parameter in self.parameters()])
