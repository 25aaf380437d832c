"""What is stored is what comes back, also for readers that know nothing of us."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_people import HEIGHT, WIDTH, contents, make_small, small_people, small_picture, small_pose, small_record

from imagpose.data.prepare import write_dataset
from imagpose.data.records import make_record
from imagpose.data.shards import open_shard, read_person, write_shard


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "train-00000-of-00001.parquet"
    with write_shard(path) as write:
        write([small_record("3", 0), small_record("3", 1)])
        write([small_record("4", 0)])
    return path


def test_a_person_comes_back_as_stored(shard: Path) -> None:
    two, one = (read_person(open_shard(shard), group) for group in (0, 1))
    assert [(view.identity, view.view) for view in [*two, *one]] == [("3", "0"), ("3", "1"), ("4", "0")]
    for view, number in zip([*two, *one], (300, 301, 400), strict=True):
        assert np.array_equal(np.asarray(view.decode()), np.asarray(small_picture(number)))
        assert np.array_equal(view.pose.keypoints, small_pose(number).keypoints)
        assert (view.width, view.height, view.split) == (WIDTH, HEIGHT, "train")
        assert view.source_file == f"{view.identity}/{view.view}.png"
    foreground = two[0].foreground()
    assert foreground is not None and two[1].foreground() is None
    assert foreground.sum() == 8 * 17 and foreground[3, 2] and foreground[19, 9]


def test_plain_parquet_with_pictures_that_any_reader_decodes(shard: Path) -> None:
    table = pq.read_table(shard)
    row = table.to_pylist()[1]
    picture = np.asarray(Image.open(io.BytesIO(row["picture"]["bytes"])))
    assert np.array_equal(picture, np.asarray(small_picture(301)))
    points = np.array(row["keypoints"], np.float32).reshape(18, 3)
    assert np.array_equal(points, small_pose(301).keypoints)
    assert row["mask"] is None
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == table.column_names
    assert features["picture"] == features["mask"] == features["parts"] == {"_type": "Image"}


def test_style_and_parts_come_back_and_are_absent_from_older_shards(tmp_path: Path, shard: Path) -> None:
    parts = np.random.default_rng(0).integers(0, 9, (HEIGHT, WIDTH)).astype(np.uint8)
    record = make_record(
        small_picture(1), small_pose(1), identity="1", view="0", split="train", source_file="1/0.png", style="toon",
        parts=parts,
    )  # fmt: skip
    with write_shard(tmp_path / "new.parquet") as write:
        write([record, small_record("1", 1)])
    drawn, plain = read_person(open_shard(tmp_path / "new.parquet"), 0)
    assert drawn.style == "toon" and np.array_equal(drawn.part_map(), parts)
    assert plain.style is None and plain.parts is None and plain.part_map() is None

    older = pq.read_table(shard).drop_columns(["style", "parts"])
    pq.write_table(older, tmp_path / "older.parquet", row_group_size=2)
    before, after = (read_person(open_shard(path), 0) for path in (shard, tmp_path / "older.parquet"))
    assert [(view.picture, view.mask, view.style, view.parts) for view in before] == [
        (view.picture, view.mask, view.style, view.parts) for view in after
    ]


def test_a_part_map_belongs_to_the_size_of_its_picture() -> None:
    about = {"identity": "1", "view": "0", "split": "train", "source_file": "1/0.png"}
    parts = np.zeros((HEIGHT, WIDTH), np.uint8)
    with pytest.raises(ValueError, match="part map is"):
        make_record(small_picture(1), small_pose(1), parts=parts.T, **about)
    with pytest.raises(ValueError, match="keeps its size"):
        make_record(small_picture(1), small_pose(1), parts=parts, size=(2 * HEIGHT, 2 * WIDTH), **about)


def test_reading_a_person_touches_its_own_bytes_only(tmp_path: Path) -> None:
    """Everything but the footer and the row group is overwritten, and the person still comes back."""
    path = tmp_path / "shard.parquet"
    with write_shard(path) as write:
        for number in range(5):
            write([small_record(str(number), view) for view in range(3)])
    footer = pq.read_metadata(path)
    spans = []
    for group in range(footer.num_row_groups):
        columns = [footer.row_group(group).column(place) for place in range(footer.num_columns)]
        starts = [
            min(column.dictionary_page_offset or column.data_page_offset, column.data_page_offset) for column in columns
        ]
        spans.append((min(starts), max(s + c.total_compressed_size for s, c in zip(starts, columns, strict=True))))
    data = bytearray(path.read_bytes())
    for group, (start, end) in enumerate(spans):
        if group != 2:
            data[start:end] = bytes(end - start)
    path.write_bytes(data)
    views = read_person(open_shard(path), 2)
    assert [
        np.array_equal(np.asarray(v.decode()), np.asarray(small_picture(200 + k))) for k, v in enumerate(views)
    ] == [True] * 3
    assert footer.serialized_size < 20_000  # no pictures among the statistics


def test_a_failed_shard_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), write_shard(tmp_path / "a.parquet") as write:
        write([small_record("1", 0)])
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_what_is_no_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no parquet at all")
    with pytest.raises(ValueError, match="text.parquet: damaged"):
        open_shard(tmp_path / "text.parquet")
    write_dataset(tmp_path / "set", small_people([1]), make_small, {}, workers=1)
    with pytest.raises(ValueError, match="no shard of views, columns height, keypoints"):
        open_shard(tmp_path / "set" / "index.parquet")
    assert set(contents(tmp_path / "set")) == {
        "train-00000-of-00001.parquet", "index.parquet", "info.json", "problems.csv",
    }  # fmt: skip


def test_a_view_is_brought_to_a_size_with_its_pose_and_mask() -> None:
    """24 x 40 into 64 x 40: as it is, 20 columns of replicated edge on either side."""
    mask = Image.new("L", (24, 40))
    mask.paste(200, (0, 0, 12, 40))
    names = {"identity": "1", "view": "0", "split": "train", "source_file": "a"}
    record = make_record(small_picture(1), small_pose(1), mask=mask, size=(40, 64), encoded=b"unused", **names)
    before, after = np.asarray(small_picture(1)), np.asarray(record.decode())
    assert after.shape == (40, 64, 3)
    assert np.array_equal(after[:, 20:44], before)
    assert (after[:, :20] == before[:, :1]).all() and (after[:, 44:] == before[:, -1:]).all()
    found = small_pose(1).keypoints[:, 2] > 0
    assert np.allclose(record.keypoints[found], small_pose(1).keypoints[found] + np.array([20, 0, 0]))
    foreground = record.foreground()
    assert foreground is not None
    assert foreground[:, :32].all() and not foreground[:, 32:].any()


def test_encoded_bytes_are_kept_where_the_size_stays() -> None:
    names = {"identity": "1", "view": "0", "split": "train", "source_file": "a"}
    for size in (None, (HEIGHT, WIDTH)):
        assert (
            make_record(small_picture(1), small_pose(1), size=size, encoded=b"as it was", **names).picture
            == b"as it was"
        )


def test_pose_and_mask_must_fit_the_picture() -> None:
    names = {"identity": "1", "view": "0", "split": "train", "source_file": "a"}
    with pytest.raises(ValueError, match="frame of 40x50, the picture has 40x24"):
        make_record(small_picture(1), small_pose(1, width=50), **names)
    with pytest.raises(ValueError, match="mask has 41x24 pixels, the picture 40x24"):
        make_record(small_picture(1), small_pose(1), mask=Image.new("L", (24, 41)), **names)
