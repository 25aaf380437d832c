import itertools
import math

import pytest
import torch

from imagpose.views import SCENARIOS, Slot, ViewGrid, plan, plan_sequence, random_mask, tile, untile, view_multiple

GRIDS = [ViewGrid(rows, cols) for rows in range(1, 5) for cols in range(1, 5)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_untile_undoes_tile(grid):
    generator = torch.Generator().manual_seed(0)
    for channels, dtype in itertools.product((1, 3, 4, 7), (torch.float32, torch.bfloat16, torch.uint8, torch.bool)):
        views = torch.randint(0, 2, (2, grid.num_views, channels, 3, 5), generator=generator).to(dtype)
        canvas = tile(views, grid)
        assert canvas.shape == (2, channels, 3 * grid.rows, 5 * grid.cols)
        assert canvas.dtype == dtype
        assert torch.equal(untile(canvas, grid), views)
        assert torch.equal(tile(untile(canvas, grid), grid), canvas)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_tile_lays_views_row_by_row(grid):
    views = torch.rand(2, grid.num_views, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    canvas = torch.zeros(2, 3, 4 * grid.rows, 6 * grid.cols)
    for view in range(grid.num_views):
        row, col = view // grid.cols, view % grid.cols
        for y, x in itertools.product(range(4), range(6)):
            canvas[:, :, row * 4 + y, col * 6 + x] = views[:, view, :, y, x]
    assert torch.equal(tile(views, grid), canvas)


def test_what_does_not_fit_the_grid_is_refused():
    with pytest.raises(ValueError, match="3 views do not fill a grid of 2x2"):
        tile(torch.zeros(1, 3, 1, 2, 2), ViewGrid(2, 2))
    with pytest.raises(ValueError, match="5x4 cannot be cut into 2x2"):
        untile(torch.zeros(1, 3, 5, 4), ViewGrid(2, 2))


def test_grid_of_a_text():
    assert ViewGrid.parse("2x3") == ViewGrid(rows=2, cols=3) == ViewGrid.parse(" 2 X 3 ")
    assert (ViewGrid(2, 3).num_views, str(ViewGrid(2, 3))) == (6, "2x3")


@pytest.mark.parametrize("text", ["0x3", "2x0", "-1x2", "2", "2x", "axb", "2x2x2", "", "2.5x2", "9x9"])
def test_illegal_grids(text):
    with pytest.raises(ValueError, match="grid") as error:
        ViewGrid.parse(text)
    assert "\n" not in str(error.value)


def test_view_multiple():
    # Stable Diffusion's UNet has 4 levels: 8 of the VAE, halved three times.
    assert [view_multiple(levels, 8) for levels in (1, 2, 3, 4)] == [8, 16, 32, 64]
    assert view_multiple(3, 16) == 64


def masks_of(count: int, num_views: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([random_mask(num_views, generator) for _ in range(count)])


def test_masks_have_a_uniform_number_of_masked_slots_at_random_places():
    for num_views in (2, 4, 6):
        masks = masks_of(4000, num_views, 3)
        assert masks.shape == (4000, num_views)
        assert masks.dtype == torch.float32
        assert set(masks.unique().tolist()) == {0.0, 1.0}
        masked = (num_views - masks.sum(1)).long()
        counts = torch.bincount(masked, minlength=num_views + 1).tolist()
        assert counts[0] == 0
        assert chi_square(counts[1:], 4000 / num_views) < limit(num_views - 1)
        for number in range(1, num_views):
            at_slot = (masks[masked == number] == 0).sum(0).tolist()
            expected = counts[number] * number / num_views
            # Slots of one mask exclude each other, which narrows the spread; this factor brings chi-square back.
            factor = (num_views - 1) / num_views / (1 - number / num_views)
            assert chi_square(at_slot, expected) * factor < limit(num_views - 1)
    pairs = masks_of(4000, 4, 4)
    pairs = pairs[pairs.sum(1) == 2]
    kinds = torch.bincount((pairs @ torch.tensor([1.0, 2.0, 4.0, 8.0])).long(), minlength=16)
    kinds = kinds[kinds > 0].tolist()
    assert len(kinds) == 6
    assert chi_square(kinds, len(pairs) / 6) < limit(5)


def chi_square(counts: list[int], expected: float) -> float:
    return sum((count - expected) ** 2 / expected for count in counts)


def limit(freedom: int) -> float:
    """Value that chi-square exceeds once in about 1000 times (Wilson and Hilferty)."""
    return freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3


def test_masks_are_those_of_the_generator():
    first, again, other = (masks_of(64, 4, seed) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def slots(text: str) -> tuple[Slot, ...]:
    """``s0 t2`` -> source 0, target pose 2."""
    return tuple(Slot("source" if word[0] == "s" else "target", int(word[1:])) for word in text.split())


@pytest.mark.parametrize(
    ("scenario", "num_sources", "num_targets", "grid", "canvases", "results"),
    [
        ("T1", 1, 2, "2x2", ["s0 t0 t0 t0", "s0 t1 t1 t1"], [[(0, 1), (0, 2), (0, 3)], [(1, 1), (1, 2), (1, 3)]]),
        ("T2", 1, 2, "2x2", ["s0 s0 s0 t0", "s0 s0 s0 t1"], [[(0, 3)], [(1, 3)]]),
        ("T3", 3, 2, "2x2", ["s0 s1 s2 t0", "s0 s1 s2 t1"], [[(0, 3)], [(1, 3)]]),
        ("T3", 2, 1, "2x2", ["s0 s1 s0 t0"], [[(0, 3)]]),
        ("T3", 2, 1, "2x3", ["s0 s1 s0 s1 s0 t0"], [[(0, 5)]]),
        ("star", 1, 3, "2x2", ["s0 t0 t1 t2"], [[(0, 1)], [(0, 2)], [(0, 3)]]),
        ("star", 1, 4, "2x2", ["s0 t0 t1 t2", "s0 t3 t3 t3"], [[(0, 1)], [(0, 2)], [(0, 3)], [(1, 1)]]),
        (None, 1, 1, "2x2", ["s0 t0 t0 t0"], [[(0, 1), (0, 2), (0, 3)]]),
        (None, 1, 1, "1x2", ["s0 t0"], [[(0, 1)]]),
        (None, 2, 1, "2x2", ["s0 s1 t0 t0"], [[(0, 2)]]),
        (None, 2, 3, "2x2", ["s0 s1 t0 t1", "s0 s1 t2 t2"], [[(0, 2)], [(0, 3)], [(1, 2)]]),
        (None, 5, 2, "2x2", ["s0 s1 s2 t0", "s0 s1 s2 t1"], [[(0, 3)], [(1, 3)]]),
        (None, 1, 5, "2x3", ["s0 t0 t1 t2 t3 t4"], [[(0, place)] for place in range(1, 6)]),
    ],
)
def test_plans_by_hand(scenario, num_sources, num_targets, grid, canvases, results):
    made = plan(num_sources, num_targets, ViewGrid.parse(grid), scenario)
    assert [canvas.slots for canvas in made.canvases] == [slots(text) for text in canvases]
    assert made.results == tuple(tuple(places) for places in results)
    assert made.canvases[0].mask == tuple(int(word[0] == "s") for word in canvases[0].split())


@pytest.mark.parametrize("grid", [ViewGrid(1, 2), ViewGrid(2, 2), ViewGrid(2, 3), ViewGrid(3, 3)], ids=str)
@pytest.mark.parametrize("scenario", [None, *SCENARIOS])
def test_every_target_has_one_result_in_order(grid, scenario):
    room = grid.num_views - 1
    most = {"T3": room, None: 9}.get(scenario, 1)
    for num_sources, num_targets in itertools.product(range(1, min(most, 9) + 1), range(1, 14)):
        made = plan(num_sources, num_targets, grid, scenario)
        places = [place for candidates in made.results for place in candidates]
        assert len(made.results) == num_targets
        assert len(set(places)) == len(places)
        for pose, candidates in enumerate(made.results):
            assert candidates
            assert all(made.canvases[canvas].slots[slot] == Slot("target", pose) for canvas, slot in candidates)
        for canvas in made.canvases:
            sources = [slot.index for slot in canvas.slots if slot.role == "source"]
            assert len(canvas.slots) == grid.num_views
            assert set(sources) == set(range(min(num_sources, room)))
            assert sum(canvas.mask) == len(sources) < grid.num_views
        free = grid.num_views - sum(made.canvases[0].mask)
        per_canvas = 1 if scenario in ("T1", "T2", "T3") else free
        assert len(made.canvases) == math.ceil(num_targets / per_canvas)


def test_one_source_and_one_pose_without_a_scenario_is_t1():
    assert plan(1, 1) == plan(1, 1, ViewGrid(2, 2), "T1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "no source picture"),
        ((1, 0), "no target pose"),
        ((1, 1, ViewGrid(1, 1)), "at least 2 slots"),
        ((1, 1, ViewGrid(2, 2), "T4"), "one of T1, T2, T3, star"),
        ((2, 1, ViewGrid(2, 2), "T1"), "takes at most 1 source"),
        ((2, 1, ViewGrid(2, 2), "T2"), "takes at most 1 source"),
        ((2, 3, ViewGrid(2, 2), "star"), "takes at most 1 source"),
        ((4, 1, ViewGrid(2, 2), "T3"), "takes at most 3 source"),
    ],
)
def test_impossible_plans_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan(*arguments)


def test_slots_that_are_left_over_repeat_the_first_target() -> None:
    last = plan(1, 5, ViewGrid(2, 2)).canvases[-1]
    assert [(slot.role, slot.index) for slot in last.slots] == [
        ("source", 0),
        ("target", 3),
        ("target", 4),
        ("target", 3),
    ]


@pytest.mark.parametrize("grid", [ViewGrid(2, 3), ViewGrid(3, 3), ViewGrid(1, 5)], ids=str)
@pytest.mark.parametrize("overlap", [0, 1, 2, 3])
@pytest.mark.parametrize("num_frames", [1, 2, 3, 7, 32])
def test_a_sequence_is_laid_out_as_a_plain_loop_would(grid, overlap, num_frames):
    done: list[int] = []
    expected = []
    while len(done) < num_frames:
        earlier = sorted({*done[:1], *(done[-(overlap - 1) :] if overlap > 1 else [])}) if overlap else []
        slots = grid.num_views - 1 - len(earlier)
        new = [number for number in range(len(done), len(done) + slots) if number < num_frames]
        expected.append((earlier, new))
        done += new
    found = [(list(finished), list(new)) for finished, new in plan_sequence(1, num_frames, grid, overlap)]
    assert found == expected


def test_a_sequence_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"3 source\(s\) and 1 finished frame\(s\) leave no room .* 2x2"):
        plan_sequence(3, 10, ViewGrid(2, 2), 1)
    with pytest.raises(ValueError, match="overlap is -1"):
        plan_sequence(1, 10, ViewGrid(2, 2), -1)
    with pytest.raises(ValueError, match="no target pose"):
        plan_sequence(1, 0, ViewGrid(2, 2), 1)
