"""The comparison of recorded results notices one bit, in every kind of file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.utils.tensorboard import SummaryWriter

from behaviour_results import difference, read_results


def write_picture(folder: Path, value: float) -> None:
    Image.fromarray(np.array([[[1, 2, round(value)]]], np.uint8)).save(folder / "picture.png")


def write_json(folder: Path, value: float) -> None:
    (folder / "facts.json").write_text(
        json.dumps({"seconds": id(folder), "digest": str(folder), "rows": [{"value": value}]})
    )


def write_tensors(folder: Path, value: float) -> None:
    save_file({"weight": torch.tensor([1.0, value], dtype=torch.bfloat16)}, folder / "model.safetensors")


def write_state(folder: Path, value: float) -> None:
    torch.save(
        {"state": {0: {"exp_avg": torch.tensor([value])}}, "param_groups": [{"lr": 0.1}]}, folder / "optimizer.bin"
    )


def write_table(folder: Path, value: float) -> None:
    pq.write_table(pa.table({"pair": ["a"], "psnr": [value]}), folder / "pairs.parquet")


def write_scalars(folder: Path, value: float) -> None:
    with SummaryWriter(str(folder)) as writer:
        writer.add_scalar("train/loss", value, 1)
        writer.add_scalar("train/samples_per_second", id(folder), 1)


@pytest.mark.parametrize(
    ("write", "value", "other", "size"),
    [
        (write_picture, 3, 4, "by 1 of 3"),
        (write_json, 0.1, np.nextafter(0.1, 1), "by 1.39e-17 of 0.1"),
        (write_tensors, 0.0, -0.0, "by 0 of 1"),
        (write_tensors, 1.0, 1.0078125, "by 0.00781 of 1"),
        (write_state, 1.0, 1.5, "by 0.5 of 1"),
        (write_table, 20.0, 20.5, "by 0.5 of 20"),
        (write_scalars, 2.0, 2.5, "by 0.5 of 2"),
    ],
)
def test_a_change_of_one_bit_is_seen_with_its_size(
    tmp_path: Path, write: Callable[[Path, float], None], value: float, other: float, size: str
) -> None:
    folders = [tmp_path / name for name in ("before", "same", "other")]
    for folder, held in zip(folders, (value, value, other), strict=True):
        folder.mkdir()
        write(folder, held)
    before, same, changed = (read_results(folder, "*") for folder in folders)
    assert difference(before, same) == ""
    assert size in difference(before, changed)


def test_renamed_missing_and_reshaped_values_differ() -> None:
    before = {"weight": torch.zeros(2)}
    assert difference(before, {}) == "1 only before, first weight"
    assert difference(before, {"w": torch.zeros(2)}) == "1 only before, first weight; 1 only after, first w"
    assert "(2,) -> torch.float32 (1, 2)" in difference(before, {"weight": torch.zeros(1, 2)})
    assert "torch.float16" in difference(before, {"weight": torch.zeros(2).half()})
    assert "'a' -> 'b'" in difference({"name": "a"}, {"name": "b"})


def test_the_first_and_the_largest_difference_are_named() -> None:
    before = {name: torch.zeros(3) for name in "abc"}
    after = {"a": torch.zeros(3), "b": torch.tensor([0, 0.25, 0]), "c": torch.tensor([0, -4.0, 1.0])}
    found = difference(before, after)
    assert found == "2 of 3 differ, first b by 0.25 of 0, 1 of 3; largest c by 4 of 0, 2 of 3"


def test_one_more_item_of_a_report_does_not_shift_the_others(tmp_path: Path) -> None:
    measures = [
        {"protocol": "clean", "key": key, "best_of": 1, "value": value} for key, value in (("ssim", 1), ("psnr", 2))
    ]
    more = [measures[0], {"protocol": "clean", "key": "colour", "best_of": 1, "value": 3}, measures[1]]
    for name, rows in (("before", measures), ("after", more)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps({"rows": rows}))
    found = difference(*(read_results(tmp_path / name, "*") for name in ("before", "after")))
    assert found == "4 only after, first summary.json: /rows/clean colour 1/best_of"


def test_no_results_are_not_equal(tmp_path: Path) -> None:
    nothing = read_results(tmp_path, "**/*")
    assert difference(nothing, nothing) == "nothing to compare"
