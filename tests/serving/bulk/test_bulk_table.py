"""Tables of requests: the same rows in every format, bad ones by name; batches."""

import json
from dataclasses import fields

import pyarrow
import pyarrow.parquet
import pytest

from imagpose.pipeline.sampling import Sampling
from imagpose.pose import write_openpose_json
from imagpose.serving.bulk import BulkRequest, check_bulk, read_table
from imagpose.serving.bulk.requests import Defaults, Task, check_rows, form_batches
from imagpose.serving.bulk.table import Refused
from imagpose.serving.generate import request_digest
from imagpose.serving.inputs import read_inputs
from imagpose.serving.settings import GenerateSettings, read_settings


@pytest.fixture
def folder(tmp_path, picture, pose):
    """A folder with two photos and poses beside the table."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        picture(number).save(tmp_path / "in" / f"{number}.png")
        write_openpose_json(pose(number), tmp_path / "in" / f"{number}.json")
    return tmp_path


ROWS = [
    {"id": "a", "sources": ["in/0.png", "in/1.png"], "poses": ["in/0.json", "walk-01"], "source_poses": [None, "in/1.json"],
     "seed": 7, "options": {"steps": 3, "size": "64x32"}},
    {"id": "b.2-x", "sources": ["in/1.png"], "poses": ["in/*.json"], "source_poses": [], "seed": None, "options": {}},
]  # fmt: skip


def as_tuple(row):
    return row.id, [*row.sources], [*row.poses], [*row.source_poses], row.seed, dict(row.options)


def test_the_same_rows_in_every_format(folder):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "t.parquet")
    (folder / "t.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    (folder / "t.csv").write_text(
        'id,sources,poses,source_poses,seed,options\na,in/0.png;in/1.png,in/0.json; walk-01,"[null, ""in/1.json""]",7,'
        '"{""steps"": 3, ""size"": ""64x32""}"\nb.2-x,in/1.png,in/*.json,,,\n'
    )
    inside = str(folder / "in") + "/"
    expected = [
        ("a", [f"{inside}0.png", f"{inside}1.png"], [f"{inside}0.json", "walk-01"], [None, f"{inside}1.json"], 7,
         {"steps": 3, "size": "64x32"}),
        ("b.2-x", [f"{inside}1.png"], [f"{inside}*.json"], [], None, {}),
    ]  # fmt: skip
    for name in ("t.parquet", "t.jsonl", "t.csv"):
        assert [as_tuple(row) for row in read_table(folder / name)] == expected, name


def test_detect_stands_for_source_poses_in_every_format_though_a_file_has_this_name(folder):
    (folder / "detect").touch()
    rows = [{"id": "a", "sources": ["in/0.png", "in/1.png"], "poses": ["walk-01"], "source_poses": own}
            for own in (["detect"], ["detect", "in/0.json"])]  # fmt: skip
    (folder / "t.csv").write_text(
        "id,sources,poses,source_poses\n"
        "a,in/0.png;in/1.png,walk-01,detect\nb,in/0.png;in/1.png,walk-01,detect;in/0.json\n"
    )
    (folder / "t.jsonl").write_text(
        "\n".join(json.dumps({**row, "id": name}) for row, name in zip(rows, "ab", strict=True))
    )
    expected = [["detect"], ["detect", str(folder / "in" / "0.json")]]
    for name in ("t.csv", "t.jsonl"):
        table = read_table(folder / name)
        assert [[*row.source_poses] for row in table] == expected and not check_bulk(folder / name)
    (checked,) = check_rows(table[:1], Defaults(GenerateSettings(), None, "tiny", None))
    inputs = read_inputs([folder / "in/0.png", folder / "in/1.png"], ["walk-01"], [None, None])
    assert checked.digest == request_digest(inputs, GenerateSettings(), "tiny", None)
    word = BulkRequest("a", table[0].sources, ["walk-01"], "detect")
    assert [own.digest for own in check_rows([word], Defaults(GenerateSettings(), None, "tiny", None))] == [
        checked.digest
    ]


def test_ids_that_are_numbers_are_ids(folder):
    table = pyarrow.table({"id": [1, 20], "sources": [["in/0.png"]] * 2, "poses": [["walk-01"]] * 2})
    pyarrow.parquet.write_table(table, folder / "t.parquet")
    assert [row.id for row in read_table(folder / "t.parquet")] == ["1", "20"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "id,source,poses\n", "no column 'sources'"),
        ("t.csv", "", "no column 'id'; id, sources and poses are needed, found none"),
        ("t.csv", "id,sources,poses,sead\n", "no column is named 'sead'"),
        ("t.csv", "id,sources,poses\n", "no rows"),
        ("t.parquet", "no", "not a Parquet file"),
        ("t.xlsx", "", "JSON lines"),
    ],
)
def test_what_is_no_table_is_refused_whole(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        read_table(folder / name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("place", [-20, -300, 5], ids=["end", "footer", "page"])
def test_a_damaged_parquet_table_is_named(folder, place):
    """Where the damage is decides which error pyarrow raises."""
    rows = [{"id": str(number), "sources": ["in/0.png"], "poses": ["walk-01"]} for number in range(1000)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "t.parquet")
    data = bytearray((folder / "t.parquet").read_bytes())
    data[place : place + 60 if place > 0 else None] = b"\xff" * 60
    (folder / "t.parquet").write_bytes(data)
    with pytest.raises(ValueError, match=r"t\.parquet: not a Parquet file that can be read \(") as raised:
        read_table(folder / "t.parquet")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("column", ["poses", "source_poses"])
def test_a_text_too_long_for_a_path_fails_its_row_alone(folder, column):
    """As key points pasted into a cell."""
    rows = [{"id": own, "sources": ["in/0.png"], "poses": ["walk-01"]} for own in "ab"]
    rows[0][column] = ["x" * 5000]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = check_bulk(folder / "t.jsonl")
    assert list(found) == ["a"] and "too long" in found["a"] and "\n" not in found["a"]


def test_two_rows_of_one_id_are_refused_whole(folder):
    (folder / "t.csv").write_text("id,sources,poses\na,x,y\nb,x,y\na,x,y\n")
    with pytest.raises(ValueError, match="'a'"):
        check_bulk(folder / "t.csv")


def test_every_bad_row_is_named_with_its_reason_and_no_model_is_loaded(folder, monkeypatch):
    monkeypatch.setattr("imagpose.serving.bulk.job.load_pipeline", lambda *_: pytest.fail("loaded"))
    (folder / "in" / "broken.png").write_bytes((folder / "in" / "0.png").read_bytes()[:80])
    good = {"sources": ["in/0.png"], "poses": ["walk-01"]}
    bad = {
        "gone": ({"sources": ["in/9.png"]}, "9.png"),
        "broken": ({"sources": ["in/broken.png"]}, "damaged"),
        "no-pose": ({"poses": []}, "no target pose"),
        "wrong-pose": ({"poses": ["wlak-01"]}, "walk"),
        "grid": ({"options": {"grid": "0x2"}}, "0x2"),
        "option": ({"options": {"stepps": 1}}, "stepps"),
        "kind": ({"options": {"steps": "many"}}, "steps"),
        "scheduler": ({"options": {"scheduler": "ddim"}}, "one value for all"),
        "seed": ({"seed": -1}, "seed"),
        "seeds": ({"seed": "x"}, "seed"),
        "huge-seed": ({"seed": 10**400}, "seed"),
        "huge-whole": ({"options": {"samples": 10**400}}, "samples"),
        "huge-number": ({"options": {"guidance_scale": -(10**400)}}, "guidance_scale"),
        "text": ({"sources": [3]}, "sources"),
        "extra": ({"sead": 3}, "sead"),
        "scenario": ({"options": {"scenario": "T9"}}, "T9"),
        "half": ({"sources": ["in/0.png", "in/1.png"], "source_poses": ["in/0.json"]}, "1 source poses"),
    }  # fmt: skip
    lines = [{"id": name, **good, **change} for name, (change, _) in bad.items()]
    lines += [{"id": "good", **good}, {"id": "../x", **good}, {**good}]
    text = "\n".join(map(json.dumps, lines)) + "\n{broken\n[1]\n"
    (folder / "t.jsonl").write_text(text)
    found = check_bulk(folder / "t.jsonl")
    for name, (_, message) in bad.items():
        assert message in found.pop(name), name
    assert list(found) == [f"row {number}" for number in (19, 20, 21, 22)]
    assert all("\n" not in reason for reason in found.values())


def test_a_row_is_the_request_that_generate_would_answer(folder):
    rows = [BulkRequest("a", [folder / "in/0.png"], [folder / "in/0.json"], seed=5, options={"steps": 2})]
    defaults = Defaults(GenerateSettings.of({"guidance_scale": 3.0}), None, "tiny", None)
    (checked,) = check_rows(rows, defaults)
    inputs = read_inputs([folder / "in/0.png"], [folder / "in/0.json"])
    asked = GenerateSettings.of({"seed": 5, "steps": 2, "guidance_scale": 3.0})
    assert checked.digest == request_digest(inputs, asked, "tiny", None)


def test_only_requests_alike_share_a_batch_and_large_ones_stand_alone(folder):
    def row(own_id, sources=1, poses=1, **options):
        names = [f"walk-0{number}" for number in range(1, poses + 1)]
        return BulkRequest(own_id, [folder / "in/0.png"] * sources, names, options=options)

    rows = [row("a"), row("b", size="64x32"), row("c"), row("large", poses=4), row("d", poses=2), row("e", sources=2),
            row("f", steps=9), row("g", crop=False), row("h", background="#ff0000"), row("i"),
            row("j", grid="2x3")]  # fmt: skip
    checked = check_rows(rows, Defaults(GenerateSettings(), None, "tiny", None))
    assert not [own for own in checked if isinstance(own, Refused)]
    tasks = [(Task(own, found.digest), found.shape) for own, found in zip(rows, checked, strict=True)]
    batches = {"".join(own.request.id for own in batch.tasks): batch.calls for batch in form_batches(tasks, 4)}
    assert batches == {"large": 1, "acgh": 4, "b": 4, "d": 4, "e": 4, "f": 4, "i": 4, "j": 4}
    assert [batch.calls for batch in form_batches(tasks, 1)] == [1] * len(rows)


def test_every_setting_can_stand_in_a_row():
    names = {own.name for kind in (GenerateSettings, Sampling) for own in fields(kind)} - {"sampling"}
    plain = {name: value for name, value in GenerateSettings().record().items() if value is not None and name in names}
    assert GenerateSettings.of(read_settings(plain)) == GenerateSettings()
    assert names - plain.keys() == {
        "scenario",
        "grid",
        "size",
        "min_score",
        "steps",
        "guidance_scale",
        "scheduler",
        "mark",
    }
    with pytest.raises(ValueError) as raised:
        read_settings({"stepps": 1})
    assert names == set(str(raised.value).partition("known are ")[2].split(", "))
