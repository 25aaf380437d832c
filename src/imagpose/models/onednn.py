"""Linear layers and 1x1 convolutions on the CPU through oneDNN: a switch; weights keep their names and values.

In fp32 torch multiplies matrices by MKL, which uses half of the vector width on processors that are not Intel's; with one
thread it computes 1x1 convolutions without a kernel of their own. oneDNN has both, from the same dense weights. What
it brings on a machine is printed by `benchmarks/unet_speed.py`. Source: own; the operators are those that
torch.compile puts into its programs.
"""

from __future__ import annotations

import torch
from torch import nn

_FEWEST_ROWS = 16
"""Below, a product is bound by reading the weights, and MKL reads them as they lie."""


def is_available() -> bool:
    """Whether this build of torch has oneDNN and its product of dense tensors."""
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def route_by_onednn(network: nn.Module, on: bool = True) -> None:
    """Let oneDNN compute a network's linear layers and 1x1 convolutions, or let torch choose again.

    Layers of other classes stay as they are, and so does everything where gradients are recorded, on other devices, and in
    traced, compiled or exported programs, which choose kernels themselves.
    """
    if on and not is_available():
        return
    for layer in network.modules():
        if on and type(layer) is nn.Linear:
            layer.__class__ = _Linear
        elif on and type(layer) is nn.Conv2d and layer.kernel_size == (1, 1) and layer.padding == (0, 0):
            layer.__class__ = _Conv2d
        elif not on and type(layer) in (_Linear, _Conv2d):
            layer.__class__ = nn.Linear if type(layer) is _Linear else nn.Conv2d


class _Linear(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        rows = input.numel() // self.in_features
        if rows < _FEWEST_ROWS or not _is_plain(input, self.weight):
            return super().forward(input)
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return product


class _Conv2d(nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not _is_plain(input, self.weight):
            return super().forward(input)
        output: torch.Tensor = torch.mkldnn_convolution(
            input, self.weight, self.bias, (0, 0), self.stride, self.dilation, self.groups
        )
        return output


def _is_plain(input: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether oneDNN may compute: dense fp32 on the CPU, nothing recorded, traced or cast."""
    return (
        input.dtype == weight.dtype == torch.float32
        and input.device.type == weight.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )
