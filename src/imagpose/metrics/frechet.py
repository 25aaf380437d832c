"""The Frechet distance between two sets of feature vectors, both taken as Gaussians."""

from __future__ import annotations

import numpy as np


def gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and unbiased covariance (d, d) of feature vectors (n, d), in float64.

    Raises:
        ValueError: fewer than two vectors.
    """
    if len(features) < 2:
        raise ValueError(f"{len(features)} feature vectors have no covariance; at least 2 expected")
    features = features.astype(np.float64)
    return features.mean(0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet_distance(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    """Squared Frechet distance |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two Gaussians.

    The eigenvalues of C1 C2 are those of the symmetric C1^(1/2) C2 C1^(1/2): real, also where the covariances of few
    pictures are singular and a matrix square root of the product is not. Source: Heusel et al., 2017, Eq. 6.

    Args:
        one, other: mean (d,) and covariance (d, d).
    """
    (mean, covariance), (other_mean, other_covariance) = one, other
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ other_covariance @ root)
    difference = mean - other_mean
    trace = np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(product.clip(0)).sum()
    return float(difference @ difference + trace)
