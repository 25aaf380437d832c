"""The Frechet distance against closed forms and against the square root of the product."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from imagpose.metrics.frechet import frechet_distance, gaussian


def by_square_root(one, other):
    """As the formula is written, with scipy's square root of a matrix."""
    (mean, covariance), (other_mean, other_covariance) = one, other
    root = sqrtm(covariance @ other_covariance).real
    return ((mean - other_mean) ** 2).sum() + np.trace(covariance + other_covariance - 2 * root)


def test_diagonal_gaussians_have_a_closed_form():
    means = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    deviations = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.5, 3.0])
    one, other = ((mean, np.diag(deviation**2)) for mean, deviation in zip(means, deviations, strict=True))
    expected = (1 + 9 + 0) + (1 + 1.5**2 + 0)  # squared distances of the means and of the deviations
    assert frechet_distance(one, other) == pytest.approx(expected)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_correlated_gaussians_as_with_the_square_root_of_the_product():
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(300, 24)) @ rng.normal(size=(24, 24)) + rng.normal(size=24) for _ in range(2)]
    one, other = map(gaussian, features)
    np.testing.assert_allclose(one[0], [column.mean() for column in features[0].T])
    centred = features[0] - features[0].mean(0)
    np.testing.assert_allclose(one[1], centred.T @ centred / 299)
    assert frechet_distance(one, other) == pytest.approx(by_square_root(one, other), rel=1e-6)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))


def test_fewer_vectors_than_features():
    """Both covariances have rank 4: in the space that they share the closed form is that of 4 dimensions."""
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(32, 32)))[0][:, :4]
    small = [rng.normal(size=(5, 4)) * scale for scale in (1.0, 3.0)]
    one, other = (gaussian(features @ basis.T) for features in small)
    expected = by_square_root(*map(gaussian, small))
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-5)


def test_features_in_single_precision_are_summed_in_double():
    features = np.random.default_rng(2).normal(1000, 0.01, (5000, 3)).astype(np.float32)
    mean, covariance = gaussian(features)
    np.testing.assert_allclose(mean, features.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(features.astype(np.float64).T), rtol=1e-9)


def test_one_vector_is_refused():
    with pytest.raises(ValueError, match="1 feature vectors"):
        gaussian(np.zeros((1, 4)))
