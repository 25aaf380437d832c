"""oneDNN's linear layers and 1x1 convolutions: the same values, names and gradients as torch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from imagpose.models import onednn
from imagpose.models.onednn import route_by_onednn

pytestmark = pytest.mark.skipif(not onednn.is_available(), reason="torch was built without oneDNN")


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 1), nn.Flatten(2), nn.Linear(36, 5), nn.Linear(5, 4, False)
    )


def test_values_are_those_of_double_precision(network):
    sample = torch.randn(4, 3, 8, 8)
    truth = copy.deepcopy(network).double()(sample.double())
    plain = network(sample).detach()
    route_by_onednn(network)
    with torch.no_grad():
        routed = network(sample)
    assert (routed - truth).norm() / truth.norm() < 1e-6 and routed.shape == plain.shape


def test_the_switch_reaches_the_operator_and_back(network, monkeypatch):
    called = []
    real = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *own: called.append(1) or real(*own))
    sample = torch.randn(4, 3, 8, 8)
    names = list(network.state_dict())
    route_by_onednn(network)
    with torch.no_grad():
        network(sample)
        assert len(called) == 2
        with torch.autocast("cpu", torch.bfloat16):
            network(sample)
        network[-1](torch.randn(2, 5))  # few rows
    network(sample)  # gradients are recorded
    route_by_onednn(network, on=False)
    with torch.no_grad():
        network(sample)
    assert len(called) == 2
    assert list(network.state_dict()) == names
    assert {type(layer) for layer in network} == {nn.Conv2d, nn.Flatten, nn.Linear}


def test_gradients_copies_and_other_precisions_are_torchs(network):
    plain = copy.deepcopy(network)
    route_by_onednn(network)
    sample = torch.randn(4, 3, 8, 8)
    for own in (plain, network):
        own(sample).square().sum().backward()
    for one, other in zip(plain.parameters(), network.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    again = copy.deepcopy(network)
    with torch.no_grad():
        assert torch.equal(again(sample), network(sample))
        assert torch.equal(network.bfloat16()(sample.bfloat16()), plain.bfloat16()(sample.bfloat16()))
