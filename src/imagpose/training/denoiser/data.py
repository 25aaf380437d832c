"""Where the denoiser's canvases come from: rendered people, or a data set, from a cache or picture by picture."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from PIL import Image

from imagpose.data.augment import draw_changes
from imagpose.data.canvas import ViewTensors, fitted_mask, fitted_view, load_views
from imagpose.pipeline.warping import WarpSource, warp
from imagpose.pixels import bytes_to_signed, padded_size
from imagpose.pose import Pose
from imagpose.training.cache import ViewCache
from imagpose.training.configs import ViewCacheConfig
from imagpose.training.denoiser.cache import BLOCK, dataset_blocks, open_dataset, unpack_skeletons
from imagpose.training.denoiser.config import DatasetConfig
from imagpose.training.denoiser.draw import CanvasDraw
from imagpose.training.denoiser.half_views import fit_surface, halve_pixels, halve_skeletons
from imagpose.training.shards import Tensors, load_shard
from imagpose.training.stage import Batch, Drawn, keyed_rng


class CanvasData(ABC):
    """Views of identities, laid into canvases as they are drawn.

    Attributes:
        height, width: of a view in pixels, before padding.
        view_counts: int64 (identities,), views of each identity, at least 2.
    """

    height: int
    width: int
    view_counts: np.ndarray

    @abstractmethod
    def canvases(self, draw: CanvasDraw) -> Batch:
        """What the slots of b drawn canvases show.

        Returns:
            ``skeletons`` uint8 (b, v, 3, H', W'), padded, and either, from a cache, ``latents`` (b, v, c, h, w), and of
            the view that F_C is made of ``tokens`` (b, n, d_enc) and, where the model has texture tokens, ``textures``
            (b, c, h', w'); or ``pixels`` (b, v, 3, H, W) and ``feature_pixels`` (b, 3, H, W) in [-1, 1]. Where the loss
            needs it, ``surface`` (b, v, h, w, 4): place on the body at rest in metres, and coverage, of each latent's
            cell. The views of the slots have half their size where the draw says so.
        """

    @abstractmethod
    def name(self, identity: int) -> str:
        """What an identity is called in messages."""

    @abstractmethod
    def view(self, identity: int, view: int) -> tuple[Image.Image, Pose]:
        """A picture and its pose, unchanged."""

    def warped_views(self, draw: CanvasDraw) -> Batch:
        """The sources of each canvas in the poses of its masked slots, where the draw keeps the sources' poses.

        Returns:
            ``warped`` (n, 3, H, W) in [-1, 1], at half the size where the draw says so, and ``warped_slots`` int64 (n, 2),
            canvas and slot of each; n may be 0.
        """
        pictures, places = [], []
        for canvas, (identity, views, mask) in enumerate(
            zip(draw.identities, draw.views, draw.mask.numpy(), strict=True)
        ):
            if not draw.keep_source_poses[canvas]:
                continue
            shown = {view: self.view(int(identity), int(view)) for view in np.unique(views)}
            given = [
                WarpSource.of(np.asarray(shown[view][0]), shown[view][1]) for view in dict.fromkeys(views[mask > 0])
            ]
            sources = [source for source in given if source is not None]
            targets = views[mask <= 0] if sources else []
            moved = {view: warp(sources, shown[view][1]) for view in np.unique(targets)}
            for slot in np.flatnonzero(mask <= 0):
                picture = moved.get(views[slot])
                if picture is not None:
                    pictures.append(picture)
                    places.append((canvas, slot))
        stacked = np.stack(pictures) if pictures else np.zeros((0, self.height, self.width, 3), np.uint8)
        warped = bytes_to_signed(stacked)
        return {
            "warped": halve_pixels(warped) if draw.half else warped,
            "warped_slots": torch.tensor(places, dtype=torch.int64).reshape(-1, 2),
        }

    @abstractmethod
    def foreground(self, identity: int, view: int) -> np.ndarray | None:
        """The person's mask in that picture, bool (H, W); None where it is not known."""

    def parts(self, identity: int, view: int) -> np.ndarray | None:
        """The person's parts in that picture, uint8 (H, W), index into `PART_NAMES`; None where they are not known."""
        return None


