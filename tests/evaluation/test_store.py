"""Values in parts: each computed once, in order, and again only where a file or a setting has changed."""

import os
import resource

import numpy as np
import pytest

from imagpose.evaluation.store import ValueStore


class Counting:
    """Reads a number per file, and counts how many files it was asked for."""

    def __init__(self):
        self.files = 0

    def __call__(self, items):
        self.files += len(items)
        return np.array([[float(path.read_text()), float(path.read_text()) ** 2] for (path,) in items])


@pytest.fixture
def files(tmp_path):
    files = [tmp_path / f"{number}.txt" for number in range(10)]
    for number, file in enumerate(files):
        file.write_text(str(number))
    return files


def compute(parts, files, work, what="squares 1"):
    return parts.values(what, [(file,) for file in files], 4, work, shared=False)


def test_values_come_in_order_and_only_once(files, tmp_path):
    work = Counting()
    parts = ValueStore(tmp_path / "new" / "parts")
    expected = np.stack([np.arange(10.0), np.arange(10.0) ** 2], 1)
    np.testing.assert_array_equal(compute(parts, files, work), expected)
    np.testing.assert_array_equal(compute(parts, files, work), expected)
    assert work.files == 10
    assert sorted(len(np.load(path)) for path in parts.folder.iterdir()) == [2, 4, 4]


def test_a_full_disk_is_noticed_and_a_damaged_part_is_named(files, tmp_path):
    """No file may grow beyond 150 bytes, a part of 4 rows has 192."""
    parts, limits = ValueStore(tmp_path / "parts"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            compute(parts, files, Counting())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(parts.folder.iterdir())
    compute(parts, files, Counting())
    part = sorted(parts.folder.iterdir())[0]
    part.write_bytes(part.read_bytes()[:150])
    with pytest.raises(ValueError, match=f"{part.name} is damaged .*: remove it"):
        compute(parts, files, Counting())


def test_a_run_that_is_broken_off_continues(files, tmp_path):
    def broken(items):
        if items[0][0] == files[4]:
            raise KeyboardInterrupt
        return Counting()(items)

    parts, work = ValueStore(tmp_path / "parts"), Counting()
    with pytest.raises(KeyboardInterrupt):
        compute(parts, files, broken)
    assert len(list(parts.folder.iterdir())) == 1
    assert compute(parts, files, work)[:, 0].tolist() == list(range(10))
    assert work.files == 6


def test_what_changes_is_computed_anew(files, tmp_path):
    parts, work = ValueStore(tmp_path / "parts"), Counting()
    compute(parts, files, work)
    files[5].write_text("70")
    assert compute(parts, files, work)[5, 0] == 70
    assert work.files == 10 + 4
    os.utime(files[9], ns=(0, 0))  # the same size, another time
    compute(parts, files, work)
    assert work.files == 14 + 2
    compute(parts, files, work, what="squares 2")
    assert work.files == 16 + 10


def test_all_damaged_files_are_named_and_the_rest_is_kept(files, tmp_path):
    files[0].write_text("none")
    files[9].write_text("never")
    parts, work = ValueStore(tmp_path / "parts"), Counting()
    with pytest.raises(ValueError, match=r"cannot be used: 2 \(could not convert.*'none', could not convert.*'never'"):
        compute(parts, files, work)
    (kept,) = parts.folder.iterdir()
    assert np.load(kept)[:, 0].tolist() == [4, 5, 6, 7]


def test_processes_give_the_same(files, tmp_path):
    values = [
        ValueStore(tmp_path / str(workers), workers).values(
            "sizes 1", [(file,) for file in files], 3, sizes, shared=True
        )
        for workers in (1, 2)
    ]
    np.testing.assert_array_equal(*values)
    assert values[0][:, 0].tolist() == [1] * 10


def sizes(items):
    return np.array([[path.stat().st_size] for (path,) in items])
