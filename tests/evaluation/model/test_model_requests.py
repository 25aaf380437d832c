"""From pairs to requests, by hand."""

import pytest

from imagpose.data.pairs import read_view_pairs, write_pairs
from imagpose.evaluation.model_requests import DatasetRequest, check_pairs, model_mark, requests_of_pairs
from imagpose.views import ViewGrid

VIEWS = {"ann": [f"ann/{view}" for view in "abcde"], "bo": ["bo/x", "bo/y", "bo/z"]}
PAIRS = [("ann/b", "ann/a"), ("bo/x", "bo/y"), ("ann/b", "ann/d"), ("ann/b", "ann/c"), ("ann/b", "ann/e")]


def test_t1_and_t2_take_one_pair_each():
    for scenario in ("T1", "T2"):
        requests, left_out = requests_of_pairs(scenario, PAIRS, VIEWS)
        assert requests == [DatasetRequest(scenario, (source,), (target,)) for source, target in PAIRS]
        assert left_out == 0


def test_t3_adds_other_views_that_are_not_the_target():
    requests, left_out = requests_of_pairs("T3", PAIRS, VIEWS)
    assert [request.sources for request in requests] == [
        ("ann/b", "ann/c", "ann/d"), ("ann/b", "ann/a", "ann/c"), ("ann/b", "ann/a", "ann/d"),
        ("ann/b", "ann/a", "ann/c"),
    ]  # fmt: skip
    assert [request.targets for request in requests] == [("ann/a",), ("ann/d",), ("ann/c",), ("ann/e",)]
    assert left_out == 1  # bo has three views


def test_star_asks_for_three_targets_of_a_source_at_a_time():
    requests, left_out = requests_of_pairs("star", PAIRS, VIEWS)
    assert [(request.sources, request.targets) for request in requests] == [
        (("ann/b",), ("ann/a", "ann/d", "ann/c")), (("ann/b",), ("ann/e",)), (("bo/x",), ("bo/y",)),
    ]  # fmt: skip
    assert left_out == 0
    assert sorted(pair for request in requests for pair in request.pairs) == sorted(PAIRS)


def test_three_poses_share_the_canvas_of_star_even_where_the_list_has_fewer():
    requests, _ = requests_of_pairs("star", PAIRS, VIEWS)
    assert [request.companions for request in requests] == [(), ("ann/a", "ann/c"), ("bo/z",)]
    assert requests[1].poses == ("ann/e", "ann/a", "ann/c") and requests[1].pairs == [("ann/b", "ann/e")]
    assert all(set(own.companions).isdisjoint({*own.sources, *own.targets}) for own in requests)


def test_the_scenarios_fill_other_grids():
    views = {"ann": [f"ann/{view}" for view in "abcdefghij"], "bo": VIEWS["bo"]}
    pairs = [("ann/b", f"ann/{view}") for view in "acdefghij"] + [("bo/x", "bo/y")]
    grid = ViewGrid(3, 3)
    star, _ = requests_of_pairs("star", pairs, views, grid)
    assert [len(own.targets) for own in star] == [8, 1, 1] and star[1].poses == tuple(
        f"ann/{view}" for view in "jacdefgh"
    )
    three, left_out = requests_of_pairs("T3", pairs, views, grid)
    assert {len(own.sources) for own in three} == {8} and left_out == 1
    assert {own.grid for own in (*star, *three, *requests_of_pairs("T1", pairs, views, grid)[0])} == {grid}
    assert star[0].name == "star on 3x3" and requests_of_pairs("T1", pairs, views)[0][0].name == "T1"


def test_a_request_of_two_sources_and_three_targets():
    requests, left_out = requests_of_pairs("2:3", PAIRS, VIEWS, ViewGrid(2, 3))
    assert left_out == 1  # bo has three views
    assert [(own.sources, own.targets, own.companions) for own in requests] == [
        (("ann/b", "ann/e"), ("ann/a", "ann/d", "ann/c"), ()),
        (("ann/b", "ann/a"), ("ann/e",), ("ann/c", "ann/d")),
    ]


