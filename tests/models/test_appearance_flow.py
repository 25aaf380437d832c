"""The network of appearance flow: shapes, what a new one finds, what it learns through, and its sampling, by loops."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from imagpose.models import appearance_flow
from imagpose.models.appearance_flow import (
    APPEARANCE_FLOW_WEIGHTS,
    FRAME,
    NUM_PARTS,
    AppearanceFlow,
    FlowInputs,
    FoundFlow,
    load_appearance_flow,
    sample_at,
)

HEIGHT, WIDTH = FRAME[0] // 2, FRAME[1] // 2
CELLS = (HEIGHT // 4, WIDTH // 4)


def grid(height: int, width: int) -> torch.Tensor:
    """Middles of cells in pixels of the frame, (2, h, w)."""
    x = (torch.arange(width) + 0.5) * (FRAME[1] / width)
    y = (torch.arange(height) + 0.5) * (FRAME[0] / height)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def inputs(seed: int = 0, b: int = 2) -> FlowInputs:
    """Pictures of noise; the first flow leads some pixels aside, another way in each pair."""
    rng = torch.Generator().manual_seed(seed)
    parts = [
        torch.randint(0, NUM_PARTS, (b, *size), generator=rng, dtype=torch.uint8) for size in (FRAME, (HEIGHT, WIDTH))
    ]
    shifts = torch.randint(-24, 25, (b, 2, 1, 1), generator=rng)
    flow = grid(HEIGHT, WIDTH)[None] + shifts
    pixels = torch.rand(b, 3, HEIGHT, WIDTH, generator=rng) * 2 - 1
    away = torch.rand(b, HEIGHT, WIDTH, generator=rng) < 0.1
    on_part = torch.rand(b, 2, HEIGHT, WIDTH, generator=rng) * 2 - 1
    views = torch.rand(2, b, 3, generator=rng)
    return FlowInputs(pixels, parts[0], flow, parts[1], away, on_part, views[0], views[1])


def new(seed: int = 0) -> AppearanceFlow:
    torch.manual_seed(seed)
    return AppearanceFlow()


@pytest.fixture(scope="module")
def found() -> FoundFlow:
    with torch.no_grad():
        return new()(inputs())


def test_shapes(found: FoundFlow) -> None:
    assert found.flow.shape == (2, 2, HEIGHT, WIDTH) and found.coarse_flow.shape == (2, 2, *CELLS)
    assert found.outline.shape == found.visibility.shape == found.kept.shape == (2, HEIGHT, WIDTH)
    assert found.painted.shape == (2, 3, HEIGHT, WIDTH) and found.shown.shape == (2, 1, HEIGHT, WIDTH)
    n = CELLS[0] * CELLS[1]
    assert found.log_matching.shape == (2, n, n)
    assert all(getattr(found, field.name).dtype == torch.float32 for field in fields(found))


def test_each_cells_matching_is_a_distribution(found: FoundFlow) -> None:
    sums = found.log_matching.double().exp().sum(dim=-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)


def test_a_new_network_matches_by_the_first_flow() -> None:
    """Features that say nothing: the best cell is the one that the first flow leads to, the mean within half a cell."""
    network, given = new(), inputs()
    with torch.no_grad():
        network.log_tau.fill_(-20)
        found = network(given)
    first = functional.avg_pool2d(given.first_flow, 4)
    best = grid(*CELLS).flatten(1)[:, found.log_matching.argmax(dim=-1)].movedim(0, 1).reshape(first.shape)
    limits = torch.tensor(FRAME[::-1])[:, None, None]
    inside = ((first > 12) & (first < limits - 12)).all(dim=1, keepdim=True).expand_as(first)
    assert (best - first)[inside].abs().max() <= 4.01 and inside.float().mean() > 0.6
    assert (found.coarse_flow - first)[inside].abs().max() <= 4.01
    # What corrects it is 0, and so is what it says of outline and visibility.
    middles = grid(*CELLS).flatten(1)
    for cell in (5, 260, 700):
        shares = found.log_matching[1, cell].exp()
        shares[(middles - middles[:, shares.argmax()][:, None]).abs().amax(dim=0) > 8] = 0
        mean = (middles * shares).sum(dim=1) / shares.sum()
        torch.testing.assert_close(found.coarse_flow[1].flatten(1)[:, cell], mean, rtol=0, atol=1e-2)
    torch.testing.assert_close(
        found.flow, functional.interpolate(found.coarse_flow, size=(HEIGHT, WIDTH), mode="bilinear")
    )
    assert not found.outline.any() and not found.visibility.any()


def test_a_new_network_paints_what_the_matching_expects_and_shows_the_photo(found: FoundFlow) -> None:
    colours = inputs().pixels.reshape(2, 3, CELLS[0], 4, CELLS[1], 4).mean(dim=(3, 5)).flatten(2)
    expected = torch.einsum("bij,bcj->bci", found.log_matching.exp(), colours).reshape(2, 3, *CELLS)
    whole = functional.interpolate(expected, size=(HEIGHT, WIDTH), mode="bilinear")
    torch.testing.assert_close(found.painted, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.shown, torch.full_like(found.shown, 1 - 0.5 / (1 + np.exp(2))), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("visibility", "kept", "share"), [(9, -9, 1), (-9, 9, 1), (-9, -9, 0), (0, 0, 0.75), (0, -9, 0.5)]
)
def test_only_what_is_hidden_is_painted(found: FoundFlow, visibility: float, kept: float, share: float) -> None:
    logits = torch.zeros(1, 2, 3)
    own = replace(found, visibility=logits + visibility, kept=logits + kept)
    assert own.shown.shape == (1, 1, 2, 3)
    torch.testing.assert_close(own.shown, torch.full_like(own.shown, share), rtol=0, atol=1e-3)


def test_the_matching_is_the_softmax_of_the_docstring() -> None:
    """Features of one place, by a loop over the source's cells."""
    network, given = new(1), inputs(1, 1)
    seen: dict[str, torch.Tensor] = {}
    for name in ("query", "key"):
        getattr(network, name).register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output[0]}))
    with torch.no_grad():
        network.log_rho.fill_(0.7)
        found = network(given)
    first, middles = functional.avg_pool2d(given.first_flow, 4)[0], grid(*CELLS)
    row, column = 11, 7
    query = functional.normalize(seen["query"][:, row, column], dim=0)
    logits = []
    for y in range(CELLS[0]):
        for x in range(CELLS[1]):
            key = functional.normalize(seen["key"][:, y, x], dim=0)
            apart = ((middles[:, y, x] - first[:, row, column]) / 8).square().sum()
            logits.append(np.exp(3.0) * float(query @ key) - np.exp(0.7) * float(torch.log(1 + apart / 4)))
    logits = np.array(logits)
    expected = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    np.testing.assert_allclose(found.log_matching[0, row * CELLS[1] + column].numpy(), expected, atol=2e-4)


