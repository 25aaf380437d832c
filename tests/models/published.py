"""The published code's denoising UNet, written down plainly from facts about it: weights by name, loops, no modules of ours.

`unet_shapes` is the rule behind the names; `unet_output` is what is computed with them.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

Weights = dict[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]

VIEWS = 4
TABLE_ROWS = 32
HEADS = 8
INPUTS = 9
MOTION_GROUPS = 32  # of a motion module's norm, whatever the base has


def unet_shapes(widths: tuple[int, int, int, int], context: int) -> Shapes:
    """Names and shapes of all weights; the last level has no transformers, every level has motion modules."""
    shapes: Shapes = {}
    time = 4 * widths[0]

    def add(name: str, *shape: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    def resnet(name: str, inputs: int, width: int) -> None:
        add(f"{name}.norm1", inputs)
        add(f"{name}.conv1", width, inputs, 3, 3)
        add(f"{name}.time_emb_proj", width, time)
        add(f"{name}.norm2", width)
        add(f"{name}.conv2", width, width, 3, 3)
        if inputs != width:
            add(f"{name}.conv_shortcut", width, inputs, 1, 1)

    def attention(name: str, width: int, inputs: int) -> None:
        add(f"{name}.to_q", width, width, bias=False)
        add(f"{name}.to_k", width, inputs, bias=False)
        add(f"{name}.to_v", width, inputs, bias=False)
        add(f"{name}.to_out.0", width, width)

    def feed_forward(name: str, width: int) -> None:
        add(f"{name}.net.0.proj", 8 * width, width)
        add(f"{name}.net.2", width, 4 * width)

    def transformer(name: str, width: int) -> None:
        add(f"{name}.norm", width)
        add(f"{name}.proj_in", width, width, 1, 1)
        block = f"{name}.transformer_blocks.0"
        for norm in ("norm1", "norm2", "norm3"):
            add(f"{block}.{norm}", width)
        attention(f"{block}.attn1", width, width)
        attention(f"{block}.attn2", width, context)
        feed_forward(f"{block}.ff", width)
        add(f"{name}.proj_out", width, width, 1, 1)

    def motion(name: str, width: int) -> None:
        name = f"{name}.temporal_transformer"
        add(f"{name}.norm", width)
        add(f"{name}.proj_in", width, width)
        block = f"{name}.transformer_blocks.0"
        for layer in (0, 1):
            attention(f"{block}.attention_blocks.{layer}", width, width)
            shapes[f"{block}.attention_blocks.{layer}.pos_encoder.pe"] = (1, TABLE_ROWS, width)
            add(f"{block}.norms.{layer}", width)
        feed_forward(f"{block}.ff", width)
        add(f"{block}.ff_norm", width)
        add(f"{name}.proj_out", width, width)

    add("conv_in", widths[0], INPUTS, 3, 3)
    add("time_embedding.linear_1", time, widths[0])
    add("time_embedding.linear_2", time, time)
    skips, width = [widths[0]], widths[0]
    for level in range(4):
        for index in range(2):
            resnet(f"down_blocks.{level}.resnets.{index}", width, widths[level])
            width = widths[level]
            if level < 3:
                transformer(f"down_blocks.{level}.attentions.{index}", width)
            motion(f"down_blocks.{level}.motion_modules.{index}", width)
            skips.append(width)
        if level < 3:
            add(f"down_blocks.{level}.downsamplers.0.conv", width, width, 3, 3)
            skips.append(width)
    for index in range(2):
        resnet(f"mid_block.resnets.{index}", width, width)
    transformer("mid_block.attentions.0", width)
    motion("mid_block.motion_modules.0", width)
    for level in range(4):
        for index in range(3):
            resnet(f"up_blocks.{level}.resnets.{index}", width + skips.pop(), widths[3 - level])
            width = widths[3 - level]
            if level > 0:
                transformer(f"up_blocks.{level}.attentions.{index}", width)
            motion(f"up_blocks.{level}.motion_modules.{index}", width)
        if level < 3:
            add(f"up_blocks.{level}.upsamplers.0.conv", width, width, 3, 3)
    add("conv_norm_out", widths[0])
    add("conv_out", 4, widths[0], 3, 3)
    return shapes


def pose_shapes(width: int) -> Shapes:
    """Names and shapes of the pose guider: pairs of convolutions between four widths."""
    widths = (16, 32, 96, 256)
    sizes = {"conv_in": (16, 3)}
    for pair in range(3):
        sizes[f"blocks.{2 * pair}"] = (widths[pair], widths[pair])
        sizes[f"blocks.{2 * pair + 1}"] = (widths[pair + 1], widths[pair])
    sizes["conv_out"] = (width, 256)
    shapes: Shapes = {}
    for name, (outputs, inputs) in sizes.items():
        shapes |= {f"{name}.weight": (outputs, inputs, 3, 3), f"{name}.bias": (outputs,)}
    return shapes


def patch_shapes(context: int) -> Shapes:
    return {"proj.weight": (context, 4, 16, 16), "proj.bias": (context,)}


def random_weights(shapes: Shapes, seed: int) -> Weights:
    """Weights of a size at which every part counts and nothing overflows; norms near 1, position tables at random."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if name.endswith(".pe"):
            weights[name] = values
        elif name.endswith("weight") and len(shape) == 1:
            weights[name] = 1 + 0.2 * values
        elif name.endswith("bias"):
            weights[name] = 0.2 * values
        else:
            weights[name] = values / math.sqrt(math.prod(shape[1:]))
    return weights