def test_requests_are_filled_and_no_target_is_asked_for_twice():
    views = {"ann": [f"ann/{view}" for view in "abcdef"], "bo": ["bo/x", "bo/y", "bo/z"]}
    requests, left_out = requests_of_pairs("1:3", PAIRS, views, ViewGrid(2, 2))
    assert [(own.sources, own.targets, own.companions) for own in requests] == [
        (("ann/b",), ("ann/a", "ann/d", "ann/c"), ()), (("ann/b",), ("ann/e", "ann/f"), ("ann/a",)),
    ]  # fmt: skip
    assert left_out == 1
    pairs = [pair for own in requests for pair in own.pairs]
    assert len(set(pairs)) == len(pairs) == 5
    for own in requests:
        assert len(own.poses) == 3 and len({*own.sources, *own.poses}) == 4 and own.plan_scenario is None


def test_every_request_and_sample_has_noise_of_its_own():
    requests = [
        request for scenario in ("T1", "T2", "T3", "star") for request in requests_of_pairs(scenario, PAIRS, VIEWS)[0]
    ]
    seeds = [request.seed(number) for request in requests for number in range(3)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**56 for seed in seeds)
    # Stored, so that a later version gives the same pictures: sha256 of the request, first 7 bytes.
    assert DatasetRequest("T1", ("ann/b",), ("ann/a",)).seed(0) == 1_678_086_668_019_416


def test_the_list_that_prepare_writes_is_read(tmp_path):
    path = tmp_path / "pairs.csv"
    write_pairs([*PAIRS, PAIRS[0]], path)
    assert read_view_pairs(path) == PAIRS
    path.write_text(path.read_text(), encoding="utf-8-sig")  # as spreadsheets save it
    assert read_view_pairs(path) == PAIRS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("from,to\na,b\n", "columns source and target"),
        ("source,target\n", "holds no pair"),
        ("", "columns source"),
        ("source,target\n\nann/b,ann/a\nann/b\n", "line 4: source and target expected"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "pairs.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"pairs.csv.*{message}"):
        read_view_pairs(path)
    with pytest.raises(FileNotFoundError, match="none.csv"):
        read_view_pairs(tmp_path / "none.csv")


def test_pairs_must_be_of_one_known_identity():
    check_pairs(PAIRS, VIEWS)
    with pytest.raises(ValueError, match=r"does not have: 2 \(cy/a, ann/q\)"):
        check_pairs([*PAIRS, ("cy/a", "ann/q"), ("cy/a", "ann/a")], VIEWS)
    with pytest.raises(ValueError, match=r"pairs of two identities: 1 \(ann/a to bo/x\)"):
        check_pairs([("ann/a", "bo/x")], VIEWS)
    for scenario in ("T4", "1:0", "1-8", ":3", "1:8:2"):
        with pytest.raises(ValueError, match=f"scenario '{scenario}': T1, T2, T3, star expected, or sources:targets"):
            requests_of_pairs(scenario, PAIRS, VIEWS)


@pytest.mark.parametrize("masked_views", ["warped", "black"])
def test_the_appearance_flow_is_a_part_of_models_that_use_it(tmp_path, monkeypatch, masked_views):
    """Results of one flow are not continued with another."""
    folder, flow = tmp_path / "model", tmp_path / "flow.safetensors"
    folder.mkdir()
    (folder / "model_index.json").write_text(f'{{"masked_views": "{masked_views}"}}')
    monkeypatch.setattr("imagpose.evaluation.model_requests.APPEARANCE_FLOW_WEIGHTS", flow)
    marks = []
    for content in ("one", "other"):
        flow.write_text(content)
        marks.append(model_mark(str(folder)))
    assert (marks[0] != marks[1]) is (masked_views == "warped")
