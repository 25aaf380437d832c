"""CMC, mAP and AUC against loops over every picture."""

import numpy as np
import pytest

from imagpose.metrics.ranking import Labels, rank_gallery, separability


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    features = rng.normal(size=(count, 5))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def loop(queries, asked: Labels, gallery, held: Labels) -> list[tuple[int, float] | None]:
    """Rank and average precision of each query, one comparison after the other, by Euclidean distance."""
    found = []
    for feature, identity, camera in zip(queries, asked.identities, asked.cameras, strict=True):
        kept = []
        for number, own in enumerate(gallery):
            if held.identities[number] == identity and held.cameras[number] == camera:
                continue
            kept.append((float(np.sqrt(((feature - own) ** 2).sum())), number))
        matches, precisions = 0, []
        rank = None
        for place, (_, number) in enumerate(sorted(kept), 1):
            if held.identities[number] == identity:
                matches += 1
                rank = rank or place
                precisions.append(matches / place)
        found.append(None if rank is None else (rank, sum(precisions) / len(precisions)))
    return found


def random_set(seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    asked = Labels(rng.integers(1, 7, 30), rng.integers(1, 4, 30))
    held = Labels(rng.integers(0, 6, 80), rng.integers(1, 4, 80))  # distractors too; identity 6 is never there
    return unit(rng, 30), asked, unit(rng, 80), held


@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_those_of_a_plain_loop(seed, monkeypatch):
    queries, asked, gallery, held = random_set(seed)
    monkeypatch.setattr("imagpose.metrics.ranking._AT_ONCE", 170)  # two queries at a time
    found, expected = rank_gallery(queries, asked, gallery, held), loop(queries, asked, gallery, held)
    counted = [own is not None for own in expected]
    assert found.counted.tolist() == counted and not all(counted)
    ranks = [own[0] for own in expected if own]
    assert found.ranks[found.counted].tolist() == ranks
    assert found.precisions[found.counted] == pytest.approx([own[1] for own in expected if own])
    assert found.cmc(5) == pytest.approx(np.mean([rank <= 5 for rank in ranks]))
    assert found.mean_precision == pytest.approx(np.mean([own[1] for own in expected if own]))


def test_the_same_camera_does_not_count_and_distractors_are_in_the_way():
    one, near, far = np.eye(3)[0], np.array([0.8, 0.6, 0]), np.array([0.6, 0.8, 0])
    gallery, queries, asked = np.stack([one, near, far]), one[None], Labels(np.array([1]), np.array([1]))
    ranks = rank_gallery(queries, asked, gallery, Labels(np.array([1, 0, 1]), np.array([1, 2, 2])))
    assert ranks.ranks.tolist() == [2] and ranks.precisions.tolist() == [0.5]
    with pytest.raises(ValueError, match="another camera"):
        rank_gallery(queries, asked, gallery, Labels(np.array([1, 0, 1]), np.array([1, 2, 1])))


def test_separability_counts_pairs():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 6, 20), rng.integers(1, 7, 25)
    pairs = [(a > b) + (a == b) / 2 for a in one for b in other]
    assert separability(one, other) == pytest.approx(np.mean(pairs))
    assert separability(one, one) == 0.5
