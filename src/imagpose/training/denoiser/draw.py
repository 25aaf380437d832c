"""What is drawn for the denoiser's canvases: everything random, keyed by (seed, step, sample).

A step has one view grid and one size of views. Canvases of other grids than the paper's 2 x 2 are as many as show about as
many views, low-resolution steps have some times more. They are counted over the whole step and then shared out, so that a
step does not depend on the number of processes. Validation draws from a fixed list, one item at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch

from imagpose.data.groups import slot_views
from imagpose.training.stage import Drawn, keyed_generator, keyed_rng
from imagpose.views import ViewGrid, random_mask

_VIEWS = 4  # of the canvases that a batch size counts


@dataclass(frozen=True)
class Recipe:
    """What the phases of a run change.

    The fields are options of `DenoiserConfig`, which says what they mean; here they have the values of one phase.
    """

    low_resolution_share: float = 0.0
    pure_noise_share: float = 0.0
    timestep_shift: float = 1.0
    attention_weight: float = 0.0
    person_weight: float = 1.0
    head_weight: float | None = None

    @property
    def reads_surfaces(self) -> bool:
        """Whether the loss needs to know where the person is, and which point of the body is where."""
        return self.attention_weight > 0 or self.person_weight != 1 or self.head_weight is not None


@dataclass(frozen=True)
class DrawSettings:
    """What the draws need to know; see `DenoiserConfig` for the meaning.

    Attributes:
        batch_size: canvases of 2 x 2 views in one batch.
        batches: batches of one step, over all processes and accumulated ones.
        view_counts: (identities,) number of views of each identity, at least 2.
        num_timesteps: timesteps of the schedule.
        recipes: steps at which a recipe begins, and the recipe; the first begins at step 0.
    """

    seed: int
    batch_size: int
    batches: int
    view_counts: np.ndarray
    num_timesteps: int
    grids: tuple[tuple[ViewGrid, float], ...]
    feature_dropout: float
    source_pose_dropout: float
    repeat_probability: float
    all_masked_share: float | None = None
    low_resolution_batch: int = 4
    recipes: tuple[tuple[int, Recipe], ...] = ((0, Recipe()),)
    _before: list[int] = field(default_factory=lambda: [0], repr=False, compare=False)

    def recipe(self, step: int) -> Recipe:
        """The recipe of a step."""
        return self.recipes[bisect_right(self.recipes, step, key=lambda part: part[0]) - 1][1]


@dataclass(frozen=True)
class StepLayout:
    """What all canvases of a step have in common.

    Attributes:
        grid: the view grid.
        half: whether views are shown at half their size.
        canvases: canvases of the step, over all processes and accumulated batches; at least one in each batch.
    """

    grid: ViewGrid
    half: bool
    canvases: int


def step_layout(settings: DrawSettings, step: int) -> StepLayout:
    """The layout of a step; it depends on (seed, step) only."""
    rng = keyed_rng(settings.seed, step)
    shares = np.array([share for _, share in settings.grids])
    grid = settings.grids[rng.choice(len(shares), p=shares / shares.sum())][0]
    half = bool(rng.random() < settings.recipe(step).low_resolution_share)
    canvases = max(settings.batches, canvases_of(settings.batch_size * settings.batches, grid))
    return StepLayout(grid, half, canvases * (settings.low_resolution_batch if half else 1))


def canvases_of(count: int, grid: ViewGrid) -> int:
    """Canvases of a grid that show about as many views as `count` of 2 x 2; at least one."""
    return max(1, round(count * _VIEWS / grid.num_views))


def canvases_before(settings: DrawSettings, step: int) -> int:
    """Canvases of all steps before `step`, over all processes; about 50 microseconds a step when asked first."""
    before = settings._before
    while len(before) <= step:
        before.append(before[-1] + step_layout(settings, len(before) - 1).canvases)
    return before[step]


@dataclass(frozen=True)
class CanvasDraw:
    """Everything random about a batch of b canvases with V slots.

    Attributes:
        grid: the grid of the whole batch.
        half: whether views are shown at half their size.
        samples: (b,) keys (seed, step, sample), for what is drawn elsewhere: noise, augmentation.
        identities: (b,) identities, counted in the data.
        views: (b, V) view of each slot.
        mask: (b, V), 1 = visible source, 0 = masked target.
        feature_views: (b,) view that F_C is made of.
        keep_image_tokens: (b,) 0 where F_H is dropped.
        keep_texture: (b,) 0 where F_L is dropped.
        keep_source_poses: (b,) 0 where the skeletons of visible slots are left black.
        timesteps: (b,) one timestep per canvas.
        weight: of the batch's mean in the mean over the step's batches, which may differ in size: 1 on average.
    """

    grid: ViewGrid
    half: bool
    samples: list[tuple[int, int, int]]
    identities: np.ndarray
    views: np.ndarray
    mask: torch.Tensor
    feature_views: np.ndarray
    keep_image_tokens: torch.Tensor
    keep_texture: torch.Tensor
    keep_source_poses: torch.Tensor
    timesteps: torch.Tensor
    weight: float = 1.0


def draw_batch(settings: DrawSettings, step: int, samples: range) -> CanvasDraw:
    """The draws of the batch that `samples` of a step stand for: canvases of 2 x 2 views, `batch_size` in a batch.

    Raises:
        ValueError: `samples` are no batch.
    """
    number, offset = divmod(samples.start, settings.batch_size)
    if offset or len(samples) != settings.batch_size:
        raise ValueError(f"samples {samples.start} to {samples.stop - 1} are no batch of {settings.batch_size}")
    canvases = step_layout(settings, step).canvases
    start, stop = (canvases * end // settings.batches for end in (number, number + 1))
    draw = draw_canvases(settings, step, range(start, stop))
    return replace(draw, weight=(stop - start) * settings.batches / canvases)


def draw_canvases(settings: DrawSettings, step: int, canvases: range) -> CanvasDraw:
    """The draws of some canvases of a step; canvas i depends on (seed, step, i) only, the layout on (seed, step).

    Identities come in epochs: each once, in an order of its own per epoch.
    """
    first = canvases_before(settings, step)
    identities = [_identity(settings, first + canvas) for canvas in canvases]
    keys = [(settings.seed, step, canvas) for canvas in canvases]
    return _draw(settings, step_layout(settings, step), settings.recipe(step), identities, keys)


def draw_items(settings: DrawSettings, items: int) -> Iterator[CanvasDraw]:
    """A fixed list of canvases, in batches of one grid and about `batch_size` x 4 views, by the first recipe.

    Item i, its grid included, depends on (seed, i) only: neither the batch size nor the number of processes changes it.
    """
    layouts = [step_layout(settings, item) for item in range(items)]
    for grid in dict.fromkeys(layout.grid for layout in layouts):
        same = [item for item in range(items) if layouts[item].grid == grid]
        at_once = canvases_of(settings.batch_size, grid)
        for start in range(0, len(same), at_once):
            part = same[start : start + at_once]
            identities = [_identity(settings, item) for item in part]
            keys = [(settings.seed, item, 0) for item in part]
            yield _draw(settings, StepLayout(grid, False, len(part)), settings.recipe(0), identities, keys)


def _draw(
    settings: DrawSettings,
    layout: StepLayout,
    recipe: Recipe,
    identities: Sequence[int],
    samples: list[tuple[int, int, int]],
) -> CanvasDraw:
    """Canvases of one layout, each of which depends on its identity and its key in `samples` only."""
    rngs = [keyed_rng(*sample) for sample in samples]
    num_views, share = layout.grid.num_views, settings.all_masked_share
    mask = torch.stack([random_mask(num_views, keyed_generator(*sample, Drawn.MASK), share) for sample in samples])
    layouts = [
        slot_views(int(settings.view_counts[identity]), visible, settings.repeat_probability, rng)
        for identity, visible, rng in zip(identities, mask.numpy() > 0, rngs, strict=True)
    ]
    uniform = np.array([rng.random(3) for rng in rngs])
    keep_image_tokens, keep_texture = _feature_dropout(uniform[:, 0], settings.feature_dropout)
    return CanvasDraw(
        grid=layout.grid,
        half=layout.half,
        samples=samples,
        identities=np.array(identities),
        views=np.stack([views for views, _ in layouts]),
        mask=mask,
        feature_views=np.array([view for _, view in layouts]),
        keep_image_tokens=keep_image_tokens,
        keep_texture=keep_texture,
        keep_source_poses=torch.from_numpy((uniform[:, 1] >= settings.source_pose_dropout).astype(np.float32)),
        timesteps=torch.from_numpy(draw_timesteps(uniform[:, 2], settings.num_timesteps, recipe)),
    )


def draw_timesteps(uniform: np.ndarray, num_timesteps: int, recipe: Recipe) -> np.ndarray:
    """Timesteps (b,) of draws (b,) uniform in [0, 1).

    With probability p (`pure_noise_share`) the last one. Otherwise t / T = s u / (1 + (s - 1) u) with the shift s, so that
    P(t / T > x) = 1 - x / (s - (s - 1) x): 1 is uniform, as in the paper, 5 puts 36 % above 0.9. Source: Esser et al.,
    "Scaling rectified flow transformers for high-resolution image synthesis", 2024, §5.3.2.
    """
    pure, shift = recipe.pure_noise_share, recipe.timestep_shift
    # What lies above p of the draw, spread over [0, 1) again: one draw decides both.
    rest = np.maximum(uniform - pure, 0.0) / max(1.0 - pure, 1e-12)
    shifted = shift * rest / (1 + (shift - 1) * rest)
    timesteps = np.minimum((shifted * num_timesteps).astype(np.int64), num_timesteps - 1)
    return np.where(uniform < pure, num_timesteps - 1, timesteps)


def _identity(settings: DrawSettings, number: int) -> int:
    """The identity of the run's canvas `number`."""
    epoch, place = divmod(number, len(settings.view_counts))
    return int(_order(settings.seed, epoch, len(settings.view_counts))[place])


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, identities: int) -> np.ndarray:
    return keyed_rng(seed, epoch, 0, Drawn.ORDER).permutation(identities)


