"""Which pictures a batch shows (P identities, K of each), and how they are changed before the network sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from imagpose.judges.reid import MEAN
from imagpose.training.stage import keyed_rng

_AREA, _FLATTEST, _TRIES = (0.02, 0.4), 0.3, 100


@dataclass(frozen=True, eq=False)
class IdentityBatches:
    """Batches of P identities with K pictures each.

    The identities come in passes, each in another order: within a pass every identity comes once (the last ones, too few
    for a batch, are left out). Who has fewer than K pictures shows some of them twice.

    Attributes:
        labels: int (n,), 0.. of the pictures.
        generated: bool (n,).
        identities: P.
        per_identity: K.
        real_fraction: share of real pictures in a batch, where an identity has both kinds; None: whatever is drawn.
        seed: of everything.

    Raises:
        ValueError: fewer identities than a batch shows.
    """

    labels: np.ndarray
    generated: np.ndarray
    identities: int
    per_identity: int
    real_fraction: float | None
    seed: int

    def __post_init__(self) -> None:
        if self.identities > self.count:
            raise ValueError(
                f"a batch shows {self.identities} identities (batch_size / per_identity), the set has {self.count}"
            )

    @property
    def count(self) -> int:
        """Identities of the set."""
        return int(self.labels.max()) + 1

    def chosen(self, step: int, part: int) -> np.ndarray:
        """The pictures (P K,) of a batch, those of an identity together.

        Args:
            step: of the optimiser.
            part: number of the batch's first sample in the step.
        """
        passed, place = divmod(step, self.count // self.identities)
        order = keyed_rng(self.seed, part, passed).permutation(self.count)
        rng = keyed_rng(self.seed, step, part, 1)
        real = self._real_counts(rng)
        shown = order[place * self.identities : (place + 1) * self.identities]
        return np.concatenate([self._of(label, own, rng) for label, own in zip(shown, real, strict=True)])

    def _real_counts(self, rng: np.random.Generator) -> Sequence[int | None]:
        """How many real pictures each identity shows, so that the batch as a whole has its share."""
        if self.real_fraction is None:
            return [None] * self.identities
        each, more = divmod(round(self.real_fraction * self.identities * self.per_identity), self.identities)
        counts = np.full(self.identities, each)
        counts[rng.permutation(self.identities)[:more]] += 1
        found: list[int] = counts.tolist()
        return found

    def _of(self, label: int, real: int | None, rng: np.random.Generator) -> np.ndarray:
        """K pictures of an identity, `real` of them real where it has both kinds."""
        own = np.flatnonzero(self.labels == label)
        kinds = [own[~self.generated[own]], own[self.generated[own]]]
        if real is None or not all(map(len, kinds)):
            return _draw(rng, own, self.per_identity)
        return np.concatenate([_draw(rng, *of) for of in zip(kinds, (real, self.per_identity - real), strict=True)])


def _draw(rng: np.random.Generator, pictures: np.ndarray, count: int) -> np.ndarray:
    chosen: np.ndarray = rng.choice(pictures, count, replace=len(pictures) < count)
    return chosen


def augment(
    pixels: torch.Tensor, rng: np.random.Generator, mirror: float = 0.5, padding: int = 10, erase: float = 0.5
) -> torch.Tensor:
    """Mirrored, cropped out of a black frame, and with a rectangle erased, each picture by itself.

    The rectangle has 2 to 40 % of the area, sides of 0.3 to 3.3, and ImageNet's mean colour. (The published code fills
    normalised pixels with the mean of unnormalised ones, a light grey; this is the colour that its paper describes.)
    Source: Zhong et al., "Random erasing data augmentation", 2020, algorithm 1.

    Args:
        pixels: (b, 3, H, W) in [-1, 1].
        rng: draws everything.
        mirror, erase: probabilities.
        padding: width of the frame in pixels.

    Returns:
        A new tensor of the same shape and range.
    """
    height, width = pixels.shape[-2:]
    framed = functional.pad(pixels, [padding] * 4, value=-1.0)
    fill = torch.tensor(MEAN).view(3, 1, 1) * 2 - 1
    changed = torch.empty_like(pixels)
    for number, picture in enumerate(framed):
        top, left = rng.integers(0, 2 * padding + 1, 2)
        cut = picture[:, top : top + height, left : left + width]
        changed[number] = cut.flip(-1) if rng.random() < mirror else cut
        if rng.random() < erase and (box := _box(height, width, rng)) is not None:
            changed[number, :, box[0], box[1]] = fill
    return changed


def _box(height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """Rows and columns of a rectangle inside a picture; None where none of many tries fits."""
    for _ in range(_TRIES):
        area = rng.uniform(*_AREA) * height * width
        aspect = rng.uniform(_FLATTEST, 1 / _FLATTEST)
        tall, wide = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if tall < height and wide < width:
            top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
            return slice(top, top + tall), slice(left, left + wide)
    return None
