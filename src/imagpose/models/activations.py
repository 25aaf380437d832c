"""What autograd keeps of a UNet's forward pass, counted on the meta device: nothing is computed and nothing allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from imagpose.models.cross_view import CrossViewAttention
from imagpose.models.unet import IMAGPoseUNet

__all__ = ["Activations", "count_activations"]

_UNITS = (ResnetBlock2D, BasicTransformerBlock, CrossViewAttention)
_NORMS = (nn.GroupNorm, nn.LayerNorm)


class Activations:
    """The distinct tensors that autograd keeps, by the unit of gradient checkpointing in which they arise.

    Args:
        parameters: kept too, but no activations.
        half: whether autocast computes in 2 bytes; what enters and leaves norms stays in 4.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], half: bool) -> None:
        self._half = half
        self._seen: dict[int, Any] = {}  # storages, held so that none of their keys is given away again
        self._parameters = {self._key(weight) for weight in parameters}
        self._around_norms: set[int] = set()
        self._kept: dict[int, str] = {}
        self._inputs: list[int] = []
        self._unit = ""

    def _key(self, tensor: torch.Tensor) -> int:
        storage = tensor.untyped_storage()
        self._seen[storage._cdata] = storage
        return storage._cdata

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Hook of autograd: `tensor` is kept for the backward pass."""
        key = self._key(tensor)
        if key not in self._parameters:
            self._kept.setdefault(key, self._unit)
        return tensor

    def enter(self, name: str, hidden: torch.Tensor) -> None:
        """The unit `name` begins with `hidden`."""
        self._unit = name
        self._inputs.append(self._key(hidden))

    def leave(self) -> None:
        """The unit has ended."""
        self._unit = ""

    def around_norm(self, *tensors: torch.Tensor) -> None:
        """These enter or leave a norm."""
        self._around_norms.update(self._key(tensor) for tensor in tensors)

    def _bytes(self, key: int) -> int:
        values = self._seen[key].nbytes() // 4
        return values * (2 if self._half and key not in self._around_norms else 4)

    @property
    def total(self) -> int:
        """Bytes, without gradient checkpointing."""
        return sum(self._bytes(key) for key in self._kept)

    @property
    def checkpointed(self) -> int:
        """Bytes with gradient checkpointing: the units' inputs, what is outside of units, and the largest unit."""
        units: dict[str, int] = {}
        for key, unit in self._kept.items():
            units[unit] = units.get(unit, 0) + self._bytes(key)
        outside = units.pop("", 0)
        inputs = {key for key in self._inputs if self._kept.get(key) != ""}
        return outside + sum(self._bytes(key) for key in inputs) + max(units.values(), default=0)


class _Fused(torch.autograd.Function):
    """Attention that keeps what fused kernels keep: queries, keys, values and the result, not the attention map."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result)
        return result


class _FusedProcessor:
    """An attention processor for the meta device, whose own attention keeps the map."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        **unused: Any,
    ) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        fused = _Fused.apply(attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        return attn.to_out[0](fused)


def count_activations(
    unet: IMAGPoseUNet, others: Iterable[nn.Module], run: Callable[[], Any], half: bool
) -> Activations:
    """Run a forward pass and count what it keeps.

    Args:
        unet: on the meta device; its attention is taken to be fused.
        others: further networks that `run` calls.
        run: the forward pass.
        half: see `Activations`.
    """
    networks: tuple[nn.Module, ...] = (unet, *others)
    count = Activations((weight for network in networks for weight in network.parameters()), half)
    handles = []
    for network in networks:
        for name, module in network.named_modules():
            if isinstance(module, _UNITS):
                enter = lambda _, args, name=name: count.enter(name, args[0])  # noqa: E731
                handles.append(module.register_forward_pre_hook(enter))
                handles.append(module.register_forward_hook(lambda *_: count.leave()))
            elif isinstance(module, _NORMS):
                handles.append(module.register_forward_hook(lambda _, args, output: count.around_norm(args[0], output)))
    processors = unet.attn_processors
    unet.set_attn_processor(_FusedProcessor())
    try:
        with torch.autograd.graph.saved_tensors_hooks(count.keep, lambda tensor: tensor):
            run()
    finally:
        unet.set_attn_processor(processors)
        for handle in handles:
            handle.remove()
    return count