def _feature_dropout(draws: np.ndarray, probability: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Three disjoint events of `probability` each: F_H dropped, F_L dropped, both dropped (Table 6).

    Args:
        draws: (b,) uniform in [0, 1).
        probability: at most 1/3.

    Returns:
        (b,) factors 0 or 1 of F_H and of F_L.
    """
    image_tokens_dropped = (draws < probability) | ((draws >= 2 * probability) & (draws < 3 * probability))
    texture_dropped = (draws >= probability) & (draws < 3 * probability)
    return (
        torch.from_numpy((~image_tokens_dropped).astype(np.float32)),
        torch.from_numpy((~texture_dropped).astype(np.float32)),
    )


def draw_noise(
    samples: list[tuple[int, int, int]], shape: Sequence[int], offset: float, per_view: bool = False
) -> torch.Tensor:
    """Noise (b, v, c, h, w), each canvas its own.

    Args:
        samples: b keys.
        shape: (v, c, h, w).
        offset: standard deviation of a constant added to each channel of a canvas; 0 adds none. Source: Guttenberg,
            "Diffusion with offset noise", 2023.
        per_view: every view has a constant of its own. Otherwise all views of a canvas share it, as in the published code.
    """
    noise = []
    for sample in samples:
        generator = keyed_generator(*sample, Drawn.NOISE)
        drawn = torch.randn(*shape, generator=generator)
        constants = shape[0] if per_view else 1, shape[1], 1, 1
        noise.append(drawn + offset * torch.randn(*constants, generator=generator) if offset else drawn)
    return torch.stack(noise)
