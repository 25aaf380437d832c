"""Where the autoencoder's views come from: rendered people, or a data set."""

from __future__ import annotations

import numpy as np
import torch

from imagpose.data.canvas import fitted_mask, fitted_view
from imagpose.data.dataset import PersonDataset
from imagpose.data.records import ViewRecord
from imagpose.pixels import pictures_to_signed
from imagpose.training.cache import ViewCache
from imagpose.training.configs import StoredViewsConfig, ViewCacheConfig


class StoredViews:
    """Read access to a data set as `ViewCache` gives it to rendered people; a picture counts as an identity of one view.

    The first pictures of all people come first, then their second ones, and so on.
    """

    num_views = 1

    def __init__(self, config: StoredViewsConfig) -> None:
        """Open the data set; errors as `PersonDataset`."""
        self.config = config
        self.dataset = PersonDataset(config.dataset, config.split)
        counts = self.dataset.view_counts
        people = np.repeat(np.arange(len(counts)), counts)
        views = np.arange(len(people)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._places = np.stack([people, views], 1)[np.argsort(views, kind="stable")]
        self._shown: tuple[list[int], list[ViewRecord]] = ([], [])

    @property
    def num_identities(self) -> int:
        """Number of pictures."""
        return len(self._places)

    def names(self, identities: np.ndarray, views: np.ndarray) -> list[str]:
        """What n pictures are called in messages."""
        return [record.name for record in self._records(identities)]

    def pixels(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Pictures (n, 3, H, W) in [-1, 1]."""
        return pictures_to_signed([fitted_view(own, *self._size)[0] for own in self._records(identities)])

    def foreground(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Foreground masks (n, H, W), bool; all of a picture whose mask is not known."""
        masks = [fitted_mask(own, *self._size) for own in self._records(identities)]
        return torch.from_numpy(np.stack([np.ones(self._size, bool) if own is None else own for own in masks]))

    def get(self, name: str, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Key points (n, 18, 3) of the fitted pictures, the only tensor of a data set that goes by a name."""
        assert name == "keypoints"
        return torch.from_numpy(
            np.stack([fitted_view(own, *self._size)[1].keypoints for own in self._records(identities)])
        )

    @property
    def _size(self) -> tuple[int, int]:
        return self.config.height, self.config.width

    def _records(self, identities: np.ndarray) -> list[ViewRecord]:
        """The stored views; those of the last call are kept, since pictures, masks and key points are asked for in turn."""
        wanted = identities.tolist()
        if self._shown[0] != wanted:
            places = self._places[identities].tolist()
            self._shown = wanted, [self.dataset.views(person)[view] for person, view in places]
        return self._shown[1]


def open_views(config: ViewCacheConfig | StoredViewsConfig) -> ViewCache | StoredViews:
    """The views of a configuration; rendered ones have been made before.

    Raises:
        FileNotFoundError, ValueError: a shard or a data set is missing or damaged.
    """
    return ViewCache(config) if isinstance(config, ViewCacheConfig) else StoredViews(config)
