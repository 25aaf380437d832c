"""The weights that ship as mini, from a run of configs/mini/denoiser.yaml.

    python tools/export_mini.py --run runs/mini/denoiser --autoencoder runs/mini/autoencoder-finish/weights --out mini

As `imagpose train export`, with what is set by hand (docs/decisions.md): the finished decoder, the input skip's gate and
linear part. `--gate trained` leaves the input skip as it is.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from imagpose.models.folder import ModelFiles
from imagpose.models.loading import load_autoencoder
from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.denoiser.networks import set_input_skip
from imagpose.training.export import export_pipeline

GATE, SPREAD = 0.93, 0.3  # in bfloat16 a smaller spread makes the linear part lose contrast


def export_mini(run: Path, autoencoder: Path | None, gate: float | None, out: Path, overwrite: bool) -> dict[str, int]:
    """Writes the folder; returns the bytes of each component.

    Args:
        run: output folder of the denoiser's run.
        autoencoder: folder of a VAE with the same encoder; None: the run's.
        gate: of the input skip, everywhere; None: as trained.
        out: where the pipeline goes.
        overwrite: replace an earlier export.
    """
    pipeline = IMAGPosePipeline.from_pretrained(run / "weights")
    if autoencoder is not None:
        pipeline.register_modules(vae=load_autoencoder(ModelFiles(str(autoencoder))))
    if gate is not None:
        set_input_skip(pipeline.unet, pipeline.scheduler, SPREAD, gate)
    with tempfile.TemporaryDirectory(prefix="export-mini-") as folder:
        weights = Path(folder) / "weights"
        pipeline.save_pretrained(weights)
        for name in ("training.json", "README.md"):
            if (run / "weights" / name).is_file():
                shutil.copy(run / "weights" / name, weights)
        return export_pipeline(folder, out, overwrite=overwrite)


def _gate(text: str) -> float | None:
    if text == "trained":
        return None
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: a share between 0 and 1, or trained, expected")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="output folder of the denoiser's run")
    parser.add_argument("--autoencoder", type=Path, help="folder of the finished autoencoder; default: the run's")
    parser.add_argument("--gate", type=_gate, default=GATE, help="of the input skip, or trained")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--overwrite", action="store_true")
    given = parser.parse_args()
    for name, size in export_mini(given.run, given.autoencoder, given.gate, given.out, given.overwrite).items():
        print(f"{name}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