def test_finer_levels_correct_the_flow_by_four_pixels_for_each_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Last layers that say the same of every cell; the source is looked at where the flow leads by then."""
    network, given = new(), inputs(4, 1)
    led: list[torch.Tensor] = []

    def at(features: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        led.append(flow)
        return sample_at(features, flow)

    monkeypatch.setattr(appearance_flow, "_at", at)
    with torch.no_grad():
        network.middle_change.bias.copy_(torch.tensor([1.0, -0.5]))
        network.out.bias.copy_(torch.tensor([0.25, 0.75, 2.0, -1.0]).repeat_interleave(4))
        found = network(given)
    matched, finer = led
    torch.testing.assert_close(found.coarse_flow, matched + torch.tensor([4.0, -2.0])[:, None, None])
    doubled = functional.interpolate(found.coarse_flow, size=(HEIGHT // 2, WIDTH // 2), mode="bilinear")
    torch.testing.assert_close(finer, doubled)
    whole = functional.interpolate(found.coarse_flow, size=(HEIGHT, WIDTH), mode="bilinear")
    torch.testing.assert_close(found.flow, whole + torch.tensor([1.0, 3.0])[:, None, None])
    assert (found.outline == 2).all() and (found.visibility == -1).all()


def test_the_target_looks_at_the_source_twice_and_each_view_at_itself() -> None:
    """Tokens and others of the four attentions, in their order."""
    network, seen = new(), []
    for layer in network.attention:
        layer.register_forward_pre_hook(lambda _, given: seen.append(given))
    with torch.no_grad():
        network(inputs(0, 1))
    source = seen[0][1]
    assert [own[0] is source for own in seen] == [False, False, False, True]
    assert [own[1] is source for own in seen] == [True, False, True, True] and seen[1][0] is seen[1][1]


def test_a_targets_cell_is_told_its_displacement_in_units_of_32_pixels() -> None:
    """And its part, what the source shows at its first place, both views, its own place in the frame and on its part."""
    shift = torch.tensor([6.0, -4.0])[:, None, None]  # three cells to the right, two up
    given = replace(inputs(5), first_flow=(grid(HEIGHT, WIDTH) + shift).expand(2, -1, -1, -1))
    told = functional.pixel_shuffle(appearance_flow._of_target(given), 2)
    assert torch.equal(told[:, :NUM_PARTS].argmax(dim=1), given.target_parts.long())
    assert (told[:, :NUM_PARTS].sum(dim=1) == 1).all() and torch.equal(told[:, NUM_PARTS] > 0, given.turned_away)
    torch.testing.assert_close(told[:, 17:19], (shift / 32).expand(2, -1, HEIGHT, WIDTH))
    torch.testing.assert_close(told[:, 13:16, 64, 44], given.pixels[:, :, 62, 47], atol=1e-4, rtol=0)
    ground = (given.source_parts[:, 124:126, 94:96] == 0).float().mean(dim=(1, 2))
    torch.testing.assert_close(told[:, 16, 64, 44], ground, atol=1e-4, rtol=0)
    views = torch.cat([given.source_view, given.target_view], dim=1)
    torch.testing.assert_close(told[:, 19:25, 7, 9], views)
    torch.testing.assert_close(told[0, 25:27, -1, 0], torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(told[:, 27:], given.on_part)


def test_a_sources_cell_is_told_the_share_of_each_part() -> None:
    given = inputs(6)
    told = functional.pixel_shuffle(appearance_flow._of_source(given), 2)
    torch.testing.assert_close(told[:, :3], given.pixels)
    for part in range(NUM_PARTS):
        share = (given.source_parts[1, 80:82, 30:32] == part).float().mean()
        torch.testing.assert_close(told[1, 3 + part, 40, 15], share)


def test_a_pair_does_not_depend_on_the_others_of_its_batch() -> None:
    network, given = new(), inputs()
    alone = FlowInputs(**{field.name: getattr(given, field.name)[1:] for field in fields(given)})
    with torch.no_grad():
        together, own = network(given), network(alone)
    torch.testing.assert_close(together.coarse_flow[1:], own.coarse_flow, rtol=0, atol=2e-3)
    torch.testing.assert_close(together.log_matching[1:], own.log_matching, rtol=0, atol=1e-3)


def test_gradients_reach_all_parameters() -> None:
    """In a new network all but those behind a layer of zeros; such a layer itself learns."""

    def learning(network: AppearanceFlow) -> dict[str, bool]:
        found = network(inputs(2, 1))
        loss = found.flow.square().mean() + found.outline.sum() + found.visibility.sum()
        loss = loss + found.painted.square().mean() + found.kept.sum()
        (loss + found.coarse_flow.square().mean() + found.log_matching[:, :, ::7].sum()).backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        return {name: own is not None and bool(own.abs().sum() > 0) for name, own in gradients.items()}

    network = new()
    zero = {name for name, parameter in network.named_parameters() if not parameter.detach().any()}
    fresh = learning(network)
    for name in ("out.weight", "middle_change.weight", "query.weight", "key.weight", "log_tau", "log_rho", "places"):
        assert fresh[name], name
    assert any(name.endswith("layers.5.weight") for name in zero) and len(zero) > 20
    trained = new()
    with torch.no_grad():
        for parameter in trained.parameters():
            if not parameter.any():
                parameter.add_(0.02 * torch.randn_like(parameter))
    assert [name for name, learns in learning(trained).items() if not learns] == []


def test_it_sees_all_of_its_inputs() -> None:
    """Of a network that is trained: with any one of them changed, it finds something else."""
    network, given = load_appearance_flow(), inputs(3, 1)
    with torch.no_grad():
        before = network(given).flow
        for field in fields(given):
            own = getattr(given, field.name)
            changed = ~own if own.dtype == torch.bool else own.flip(-1)
            assert not torch.equal(network(replace(given, **{field.name: changed})).flow, before), field.name


def test_the_shipped_weights_are_the_networks_own() -> None:
    weights, network = load_file(APPEARANCE_FLOW_WEIGHTS), load_appearance_flow()
    own = dict(AppearanceFlow().state_dict())
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == {
        name: tuple(weight.shape) for name, weight in own.items()
    }
    assert all(weight.dtype == torch.float16 and weight.isfinite().all() for weight in weights.values())
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(weight, weights[name].float(), rtol=0, atol=0)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("size", [(8, 11), (16, 22), (5, 3)])
def test_sampling_is_bilinear_between_middles_and_keeps_the_edge(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 3, *size)).astype(np.float32)
    flow = rng.uniform(-30, 290, (2, 2, 4, 5)).astype(np.float32)
    flow[0, :, 0, 0] = 0.5 * FRAME[1] / size[1], 0.5 * FRAME[0] / size[0]  # the middle of the first
    result = sample_at(torch.from_numpy(values), torch.from_numpy(flow)).numpy()
    assert result.shape == (2, 3, 4, 5)
    for pair in range(2):
        for row in range(4):
            for column in range(5):
                x, y = flow[pair, :, row, column]
                x = np.clip(x * size[1] / FRAME[1] - 0.5, 0, size[1] - 1)
                y = np.clip(y * size[0] / FRAME[0] - 0.5, 0, size[0] - 1)
                left, top = min(int(x), size[1] - 2), min(int(y), size[0] - 2)
                dx, dy = x - left, y - top
                box = values[pair, :, top : top + 2, left : left + 2].astype(float)
                rows = box[:, 0] * (1 - dy) + box[:, 1] * dy
                np.testing.assert_allclose(
                    result[pair, :, row, column], rows[:, 0] * (1 - dx) + rows[:, 1] * dx, atol=1e-4
                )
    np.testing.assert_allclose(result[0, :, 0, 0], values[0, :, 0, 0], atol=1e-5)
