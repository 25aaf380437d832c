"""Views in slots for every number of views: who is source, who is target, and where the features come from."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from imagpose.data.groups import slot_views


def masks(slots: int) -> list[np.ndarray]:
    """All ways to show some slots, but not all."""
    return [np.array(bits, bool) for bits in itertools.product((False, True), repeat=slots) if not all(bits)]


def draws(count: int, slots: int, repeat_probability: float):
    for visible in masks(slots):
        for seed in range(12):
            yield visible, *slot_views(count, visible, repeat_probability, np.random.default_rng(seed))


@pytest.mark.parametrize("repeat_probability", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("count", "slots"), [(2, 4), (3, 4), (4, 4), (5, 4), (9, 4), (2, 6), (5, 6), (2, 2)])
def test_what_holds_for_every_canvas(count: int, slots: int, repeat_probability: float) -> None:
    for visible, views, feature in draws(count, slots, repeat_probability):
        sources, targets = set(views[visible].tolist()), set(views[~visible].tolist())
        assert views.min() >= 0 and views.max() < count
        assert not sources & targets
        assert len(sources | targets) >= 2
        if visible.any():
            assert feature in sources
        elif count > slots:
            assert feature not in targets
        else:
            assert 0 <= feature < count


@pytest.mark.parametrize("count", [4, 5, 9])
def test_enough_views_are_all_different(count: int) -> None:
    seen = set()
    for _, views, _ in draws(count, 4, 0.0):
        assert len(set(views.tolist())) == 4
        seen |= set(views.tolist())
    assert seen == set(range(count))


@pytest.mark.parametrize(
    ("count", "num_visible", "sources", "targets"),
    [
        (2, 0, [], [2, 2]), (2, 1, [1], [3]), (2, 2, [2], [2]), (2, 3, [3], [1]),
        (3, 0, [], [2, 1, 1]), (3, 1, [1], [2, 1]), (3, 2, [1, 1], [2]), (3, 3, [2, 1], [1]),
    ],
)  # fmt: skip
def test_few_views_by_hand(count: int, num_visible: int, sources: list[int], targets: list[int]) -> None:
    """How often the views of a person with 2 or 3 stand in the 4 slots."""
    for visible, views, _ in draws(count, 4, 0.0):
        if visible.sum() == num_visible:
            assert sorted(Counter(views[visible].tolist()).values(), reverse=True) == sources
            assert sorted(Counter(views[~visible].tolist()).values(), reverse=True) == targets


def test_repeats_as_t1_and_t2_lay_them() -> None:
    rng = np.random.default_rng(0)
    visible = np.array([True, False, True, False])
    drawn = [slot_views(6, visible, 0.25, rng)[0] for _ in range(8000)]
    sources = np.array([len(set(views[visible])) == 1 for views in drawn])
    targets = np.array([len(set(views[~visible])) == 1 for views in drawn])
    assert sources.mean() == pytest.approx(0.25, abs=0.02) and targets.mean() == pytest.approx(0.25, abs=0.02)
    assert (sources & targets).mean() == pytest.approx(0.0625, abs=0.01)


def test_the_features_come_from_every_visible_slot() -> None:
    visible = np.array([True, True, False, True])
    places = Counter()
    for seed in range(3000):
        views, feature = slot_views(5, visible, 0.0, np.random.default_rng(seed))
        places[views.tolist().index(feature)] += 1
    assert set(places) == {0, 1, 3}
    assert min(places.values()) > 900


def test_the_generator_decides() -> None:
    visible = np.array([True, False, False, False])
    one, same = (slot_views(8, visible, 0.5, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one[0], same[0]) and one[1] == same[1]
    assert len({tuple(slot_views(8, visible, 0.0, np.random.default_rng(seed))[0]) for seed in range(20)}) > 15


@pytest.mark.parametrize(("count", "visible"), [(1, [True, False]), (3, [True, True])])
def test_no_canvas_can_be_laid(count: int, visible: list[bool]) -> None:
    with pytest.raises(ValueError, match="at least 2 and 1"):
        slot_views(count, np.array(visible), 0.0, np.random.default_rng(0))
