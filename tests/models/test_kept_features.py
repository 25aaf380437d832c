"""Features kept between steps: the layers that are computed again are those written out here, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from imagpose.models.kept_features import KeptFeatures
from imagpose.models.unet import IMAGPoseUNet
from small_unet import build_small_unet


def build(**config: object) -> IMAGPoseUNet:
    torch.manual_seed(0)
    unet = build_small_unet(**config).eval().requires_grad_(False)
    for parameter in unet.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)  # no branch is switched off
    return unet


def inputs(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    sample, features = (torch.randn(*shape, generator=generator) for shape in ((2, 9, 8, 8), (2, 5, 12)))
    return sample, torch.tensor(900 - 100 * step), features


def last_layers(unet: IMAGPoseUNet, deep: torch.Tensor, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """The UNet's output from what its last block is given from below, and its own input."""
    embedding = unet.time_embedding(unet.time_proj(timestep.expand(len(sample))))
    first = unet.conv_in(sample)
    second = unet.down_blocks[0].resnets[0](first, embedding)
    above, last = unet.up_blocks[-1].resnets
    output = last(torch.cat([above(torch.cat([deep, second], dim=1), embedding), first], dim=1), embedding)
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(output)))


def test_calls_between_combine_the_kept_features_with_their_own_input() -> None:
    unet, deep = build(), []
    plain = [unet(*inputs(step)).sample for step in range(5)]
    unet.up_blocks[-2].register_forward_hook(lambda _, given, output: deep.append(output))
    unet(*inputs(0))
    unet(*inputs(3))
    first, second = deep
    kept, found = KeptFeatures(unet, 3), []
    for step in range(5):
        with kept.call():
            found.append(unet(*inputs(step)).sample)
        assert not any("forward" in module.__dict__ for module in unet.modules())
    expected = [plain[0], *(last_layers(unet, first, *inputs(step)[:2]) for step in (1, 2)), plain[3]]
    expected.append(last_layers(unet, second, *inputs(4)[:2]))
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other)
    assert all((found[step] - plain[step]).norm() > 1e-2 * plain[step].norm() for step in (1, 2, 4))
    kept.renew()
    with kept.call():
        torch.testing.assert_close(unet(*inputs(4)).sample, plain[4])


@pytest.mark.parametrize("placement", [None, "cross_attention", "every_block"])
def test_layers_that_are_computed_again(placement: str | None) -> None:
    unet, ran = build(layers_per_block=2, cross_view_placement=placement), []
    for name, module in unet.named_modules():
        if name.endswith((".conv1", ".proj_in", ".conv")):
            module.register_forward_pre_hook(lambda _, given, name=name: ran.append(name.rpartition(".")[0]))
    kept = KeptFeatures(unet, 2)
    for _ in range(2):
        ran.clear()
        with kept.call():
            unet(*inputs(0))
    again = {"down_blocks.0.resnets.0", "up_blocks.2.resnets.1", "up_blocks.2.resnets.2"}
    assert {name for name in ran if "cross_view" not in name} == again
    blocks = {name.rpartition(".")[0].replace("attentions", "resnets") for name in ran if "cross_view" in name}
    assert blocks == (again if placement == "every_block" else set())


def test_what_else_wraps_a_layer_stays_and_a_failure_leaves_the_unet_as_it_was() -> None:
    unet, wrapped = build(), []
    middle, forward = unet.mid_block, unet.mid_block.forward
    middle.forward = lambda *given, **named: wrapped.append(1) or forward(*given, **named)
    outside = middle.forward
    kept = KeptFeatures(unet, 4)
    for _ in range(3):
        with kept.call():
            unet(*inputs(0))
    assert wrapped == [1] and middle.forward is outside
    with pytest.raises(ValueError), kept.call():
        raise ValueError
    assert middle.forward is outside and "forward" not in unet.up_blocks[0].resnets[0].__dict__


def test_every_call_computes_all_layers_by_default() -> None:
    unet = build()
    kept = KeptFeatures(unet, 1)
    for step in range(3):
        with kept.call():
            found = unet(*inputs(step)).sample
        torch.testing.assert_close(found, unet(*inputs(step)).sample)