def unet_output(
    weights: Weights,
    sample: torch.Tensor,
    timesteps: torch.Tensor,
    context: torch.Tensor,
    pose_features: torch.Tensor,
    groups: int = 32,
) -> torch.Tensor:
    """Their denoising UNet on canvases (b, 9, H, W): noise latents 4, mask 1, masked latents 4."""
    run = _Run(weights, context, groups)
    time = run.time(timesteps)
    hidden = run.conv("conv_in", sample) + pose_features
    skips = [hidden]
    for level in range(4):
        for index in range(2):
            hidden = run.site(f"down_blocks.{level}", index, hidden, time)
            skips.append(hidden)
        if level < 3:
            hidden = run.conv(f"down_blocks.{level}.downsamplers.0.conv", hidden, stride=2)
            skips.append(hidden)
    hidden = run.site("mid_block", 0, hidden, time)
    hidden = run.resnet("mid_block.resnets.1", hidden, time)
    for level in range(4):
        for index in range(3):
            hidden = run.site(f"up_blocks.{level}", index, torch.cat([hidden, skips.pop()], dim=1), time)
        if level < 3:
            doubled = hidden.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            hidden = run.conv(f"up_blocks.{level}.upsamplers.0.conv", doubled)
    assert not skips
    return run.conv("conv_out", functional.silu(run.group_norm("conv_norm_out", hidden, 1e-5)))


