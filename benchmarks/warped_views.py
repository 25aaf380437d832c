"""How near warped views are to the truth: held-out rendered people, their first view moved into three others.

    python benchmarks/warped_views.py --people 40

Prints the table of docs/models.md, and the time of a source and of a target. No denoiser is asked.
"""

from __future__ import annotations

import argparse
import time

from imagpose.metrics.pictures import measure_pictures
from imagpose.people import VALIDATION_SEEDS, iterate_views
from imagpose.pipeline.warping import WarpSource, warp

HEIGHT, WIDTH, TARGETS = 256, 176, 3
COLUMNS = {
    "psnr_mask": "PSNR in the mask, dB",
    "detail_correlation": "detail",
    "colour_error": "colour error, dE",
    "feature_distance_copy": "features, of copying",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=40)
    people = parser.parse_args().people
    warped, copied, truths = [], [], []
    seconds = {"source": 0.0, "target": 0.0}
    for _, (first, *targets) in iterate_views(VALIDATION_SEEDS[:people], 1 + TARGETS, HEIGHT, WIDTH, workers=1):
        begun = time.perf_counter()
        source = WarpSource.of(first.picture, first.pose)
        assert source is not None
        prepared = time.perf_counter()
        moved = [warp([source], view.pose) for view in targets]
        warped += [picture for picture in moved if picture is not None]
        seconds["source"] += prepared - begun
        seconds["target"] += time.perf_counter() - prepared
        copied += [first.picture] * TARGETS
        truths += targets
    pictures = [view.picture for view in truths]
    parts = [view.parts for view in truths if view.parts is not None]
    beside = [view.foreground for view in truths], parts, copied
    print(f"{len(truths)} views of {people} people, {HEIGHT}x{WIDTH}")
    print("| | " + " | ".join(COLUMNS.values()) + " |\n" + "| --- " * (len(COLUMNS) + 1) + "|")
    for name, outputs in (("the source, copied", copied), ("warped", warped)):
        found = measure_pictures(outputs, pictures, *beside)
        cells = [f"{found[key]:.3f}" if key in found else "-" for key in COLUMNS]
        print(f"| {name} | " + " | ".join(cells) + " |")
    for name, number in (("source", people), ("target", len(truths))):
        print(f"{1000 * seconds[name] / number:.1f} ms a {name}")


if __name__ == "__main__":
    main()
