"""How the readers read the files of `pose_file_kinds.py`.

    python tools/pose_files.py --count 20

prints the table of docs/pose-files.md: for each kind, files read right, refused and read wrong.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from pose_file_kinds import KINDS
from pose_file_people import OPENPOSE, Case


def write(case: Case, folder: Path) -> Path:
    """The case's file, and the pictures beside it."""
    path = folder / case.name
    if isinstance(case.content, np.ndarray):
        np.save(path, case.content)
    elif isinstance(case.content, str):
        path.write_text(case.content, encoding="utf-8")
    else:
        path.write_text(json.dumps(case.content), encoding="utf-8")
    for name in case.beside:
        Image.new("RGB", case.size[::-1]).save(folder / name)
    return path


def fault(case: Case, folder: Path) -> str | None:
    """What is wrong with the reading of a case, None where nothing is; refusals begin with "refused"."""
    from imagpose.pose import PoseOptions, read_pose_file

    path = write(case, folder)
    try:
        poses = read_pose_file(path, PoseOptions(**case.options)).poses
    except ValueError as error:
        return f"refused: {error}"
    if len(poses) != len(case.expected):
        return f"{len(poses)} poses, {len(case.expected)} expected"
    for index, (pose, truth) in enumerate(zip(poses, case.expected, strict=True)):
        if (pose.height, pose.width) != case.size:
            return f"frame {pose.height}x{pose.width}, {case.size} expected"
        if (pose.visible != (truth[:, 2] > 0)).any():
            return f"found points differ: {[OPENPOSE[i] for i in np.flatnonzero(pose.visible != (truth[:, 2] > 0))]}"
        error = np.hypot(*(pose.keypoints - truth)[pose.visible, :2].T).max()
        if error > 0.01 + 1e-4 * max(case.size):
            return f"a joint is {error:.1f} pixels off"
        if case.hands and (pose.hands is None or np.abs(pose.hands[..., :2] - case.hands[index]).max() > 0.01):
            return "hands differ"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| kind | read right | refused | read wrong |\n| --- | --- | --- | --- |")
    for kind, make in KINDS.items():
        faults = []
        for number in range(arguments.count):
            with tempfile.TemporaryDirectory() as folder:
                faults.append(fault(make(np.random.default_rng((arguments.seed, number))), Path(folder)))
        refused = sum(one is not None and one.startswith("refused") for one in faults)
        wrong = [one for one in faults if one is not None and not one.startswith("refused")]
        print(f"| {kind} | {faults.count(None)} of {arguments.count} | {refused} | {len(wrong)} |", flush=True)
        for one in sorted({one for one in faults if one is not None})[:2]:
            print(f"    {one[:160]}")


if __name__ == "__main__":
    main()
