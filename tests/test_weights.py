"""What ships inside the package stays small."""

from __future__ import annotations

from pathlib import Path

import imagpose

MEGABYTE = 10**6


def test_embedded_weights_are_in_small_files_and_within_the_packages_limit() -> None:
    files = list(Path(imagpose.__file__).parent.rglob("*.safetensors"))
    assert len(files) > 5
    assert all(file.stat().st_size < 16 * MEGABYTE for file in files)
    assert sum(file.stat().st_size for file in files) <= 95 * MEGABYTE
