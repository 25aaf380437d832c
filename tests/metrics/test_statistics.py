"""Bootstrap intervals and paired comparisons against closed forms and plain loops."""

import numpy as np
import pytest
from scipy import stats

from imagpose.metrics import statistics
from imagpose.metrics.statistics import bootstrap_mean, bootstrap_ratio, compare_paired, difference_bounds


def test_the_interval_is_that_of_a_normal_mean():
    values = np.random.default_rng(0).normal(5, 2, 4000)
    interval = bootstrap_mean(values)
    error = values.std() / 4000**0.5
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_the_interval_is_scipys():
    values = np.random.default_rng(1).exponential(size=60)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    interval = bootstrap_mean(values)
    width = expected.high - expected.low
    assert interval.low == pytest.approx(expected.low, abs=0.05 * width)
    assert interval.high == pytest.approx(expected.high, abs=0.05 * width)


def test_the_interval_does_not_depend_on_how_much_is_drawn_at_once(monkeypatch):
    values = np.random.default_rng(2).normal(size=50)
    whole = bootstrap_mean(values)
    monkeypatch.setattr(statistics, "_AT_ONCE", 333)
    assert bootstrap_mean(values) == whole
    assert whole.low < whole.mean < whole.high


def test_pairs_of_one_person_count_as_one_draw():
    of_people = np.random.default_rng(5).normal(size=12)
    repeated, people = of_people.repeat(9), np.arange(12).repeat(9).astype(str)
    order = np.random.default_rng(6).permutation(len(people))
    grouped, alone = bootstrap_mean(repeated[order], people=people[order]), bootstrap_mean(of_people)
    assert grouped.mean == pytest.approx(alone.mean)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)
    naive = bootstrap_mean(repeated)
    assert naive.high - naive.low < 0.5 * (grouped.high - grouped.low)  # a third
    difference = compare_paired(repeated, repeated - 1 + repeated, people=people).difference
    assert difference.high - difference.low > 2 * (naive.high - naive.low)


def test_a_ratio_of_means_by_a_plain_loop():
    rng = np.random.default_rng(7)
    values, over, people = rng.random(9), rng.random(9) + 0.5, np.array(list("aabbbccdd"))
    found = bootstrap_ratio(values, over, people=people)
    assert found.mean == pytest.approx(values.sum() / over.sum())
    draws = np.random.default_rng(0).integers(0, 4, (2000, 4))
    ratios = []
    for draw in draws:
        chosen = np.concatenate([np.flatnonzero(people == "abcd"[number]) for number in draw])
        ratios.append(values[chosen].sum() / over[chosen].sum())
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(ratios, [2.5, 97.5])))


def test_resamples_without_a_denominator_do_not_count():
    found = bootstrap_ratio(np.array([1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    assert found.mean == 2 and np.isfinite([found.low, found.high]).all()
    with pytest.raises(ValueError, match="mean of 0"):
        bootstrap_ratio(np.ones(3), np.zeros(3))


def test_a_single_value_is_its_own_interval():
    interval = bootstrap_mean(np.array([0.5]))
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.5, 0.5)


def test_a_paired_comparison_by_hand():
    one, other = np.array([3.0, 1.0, 2.0, 5.0]), np.array([1.0, 2.0, 2.0, 1.0])
    found = compare_paired(one, other)
    assert found.difference.mean == (2 - 1 + 0 + 4) / 4
    assert found.wins == (1 + 0 + 0.5 + 1) / 4
    assert found.difference == bootstrap_mean(np.array([2.0, -1.0, 0.0, 4.0]))


def test_pairing_finds_what_the_separate_intervals_hide():
    rng = np.random.default_rng(4)
    hard = rng.normal(0, 10, 200)  # the pairs differ far more than the methods do
    one, other = hard + 0.5 + rng.normal(0, 0.5, 200), hard + rng.normal(0, 0.5, 200)
    assert compare_paired(one, other).difference.low > 0
    assert bootstrap_mean(one).low < bootstrap_mean(other).high


def test_other_pairs_are_refused():
    with pytest.raises(ValueError, match="3 and 2 values"):
        compare_paired(np.zeros(3), np.zeros(2))


def test_bounds_of_few_people_miss_as_seldom_as_they_say():
    """Of 8 people of 4 pairs each, drawn 600 times, each bound misses the true difference in about 2.5 %."""
    rng = np.random.default_rng(8)
    people, missed = np.arange(8).repeat(4), []
    for _ in range(600):
        one = rng.normal(0, 1, 8).repeat(4) + rng.normal(0, 0.5, 32)
        bounds, plain = difference_bounds(one, np.zeros(32), people), bootstrap_mean(one)
        missed.append((bounds.low > 0, bounds.high < 0, plain.low > 0, plain.high < 0))
    low, high, plain_low, plain_high = np.mean(missed, 0)
    assert max(low, high) < 0.045 and low + high > 0.02
    assert plain_low + plain_high > 0.3  # pairs as if they were independent


def test_too_few_people_bound_nothing():
    bounds = difference_bounds(np.ones(70), np.zeros(70), np.arange(7).repeat(10))
    assert (bounds.mean, bounds.low, bounds.high) == (1, -np.inf, np.inf)
    with pytest.raises(ValueError, match="3 and 2 values of 3"):
        difference_bounds(np.zeros(3), np.zeros(2), np.arange(3))
