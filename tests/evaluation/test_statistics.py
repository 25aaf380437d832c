"""Bootstrap intervals and paired comparisons against closed forms and plain loops."""

import numpy as np
import pytest
from scipy import stats

from imagpose.evaluation import statistics
from imagpose.evaluation.statistics import bootstrap_mean, compare_paired


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
    interval = bootstrap_mean(values, seed=3)
    width = expected.high - expected.low
    assert interval.low == pytest.approx(expected.low, abs=0.05 * width)
    assert interval.high == pytest.approx(expected.high, abs=0.05 * width)


def test_the_interval_does_not_depend_on_how_much_is_drawn_at_once(monkeypatch):
    values = np.random.default_rng(2).normal(size=50)
    whole = bootstrap_mean(values)
    monkeypatch.setattr(statistics, "_AT_ONCE", 333)
    assert bootstrap_mean(values) == whole
    assert bootstrap_mean(values, seed=1) != whole


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
