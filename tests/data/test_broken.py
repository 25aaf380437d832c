"""A data set that cannot be read is refused by one line that names the file and the view, whatever is wrong with it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_people import HEIGHT, WIDTH, make_small, small_people

from imagpose.data.dataset import PersonDataset, check_dataset
from imagpose.data.info import INDEX, INFO
from imagpose.data.pairs import pairs_of_dataset
from imagpose.data.prepare import write_dataset
from imagpose.io import file_digest

COUNTS = [3, 2]
SHARD = "train-00000-of-00001.parquet"
Break = Callable[[Path], None]
Values = Callable[[list[Any]], list[Any]]


def agree(folder: Path) -> None:
    """Lengths in info.json become those of the files, as if somebody had made the data set so."""
    info = json.loads((folder / INFO).read_text())
    for file in (*info["shards"], info["index"]):
        file["bytes"] = (folder / file["file"]).stat().st_size
    (folder / INFO).write_text(json.dumps(info))


def described(change: Callable[[dict[str, Any]], object]) -> Break:
    """Another info.json."""

    def breaks(folder: Path) -> None:
        info = json.loads((folder / INFO).read_text())
        change(info)
        (folder / INFO).write_text(json.dumps(info))

    return breaks


def column(file: str, name: str, values: Values | None, kind: pa.DataType | None = None) -> Break:
    """Other values in a column of a file, of another type where one is given; None takes the column away."""

    def breaks(folder: Path) -> None:
        source = pq.ParquetFile(folder / file)
        tables = [source.read_row_group(number) for number in range(source.num_row_groups)]
        place = tables[0].schema.get_field_index(name)
        for number, table in enumerate(tables):
            tables[number] = table.remove_column(place)
            if values is not None:
                column = pa.array(values(table[name].to_pylist()), kind or table.schema.field(place).type)
                tables[number] = tables[number].add_column(place, name, column)
        with pq.ParquetWriter(folder / file, tables[0].schema) as writer:
            for table in tables:
                writer.write_table(table)
        agree(folder)

    return breaks


def damaged(file: str, start: float, end: float) -> Break:
    """Inverted bytes between two shares of a file's length."""

    def breaks(folder: Path) -> None:
        data = bytearray((folder / file).read_bytes())
        span = slice(int(start * len(data)), int(end * len(data)))
        data[span] = bytes(255 - value for value in data[span])
        (folder / file).write_bytes(data)

    return breaks


def cut(file: str) -> Break:
    def breaks(folder: Path) -> None:
        (folder / file).write_bytes((folder / file).read_bytes()[:-200])
        agree(folder)

    return breaks


def encoded(change: Callable[[bytes], bytes | None]) -> Values:
    return lambda rows: [{"bytes": change(row["bytes"]), "path": None} for row in rows]


def each(value: Any) -> Values:
    return lambda rows: [value for _ in rows]


def other_size(picture: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(picture)).resize((30, 30)).save(file, "PNG")
    return file.getvalue()


def no_parts(rows: list[Any]) -> list[Any]:
    """Part maps of the views' size with a value that names no part."""
    file = io.BytesIO()
    Image.new("L", (WIDTH, HEIGHT), 7).save(file, "PNG")
    return each({"bytes": file.getvalue(), "path": None})(rows)


def no_chunk(picture: bytes) -> bytes:
    """A PNG whose data chunk has a name that is none, which Pillow refuses with a SyntaxError."""
    return picture.replace(b"IDAT", b"\x00DAT")


