"""No command removes what it did not write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from imagpose.models.folder import WEIGHTS_ROOT
from imagpose.training.export import export_pipeline


def test_an_export_replaces_only_an_earlier_export_and_only_when_told(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(WEIGHTS_ROOT / "mini", run / "weights")
    out.mkdir()
    (out / "thesis.txt").write_text("three years")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="was not written by this command"):
            export_pipeline(run, out, overwrite=overwrite)
    assert (out / "thesis.txt").read_text() == "three years" and len(list(out.iterdir())) == 1
    made = tmp_path / "made"
    export_pipeline(run, made)
    with pytest.raises(ValueError, match="--overwrite"):
        export_pipeline(run, made)
    export_pipeline(run, made, overwrite=True)
    (made / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds notes\.txt"):
        export_pipeline(run, made, overwrite=True)
    assert (made / "notes.txt").read_text() == "mine"
