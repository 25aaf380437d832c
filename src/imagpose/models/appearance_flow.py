"""Where a photo shows each place of a target view: appearance flow, outline, visibility and what is hidden, from two poses.

A first flow by parts of the body (`pose.part_flow`) is corrected in two ways. Each cell of 8 pixels of the target is matched
with all cells of the source,

    p_ij = softmax_j(tau <q_i, k_j> - rho log(1 + |c_j - f_i|^2 / 4)),    f_i its first place, both in cells,

and takes the mean of p around its best cell, so that a limb can come from anywhere. Finer levels, which see the source's
features at that place, correct it by some pixels. Places that the source does not see are painted: the colours that the
matching expects, sum_j p_ij x_j, and what the finest level adds to them. Source: the task, a flow and its visibility, taught
by the surface of a body, is Li et al., "Dense intrinsic appearance flow for human pose transfer", CVPR 2019; the network is
own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from imagpose.models.folder import failures_of

APPEARANCE_FLOW_WEIGHTS = Path(__file__).parent / "weights" / "appearance_flow.safetensors"
FRAME = (256, 176)
"""Height and width, in pixels, of the views that the network was trained on; all its places are in them."""
CELL = 2
"""Pixels along a cell of inputs and outputs."""
NUM_PARTS = 12
"""Values of a part map: 11 parts of a body, and 0 for the ground."""
_WIDTHS = 64, 96, 160  # at 4, 8 and 16 pixels a cell
_MATCHED = 64  # width of q and k
_MATCHING = 8  # pixels a cell of the matching
_AROUND = 12.1  # pixels from the best cell's middle up to which cells count in the mean: one to each side
_DISPLACED = 32.0  # pixels; a first flow's displacement is about 1 in these
_CORRECTED = 4.0  # pixels; what finer levels correct is about 1 in these
_HEADS = 4
_KEPT = 2.0  # logit of a new network: what is hidden is taken from the photo too

_TARGET = NUM_PARTS + 1 + 4 + 2 + 6 + 2 + 2
"""Channels of a target's cell: its part, turned away, the source's pixels and ground at its first place, displacement, both
views, its place in the frame, on its part."""
_SOURCE = 3 + NUM_PARTS + 2
"""Channels of a source's cell: pixels, its part, its place."""


@dataclass(frozen=True)
class FlowInputs:
    """b pairs of a source and a target in cells of 2 pixels, (h, w) = (128, 88).

    Attributes:
        pixels: (b, 3, h, w) in [-1, 1], the source.
        source_parts: uint8 (b, 2 h, 2 w), the part that each pixel of the source shows.
        first_flow: (b, 2, h, w), x and y in pixels of the source's frame, by parts.
        target_parts: uint8 (b, h, w), the part that the first flow takes each cell of the target for.
        turned_away: bool (b, h, w), cells whose place on their part lies on its far side in the source.
        on_part: (b, 2, h, w), where each cell of the target lies along and across its part, -1 to 1.
        source_view, target_view: (b, 3), the turn of the body, sine and cosine of the head's yaw.
    """

    pixels: torch.Tensor
    source_parts: torch.Tensor
    first_flow: torch.Tensor
    target_parts: torch.Tensor
    turned_away: torch.Tensor
    on_part: torch.Tensor
    source_view: torch.Tensor
    target_view: torch.Tensor


@dataclass(frozen=True)
class FoundFlow:
    """What the network finds of b pairs.

    Attributes:
        flow: (b, 2, h, w), x and y in pixels of the source's frame.
        outline: logits (b, h, w) of "this cell shows the person".
        visibility: logits (b, h, w) of "the source shows this place of the person".
        painted: (b, 3, h, w), colours in about [-1, 1] for what it hides.
        kept: logits (b, h, w) of "though it is hidden, what lies at the flow looks right".
        coarse_flow: (b, 2, h / 4, w / 4), before the finest level.
        log_matching: (b, n, n), the logarithm of p for n = h / 4 * w / 4 cells, row by row.
    """

    flow: torch.Tensor
    outline: torch.Tensor
    visibility: torch.Tensor
    painted: torch.Tensor
    kept: torch.Tensor
    coarse_flow: torch.Tensor
    log_matching: torch.Tensor

    @property
    def shown(self) -> torch.Tensor:
        """Share (b, 1, h, w) of the photo's colours in the person's, 1 - (1 - v)(1 - k); the rest is painted.

        What the source sees is never painted: a mean over what might be there is a blur.
        """
        hidden = torch.sigmoid(-self.visibility) * torch.sigmoid(-self.kept)
        return 1 - hidden[:, None]

    def completed(self, warped: torch.Tensor) -> torch.Tensor:
        """The person's colours (b, 3, h, w) of the photo's at the flow, of that size too, and the painted ones."""
        return torch.lerp(self.painted, warped, self.shown)


