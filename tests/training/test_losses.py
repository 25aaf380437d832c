"""Losses against plain loops and scikit-image."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from imagpose.training.losses import gradient_loss, weighted_l1
from imagpose.training.metric_learning import contrastive_loss


def two_pictures(shape: tuple[int, ...] = (2, 3, 24, 16)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(shape, generator=generator) * 2 - 1
    return (truth + 0.3 * torch.randn(shape, generator=generator)).clamp(-1, 1), truth


def test_gradient_loss_is_a_plain_loop() -> None:
    output, truth = (picture.double().numpy() for picture in two_pictures((1, 1, 8, 8)))
    difference = (output - truth)[0, 0]
    levels = []
    for _ in range(3):
        across = [abs(row[x + 1] - row[x]) for row in difference for x in range(len(row) - 1)]
        down = [abs(column[y + 1] - column[y]) for column in difference.T for y in range(len(column) - 1)]
        levels.append(np.mean(across) + np.mean(down))
        difference = difference.reshape(len(difference) // 2, 2, -1, 2).mean(axis=(1, 3))
    ours = gradient_loss(torch.from_numpy(output), torch.from_numpy(truth))
    assert float(ours) == pytest.approx(np.mean(levels))


def test_weights_act_like_repeated_pixels() -> None:
    output, truth = two_pictures((1, 3, 8, 8))
    weights = torch.ones(1, 1, 8, 8)
    weights[..., 4:] = 3  # the right half counts three times
    halves = [slice(None, 4)] + 3 * [slice(4, None)]
    counted = np.mean([float((output - truth)[..., half].abs().mean()) for half in halves])
    assert float(weighted_l1(output, truth, weights)) == pytest.approx(counted)

    vertical_edges = torch.zeros(1, 1, 8, 8)
    vertical_edges[..., 5] = 1.0  # steps up from column 4, of weight 3, and down again from column 5
    found = float(gradient_loss(vertical_edges, torch.zeros(1, 1, 8, 8), weights))
    whole = (3 + 3) / (4 * 1 + 3 * 3)
    half = (1 * 0.5 + 3 * 0.5) / (2 * 1 + 3)  # the edge has half its height in column 2, of weight 3
    assert found == pytest.approx((whole + half + 0.25) / 3)


def test_gradient_loss_ignores_a_shift_of_brightness() -> None:
    _, truth = two_pictures()
    assert float(gradient_loss(truth + 0.25, truth)) == pytest.approx(0.0, abs=1e-6)


def test_contrastive_loss_is_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    terms = []
    for queries, gallery in ((one, other), (other, one)):
        for index, query in enumerate(queries):
            cosines = [float(F.cosine_similarity(query, candidate, dim=0)) for candidate in gallery]
            exponentials = np.exp(np.array(cosines) / 0.2)
            terms.append(-np.log(exponentials[index] / exponentials.sum()))
    assert float(contrastive_loss(one, other, 0.2)) == pytest.approx(np.mean(terms))
