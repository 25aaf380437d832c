"""Training of the network that finds where a photo shows each place of another pose (`models.appearance_flow`).

People are rendered as they are needed, a group at a time, and pairs of their views are drawn for some steps. The loss of a
pair is

    L = .1 E(f) + .05 E(f') + .15 M + 1.5 R + 2 B(o, a) + .3 B(v, s) + 1.5 P + C + 1.5 F + .15 A,

over cells i of the target, with the true flow t (`flow_examples`), s = 1 where the source sees the place, and the person's
share a of the cell, which counts four times on heads (w):

    E(f) = sum s sqrt(|f - t|^2 + .01) / sum s        end-point error, smooth at 0; of the flow f and, with t and s
                                                      averaged over 4 x 4 cells, of the coarser level's f'
    M    = -sum s sum_j b_ij log p_ij / sum s         cross-entropy of the matching; b has t among the middles of the four
                                                      cells about it, bilinearly
    R    = sum w |sum_j p_ij x_j - y_i| / sum w       colours x of the source, expected by the matching, and y of the target
    B                                                 binary cross-entropy of the outline o, and on the person of v
    P    = sum w |x(f) - y| / sum w                   colours at the flow, hidden places too: there the most alike is right
    C    = sum w |c - y| / sum w                      the person's colours c = m x(f) + (1 - m) z: z painted, m `shown`
    F                                                 distance of c to y in EfficientNet-lite0's features, weighted by w
    A    = -D(c)                                      what a discriminator on these features says of c; its own loss is added

c stands before the true ground there. C alone paints blurs, F without A soft edges. Source: own; E and B of flow and
visibility as in Li et al., CVPR 2019, §3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, model_validator
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from imagpose import people
from imagpose.metrics.perceptual import load_efficientnet, masked_distance
from imagpose.models.appearance_flow import (
    APPEARANCE_FLOW_WEIGHTS,
    CELL,
    FRAME,
    AppearanceFlow,
    FoundFlow,
    expected_colours,
    read_appearance_flow,
    sample_at,
)
from imagpose.pixels import signed_to_bytes
from imagpose.pose.part_flow import PART_NUMBERS
from imagpose.training.configs import Fraction, Positive, RenderedPeopleConfig, RunConfig
from imagpose.training.flow_examples import Example, FlowView, inputs_of, make_example, mirror, permute_colours
from imagpose.training.losses import FeatureDiscriminator, features_of_both, hinge_losses, joined_features
from imagpose.training.run import Trainer, prepare_run
from imagpose.training.stage import Batch, Stage, keyed_rng, on_device

_MATCHED = 4  # cells along a cell of the matching
_HEAD_WEIGHT = 4.0
_SMOOTH = 1e-2  # square pixels
_WEIGHTS = {
    "error": 0.1, "coarse_error": 0.05, "matching": 0.15, "colour": 1.5, "outline": 2.0, "visibility": 0.3,
    "photometric": 1.5, "completed": 1.0, "features": 1.5,
    "fooled": 0.15, "judged": 1.0,
}  # fmt: skip
_SHOWN_PEOPLE, _SHOWN_PAIRS = 2, 6


class AppearanceFlowConfig(RunConfig):
    """The flow that warped views are made by; `batch_size` counts pairs of views."""

    data: RenderedPeopleConfig = Field(description="Training identities, inside TRAIN_SEEDS.")
    validation: RenderedPeopleConfig = Field(description="Held-out identities, inside VALIDATION_SEEDS.")
    group: Positive = Field(32, description="Identities that are rendered together; all pairs of their views serve.")
    group_steps: Positive = Field(120, description="Steps that a group serves.")
    groups_at_once: Positive = Field(
        1, description="Groups that steps take in turn; with as many `workers`, each of them renders its own."
    )
    mirror_probability: Fraction = Field(0.5, description="Share of pairs that are seen in a mirror.")
    colour_probability: Fraction = Field(0.3, description="Share of pairs whose colour channels are permuted.")
    initial: Path | None = Field(
        None,
        description="Folder of exported weights (a run's weights/, or the package's) to start from; none: fresh ones.",
    )

    @model_validator(mode="after")
    def _fits(self) -> AppearanceFlowConfig:
        for name, own in (("data", self.data), ("validation", self.validation)):
            if (own.height, own.width) != FRAME:
                raise ValueError(f"{name} is {own.height}x{own.width}; the network works on {FRAME[0]}x{FRAME[1]}")
        if self.group > self.data.identities:
            raise ValueError(f"group ({self.group}) exceeds the number of identities in data ({self.data.identities})")
        return self


class AppearanceFlowStage(Stage):
    """Flow, outline and visibility, by the loss above."""

    name = "appearance flow"
    sample_name = "pairs"

    def __init__(self, config: AppearanceFlowConfig) -> None:
        super().__init__()
        load_efficientnet()  # which says now whether its weights are there
        self.config = config
        self.samples_per_batch = config.batch_size
        torch.manual_seed(config.seed)
        initial = config.initial
        self.network = (
            AppearanceFlow() if initial is None else read_appearance_flow(initial / APPEARANCE_FLOW_WEIGHTS.name)
        )
        self.discriminator = FeatureDiscriminator()
        self._groups: dict[int, tuple[int, list[list[FlowView]]]] = {}

    def batch(self, step: int, samples: range) -> Batch:
        """Pairs of views, see `flow_examples.Example`."""
        drawn = [self._drawn(step, sample)[1] for sample in samples]
        return {name: torch.cat([example[name] for example in drawn]) for name in drawn[0]}

    def items(self, step: int, samples: range) -> list[str]:
        """Person and views of each pair."""
        return [self._drawn(step, sample)[0] for sample in samples]

    def _drawn(self, step: int, sample: int) -> tuple[str, Example]:
        """One pair and what it shows."""
        config, rng = self.config, keyed_rng(self.config.seed, step, sample)
        shown = self._shown(step)
        example = None
        while example is None:
            views = shown[rng.integers(len(shown))]
            source, target = (views[view] for view in rng.choice(len(views), 2, replace=False))
            example = make_example(source, target)
        if rng.random() < config.mirror_probability:
            example = mirror(example)
        if rng.random() < config.colour_probability:
            example = permute_colours(example, rng.permutation(3).tolist())
        return f"{source.name} to {target.name}", example

    def _shown(self, step: int) -> list[list[FlowView]]:
        """The views of each identity of the group that serves a step; the last group of each turn stays in the memory."""
        at_once, count, seeds = self.config.groups_at_once, self.config.group, self.config.data.seeds
        turn = step % at_once
        group = step // (self.config.group_steps * at_once) * at_once + turn
        if turn not in self._groups or self._groups[turn][0] != group:
            own = [seeds[(group * count + member) % len(seeds)] for member in range(count)]
            self._groups[turn] = group, rendered_views(self.config.data, own)
        return self._groups[turn][1]

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss, its parts."""
        return flow_loss(self.network(inputs_of(batch)), batch, self.discriminator)

    def validate(self) -> dict[str, float]:
        """On held-out people, each view the source of the next, a pair at a time: mean error of the flow in pixels where the
        source sees the place, IoU of the outline, mean difference of colours on the person, 0 to 2. Each also of the first
        flow alone, by which the network has to be better."""
        values: dict[str, list[float]] = {}
        for example in self._held_out(self.config.validation.identities):
            found = self._found(example)
            first = measure_flow(example["first_flow"], example["target_parts"] > 0, example)
            measures = measure_flow(found.flow, found.outline > 0, example)
            measures |= {f"{name}_first": own for name, own in first.items()} | measure_person(found, example)
            for name, own in measures.items():
                values.setdefault(name, []).append(own)
        return {name: float(np.nanmean(own)) for name, own in values.items()}

    def sample_grid(self) -> np.ndarray:
        """Held-out pairs, a column each: source, warped by the first flow, by the network's, completed; target."""
        columns = []
        for example in list(self._held_out(_SHOWN_PEOPLE))[:_SHOWN_PAIRS]:
            found = self._found(example)
            warped = [sample_at(example["pixels"], flow) for flow in (example["first_flow"], found.flow)]
            warped.append(found.completed(warped[-1]))
            columns.append(torch.cat([example["pixels"], *warped, example["target_pixels"]], dim=2))
        return signed_to_bytes(torch.cat(columns, dim=3))[0].numpy()

    def _held_out(self, identities: int) -> Iterator[Example]:
        """Pairs of the first held-out people, each view the source of the next."""
        for views in rendered_views(self.config.validation, self.config.validation.seeds[:identities]):
            for source, target in zip(views, [*views[1:], views[0]], strict=True):
                if (example := make_example(source, target)) is not None:
                    yield example

    def _found(self, example: Example) -> FoundFlow:
        """What the network finds, on the CPU."""
        found: FoundFlow = self.network(inputs_of(on_device(example, next(self.parameters()).device)))
        return FoundFlow(**{name: own.cpu() for name, own in vars(found).items()})

    def export(self, folder: Path) -> None:
        """``appearance_flow.safetensors``, half precision, as `load_appearance_flow` reads it."""
        weights = {name: weight.half().contiguous() for name, weight in self.network.state_dict().items()}
        save_file(weights, folder / APPEARANCE_FLOW_WEIGHTS.name)