class AppearanceFlow(nn.Module):
    """From a source and two poses to the flow between them; a new network matches by the first flow alone."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.target_in = nn.Conv2d(4 * _TARGET, fine, 1)
        self.source_in = nn.Conv2d(4 * _SOURCE, fine, 1)
        self.target_down = nn.ModuleList([_Residual(fine), _halved(fine, middle), _halved(middle, coarse)])
        self.source_down = nn.ModuleList([_Residual(fine), _halved(fine, middle), _halved(middle, coarse)])
        self.places = nn.Parameter(0.02 * torch.randn(1, FRAME[0] // 16 * (FRAME[1] // 16), coarse))
        self.attention = nn.ModuleList([_Attention(coarse) for _ in range(4)])
        self.target_coarse = _Residual(coarse)
        self.target_up, self.source_up = nn.Conv2d(coarse, middle, 1), nn.Conv2d(coarse, middle, 1)
        self.target_middle, self.source_middle = _Residual(middle), _Residual(middle)
        self.query, self.key = nn.Conv2d(middle, _MATCHED, 1), nn.Conv2d(middle, _MATCHED, 1)
        # A new network has tau = 20 and rho = 1: a cosine of 1 outweighs one of 0 by e^20, the first place one that lies ten
        # cells away by 26.
        self.log_tau, self.log_rho = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(0.0))
        self.found_middle, self.found_fine = nn.Conv2d(middle, middle, 1), nn.Conv2d(fine, fine, 1)
        self.middle, self.middle_change = _Residual(middle), _zeroed(nn.Conv2d(middle, 2, 3, padding=1))
        self.fine_up, self.fine = nn.Conv2d(middle, fine, 1), nn.Sequential(_Residual(fine), _Residual(fine))
        self.out = _zeroed(nn.Conv2d(fine, 4 * 4, 3, padding=1))
        self.painted_in = nn.Conv2d(3, fine, 1)
        self.painting = nn.Sequential(_Residual(fine), _Residual(fine), _Residual(fine))
        self.painted_out = _zeroed(nn.Conv2d(fine, 4 * 4, 3, padding=1))
        assert self.painted_out.bias is not None
        nn.init.constant_(self.painted_out.bias[-4:], _KEPT)

    def forward(self, inputs: FlowInputs) -> FoundFlow:
        """The flow of b pairs."""
        target_fine, target_middle, target = _descend(self.target_down, self.target_in(_of_target(inputs)))
        source_fine, source_middle, source = _descend(self.source_down, self.source_in(_of_source(inputs)))
        target, source = self._exchanged(target, source)
        target = self.target_middle(target_middle + _double(self.target_up(self.target_coarse(target))))
        source = self.source_middle(source_middle + _double(self.source_up(source)))
        log_matching, matched = self._matched(target, source, inputs.first_flow)
        expected = expected_colours(log_matching, inputs.pixels)
        target = self.middle(target + self.found_middle(_at(source_middle, matched)))
        coarse = matched + _CORRECTED * self.middle_change(target).float()
        target = target_fine + _double(self.fine_up(target)) + self.found_fine(_at(source_fine, _double(coarse)))
        target = self.fine(target)
        told = functional.pixel_shuffle(self.out(target).float(), 2)
        flow = functional.interpolate(coarse, scale_factor=4, mode="bilinear") + _CORRECTED * told[:, :2]
        target = self.painting(target + self.painted_in(_double(expected).to(target.dtype)))
        added = functional.pixel_shuffle(self.painted_out(target).float(), 2)
        painted = functional.interpolate(expected, scale_factor=4, mode="bilinear") + added[:, :3]
        return FoundFlow(flow, told[:, 2], told[:, 3], painted, added[:, 3], coarse, log_matching)

    def _exchanged(self, target: torch.Tensor, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both views' coarsest features (b, c, h, w) after attention between them and within each."""
        ours, theirs = (_tokens(own) + self.places for own in (target, source))
        ours = self.attention[0](ours, theirs)
        ours = self.attention[1](ours, ours)
        ours = self.attention[2](ours, theirs)
        theirs = self.attention[3](theirs, theirs)
        return _untokens(ours, target), _untokens(theirs, source)

    def _matched(
        self, target: torch.Tensor, source: torch.Tensor, first_flow: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """log p (b, n, n) and the mean of p around its best cell (b, 2, h, w), in pixels and without gradient."""
        b, _, height, width = target.shape
        projected = self.query(target), self.key(source)
        with torch.autocast(target.device.type, enabled=False):
            queries, keys = (functional.normalize(own.float().flatten(2), dim=1) for own in projected)
            middles = _middles(height, width, target.device).flatten(1)
            first = functional.avg_pool2d(first_flow, _MATCHING // CELL).flatten(2)
            apart = torch.cdist(first.mT, middles.mT.expand(b, -1, -1)).square() / _MATCHING**2
            near = torch.exp(self.log_rho) * torch.log1p(apart / 4)
            log_matching = torch.log_softmax(torch.exp(self.log_tau) * queries.mT @ keys - near, dim=-1)
            best = middles.mT[log_matching.argmax(dim=-1)]
            # Without gradient: p has losses of its own, M and R of `training.appearance_flow`.
            around = (middles.mT - best[:, :, None]).abs().amax(dim=-1) <= _AROUND
            weights = log_matching.detach().exp() * around
            mean = (weights / weights.sum(dim=-1, keepdim=True)) @ middles.mT
        return log_matching, mean.mT.reshape(b, 2, height, width)


@cache
def load_appearance_flow() -> AppearanceFlow:
    """The network with the weights that ship with the package, on the CPU."""
    return read_appearance_flow(APPEARANCE_FLOW_WEIGHTS).requires_grad_(False).eval()


def read_appearance_flow(path: Path) -> AppearanceFlow:
    """The network with the weights of a file.

    Raises:
        ValueError: the file is damaged, or its weights are not the network's.
    """
    network = AppearanceFlow()
    with failures_of(path):
        network.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    return network


def sample_at(values: torch.Tensor, flow: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    """Values at places of a frame; beyond its edge, the edge's.

    Args:
        values: (b, c, ...) that fill the frame, of any resolution.
        flow: (b, 2, h, w), x and y in the frame's pixels.
        mode: of `grid_sample`.

    Returns:
        float32 (b, c, h, w).
    """
    size = flow.new_tensor(FRAME[::-1])[None, :, None, None]
    places = (flow / size * 2 - 1).movedim(1, -1)
    return functional.grid_sample(values.float(), places, mode=mode, padding_mode="border", align_corners=False)


def expected_colours(log_matching: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """sum_j p_ij x_j of log p (b, n, n) and a source's pixels (b, 3, h, w), float32 (b, 3, h / 4, w / 4)."""
    with torch.autocast(pixels.device.type, enabled=False):
        colours = functional.avg_pool2d(pixels.float(), _MATCHING // CELL)
        return (log_matching.exp() @ colours.flatten(2).mT).mT.reshape(colours.shape)


def _at(features: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    return sample_at(features, flow).to(features.dtype).contiguous(memory_format=torch.channels_last)


def _of_target(inputs: FlowInputs) -> torch.Tensor:
    """What is known of each cell of the target, 4 cells to one: (b, c, h / 2, w / 2)."""
    height, width = inputs.target_parts.shape[1:]
    parts, ground = _one_hot(inputs.target_parts), _shares(inputs.source_parts)[:, :1]
    found = sample_at(torch.cat([inputs.pixels, ground], dim=1), inputs.first_flow)
    moved = (inputs.first_flow - _middles(height, width, parts.device)) / _DISPLACED
    views = torch.cat([inputs.source_view, inputs.target_view], dim=1)[:, :, None, None].expand(-1, -1, height, width)
    away = inputs.turned_away[:, None].float()
    told = torch.cat([parts, away, found, moved, views, _place(parts), inputs.on_part], dim=1)
    return functional.pixel_unshuffle(told, 2).contiguous(memory_format=torch.channels_last)


def _of_source(inputs: FlowInputs) -> torch.Tensor:
    """What is known of each cell of the source, 4 cells to one: (b, c, h / 2, w / 2)."""
    parts = _shares(inputs.source_parts)
    told = torch.cat([inputs.pixels, parts, _place(parts)], dim=1)
    return functional.pixel_unshuffle(told, 2).contiguous(memory_format=torch.channels_last)


def _one_hot(parts: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(parts.long(), NUM_PARTS).movedim(-1, 1).float()


def _shares(parts: torch.Tensor) -> torch.Tensor:
    """Each part's share of each cell, of the parts of pixels."""
    return functional.avg_pool2d(_one_hot(parts), CELL)


def _place(like: torch.Tensor) -> torch.Tensor:
    """x and y of each cell from -1 to 1, (b, 2, h, w)."""
    b, _, height, width = like.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([x, y]).to(like).expand(b, -1, -1, -1)


def _middles(height: int, width: int, device: torch.device) -> torch.Tensor:
    """x and y (2, h, w) in the frame's pixels of the middles of cells."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y]).to(device) + 0.5) * (FRAME[0] / height)


def _descend(layers: nn.ModuleList, x: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for layer in layers:
        x = layer(x)
        found.append(x)
    return found


def _double(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear")


def _tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).mT


def _untokens(tokens: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return tokens.mT.reshape(like.shape).contiguous(memory_format=torch.channels_last)


def _halved(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), _Residual(after))


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that gives 0 until it is trained."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width), nn.SiLU(), _zeroed(nn.Conv2d(width, width, 3, padding=1)),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.layers(x)
        return x + hidden


class _Attention(nn.Module):
    """Attention of tokens (b, n, c) to others, and two layers for each; it changes nothing until it is trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.other_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        for last in (self.out, self.layers[3]):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)

    def forward(self, tokens: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        def heads(x: torch.Tensor) -> torch.Tensor:
            return x.reshape(*x.shape[:2], _HEADS, -1).transpose(1, 2)

        key, value = self.key_value(self.other_norm(others)).chunk(2, dim=-1)
        found = functional.scaled_dot_product_attention(heads(self.query(self.norm(tokens))), heads(key), heads(value))
        tokens = tokens + self.out(found.transpose(1, 2).flatten(2))
        hidden: torch.Tensor = self.layers(tokens)
        return tokens + hidden
