"""The stage that trains a re-identification network: classifier, hardest triplets, and centres where they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from imagpose.data.reid import FOLDERS, ReidPicture, generated_names, labels_of, list_pictures, subset
from imagpose.judges.reid import ReidNetwork, embed_pictures, resized, take_backbone_weights
from imagpose.metrics.ranking import Labels, rank_gallery
from imagpose.pictures import load_picture
from imagpose.pixels import bytes_to_signed
from imagpose.training.reid.batches import IdentityBatches, augment
from imagpose.training.reid.config import ReidConfig
from imagpose.training.run import Trainer, prepare_run
from imagpose.training.stage import Batch, Stage, keyed_rng

_CENTRE_RATE = 0.5  # of the centres' own gradient descent


def training_pictures(config: ReidConfig) -> tuple[list[ReidPicture], list[ReidPicture]]:
    """The real pictures of the subset, and the generated ones, of which as many as the configuration wants.

    Raises:
        FileNotFoundError, ValueError: see `list_pictures` and `subset`; nothing real is there.
    """
    made = generated_names(config.data)
    pictures = list_pictures(config.data, "train")
    real = [own for own in pictures if own.file.name not in made]
    if not real:
        raise ValueError(f"{config.data}: all pictures of {FOLDERS['train']} are generated; real ones are needed")
    chosen = subset(real, config.subset, config.subset_seed)
    generated = [own for own in pictures if own.file.name in made]
    if config.generated_per_real is not None:
        most = int(config.generated_per_real * len(chosen))
        order = keyed_rng(config.subset_seed, 0).permutation(len(generated))[:most]
        generated = [generated[number] for number in sorted(order)]
    return chosen, generated


class ReidStage(Stage):
    """Cross-entropy behind the neck, triplets (and centres) before it."""

    name = "reid"
    sample_name = "pictures"

    def __init__(self, config: ReidConfig) -> None:
        super().__init__()
        self.config, self.samples_per_batch = config, config.batch_size
        real, generated = training_pictures(config)
        self.pictures = [*real, *generated]
        identities, labels = np.unique(labels_of(self.pictures)[0], return_inverse=True)
        self.batches = IdentityBatches(
            labels,
            np.arange(len(self.pictures)) >= len(real),
            config.batch_size // config.per_identity,
            config.per_identity,
            config.real_fraction,
            config.seed,
        )
        torch.manual_seed(config.seed)
        self.network = ReidNetwork(config.network, config.height, config.width)
        if config.imagenet is not None:
            take_backbone_weights(self.network, config.imagenet)
        self.classifier = nn.Linear(self.network.width, len(identities), bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)
        self.centres = CentreLoss(len(identities), self.network.width) if config.centre_weight else None

    def batch(self, step: int, samples: range) -> Batch:
        """``pixels`` (b, 3, H, W) in [-1, 1], changed at random, and ``labels`` (b,)."""
        config, chosen = self.config, self.batches.chosen(step, samples.start)
        shown = [resized(load_picture(self.pictures[own].file), self.network.size) for own in chosen]
        rng = keyed_rng(config.seed, step, samples.start, 2)
        pixels = augment(
            bytes_to_signed(np.stack(shown)), rng, config.mirror_probability, config.crop_padding,
            config.erase_probability,
        )  # fmt: skip
        return {"pixels": pixels, "labels": torch.from_numpy(self.batches.labels[chosen])}

    def items(self, step: int, samples: range) -> list[str]:
        """File names of the batch's pictures."""
        return [self.pictures[own].file.name for own in self.batches.chosen(step, samples.start)]

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss and its parts, and the share of pictures whose identity the classifier tells."""
        config, labels = self.config, batch["labels"]
        pooled, behind = self.network(batch["pixels"])
        logits, pooled = self.classifier(behind).float(), pooled.float()
        parts = {
            "classes": functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing),
            "triplets": batch_hard_triplet(pooled, labels, config.margin),
        }
        if self.centres is not None:
            parts["centres"] = config.centre_weight * self.centres(pooled, labels)
        told = (logits.argmax(dim=1) == labels).float().mean()
        loss = torch.stack(list(parts.values())).sum()
        return loss, {**{name: own.detach() for name, own in parts.items()}, "told": told}

    def validate(self) -> dict[str, float]:
        """Rank-1 and mAP of the set's queries in its gallery; nothing where it has none."""
        if not all((self.config.data / FOLDERS[part]).is_dir() for part in ("query", "gallery")):
            return {}
        features, labels = [], []
        for part in ("query", "gallery"):
            pictures = list_pictures(self.config.data, part)
            features.append(embed_pictures(self.network, (load_picture(own.file) for own in pictures)))
            labels.append(Labels(*labels_of(pictures)))
        ranking = rank_gallery(features[0], labels[0], features[1], labels[1])
        return {"rank1": ranking.cmc(1), "map": ranking.mean_precision}

    def compilable(self) -> tuple[nn.Module, ...]:
        """The backbone."""
        return (self.network.backbone,)

    def export(self, folder: Path) -> None:
        """``reid.safetensors`` and ``reid.json``: the network without the classifier."""
        self.network.save(folder)


def batch_hard_triplet(features: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Mean over the batch of max(0, margin + distance to the furthest picture of the same identity - to the nearest other).

    Args:
        features: float32 (b, d).
        labels: int (b,), of at least two identities.
        margin: in units of the Euclidean distance.

    Source: Hermans et al., "In defense of the triplet loss for person re-identification", 2017, eq. 5.
    """
    # Not from a product of matrices: bf16 autocast rounds it, and distances are small differences of its large numbers.
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None]
    furthest = distances.masked_fill(~same, -torch.inf).amax(dim=1)
    nearest = distances.masked_fill(same, torch.inf).amin(dim=1)
    return (furthest - nearest + margin).relu().mean()


class CentreLoss(nn.Module):
    """Squared distance of features to the centre of their identity, mean over the batch.

    The centres are buffers, which in training descend their own gradient (rate 0.5, not scaled by the loss's weight).
    Source: Wen et al., "A discriminative feature learning approach for deep face recognition", 2016; as the strong
    baseline has it, without the factor 1/2.
    """

    centres: torch.Tensor

    def __init__(self, identities: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.randn(identities, width))

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Features (b, d) and labels (b,) to the loss."""
        loss = (features - self.centres[labels]).square().sum(dim=1).mean()
        if self.training:
            with torch.no_grad():
                towards = (features.detach() - self.centres[labels]) * (2 * _CENTRE_RATE / len(labels))
                self.centres = self.centres.index_add(0, labels, towards.to(self.centres.dtype))
        return loss


def _build(config: ReidConfig) -> Stage:
    prepare_run(config, ())
    return ReidStage(config)


train_reid = Trainer(ReidConfig, _build, lambda config: config.with_steps(sum(map(len, training_pictures(config)))))
