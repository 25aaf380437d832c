"""What evaluates the UNet: torch, torch.compile or OpenVINO; chosen per call by what is installed and how much is asked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from imagpose.io import error_line
from imagpose.models import exported

if TYPE_CHECKING:
    from imagpose.models.unet import IMAGPoseUNet
    from imagpose.pipeline.conditions import JointConditions
    from imagpose.views import ViewGrid

Evaluate = Callable[..., tuple[torch.Tensor]]

_WORTH_EXPORT = 5e13
_WORTH_READING = 5e12
"""Parameters x latents of a canvas x canvases over all steps from which exporting, and reading what is exported, pays:
`mini` takes 10 s to export and 1 s to read on a core, and saves 0.06 s at each step of one canvas with guidance."""


@dataclass(frozen=True)
class Work:
    """What a part of a call asks of the UNet.

    Attributes:
        canvases: how many it takes over all steps, those of both branches of guidance counted.
        canvas: height and width of a canvas in latents.
        tokens: of F_C.
        grid: of the canvases.
        device: where they are; an offloaded UNet is elsewhere between calls.
        keeps_features: whether not all steps compute all layers, which a program does.
    """

    canvases: int
    canvas: tuple[int, int]
    tokens: int
    grid: ViewGrid
    device: str = "cpu"
    keeps_features: bool = False

    @classmethod
    def of(cls, conditions: JointConditions, branches: int, keeps_features: bool = False) -> Work:
        """Some canvases, evaluated so many times: once or twice a step."""
        canvases, _, height, width = conditions.image.shape
        tokens, device = conditions.features.shape[1], conditions.image.device.type
        return cls(canvases * branches, (height, width), tokens, conditions.grid, device, keeps_features)

    def size(self, unet: IMAGPoseUNet) -> float:
        """Multiplications, but for a factor that all UNets share more or less."""
        return float(unet.num_parameters()) * self.canvas[0] * self.canvas[1] * self.canvases


class Backend:
    """Evaluates a UNet by the backend that was asked for, and by torch where that one is not able to; says so once.

    Args:
        asked: one of `loading.BACKENDS`; "auto" is OpenVINO where it is installed and the work is worth it, else torch.
    """

    def __init__(self, asked: str = "auto") -> None:
        self.asked = asked
        self.used: list[str] = []
        self._exported: tuple[IMAGPoseUNet, exported.ExportedUNet] | None = None
        self._compiled: tuple[IMAGPoseUNet, Any] | None = None
        self._said: set[str] = set()

    def choose(self, unet: IMAGPoseUNet, work: Work) -> Evaluate:
        """What is called in place of the UNet for this work."""
        name = self._name(unet, work)
        evaluate: Evaluate = unet
        if name == "openvino":
            evaluate = self._falling_back("openvino", unet, self._exported_of(unet))
        elif name == "compile":
            if self._compiled is None or self._compiled[0] is not unet:
                self._compiled = (unet, torch.compile(unet, dynamic=False))
            evaluate = self._falling_back("compile", unet, self._compiled[1])
        self._note(name)
        return evaluate

    def record(self) -> dict[str, Any]:
        """For `result.json`: what was asked for, and everything that was used."""
        return {"asked": self.asked, "used": list(self.used)}

    def _name(self, unet: IMAGPoseUNet, work: Work) -> str:
        if work.keeps_features:
            if self.asked in ("compile", "openvino"):
                self._say(self.asked, "features are kept for some steps (features_every)", once=False)
            return "torch"
        if self.asked in ("torch", "compile"):
            return self.asked if self.asked not in self._said else "torch"
        if "openvino" in self._said or work.device != "cpu":
            return "torch"
        missing = "" if exported.is_installed() else "the extra openvino is not installed"
        if why := missing or _unexportable(unet):
            if self.asked == "openvino":
                self._say("openvino", why, once=bool(missing))
            return "torch"
        if self.asked == "openvino" or work.size(unet) >= _WORTH_EXPORT:
            return "openvino"
        worth_reading = work.size(unet) >= _WORTH_READING
        stored = worth_reading and self._exported_of(unet).is_stored(work.canvas, work.tokens, work.grid)
        return "openvino" if stored else "torch"

    def _exported_of(self, unet: IMAGPoseUNet) -> exported.ExportedUNet:
        if self._exported is None or self._exported[0] is not unet:
            self._exported = (unet, exported.ExportedUNet(unet))
        return self._exported[1]

    def _falling_back(self, name: str, unet: IMAGPoseUNet, evaluate: Any) -> Evaluate:
        """`evaluate` until it fails, then the UNet itself."""

        def call(*arguments: Any, **named: Any) -> tuple[torch.Tensor]:
            output: tuple[torch.Tensor]
            if name in self._said:
                output = unet(*arguments, **named)
                return output
            try:
                output = evaluate(*arguments, **named)
            except (
                Exception
            ) as error:  # of compilers, of any class: no C++ compiler, an unknown operator, too little memory
                self._say(name, error_line(error, 200))
                self._note("torch")
                output = unet(*arguments, **named)
            return output

        return call

    def _say(self, name: str, why: str, once: bool = True) -> None:
        if name not in self._said:
            warnings.warn(f"backend {name} is not used, torch is: {why}", UserWarning, stacklevel=2)
        if once:
            self._said.add(name)

    def _note(self, name: str) -> None:
        if name not in self.used:
            self.used.append(name)


def _unexportable(unet: IMAGPoseUNet) -> str:
    """Why a program would not compute what this UNet computes now; empty where it would."""
    if getattr(unet, "peft_config", None):
        return "LoRA adapters are loaded (fuse_lora and unload_lora_weights put them into the weights)"
    if unet.is_cache_enabled:
        return "a cache of attention is on"
    if any(getattr(block, "s1", None) is not None for block in unet.up_blocks):
        return "FreeU is on"
    return ""
