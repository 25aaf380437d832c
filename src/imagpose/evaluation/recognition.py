"""Identity judged by a network that the user brings: in photographs, where the shipped judge means nothing.

The row is rank-1, as of rendered people; it stands beside copying the source, the autoencoder alone and the real pictures,
which are judged by the same network. Without those its numbers say nothing: a network that looks at clothes or at the
ground calls every copy right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.records import ViewRecord
from imagpose.devices import choose_device
from imagpose.evaluation.folders import ComparedPair
from imagpose.evaluation.judging import (
    JUDGED,
    SPLIT,
    JudgedPairs,
    JudgedViews,
    RenderedPeople,
    equal_sizes,
    open_judged_views,
    values_of_pairs,
)
from imagpose.evaluation.networks import Needs
from imagpose.evaluation.store import ValueStore
from imagpose.judges.reid import embed_pictures, is_reid_network, load_reid_network
from imagpose.models.folder import ModelFiles
from imagpose.models.loading import load_image_encoder, load_image_processor
from imagpose.pipeline.conditions import encode_image_tokens
from imagpose.pixels import bytes_to_signed
from imagpose.training.denoiser.cache import fingerprint

_AT_ONCE = 16
_VERSION = "1"  # of what is computed, for the values that are kept


def open_views(folder: Path | None, detect: str | None, identity_network: str | None) -> JudgedViews | Needs:
    """`open_judged_views`, with identity judged by a network of the user's where one is given.

    Args:
        folder, detect: see `open_judged_views`.
        identity_network: folder of a network of `imagpose reid train`, or folder or Hub id of a vision transformer in
            transformers' format; None for the shipped judge.

    Raises:
        FileNotFoundError, ValueError, OSError: see `open_judged_views` and `load_image_encoder`; or a network without a
            data set.
    """
    if identity_network is None:
        return open_judged_views(folder, detect)
    if folder is None:
        raise ValueError("an identity network searches a data set for the person: name it (--data)")
    views = open_judged_views(folder, detect)
    return RecognisedPeople(PersonDataset(folder, SPLIT), views, identity_network)


class RecognisedPeople(RenderedPeople):
    """The test split of any data set: identity by a given network, the rest as without it."""

    def __init__(self, dataset: PersonDataset, others: JudgedViews | Needs, network: str) -> None:
        """Load the network.

        Args:
            others: judge what is not identity; or what they need.
            network: see `open_views`.
        """
        super().__init__(dataset)
        self.others, self.network = others, network
        files = ModelFiles(network)
        self._embed = _reid_embedder(network) if is_reid_network(network) else _embedder(files)
        self._digest = fingerprint(files)

    @property
    def note(self) -> str:
        """Which network, and how large the gallery is."""
        size = int(self.dataset.view_counts.sum()), len(self.dataset)
        own = (
            f"Identity: {size[0]:,} real views of {size[1]:,} people are searched by {Path(self.network).name}, grounds"
            " included. Compare with copying, with the autoencoder alone and with the references."
        )
        return own if isinstance(self.others, Needs) else f"{self.others.note} {own}"

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """See `RenderedPeople.embed`; the whole picture is looked at."""
        return self._embed(pictures)

    def judge(
        self, pairs: Sequence[ComparedPair], judged: JudgedPairs, store: ValueStore
    ) -> dict[str, np.ndarray | Needs]:
        """As `RenderedPeople.judge` for `rank1`; the others as `others` has them."""
        values: dict[str, np.ndarray | Needs] = (
            dict.fromkeys(JUDGED, self.others)
            if isinstance(self.others, Needs)
            else self.others.judge(pairs, judged, store)
        )
        made, real = values_of_pairs(pairs, judged, store, f"identity {_VERSION} {self._digest}", self._work)
        return {name: own for name, own in values.items() if not name.startswith("rank1")} | self.ranks(
            made, real, judged
        )

    def _work(self, pictures: Sequence[np.ndarray], records: Sequence[ViewRecord]) -> np.ndarray:
        return np.concatenate([self.embed(run) for run in equal_sizes(pictures)]).astype(np.float64)


def _reid_embedder(folder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Vectors by a network of `imagpose reid train`."""
    network = load_reid_network(folder).to(choose_device())
    return lambda pictures: embed_pictures(network, map(Image.fromarray, pictures))


def _embedder(files: ModelFiles) -> Callable[[np.ndarray], np.ndarray]:
    """Vectors (n, 2 d) of length 1 by a vision transformer: its first token, and the mean of all."""
    encoder = load_image_encoder(files)
    processor = load_image_processor(files, encoder)
    encoder.to(choose_device())

    def embed(pictures: np.ndarray) -> np.ndarray:
        found = []
        for start in range(0, len(pictures), _AT_ONCE):
            pixels = bytes_to_signed(pictures[start : start + _AT_ONCE]).to(choose_device())
            with torch.inference_mode():
                tokens = encode_image_tokens(encoder, processor, pixels).float()
            parts = [torch.nn.functional.normalize(own, dim=-1) for own in (tokens[:, 0], tokens.mean(dim=1))]
            found.append((torch.cat(parts, dim=1) / 2**0.5).cpu().numpy())
        return np.concatenate(found)

    return embed