BROKEN: dict[str, tuple[Break, str]] = {
    "no shard is described": (described(lambda info: info.update(shards=[])), INDEX),
    "a shard counts too many people": (described(lambda info: info["shards"][0].update(identities=10**15)), INDEX),
    "a shard of another split": (described(lambda info: info["shards"][0].update(split="test")), INDEX),
    "index cut": (cut(INDEX), f"{INDEX}: damaged"),
    "index damaged": (damaged(INDEX, 0.01, 0.05), f"{INDEX}: damaged"),
    "index without row groups": (column(INDEX, "row_group", None), f"{INDEX}: not the index"),
    "index with text for numbers": (column(INDEX, "shard", each("a"), pa.string()), f"{INDEX}: not the index"),
    "index without values": (column(INDEX, "row_group", each(None)), f"{INDEX}: not the index"),
    "index beyond the last shard": (column(INDEX, "shard", each(9)), f"{INDEX} counts other"),
    "index before the first shard": (column(INDEX, "shard", each(-1)), f"{INDEX} counts other"),
    "index beyond the last row group": (column(INDEX, "row_group", each(77)), f"{INDEX} counts other"),
    "index of people who changed places": (column(INDEX, "identity", lambda rows: rows[::-1]), f"{SHARD} holds other"),
    "index with other counts of the same sum": (column(INDEX, "pictures", lambda rows: rows[::-1]), "holds other"),
    "shard cut": (cut(SHARD), f"{SHARD}: damaged"),
    "shard damaged at its start": (damaged(SHARD, 0.0, 0.01), f"{SHARD}: damaged"),
    "shard without key points": (column(SHARD, "keypoints", None), f"{SHARD}: no shard of views"),
    "key points as text": (column(SHARD, "keypoints", each("x"), pa.string()), f"{SHARD}: no shard of views"),
    "17 key points": (column(SHARD, "keypoints", each([1.0] * 51), pa.list_(pa.float32(), 51)), "keypoints are of"),
    "key points missing": (column(SHARD, "keypoints", each(None)), f"{SHARD}: damaged"),
    "key points that are no numbers": (column(SHARD, "keypoints", each([float("nan")] * 54)), "not finite"),
    "confidence of 2": (column(SHARD, "keypoints", each([2.0] * 54)), f"{SHARD}: the stored pose of 0/0: confidences"),
    "views of another split": (column(SHARD, "split", each("test")), f"{SHARD}: 0/0 is of split 'test'"),
    "views of one name": (column(SHARD, "view", each("x")), f"{SHARD}: two views have the name 0/x"),
    "width missing": (column(SHARD, "width", each(None)), f"{SHARD}: damaged"),
    "width of nothing": (column(SHARD, "width", each(0)), "stored pose of 0/0: the frame is 40x0"),
    "mask as text": (column(SHARD, "mask", each("x"), pa.string()), "mask are of another type"),
    "picture missing": (column(SHARD, "picture", each(None)), f"{SHARD}: damaged"),
    "picture without bytes": (column(SHARD, "picture", encoded(lambda _: None)), "picture of 0/0 is not a PNG or JPEG"),
    "picture of noise": (column(SHARD, "picture", encoded(lambda _: b"noise")), "picture of 0/0 is not a PNG or JPEG"),
    "picture cut": (column(SHARD, "picture", encoded(lambda data: data[:-300])), "picture of 0/0 is damaged"),
    "picture with a strange chunk": (column(SHARD, "picture", encoded(no_chunk)), "picture of 0/0 is"),
    "picture of another size": (column(SHARD, "picture", encoded(other_size)), "has 30x30 pixels, not 40x24"),
    "mask of noise": (column(SHARD, "mask", each({"bytes": b"noise", "path": None})), "mask of 0/0 is not a PNG"),
    "parts that are none": (column(SHARD, "parts", no_parts), "parts of 0/0 hold 7; 0 to 6 expected"),
    "parts of noise": (column(SHARD, "parts", each({"bytes": b"noise", "path": None})), "parts of 0/0 is not a PNG"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_data_set_is_refused_when_it_is_opened_in_one_line(tmp_path: Path, name: str) -> None:
    write_dataset(tmp_path / "set", small_people(COUNTS), make_small, {}, workers=1)
    assert len(PersonDataset(tmp_path / "set", "train")) == 2
    breaks, message = BROKEN[name]
    breaks(tmp_path / "set")
    with pytest.raises(ValueError) as error:
        PersonDataset(tmp_path / "set", "train")
    text = str(error.value)
    assert message in text and "\n" not in text and "object at" not in text and text.count("damaged (") <= 1
    assert SHARD in text or INDEX in text


def test_of_many_people_a_few_are_looked_at_and_all_on_demand(tmp_path: Path) -> None:
    """The fault is in person 4 of ten."""
    write_dataset(tmp_path / "set", small_people([1] * 10), make_small, {}, workers=1)
    data = bytearray((tmp_path / "set" / SHARD).read_bytes())
    place = [found.start() for found in re.finditer(b"IDAT", data)][2 * 4]  # each has a picture and a mask
    data[place + 8 : place + 40] = bytes(32)
    (tmp_path / "set" / SHARD).write_bytes(data)
    dataset = PersonDataset(tmp_path / "set")
    with pytest.raises(ValueError, match="other content than when it was made"):
        check_dataset(tmp_path / "set")
    info = json.loads((tmp_path / "set" / INFO).read_text())
    info["shards"][0]["sha256"] = file_digest(tmp_path / "set" / SHARD)
    (tmp_path / "set" / INFO).write_text(json.dumps(info))
    with pytest.raises(ValueError, match=f"{SHARD}: the stored picture of 4/0 is damaged"):
        check_dataset(tmp_path / "set")
    dataset.check(3)
    with pytest.raises(ValueError, match="4/0"):
        dataset.check(4)


@pytest.mark.parametrize("name", ["shard damaged at its start", "key points missing", "key points as text"])
def test_pairs_are_not_made_of_a_damaged_shard(tmp_path: Path, name: str) -> None:
    write_dataset(tmp_path / "set", small_people(COUNTS), make_small, {}, workers=1)
    assert pairs_of_dataset(tmp_path / "set", "train")
    BROKEN[name][0](tmp_path / "set")
    with pytest.raises(ValueError, match=SHARD):
        pairs_of_dataset(tmp_path / "set", "train")
