"""The networks of LPIPS and FID: what is said where they are absent, and, with the extra `eval`, what they compute.

The real weights are not needed: seeded random ones lie in their place, under their names.
"""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from imagpose.evaluation import networks
from imagpose.evaluation.networks import Needs, find_fid, find_field_inception, find_lpips

FILES = {
    find_lpips: "alexnet-owt-7be5be79.pth",
    find_fid: "weights-inception-2015-12-05-6726825d.pth",
    find_field_inception: "inception_v3_google-0cc3c7bd.pth",
}


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """An empty folder where the weights are looked for."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


def seeded(network, seed=0):
    """Weights such that features neither vanish nor explode, batch norms included."""
    torch.manual_seed(seed)
    for name, values in network.state_dict().items():
        if values.dim() > 1:
            values.normal_(0, (2 / values[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "weight")):
            values.uniform_(0.8, 1.2)
        elif values.is_floating_point():
            values.normal_(0, 0.05)
    return network.eval()


def some_pictures(count=3, height=64, width=48):
    rng = np.random.default_rng(5)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, height, width)).astype(np.uint8))


@pytest.mark.parametrize("find", FILES)
def test_absent_packages_are_named(find, monkeypatch):
    real = importlib.util.find_spec
    hidden = ("torchvision", "lpips", "torch_fidelity")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in hidden else real(name))
    found = find()
    assert isinstance(found, Needs)
    assert found.startswith("needs torchvision") and found.endswith("pip install 'imagpose[eval]'")


@pytest.mark.parametrize("find", FILES)
def test_absent_weights_are_named_with_their_place(find, checkpoints, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "torchvision", object())
    found = find()
    assert isinstance(found, Needs)
    assert f"{FILES[find]} in {checkpoints}, from https://" in found and found.endswith(FILES[find])


def test_a_torchvision_that_does_not_fit_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())

    def fail(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(networks.importlib, "import_module", fail)
    assert "needs a torchvision that fits torch" in find_field_inception()


@pytest.mark.parametrize("find", FILES)
def test_damaged_and_foreign_weights_are_refused(find, checkpoints):
    for package in ("torchvision", "lpips", "torch_fidelity"):
        pytest.importorskip(package)
    file = checkpoints / FILES[find]
    file.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=f"{file.name}: not the weights that belong there") as error:
        find()
    assert "\n" not in str(error.value)
    torch.save({"conv.weight": torch.zeros(3)}, file)
    with pytest.raises(ValueError, match=f"{file.name}: not the weights"):
        find()
    torch.save([1, 2], file)
    with pytest.raises(ValueError, match=f"{file.name}: holds a list"):
        find()
    torch.save(torch.nn.Linear(2, 2), file)  # a pickled class: nothing of it is run
    with pytest.raises(ValueError, match=f"{file.name}: not the weights"):
        find()


def test_lpips_is_the_packages(checkpoints):
    lpips = pytest.importorskip("lpips")
    torchvision = pytest.importorskip("torchvision")
    alexnet = seeded(torchvision.models.alexnet(weights=None))
    torch.save(alexnet.state_dict(), checkpoints / FILES[find_lpips])
    one, other = some_pictures()[:2].float() / 127.5 - 1, some_pictures(5)[3:].float() / 127.5 - 1

    def stages(pixels):
        """The five outputs of AlexNet that LPIPS compares, each of unit length along the channels."""
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        hidden = (pixels - shift.view(3, 1, 1)) / scale.view(3, 1, 1)
        for number, layer in enumerate(alexnet.features[:12]):
            hidden = layer(hidden)
            if number in (1, 4, 7, 9, 11):
                yield hidden / (hidden.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)

    heads = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).lins
    weights = [head.model[-1].weight.detach() for head in heads]
    with torch.no_grad():
        expected = sum(
            functional.conv2d((x - y).pow(2), weight).mean((2, 3)).flatten()
            for x, y, weight in zip(stages(one), stages(other), weights, strict=True)
        )
    distances = find_lpips().run(one, other)
    assert expected.min() > 0.01
    torch.testing.assert_close(distances, expected, rtol=1e-4, atol=1e-6)


def test_fids_network_is_torch_fidelitys(checkpoints, monkeypatch):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    pytest.importorskip("torchvision")
    network_class = module.FeatureExtractorInceptionV3
    with monkeypatch.context() as patch:  # built without weights, to be given seeded ones
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(network_class, "load_state_dict", lambda *_: None)
        library = seeded(network_class("seeded", ["2048"]))
    torch.save(library.state_dict(), checkpoints / FILES[find_fid])
    pictures = some_pictures()
    features = find_fid().run(pictures)
    assert features.shape == (3, 2048) and features.std(0).max() > 0.01
    torch.testing.assert_close(features, library(pictures)[0], rtol=1e-4, atol=1e-5)


def test_the_fields_network_sees_pictures_scaled_as_if_they_were_normalised(checkpoints):
    torchvision = pytest.importorskip("torchvision")
    inception = seeded(torchvision.models.inception_v3(weights=None, init_weights=False))
    torch.save(inception.state_dict(), checkpoints / FILES[find_field_inception])
    pixels = some_pictures().float() / 255
    seen = functional.interpolate(pixels, size=(299, 299), mode="bilinear", align_corners=False)
    for channel, (deviation, mean) in enumerate(((0.229, 0.485), (0.224, 0.456), (0.225, 0.406))):
        seen[:, channel] = seen[:, channel] * (deviation / 0.5) + (mean - 0.5) / 0.5
    assert -0.19 < seen.min() < -0.15 and 0.35 < seen.max() < 0.43
    pooled = []
    inception.avgpool.register_forward_hook(lambda module, inputs, output: pooled.append(output.flatten(1)))
    inception.transform_input = False
    with torch.no_grad():
        inception(seen)
    found = find_field_inception()
    features = found.run(pixels)
    assert features.shape == (3, 2048) and features.std(0).max() > 0.01
    torch.testing.assert_close(features, pooled[0], rtol=1e-4, atol=1e-5)
    assert FILES[find_field_inception] in found.identity
