"""Training of retargeting: its examples, and that it learns from them what `imagpose.pose.retarget` computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imagpose.people import TRAIN_SEEDS
from imagpose.pose import LIMBS
from imagpose.pose.retarget import PATHS, fitted_places, pooled_body, seen_features
from retargeting_examples import Groups, make_batch, make_groups
from retargeting_train import Run, loss_of, new_weights, own_change


@pytest.fixture(scope="module")
def groups() -> Groups:
    return make_groups(TRAIN_SEEDS, 2, 3, 3)


def test_people_of_a_group_make_the_same_motions_on_their_own_bodies(groups):
    assert groups.keypoints.shape == (2, 3, 3, 18, 3)
    assert (np.abs(groups.keypoints[:, 0] - groups.keypoints[:, 1]).max((1, 2, 3)) > 0.01).all()
    bone = groups.keypoints[0, 0, :, 9] - groups.keypoints[0, 0, :, 10]  # a shin is rigid
    np.testing.assert_allclose(np.linalg.norm(bone, axis=1), np.linalg.norm(bone[0]), rtol=0.02)
    assert (groups.keypoints[..., 2].min((2, 3)) > 0).all()  # nobody stands below the floor
    np.testing.assert_allclose(groups.lengths.mean((0, 1)), 0, atol=1e-6)


def test_the_person_differs_from_the_driver_by_lengths_only(groups):
    batch = make_batch(groups, 600, 2, torch.Generator().manual_seed(0))
    found = batch.target[..., 2:] > 0
    middle = [
        (one * found).sum(1, keepdim=True) / found.sum(1, keepdim=True) for one in (batch.target[..., :2], batch.truth)
    ]
    apart = ((batch.target[..., :2] - middle[0] - batch.truth + middle[1]) * found).norm(dim=2).amax(1) / batch.height[
        :, 0
    ]
    same = (batch.lengths == batch.other_lengths).all(1)
    assert 5 < same.sum() < 120
    assert apart[same].max() < 1e-5
    assert apart[~same].median() > 0.005
    assert (batch.target[..., 2] > 0).sum(1).min() >= 5


def test_numpy_and_torch_compute_the_same(groups):
    batch = make_batch(groups, 20, 3, torch.Generator().manual_seed(0))
    weights = new_weights(torch.Generator().manual_seed(1))
    weights["change.weight"].data.normal_(generator=torch.Generator().manual_seed(2))

    def places(own_weights, sources, target, paths):
        own = pooled_body(own_weights, seen_features(own_weights, sources))
        other = pooled_body(own_weights, seen_features(own_weights, target)[:, None])
        return fitted_places(own_weights, target, other, own, paths)

    with torch.no_grad():
        tensors = places(weights, batch.sources, batch.target, torch.from_numpy(PATHS))
    arrays = {name: weight.detach().numpy() for name, weight in weights.items()}
    np.testing.assert_allclose(tensors, places(arrays, batch.sources.numpy(), batch.target.numpy(), PATHS), atol=1e-5)
    assert (tensors - batch.target[..., :2]).abs().max() > 0.01


def test_paths_lead_from_the_neck_along_the_bones():
    places = np.random.default_rng(0).normal(size=(18, 2))
    bones = np.array([places[second] - places[first] for first, second in LIMBS])
    np.testing.assert_allclose(PATHS @ bones, places - places[1], atol=1e-6)


def test_it_learns(groups):
    batch = make_batch(groups, 64, 2, torch.Generator().manual_seed(0))
    weights = new_weights(torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(list(weights.values()), 2e-3)
    losses = []
    for _ in range(40):
        loss = loss_of(weights, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_own_pose_is_moved_by_what_the_bodies_differ(groups):
    """Against a loop, for a network that lengthens bones by its bodies' first numbers and by nothing else."""
    batch = make_batch(groups, 30, 3, torch.Generator().manual_seed(0))
    weights = new_weights(torch.Generator().manual_seed(1))  # a new network's own change is nothing
    with torch.no_grad():
        features = seen_features(weights, batch.sources)
        own, other = pooled_body(weights, features), pooled_body(weights, features[:, :1])
        told = own_change(weights, batch, features, own)
    squares = []
    for points, factors in zip(batch.sources[:, 0].numpy(), 0.1 * (own - other).numpy(), strict=True):
        moves = np.zeros((18, 2))
        for factor, (first, second) in zip(factors, LIMBS, strict=False):
            both = points[first, 2] > 0 and points[second, 2] > 0
            moves[second] = moves[first] + factor * both * (points[second, :2] - points[first, :2])
        found = points[:, 2] > 0
        size = np.sqrt(points[found, :2].var(0).sum())
        squares += list(((moves[found] - moves[found].mean(0)) ** 2).sum(1) / size**2)
    assert told.item() == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-3)
    assert told > 0.01


def test_a_run_that_is_stopped_ends_as_one_that_is_not(groups, tmp_path):
    whole, first = (Run(tmp_path / f"{name}.pt", steps=6, seed=3) for name in ("whole", "stopped"))
    for run, steps in ((whole, 6), (first, 3)):
        for _ in range(steps):
            run.take_step(groups)
    first.save()
    rest = Run(first.file, steps=6, seed=3)
    assert rest.step == 3
    for _ in range(3):
        rest.take_step(groups)
    for name, average in whole.averages.items():
        torch.testing.assert_close(rest.averages[name], average, rtol=0, atol=0)
    with pytest.raises(ValueError, match="'seed': 3"):
        Run(first.file, steps=6, seed=4)
