"""What we use of diffusers beyond its public interface, all of it: each has a test that fails when diffusers changes it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any, ParamSpec

import torch
from diffusers import AutoencoderKL, configuration_utils
from diffusers.models.attention_processor import Attention
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES
from torch import nn

from imagpose.models.folder import refuse_differing
from imagpose.version import __version__

Arguments = ParamSpec("Arguments")


def _says_something(record: logging.LogRecord) -> bool:
    return "should be kept in float32: []" not in record.getMessage()


# diffusers warns of every network that `to` brings to another dtype, even where it lists no module that should not be.
logging.getLogger("diffusers.models.modeling_utils").addFilter(_says_something)


def name_library() -> None:
    """Let diffusers write ["imagpose", "Class"] into model_index.json and find the class again.

    It does both only for libraries in this table; otherwise every saved model would name the modules of our files.
    """
    LOADABLE_CLASSES["imagpose"] = {"ModelMixin": ["save_pretrained", "from_pretrained"]}


def init_keys(own: type, stock: type) -> set[str]:
    """What `ConfigMixin._get_init_keys` has to give for a class whose `__init__` names only what is new beside `stock`'s.

    diffusers reads a configuration's keys from the signature of `__init__`, and drops all others.
    """
    names = set(signature(own.__init__).parameters) | set(signature(stock.__init__).parameters)  # type: ignore[misc]
    return names - {"kwargs"}


def register_to_config(init: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """diffusers' decorator of the same name, which has no types: an `__init__` whose arguments become the configuration."""
    registered: Callable[Arguments, None] = configuration_utils.register_to_config(init)
    return registered


class VersionedConfig:
    """For what is saved with a configuration: it says which version of imagpose wrote it, beside diffusers' own."""

    def to_json_string(self) -> str:
        values = json.loads(super().to_json_string())  # type: ignore[misc]
        return json.dumps({**values, "_imagpose_version": __version__}, indent=2, sort_keys=True) + "\n"


class WholeModel(VersionedConfig):
    """For networks: one whose file lacks weights is not left at random numbers, whoever loads it."""

    @classmethod
    def from_pretrained(cls, place: Any, **kwargs: Any) -> Any:
        """As in diffusers.

        Raises:
            ValueError: weights are missing or unknown, and `output_loading_info` does not ask for them; the message names
                them.
        """
        if kwargs.pop("output_loading_info", False):
            return super().from_pretrained(place, output_loading_info=True, **kwargs)  # type: ignore[misc]
        model, info = super().from_pretrained(place, output_loading_info=True, **kwargs)  # type: ignore[misc]
        if not kwargs.get("ignore_mismatched_sizes"):
            refuse_differing(str(place), sorted(info["missing_keys"]), sorted(info["unexpected_keys"]))
        return model


class CheckpointedModule(nn.Module):
    """A module inside of a `ModelMixin` that recomputes a function when `enable_gradient_checkpointing` asks for it."""

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Any]  # set by diffusers on every module that has the flag

    def checkpointed(self, function: Callable[..., torch.Tensor], *arguments: Any) -> torch.Tensor:
        """`function` of the arguments; its activations are not kept where checkpointing is on."""
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            recomputed: torch.Tensor = self._gradient_checkpointing_func(function, *arguments)
            return recomputed
        return function(*arguments)


@contextmanager
def without_fused_copies(*networks: nn.Module) -> Iterator[None]:
    """For saving: no layers that `fuse_qkv_projections` adds, copies of weights under names that an unfused network lacks.

    Unfusing leaves them in the network too.
    """
    held = [
        (module, name, module._modules.pop(name))
        for network in networks
        for module in network.modules()
        if isinstance(module, Attention)
        for name in ("to_qkv", "to_kv")
        if name in module._modules
    ]
    try:
        yield
    finally:
        for module, name, layer in held:
            module._modules[name] = layer


def set_tile_size(vae: AutoencoderKL, latents: int) -> None:
    """Side of a decoder's tile where tiling is on; AutoencoderKL's own counts levels alone, and knows no patches."""
    vae.tile_latent_min_size = latents
