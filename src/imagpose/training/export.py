"""The final step: a trained pipeline as the small folder that ships, weights in half precision, files below a limit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal

import torch

from imagpose.outputs import check_replaceable, result_folder
from imagpose.pipeline import IMAGPosePipeline

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def export_pipeline(
    run: str | Path,
    folder: str | Path,
    dtype: Literal["fp16", "bf16"] = "fp16",
    max_file_size: str = "15MB",
    overwrite: bool = False,
) -> dict[str, int]:
    """Write the pipeline of a denoiser's run in half precision, with the run's ``training.json`` and card.

    Args:
        run: output folder of the denoiser's run; its ``weights`` hold the EMA pipeline in full precision.
        folder: where the pipeline goes; must not exist, but for `overwrite`.
        dtype: "fp16" keeps three more bits of each weight than "bf16".
        max_file_size: weights are split into files of at most this size.
        overwrite: replace an earlier export, when everything has been written.

    Returns:
        Bytes per component.

    Raises:
        FileNotFoundError: the run has no weights yet.
        ValueError: `folder` exists and is no earlier export or is not to be overwritten, a
            weight is too large for `dtype`, or damaged weights.
    """
    weights, folder = Path(run) / "weights", Path(folder)
    if not (weights / "model_index.json").is_file():
        raise FileNotFoundError(f"{weights} holds no trained pipeline: train the denoiser first")
    check_replaceable(folder, overwrite)
    pipeline = IMAGPosePipeline.from_pretrained(weights).to(_DTYPES[dtype])
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module) and not all(p.isfinite().all() for p in component.parameters()):
            raise ValueError(f"{name} has weights that {dtype} cannot hold: use bf16")
    with result_folder(folder, overwrite) as partial:
        pipeline.save_pretrained(partial, max_shard_size=max_file_size)
        _forget_folders(partial)
        for name in ("training.json", "README.md"):
            if (weights / name).is_file():
                shutil.copy(weights / name, partial)
        return {path.name: _bytes(path) for path in sorted(partial.iterdir()) if path.is_dir()}


def _forget_folders(folder: Path) -> None:
    """Remove from the configurations where the weights were loaded from: a folder of the machine that trained."""
    for path in folder.rglob("*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