class _Run:
    def __init__(self, weights: Weights, context: torch.Tensor, groups: int) -> None:
        self.weights, self.context, self.groups = weights, context, groups

    def conv(self, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = self.weights[f"{name}.weight"]
        return functional.conv2d(x, weight, self.weights[f"{name}.bias"], stride, padding=weight.shape[-1] // 2)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        result = x @ self.weights[f"{name}.weight"].T
        return result + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else result

    def group_norm(self, name: str, x: torch.Tensor, epsilon: float, groups: int | None = None) -> torch.Tensor:
        parts = x.unflatten(1, (groups or self.groups, -1)).flatten(2)
        parts = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, unbiased=False, keepdim=True) + epsilon).sqrt()
        scale, shift = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return parts.reshape(x.shape) * scale[:, None, None] + shift[:, None, None]

    def layer_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return normed * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def time(self, timesteps: torch.Tensor) -> torch.Tensor:
        half = self.weights["time_embedding.linear_1.weight"].shape[1] // 2
        angles = timesteps[:, None].float() * torch.tensor([10000 ** (-k / half) for k in range(half)])
        code = torch.cat([angles.cos(), angles.sin()], dim=1)
        return self.linear("time_embedding.linear_2", functional.silu(self.linear("time_embedding.linear_1", code)))

    def site(self, block: str, index: int, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """A resnet, its transformer where the block has them, its motion module."""
        x = self.resnet(f"{block}.resnets.{index}", x, time)
        if f"{block}.attentions.{index}.norm.weight" in self.weights:
            x = self.transformer(f"{block}.attentions.{index}", x)
        return self.motion(f"{block}.motion_modules.{index}.temporal_transformer", x)

    def resnet(self, name: str, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.conv(f"{name}.conv1", functional.silu(self.group_norm(f"{name}.norm1", x, 1e-5)))
        h = h + self.linear(f"{name}.time_emb_proj", functional.silu(time))[:, :, None, None]
        h = self.conv(f"{name}.conv2", functional.silu(self.group_norm(f"{name}.norm2", h, 1e-5)))
        return h + (self.conv(f"{name}.conv_shortcut", x) if f"{name}.conv_shortcut.weight" in self.weights else x)

    def attention(self, name: str, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Head after head, (n, queries, c) from (n, keys, c')."""
        query, key, value = (self.linear(f"{name}.to_{p}", y) for p, y in (("q", x), ("k", context), ("v", context)))
        heads = []
        for q, k, v in zip(query.chunk(HEADS, 2), key.chunk(HEADS, 2), value.chunk(HEADS, 2), strict=True):
            heads.append(torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[2]), dim=2) @ v)
        return self.linear(f"{name}.to_out.0", torch.cat(heads, dim=2))

    def feed_forward(self, name: str, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.linear(f"{name}.net.0.proj", x).chunk(2, dim=-1)
        return self.linear(f"{name}.net.2", value * 0.5 * gate * (1 + torch.erf(gate / math.sqrt(2))))

    def transformer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        h = self.conv(f"{name}.proj_in", self.group_norm(f"{name}.norm", x, 1e-6))
        tokens, block = h.flatten(2).transpose(1, 2), f"{name}.transformer_blocks.0"
        normed = self.layer_norm(f"{block}.norm1", tokens)
        tokens = tokens + self.attention(f"{block}.attn1", normed, normed)
        tokens = tokens + self.attention(f"{block}.attn2", self.layer_norm(f"{block}.norm2", tokens), self.context)
        tokens = tokens + self.feed_forward(f"{block}.ff", self.layer_norm(f"{block}.norm3", tokens))
        return x + self.conv(f"{name}.proj_out", tokens.transpose(1, 2).reshape(h.shape))

    def motion(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """The exchange between the quadrants; (b, c, 2h, 2w)."""
        batch, channels, height, width = x.shape
        top, bottom, left, right = (
            slice(0, height // 2), slice(height // 2, height), slice(0, width // 2), slice(width // 2, width)
        )  # fmt: skip
        quadrants = [(top, left), (top, right), (bottom, left), (bottom, right)]
        views = [self.group_norm(f"{name}.norm", x[:, :, rows, cols], 1e-6, MOTION_GROUPS) for rows, cols in quadrants]
        places = [view.flatten(2).transpose(1, 2).reshape(-1, channels) for view in views]
        tokens = self.linear(f"{name}.proj_in", torch.stack(places, dim=1))
        block = f"{name}.transformer_blocks.0"
        for layer in (0, 1):
            table = self.weights[f"{block}.attention_blocks.{layer}.pos_encoder.pe"][0, :VIEWS]
            coded = self.layer_norm(f"{block}.norms.{layer}", tokens) + table
            tokens = tokens + self.attention(f"{block}.attention_blocks.{layer}", coded, coded)
        tokens = tokens + self.feed_forward(f"{block}.ff", self.layer_norm(f"{block}.ff_norm", tokens))
        change = self.linear(f"{name}.proj_out", tokens)
        result = x.clone()
        for slot, (rows, cols) in enumerate(quadrants):
            part = change[:, slot].reshape(batch, -1, channels).transpose(1, 2)
            result[:, :, rows, cols] += part.reshape(batch, channels, height // 2, width // 2)
        return result


def pose_output(weights: Weights, skeleton: torch.Tensor) -> torch.Tensor:
    """Their pose guider on a picture (b, 3, H, W) in [0, 1]."""
    strides = {"conv_in": 1, **{f"blocks.{index}": 1 + index % 2 for index in range(6)}}
    for name, stride in strides.items():
        convolved = functional.conv2d(skeleton, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding=1)
        skeleton = convolved * torch.sigmoid(convolved)
    return functional.conv2d(skeleton, weights["conv_out.weight"], weights["conv_out.bias"], padding=1)
