"""IMAGPoseUNet: diffusers' UNet2DConditionModel with pose features, image-level channels and cross-view attention."""

from __future__ import annotations

from functools import wraps
from inspect import signature
from os import PathLike
from typing import Any

import torch
from diffusers import CacheMixin, PyramidAttentionBroadcastConfig, UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn
from torch.utils._pytree import register_constant

from imagpose.models.cross_view import CrossViewAttention
from imagpose.models.cross_view_blocks import BLOCK_TYPES, PLACEMENTS, VIEW_GRID, add_cross_view
from imagpose.models.diffusers_hooks import WholeModel, init_keys, register_to_config
from imagpose.views import ViewGrid, tile, untile

VIEW_LAYOUTS = ("canvas", "batch")

register_constant(ViewGrid)  # torch.export takes it among the arguments, as part of the program


class PoseConv2d(nn.Conv2d):
    """A convolution that adds the channels behind its own input channels to its output; the same keys as Conv2d.

    It carries F_P past the stock forward to the place where the paper adds it: behind conv_in, before the first skip.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.shape[1] == self.in_channels:
            return super().forward(input)
        sample, pose_features = torch.split(input, [self.in_channels, self.out_channels], dim=1)
        features: torch.Tensor = super().forward(sample) + pose_features
        return features


class InputSkip(nn.Module):
    """Mixes what the layers predict with what is linear in the UNet's input, cell by cell.

        (1 - g) layers + g (alpha(t) x_t + beta(t) y),  y the latents that F_I shows, g in (0, 1) the layers' last channel

    Where y is the picture nearly, the velocity is nearly of the second form (`conditions.linear_velocity`); group norms
    stand in the layers' way to it. Source: own; a skip with coefficients of the noise level is Karras et al., "Elucidating
    the design space of diffusion-based generative models", 2022, §5.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.coefficients = nn.Linear(embedding, 2 * channels)

    def forward(self, output: torch.Tensor, sample: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """The mixture (b, c, H, W).

        Args:
            output: of the layers, (b, c + 1, H, W).
            sample: the UNet's input (b, 2c + 1, H, W).
            embedding: of its timestep, (b or 1, d).
        """
        layers, gate = output[:, :-1], output[:, -1:].sigmoid()
        alpha, beta = self.coefficients(embedding)[..., None, None].chunk(2, dim=1)
        noisy, shown = sample[:, :-1].chunk(2, dim=1)
        mixed: torch.Tensor = layers + gate * (alpha * noisy + beta * shown - layers)
        return mixed


class IMAGPoseUNet(WholeModel, UNet2DConditionModel, CacheMixin):
    """The denoising network on joint canvases (paper §3, Fig. 2).

    All arguments of diffusers' UNet2DConditionModel hold, and its keys stay what they are. Besides:

    Args:
        cross_view_placement: None: no CVA. "cross_attention": behind every transformer (paper §3.4). "every_block": also
            behind every resnet of blocks without attention (released code, 21 sites at Stable Diffusion's size).
        cross_view_depth: attention layers in each CVA.
        cross_view_feed_forward: whether a feed-forward follows them.
        cross_view_heads: attention heads of each CVA.
        cross_view_norm_num_groups: groups of each CVA's group norm; None: `norm_num_groups`.
        view_layout: "canvas": convolutions and self-attention see all views, tiled beside each other. "batch": inside,
            views laid along the batch axis, where only CVA connects them (M1, Table 7).
        input_skip: whether `InputSkip` mixes what the layers predict with what is linear in the input.

    With c latent channels (`out_channels`) `in_channels` is 2c + 1 for noise latents, masked latents and mask, c + 1 for
    noise latents and mask, c for noise latents (`conditions.unet_input`).

    Raises:
        ValueError: an unknown placement or layout, CVA in a block of another kind than `BLOCK_TYPES`, or an input skip
            without masked latents.
    """

    conv_in: nn.Conv2d
    mid_block: nn.Module | None

    @register_to_config
    def __init__(
        self,
        cross_view_placement: str | None = "cross_attention",
        cross_view_depth: int = 1,
        cross_view_feed_forward: bool = False,
        cross_view_heads: int = 8,
        cross_view_norm_num_groups: int | None = None,
        view_layout: str = "canvas",
        input_skip: bool = False,
        **kwargs: Any,
    ) -> None:
        if cross_view_placement not in (None, *PLACEMENTS):
            raise ValueError(f"cross_view_placement {cross_view_placement!r}: one of {', '.join(PLACEMENTS)} or None")
        if view_layout not in VIEW_LAYOUTS:
            raise ValueError(f"view_layout {view_layout!r}: one of {', '.join(VIEW_LAYOUTS)}")
        super().__init__(**kwargs)
        width, kernel_size = self.config.block_out_channels[0], self.config.conv_in_kernel
        self.conv_in = PoseConv2d(self.config.in_channels, width, kernel_size, padding=(kernel_size - 1) // 2)
        if cross_view_placement is not None:
            self._add_cross_view(cross_view_placement)
        if input_skip:
            channels = self.config.out_channels
            if self.config.in_channels != 2 * channels + 1:
                raise ValueError(f"input_skip needs masked latents: in_channels {2 * channels + 1} expected")
            self.linear_skip = InputSkip(channels, self.time_embedding.linear_2.out_features)
            kernel_size = self.config.conv_out_kernel
            self.conv_out = nn.Conv2d(width, channels + 1, kernel_size, padding=(kernel_size - 1) // 2)

    def _add_cross_view(self, placement: str) -> None:
        def make(channels: int) -> CrossViewAttention:
            return CrossViewAttention(
                channels,
                num_heads=self.config.cross_view_heads,
                depth=self.config.cross_view_depth,
                feed_forward=self.config.cross_view_feed_forward,
                norm_num_groups=self.config.cross_view_norm_num_groups or self.config.norm_num_groups,
                views_in_batch=self.config.view_layout == "batch",
            )

        types = (*self.config.down_block_types, *self.config.up_block_types, self.config.mid_block_type)
        unknown = [name for name in types if name not in (None, *BLOCK_TYPES)]
        if unknown:
            raise ValueError(f"cross-view attention has no place in a {unknown[0]}: {', '.join(BLOCK_TYPES)} have one")
        for blocks in (self.down_blocks, self.up_blocks):
            for index, block in enumerate(blocks):
                blocks[index] = add_cross_view(block, placement, make)
        if self.mid_block is not None:
            self.mid_block = add_cross_view(self.mid_block, placement, make)

    def check_without_adapters(self) -> None:
        """Refuse to save adapters and weights under each other's names, which nothing could load.

        Raises:
            ValueError: an adapter is loaded.
        """
        if adapters := ", ".join(getattr(self, "peft_config", {})):
            raise ValueError(
                f"the UNet has LoRA adapters ({adapters}) and cannot be saved with them: save_lora_weights saves them alone;"
                " unload_lora_weights, after fuse_lora if they are to stay in the weights, makes it a plain UNet again"
            )

    # A pipeline passes max_shard_size and variant on where the signature has them.
    @wraps(UNet2DConditionModel.save_pretrained)
    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        self.check_without_adapters()
        super().save_pretrained(save_directory, *args, **kwargs)

    @staticmethod
    def _get_init_keys(input_class: type) -> set[str]:
        return init_keys(input_class, UNet2DConditionModel)

    @classmethod
    def from_config(cls, config: Any, *args: Any, **kwargs: Any) -> Any:
        """The network of a configuration, as in diffusers.

        Raises:
            ValueError: the configuration is a plain UNet's. Loading such a folder would leave the new parameters
                uninitialised.
        """
        stored = config.get("_class_name", cls.__name__) if isinstance(config, dict) else cls.__name__
        if stored != cls.__name__:
            raise ValueError(
                f"these are the weights of a {stored}: load them with UNet2DConditionModel.from_pretrained, then use"
                f" {cls.__name__}.from_unet2d"
            )
        return super().from_config(config, *args, **kwargs)

    @classmethod
    def from_unet2d(cls, base: UNet2DConditionModel, in_channels: int = 9, **config: Any) -> IMAGPoseUNet:
        """Our network from a base UNet's weights, such as Stable Diffusion 1.5's or 2.1's.

        Args:
            base: takes and gives c channels (noise latents). All its weights are copied; those of conv_in's new channels
                are zero, CVA is new and changes nothing yet.
            in_channels: channels of ours; the first c are the base's.
            config: arguments of this class in place of the defaults and of the base's.

        Returns:
            The network, with dtype and device of the base.

        Raises:
            ValueError: the base does not take the channels that it gives, `in_channels` is fewer, or a weight of the base
                has no place.
        """
        channels = base.config.out_channels
        if base.config.in_channels != channels or in_channels < channels:
            raise ValueError(
                f"a base UNet with {channels} input channels and at least as many for ours are expected, not"
                f" {base.config.in_channels} and {in_channels}"
            )
        stock = signature(UNet2DConditionModel.__init__).parameters
        stock_config = {key: value for key, value in base.config.items() if key in stock}
        model: IMAGPoseUNet = cls(**{**stock_config, "in_channels": in_channels, **config})
        state = base.state_dict()
        weight = state["conv_in.weight"]
        state["conv_in.weight"] = torch.cat(
            [weight, weight.new_zeros(weight.shape[0], in_channels - channels, *weight.shape[2:])], dim=1
        )
        stock_shapes = {key: value.shape for key, value in model.state_dict().items() if ".cross_view." not in key}
        differing = [key for key, shape in stock_shapes.items() if key not in state or state[key].shape != shape]
        differing += [key for key in state if key not in stock_shapes]
        if differing:
            raise ValueError(
                f"the base UNet does not fit the arguments: {len(differing)} weights differ, first {differing[0]}"
            )
        model.load_state_dict(state, strict=False)
        model.to(device=base.device, dtype=base.dtype)
        return model

    def set_attention_slice(self, slice_size: str | int | list[int] | None = "auto") -> None:
        """As in diffusers; "auto" halves the heads of an attention layer where it has more than one."""
        if slice_size == "auto":
            attentions = [module for module in self.modules() if module is not self]
            heads = [own.sliceable_head_dim for own in attentions if hasattr(own, "set_attention_slice")]
            slice_size = [max(1, count // 2) for count in heads]
        super().set_attention_slice(slice_size)

    def enable_cache(self, config: Any) -> None:
        """Keep attention's output for some steps: diffusers' Pyramid Attention Broadcast.

        Raises:
            ValueError: another of diffusers' caches: on a UNet they do nothing or fail.
        """
        if not isinstance(config, PyramidAttentionBroadcastConfig):
            raise ValueError(
                f"{type(config).__name__} is made for transformers, not for a UNet: PyramidAttentionBroadcastConfig works"
            )
        super().enable_cache(config)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float,
        encoder_hidden_states: torch.Tensor,
        pose_features: torch.Tensor | None = None,
        view_grid: ViewGrid = ViewGrid(2, 2),
        cross_attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> UNet2DConditionOutput | tuple[torch.Tensor]:
        """Predict the noise (or v) of joint canvases.

        Args:
            sample: (b, in_channels, rows * h, cols * w), see `conditions.unet_input`.
            timestep: one, or one per canvas (b,).
            encoder_hidden_states: F_C, (b, tokens, d).
            pose_features: F_P, (b, C, rows * h, cols * w) with C the first block's channels; None adds nothing.
            view_grid: rows and columns of the canvases.
            cross_attention_kwargs: for the attention processors, as in diffusers.
            return_dict: False returns a tuple.
            kwargs: further arguments of UNet2DConditionModel's forward.

        Returns:
            `sample` (b, out_channels, rows * h, cols * w).

        Raises:
            ValueError: the canvas cannot be cut into the grid at every level of the network.
        """
        self._check_size(sample, view_grid)
        given = sample, timestep
        if pose_features is not None:
            # §3.4 adds F_P behind conv_in; to there it travels as further channels, see `PoseConv2d`.
            sample = torch.cat([sample, pose_features.to(sample.dtype)], dim=1)
        if self.config.view_layout == "batch":
            sample = untile(sample, view_grid).flatten(0, 1)
            encoder_hidden_states = encoder_hidden_states.repeat_interleave(view_grid.num_views, dim=0)
            if isinstance(timestep, torch.Tensor) and timestep.numel() > 1:
                timestep = timestep.repeat_interleave(view_grid.num_views)
        if self.config.cross_view_placement is not None:
            cross_attention_kwargs = {**(cross_attention_kwargs or {}), VIEW_GRID: view_grid}
        output = super().forward(
            sample,
            timestep,
            encoder_hidden_states,
            cross_attention_kwargs=cross_attention_kwargs,
            return_dict=False,
            **kwargs,
        )[0]
        if self.config.view_layout == "batch":
            output = tile(output.unflatten(0, (-1, view_grid.num_views)), view_grid)
        if self.config.input_skip:
            output = self._mixed(output, *given)
        return UNet2DConditionOutput(sample=output) if return_dict else (output,)

    def _mixed(self, output: torch.Tensor, sample: torch.Tensor, timestep: torch.Tensor | float) -> torch.Tensor:
        with torch.autocast(sample.device.type, enabled=False):  # bf16 coefficients would be a noise of their own
            # The network's dtype; `self.dtype` asks for hooks, which come with the first call: it would be compiled again.
            dtype = self.conv_norm_out.weight.dtype
            sinusoids = self.get_time_embed(sample, timestep).to(dtype)
            mixed: torch.Tensor = self.linear_skip(output.to(sample.dtype), sample, self.time_embedding(sinusoids))
        return mixed

    def _check_size(self, sample: torch.Tensor, grid: ViewGrid) -> None:
        height, width = sample.shape[-2:]
        halvings = 2**self.num_upsamplers
        if height % (grid.rows * halvings) or width % (grid.cols * halvings):
            raise ValueError(
                f"a canvas of {height}x{width} latents does not fit a grid of {grid}: each view's sides must be multiples"
                f" of {halvings} (pixels.pad_views)"
            )