def rendered_views(config: RenderedPeopleConfig, seeds: Sequence[int]) -> list[list[FlowView]]:
    """The views of each identity that are of use; of those with fewer than two, none.

    Raises:
        ValueError: nobody has two.
    """
    size = config.views, config.height, config.width
    found = []
    # One process, since workers that prepare batches cannot have children.
    for seed, rendered in people.iterate_views(seeds, *size, workers=1, world=config.world):
        views = [FlowView.of(view, f"seed {seed} view {number}") for number, view in enumerate(rendered)]
        found.append([view for view in views if view is not None])
    found = [views for views in found if len(views) > 1]
    if not found:
        raise ValueError(f"seeds {seeds[0]}..{seeds[-1]}: nobody has two views that show parts of a body")
    return found


def flow_loss(found: FoundFlow, batch: Batch, discriminator: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of a batch of `flow_examples.Example`, and its parts, see above."""
    visible, coverage, pixels, truth = (batch[name] for name in ("visible", "coverage", "pixels", "target_pixels"))
    weights = coverage * (1 + (_HEAD_WEIGHT - 1) * (batch["target_parts"] == PART_NUMBERS["head"]))
    with torch.autocast(visible.device.type, enabled=False):
        seen = _pooled(visible)
        true_flow = _pooled(batch["true_flow"] * visible[:, None]) / seen[:, None].clamp(min=1e-3)
        matching, colour = matching_losses(found.log_matching, true_flow, seen, batch, _pooled(weights))
        entropy = functional.binary_cross_entropy_with_logits
        warped = sample_at(pixels, found.flow)
        completed = found.completed(warped)
        ours, theirs = person_features(completed, truth, coverage)
        fooled, judged = hinge_losses(discriminator, joined_features(theirs), joined_features(ours))
        parts = {
            "error": end_point_error(found.flow, batch["true_flow"], visible),
            "coarse_error": end_point_error(found.coarse_flow, true_flow, seen),
            "matching": matching,
            "colour": colour,
            "outline": entropy(found.outline, coverage),
            "visibility": _mean(entropy(found.visibility, visible, reduction="none"), coverage),
            "photometric": _mean((warped - truth).abs().mean(dim=1), weights),
            "completed": _mean((completed - truth).abs().mean(dim=1), weights),
            "features": masked_distance(ours, theirs, weights).mean(),
            "fooled": fooled,
            "judged": judged,
        }
    loss = torch.stack([weight * parts[name] for name, weight in _WEIGHTS.items()]).sum()
    return loss, {name: part.detach() for name, part in parts.items()}


def person_features(
    person: torch.Tensor, truth: torch.Tensor, coverage: torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """`features_of_both` of a person before the true ground.

    Args:
        person, truth: (b, 3, h, w) in [-1, 1].
        coverage: (b, h, w), the person's share of each cell.
    """
    return features_of_both(torch.lerp(truth, person, coverage[:, None]), truth)


def end_point_error(flow: torch.Tensor, true_flow: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """E of flows (b, 2, h, w) in pixels, on what is visible (b, h, w)."""
    return _mean(((flow - true_flow).square().sum(dim=1) + _SMOOTH).sqrt(), visible)


def matching_losses(
    log_matching: torch.Tensor, true_flow: torch.Tensor, visible: torch.Tensor, batch: Batch, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """M and R of log p (b, n, n), with the true flow (b, 2, h, w), what is visible and weights (b, h, w) of its n cells."""
    height, width = visible.shape[1:]
    x, y = (
        (true_flow[:, axis] / (CELL * _MATCHED) - 0.5).clamp(0, cells - 1) for axis, cells in enumerate((width, height))
    )
    left, top = x.floor().clamp(max=width - 2), y.floor().clamp(max=height - 2)
    right, below = x - left, y - top
    entropy = torch.zeros_like(visible)
    for row, column, share in (
        (0, 0, (1 - below) * (1 - right)), (0, 1, (1 - below) * right), (1, 0, below * (1 - right)), (1, 1, below * right)
    ):  # fmt: skip
        cell = ((top + row) * width + left + column).long().flatten(1)[:, :, None]
        entropy = entropy - share * log_matching.gather(2, cell).reshape(share.shape)
    truth = _pooled(batch["target_pixels"])
    expected = expected_colours(log_matching, batch["pixels"])
    return _mean(entropy, visible), _mean((expected - truth).abs().mean(dim=1), weights)


def measure_flow(flow: torch.Tensor, outline: torch.Tensor, example: Example) -> dict[str, float]:
    """What validation says of a pair's flow (1, 2, h, w) and outline (1, h, w), bool; NaN where the source sees nothing."""
    visible, person = example["visible"], example["coverage"] > 0.5
    error = (flow - example["true_flow"]).norm(dim=1)
    difference = (sample_at(example["pixels"], flow) - example["target_pixels"]).abs().mean(dim=1)
    return {
        "error_pixels": float((error * visible).sum() / visible.sum()),
        "outline_iou": float((outline & person).sum() / (outline | person).sum()),
        "photometric": float(_mean(difference, example["coverage"])),
    }


def measure_person(found: FoundFlow, example: Example) -> dict[str, float]:
    """What validation says of a pair's person beyond `measure_flow`: the distance of features, with the photo's colours at
    the flow alone and with painted ones, and with these the mean difference of colours."""
    warped, truth, coverage = sample_at(example["pixels"], found.flow), example["target_pixels"], example["coverage"]
    completed = found.completed(warped)
    values = {"photometric_completed": float(_mean((completed - truth).abs().mean(dim=1), coverage))}
    for name, person in (("features", warped), ("features_completed", completed)):
        values[name] = float(masked_distance(*person_features(person, truth, coverage), coverage))
    return values


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)


def _pooled(values: torch.Tensor) -> torch.Tensor:
    """Means over the cells of the matching."""
    return functional.avg_pool2d(values, _MATCHED)


def _build(config: AppearanceFlowConfig) -> Stage:
    prepare_run(config, (config.data, config.validation))
    return AppearanceFlowStage(config)


train_appearance_flow = Trainer(AppearanceFlowConfig, _build)
