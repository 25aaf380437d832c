"""The re-identification network: its shape, its weights in both spellings, its file."""

import pytest
import torch
from PIL import Image

from imagpose.judges.reid import (
    ReidNetwork,
    _backbone_name,
    embed_pictures,
    load_reid_network,
    resized,
    take_backbone_weights,
)
from imagpose.pixels import bytes_to_signed


def torchvision_names(blocks: list[int], convolutions: int, with_shortcut: set[int]) -> list[str]:
    """Names of a ResNet's weights in torchvision, written from its module's definition."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["conv1.weight", *(f"bn1.{own}" for own in norm)]
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            place = f"layer{stage}.{block}"
            for layer in range(1, convolutions + 1):
                names += [f"{place}.conv{layer}.weight", *(f"{place}.bn{layer}.{own}" for own in norm)]
            if block == 0 and stage in with_shortcut:
                names += [f"{place}.downsample.0.weight", *(f"{place}.downsample.1.{own}" for own in norm)]
    return [*names, "fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("architecture", "blocks", "convolutions", "with_shortcut"),
    [("resnet50", [3, 4, 6, 3], 3, {1, 2, 3, 4}), ("resnet18", [2, 2, 2, 2], 2, {2, 3, 4})],
)
def test_torchvisions_names_are_the_networks(architecture, blocks, convolutions, with_shortcut):
    with torch.device("meta"):
        network = ReidNetwork(architecture)
    found = [_backbone_name(name) for name in torchvision_names(blocks, convolutions, with_shortcut)]
    assert found[-2:] == [None, None]
    assert sorted(found[:-2]) == sorted(network.backbone.state_dict())


def test_the_last_stage_keeps_its_size_and_the_neck_has_no_bias():
    network = ReidNetwork("resnet18-half", 128, 64).eval()
    with torch.no_grad():
        pixels = torch.rand(2, 3, 128, 64) * 2 - 1
        hidden = network.backbone(pixels).last_hidden_state
        assert hidden.shape == (2, 256, 8, 4)  # 1/16, and not 1/32
        before, after = network(pixels)
        unit = (pixels * 0.5 + 0.5 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
            [0.229, 0.224, 0.225]
        ).view(3, 1, 1)
        assert torch.allclose(before, network.backbone(unit).last_hidden_state.mean((2, 3)), atol=1e-5)
        assert torch.allclose(after, before / (1 + 1e-5) ** 0.5, atol=1e-5)  # a fresh batch norm
    assert not network.neck.bias.requires_grad and network.neck.weight.requires_grad


def test_weights_of_imagenet_are_taken_and_those_of_another_network_refused(tmp_path):
    source, network = ReidNetwork("resnet18-half"), ReidNetwork("resnet18-half")
    theirs = {f"resnet.{name}": own for name, own in source.backbone.state_dict().items()}
    torch.save({**theirs, "classifier.1.weight": torch.zeros(10, 256)}, tmp_path / "weights.bin")
    take_backbone_weights(network, tmp_path / "weights.bin")
    assert all(
        torch.equal(own, network.backbone.state_dict()[name]) for name, own in source.backbone.state_dict().items()
    )
    with pytest.raises(ValueError, match="does not hold the weights of a resnet18:"):
        take_backbone_weights(ReidNetwork("resnet18"), tmp_path / "weights.bin")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ValueError, match="not a file of weights"):
        take_backbone_weights(network, tmp_path / "text.pth")


def test_a_saved_network_gives_the_same_features_of_length_1(tmp_path):
    network = ReidNetwork("resnet18-half", 64, 32).eval()
    network.save(tmp_path)
    pictures = [Image.effect_noise((30 + n, 70), 50 + n).convert("RGB") for n in range(3)]
    features = embed_pictures(load_reid_network(tmp_path), pictures)
    assert features == pytest.approx(embed_pictures(network, pictures)) and features.shape == (3, 256)
    assert (features**2).sum(1) == pytest.approx(1)
    network.neck.running_mean += 0.1 * torch.arange(256)  # now what is behind the neck has another direction
    pixels = torch.stack([bytes_to_signed(resized(own, (64, 32))[None])[0] for own in pictures])
    with torch.no_grad():
        behind = torch.nn.functional.normalize(network(pixels)[1], dim=1)
    assert embed_pictures(network, pictures) == pytest.approx(behind.numpy(), abs=1e-5)
    (tmp_path / "reid.json").write_text('{"network": "resnet18", "height": 64, "width": 32}')
    with pytest.raises(ValueError, match="damaged"):
        load_reid_network(tmp_path)
    with pytest.raises(FileNotFoundError, match="no re-identification network"):
        load_reid_network(tmp_path / "nothing")