class CachedData(CanvasData):
    """Canvases of cached tensors."""

    kinds: tuple[str, ...]
    multiple: int

    @abstractmethod
    def get_each(self, name: str, identities: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        """Tensors `name` of n (identity, view) pairs, mapped into memory."""

    def get(self, name: str, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Tensor `name` (n, ...) of n (identity, view) pairs."""
        with torch.autocast("cpu", enabled=False):  # which has no rule for stacking half precision, as in validation
            return torch.stack(self.get_each(name, identities, views))

    def skeletons(self, identities: np.ndarray, views: np.ndarray) -> torch.Tensor:
        """Padded drawings uint8 (n, 3, H', W') of n (identity, view) pairs."""
        height, width = padded_size(self.height, self.width, self.multiple)
        return unpack_skeletons(self.get_each("skeletons", identities, views), height, width)

    def canvases(self, draw: CanvasDraw) -> Batch:
        pairs = np.repeat(draw.identities, draw.views.shape[1]), draw.views.reshape(-1)
        size = self.height, self.width, self.multiple
        shown = {
            "latents": self.get("latents_half" if draw.half else "latents", *pairs).float(),
            "skeletons": self.skeletons(*pairs),
        }
        if "surface" in self.kinds:
            padded = padded_size(self.height // 2, self.width // 2, self.multiple) if draw.half else padded_size(*size)
            factor = padded[0] // shown["latents"].shape[-2]
            shown["surface"] = fit_surface(self.get("surface", *pairs), *size, factor, draw.half)
        if draw.half:
            shown["skeletons"] = halve_skeletons(shown["skeletons"], *size)
        features = [kind for kind in self.kinds if kind in ("tokens", "textures")]
        return {
            **{name: torch.unflatten(tensor, 0, draw.views.shape) for name, tensor in shown.items()},
            **{kind: self.get(kind, draw.identities, draw.feature_views).float() for kind in features},
        }


class RenderedData(CachedData):
    """Rendered people, see `ViewCache`."""

    def __init__(self, config: ViewCacheConfig, kinds: tuple[str, ...], multiple: int) -> None:
        """Open the shards of `kinds`; errors as `ViewCache`."""
        self.kinds, self.multiple = kinds, multiple
        self.height, self.width = config.height, config.width
        self.view_counts = np.full(config.identities, config.views, dtype=np.int64)
        self._cache = ViewCache(config, kinds)

    def get_each(self, name: str, identities: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        return self._cache.get_each(name, identities, views)

    def name(self, identity: int) -> str:
        return f"seed {self._cache.config.first_seed + identity}"

    def view(self, identity: int, view: int) -> tuple[Image.Image, Pose]:
        pair = np.array([identity]), np.array([view])
        picture, points = (self._cache.get(name, *pair)[0].numpy() for name in ("pictures", "keypoints"))
        return Image.fromarray(picture), Pose(points, self.width, self.height)

    def foreground(self, identity: int, view: int) -> np.ndarray:
        return self._cache.foreground(np.array([identity]), np.array([view]))[0].numpy()

    def parts(self, identity: int, view: int) -> np.ndarray:
        return self._cache.parts(np.array([identity]), np.array([view]))[0].numpy()


class DatasetViews(CanvasData):
    """The pictures of a data set that `imagpose prepare` made."""

    def __init__(self, config: DatasetConfig) -> None:
        """Open the data set; errors as `PersonDataset`."""
        self.height, self.width = config.height, config.width
        self.dataset = open_dataset(config)
        self.view_counts = self.dataset.view_counts

    def name(self, identity: int) -> str:
        return self.dataset.identities[identity]

    def view(self, identity: int, view: int) -> tuple[Image.Image, Pose]:
        return fitted_view(self.dataset.views(identity)[view], self.height, self.width)

    def foreground(self, identity: int, view: int) -> np.ndarray | None:
        return fitted_mask(self.dataset.views(identity)[view], self.height, self.width)


class StoredData(DatasetViews):
    """A data set, picture by picture."""

    def __init__(self, config: DatasetConfig, multiple: int) -> None:
        """Open the data set.

        Args:
            config: the data set; changes of its views.
            multiple: sides of skeletons are padded to multiples of this.

        Raises:
            FileNotFoundError, ValueError: see `PersonDataset`.
        """
        super().__init__(config)
        self._augment = config.augment if config.augment.changes_views else None
        self._multiple = multiple

    def canvases(self, draw: CanvasDraw) -> Batch:
        """See `CanvasData`; each canvas is changed as its key says."""
        canvases = zip(draw.samples, draw.identities, draw.views, draw.feature_views, strict=True)
        read = [self._canvas(*canvas) for canvas in canvases]
        pixels = torch.stack([tensors.pixels for tensors in read])
        views, skeletons = pixels[:, :-1], torch.stack([tensors.skeletons[:-1] for tensors in read])
        if draw.half:
            size, slots = (self.height, self.width, self._multiple), draw.views.shape
            views = torch.unflatten(halve_pixels(views.flatten(0, 1)), 0, slots)
            skeletons = torch.unflatten(halve_skeletons(skeletons.flatten(0, 1), *size), 0, slots)
        return {"pixels": views, "feature_pixels": pixels[:, -1], "skeletons": skeletons}

    def _canvas(self, sample: tuple[int, int, int], identity: int, views: np.ndarray, feature_view: int) -> ViewTensors:
        """The views of the slots, then the one that F_C is made of, changed as in its slot if it has one."""
        records, shown = self.dataset.views(int(identity)), [*views.tolist(), int(feature_view)]
        changes = None
        if self._augment is not None:
            changes = draw_changes(self._augment, keyed_rng(*sample, Drawn.CHANGES), len(shown))
            changes[-1] = changes[shown.index(shown[-1])]
        return load_views([records[view] for view in shown], self.height, self.width, self._multiple, changes)


class CachedDataset(CachedData, DatasetViews):
    """A data set whose latents, tokens and skeletons are cached."""

    def __init__(self, config: DatasetConfig, kinds: tuple[str, ...], multiple: int) -> None:
        """Open the data set and the shards of `kinds`.

        Raises:
            FileNotFoundError: a shard has not been made; or see `PersonDataset`.
            ValueError: see `PersonDataset`.
        """
        super().__init__(config)
        self.kinds, self.multiple = kinds, multiple
        self._shards: list[Tensors] = []
        for block in dataset_blocks(config, multiple):
            self._shards.append({kind: load_shard(block.path(kind))[kind] for kind in kinds})
        before = np.cumsum(self.view_counts) - self.view_counts
        self._first = before - before[np.arange(len(before)) // BLOCK * BLOCK]

    def get_each(self, name: str, identities: np.ndarray, views: np.ndarray) -> list[torch.Tensor]:
        return [
            self._shards[identity // BLOCK][name][self._first[identity] + view]
            for identity, view in zip(identities, views, strict=True)
        ]


def open_data(config: ViewCacheConfig | DatasetConfig, kinds: tuple[str, ...], multiple: int) -> CanvasData:
    """The data of a configuration; what is cached has been made before.

    Raises:
        FileNotFoundError, ValueError: a data set or a shard is missing or does not fit.
    """
    if isinstance(config, ViewCacheConfig):
        return RenderedData(config, kinds, multiple)
    return StoredData(config, multiple) if config.cache is None else CachedDataset(config, kinds, multiple)
