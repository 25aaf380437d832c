"""Draws the poses of `pose/library.json` from our own motions: names, what each shows, and where it is seen from.

Kinds of `people.motion` are drawn with several seeds, of which those are taken that differ most; dances and reaches are
written down here, arm by arm. All are done by one body of middling proportions, and rendered to know what is hidden.
Run from the repository: `python tools/make_pose_library.py` (a minute); `--pictures FOLDER` also saves the rendered person
in each pose, to be looked at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from imagpose.io import write_text
from imagpose.people import Camera, ViewSpec, make_identity, pose_motion, render_view
from imagpose.people.identity import Identity
from imagpose.people.kinematics import arm_rotations, unit
from imagpose.people.motion import Motion, Posture, sample_motion
from imagpose.people.scene import View
from imagpose.people.stances import Foot, Stance
from imagpose.pose import Pose

FILE = Path(__file__).parents[1] / "src" / "imagpose" / "pose" / "library.json"
BODY = 2_000_011  # an adult woman of 1.66 m
HEIGHT, WIDTH = 256, 176
SCALE = 2  # poses are stored in a frame of 512x352
CANDIDATES = 24
FRONT, LEFT, RIGHT, BACK = 0, 270, 90, 180  # degrees of yaw; LEFT faces the picture's left edge
VIEWS = {
    0: "front", 45: "front, turned to the right", 90: "facing right", 135: "back, turned to the right",
    180: "back", 225: "back, turned to the left", 270: "facing left", 315: "front, turned to the left",
}  # fmt: skip
Arm = tuple[tuple[float, float, float], tuple[float, float, float]]  # upper arm and forearm: outwards, backwards, up
HANG: Arm = ((0.2, 0.0, -1), (0.1, -0.2, -1))
HIP: Arm = ((0.75, 0.35, -0.75), (-0.8, -0.35, -0.6))
UP: Arm = ((0.35, -0.1, 1), (0.1, -0.1, 1))
OUT: Arm = ((1, -0.1, 0.05), (1, -0.25, 0.1))
ROUND_UP: Arm = ((0.6, -0.25, 1), (-0.45, -0.2, 1))
ROUND_AHEAD: Arm = ((0.7, -0.8, -0.35), (-0.85, -0.8, 0.05))


@dataclass(frozen=True)
class Drawn:
    """Poses of one kind of `people.motion`: one for each yaw, as unlike each other as the seeds allow."""

    group: str
    kind: str
    text: str
    yaws: tuple[int, ...]
    framing: str = "full"
    least_step: float = 0  # from foot to foot, in units of the leg


@dataclass(frozen=True)
class Written:
    """A pose that no kind has: feet, trunk and both arms (left, right); `nod` and `turn` of the head in degrees."""

    group: str
    text: str
    yaw: int
    stance: Stance
    left: Arm
    right: Arm
    nod: float = 0
    turn: float = 0
    framing: str = "full"


DRAWN = (
    Drawn("stand", "stand", "standing, arms hanging", (FRONT, RIGHT, BACK)),
    Drawn("stand", "contrapposto", "standing, weight on one leg", (35, 320, 225)),
    Drawn("stand", "hips", "standing, hands on hips", (FRONT, 150)),
    Drawn("stand", "one_hip", "standing, one hand on the hip", (20, 335)),
    Drawn("stand", "pocket", "standing, one hand in a pocket", (345,)),
    Drawn("stand", "pockets", "standing, hands in pockets", (30,)),
    Drawn("stand", "clasp", "standing, hands clasped", (FRONT,)),
    Drawn("stand", "crossed", "standing, arms crossed", (FRONT, 315)),
    Drawn("stand", "behind", "standing, hands behind the back", (15, 190)),
    Drawn("walk", "walk", "walking", (RIGHT, LEFT, 50, 305, 235, 130), least_step=0.4),
    Drawn("walk", "walk", "walking", (340, RIGHT, 160)),
    Drawn("run", "run", "running", (FRONT, 50, RIGHT, LEFT, BACK, 305)),
    Drawn("lunge", "lunge", "lunging, hands on hips", (RIGHT, LEFT, 40)),
    Drawn("sit", "sit", "sitting on a stool", (FRONT, 45, RIGHT, LEFT, 320)),
    Drawn("sit", "sit_on_floor", "sitting on the floor", (50, RIGHT, LEFT)),
    Drawn("crouch", "crouch", "crouching", (35,)),
    Drawn("kneel", "kneel", "kneeling on one knee", (40, RIGHT, LEFT)),
    Drawn("wave", "wave", "waving", (FRONT, 335, BACK)),
    Drawn("phone", "phone", "holding a phone to the ear", (15, 300)),
    Drawn("think", "chin", "one hand at the chin", (FRONT, 45)),
    Drawn("upper", "stand", "upper body, arms hanging", (FRONT, RIGHT, BACK), "upper"),
    Drawn("upper", "crossed", "upper body, arms crossed", (FRONT, 315), "upper"),
    Drawn("upper", "hips", "upper body, hands on hips", (FRONT, BACK), "upper"),
    Drawn("upper", "one_hip", "upper body, one hand on the hip", (30,), "upper"),
    Drawn("upper", "chin", "upper body, one hand at the chin", (340,), "upper"),
    Drawn("upper", "phone", "upper body, holding a phone to the ear", (LEFT,), "upper"),
    Drawn("upper", "behind", "upper body, hands behind the back", (LEFT,), "upper"),
)


def feet(left: Foot, right: Foot) -> dict[str, Foot]:
    return {".L": left, ".R": right}


FLAT = Foot(aside=0.02)
TOES = Foot(aside=0.01, pitch=35)
ASTRIDE = Foot(aside=0.38, lift=0.25, pitch=40, toe_out=25)
WRITTEN = (
    Written("reach", "reaching up with one arm", FRONT, Stance(feet(TOES, TOES), spine=(-2, -8, 0)),
            HANG, ((0.12, -0.1, 1), (-0.02, -0.1, 1)), nod=-18),
    Written("reach", "reaching up with both arms", 30, Stance(feet(TOES, TOES), spine=(-5, 0, 0)), UP, UP, nod=-25),
    Written("reach", "reaching up with both arms", 195, Stance(feet(FLAT, FLAT), spine=(-3, 5, 0)),
            ((0.3, 0, 1), (0.15, 0, 1)), ((0.5, 0, 1), (0.3, 0, 1)), nod=-15),
    Written("reach", "reaching ahead with one arm", RIGHT,
            Stance(feet(Foot(-0.12), Foot(0.18)), stretch=0.97, lean=12, spine=(8, 0, 12)),
            ((0.3, 0.35, -1), (0.1, 0.1, -1)), ((0.1, -1, 0.1), (-0.05, -1, 0.15))),
    Written("reach", "reaching ahead with both arms", LEFT, Stance(feet(FLAT, Foot(0.12, 0.02)), spine=(8, 0, 0)),
            ((0.1, -1, -0.1), (-0.1, -1, 0)), ((0.15, -1, -0.05), (-0.1, -1, 0.05))),
    Written("reach", "reaching to the side", FRONT,
            Stance(feet(Foot(aside=0.18, toe_out=20), Foot(aside=0.12)), stretch=0.98, spine=(0, 14, 0)),
            OUT, ((0.3, 0.1, -1), (0.1, -0.3, -1)), turn=35),
    Written("reach", "reaching down for something", RIGHT,
            Stance(feet(Foot(-0.12, 0.05, pitch=20), Foot(0.2, 0.05)), height=0.72, lean=52, spine=(25, 0, 0)),
            ((0.35, -0.2, -0.6), (-0.3, -0.9, -0.3)), ((0.1, -0.85, -0.55), (0, -0.95, -0.35)), nod=-10),
    Written("reach", "pointing ahead", 330, Stance(feet(Foot(0.05), Foot(-0.05, toe_out=20)), spine=(0, 0, 6)),
            ((0.35, -1, 0), (0.25, -1, 0.1)), HIP),
    Written("reach", "upper body, reaching up", FRONT, Stance(feet(FLAT, FLAT), spine=(-2, 5, 0)),
            UP, ((0.35, 0.1, -1), (0, -0.7, -0.6)), nod=-12, framing="upper"),
    Written("upper", "upper body, waving", 350, Stance(feet(FLAT, FLAT)),
            ((0.55, -0.2, -0.9), (0.3, -0.45, 1)), HANG, framing="upper"),
    Written("dance", "arms up, one leg to the side", FRONT,
            Stance(feet(Foot(aside=0.5, lift=0.3, pitch=35, toe_out=30), Foot(aside=-0.05, toe_out=20)), roll=-6,
                   spine=(0, 8, 0)), ((0.8, 0, 1), (0.5, -0.1, 1)), ((0.8, 0, 1), (0.5, -0.1, 1))),
    Written("dance", "arabesque", RIGHT,
            Stance(feet(Foot(0.02, -0.06), Foot(-0.84, -0.05, lift=0.5, pitch=75)), lean=36, spine=(-22, 0, 0)),
            ((0.35, -1, 0.25), (0.15, -1, 0.3)), ((0.9, 0.5, 0.1), (0.8, 0.5, 0)), nod=-12),
    Written("dance", "one foot at the other knee, arms rounded above", FRONT,
            Stance(feet(Foot(aside=-0.07, toe_out=15), Foot(0.08, 0.0, lift=0.42, pitch=50, toe_out=45))),
            ROUND_UP, ROUND_UP),
    Written("dance", "turn on one leg, arms rounded ahead", 40,
            Stance(feet(Foot(0.1, 0.0, lift=0.38, pitch=50, toe_out=40), Foot(aside=-0.07, pitch=35, toe_out=10))),
            ROUND_AHEAD, ROUND_AHEAD, turn=20),
    Written("dance", "wide plie, arms to the sides", FRONT,
            Stance(feet(Foot(0.06, 0.36, toe_out=48, pole_up=0.1), Foot(0.06, 0.36, toe_out=48, pole_up=0.1)),
                   height=0.66), OUT, OUT),
    Written("dance", "disco, one arm up", FRONT,
            Stance(feet(Foot(aside=0.16, toe_out=25), Foot(aside=0.1, toe_out=12)), stretch=0.98, roll=5,
                   spine=(0, -9, 6)), HIP, ((0.75, -0.15, 0.9), (0.6, -0.15, 1)), turn=-20),
    Written("dance", "side lunge, arms in one line", 10,
            Stance(feet(Foot(0.05, 0.62, toe_out=25, pitch=5), Foot(0.1, 0.12, toe_out=30)), height=0.72, spine=(0, -12, 0)),
            ((0.9, 0, 0.75), (0.8, 0, 0.8)), ((0.9, -0.1, -0.55), (0.9, -0.15, -0.5))),
    Written("dance", "twist, elbows bent", 345,
            Stance(feet(Foot(0.1, 0.06, pitch=25), Foot(0.04, 0.08)), stretch=0.9, twist=-16, lean=4, spine=(4, 0, 38)),
            ((0.5, 0.35, -0.8), (0.1, -1, 0.25)), ((0.55, -0.2, -0.85), (-0.35, -1, 0.3)), turn=-20),
    Written("dance", "star jump", FRONT,
            Stance(feet(ASTRIDE, ASTRIDE)),
            ((0.9, 0, 0.85), (0.8, -0.05, 0.9)), ((0.9, 0, 0.85), (0.8, -0.05, 0.9)), nod=-8),
    Written("dance", "leap", RIGHT,
            Stance(feet(Foot(0.74, -0.05, lift=0.55, pitch=20), Foot(-0.74, -0.05, lift=0.55, pitch=80)), lean=6,
                   spine=(-8, 0, 0)),
            ((0.8, 0.45, 0.2), (0.8, 0.35, 0.25)), ((0.25, -1, 0.35), (0.1, -1, 0.4))),
    Written("dance", "crossed step, arms to the sides", FRONT,
            Stance(feet(Foot(0.14, -0.2, toe_out=12), Foot(-0.06, -0.12, pitch=30)), stretch=0.97, twist=10,
                   spine=(0, 0, -16)),
            OUT, ((1, -0.2, -0.25), (0.7, -0.6, -0.1)), turn=15),
    Written("dance", "high kick", LEFT,
            Stance(feet(Foot(0.95, -0.06, lift=0.82, pitch=-20, pole_up=1.2), Foot(-0.02, -0.07)), lean=-8, spine=(6, 0, 0)),
            ((0.9, 0.4, 0.1), (0.8, 0.3, 0.1)), ((0.9, 0.1, 0.2), (0.9, -0.1, 0.2))),
    Written("dance", "back to the camera, arms up", 170,
            Stance(feet(Foot(aside=0.1, toe_out=18), Foot(aside=0.14, pitch=20)), stretch=0.98, roll=-5, spine=(0, 10, 0)),
            ((0.7, 0, 0.9), (0.1, -0.2, 1)), ((0.8, 0, 0.5), (0.2, -0.3, 1))),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Entry:
    """A pose of the library before it has its number."""

    group: str
    text: str
    yaw: int
    view: View


def drawn_entries(identity: Identity, rows: tuple[Drawn, ...]) -> Iterator[Entry]:
    """For each row and yaw the candidate that differs most from those taken before in its group."""
    taken: dict[str, list[np.ndarray]] = {}
    for row_number, row in enumerate(rows):
        others = taken.setdefault(row.group, [])
        motions = [sample_motion(np.random.default_rng([row_number, seed]), (row.kind,)) for seed in range(CANDIDATES)]
        motions = [own for own in motions if step(own.stance) >= row.least_step]
        postures = [own for own in (pose_motion(identity, motion) for motion in motions) if own.penetration < 0.01]
        for yaw in row.yaws:
            shapes = [shape(own) for own in postures]
            chosen = max(
                range(len(postures)),
                key=lambda index: min((float(np.abs(shapes[index] - own).mean()) for own in others), default=0),
            )
            others.append(shapes.pop(chosen))
            yield Entry(row.group, row.text, yaw, render(identity, postures.pop(chosen), yaw, row.framing))


def step(stance: Stance) -> float:
    """How far one foot is ahead of the other, in units of the leg."""
    return abs(stance.feet[".L"].forward - stance.feet[".R"].forward)


def shape(posture: Posture) -> np.ndarray:
    """The turns of the limbs' bones, as vectors in one row."""
    bones = [
        bone for bone in sorted(posture.rotations) if bone.startswith(("upperleg", "lowerleg", "upperarm", "lowerarm"))
    ]
    row: np.ndarray = Rotation.from_matrix([posture.rotations[bone] for bone in bones]).as_rotvec().ravel()
    return row


def written_entries(identity: Identity, rows: tuple[Written, ...]) -> Iterator[Entry]:
    """The poses that are written down; a limb may not pass through the body."""
    for row in rows:
        # the head looks ahead whatever the trunk does, as in `sample_motion`
        nod = row.nod - 0.55 * (row.stance.lean + row.stance.spine[0])
        posture = pose_motion(
            identity, Motion("stand", row.stance, 0, nod, row.turn - 0.5 * row.stance.spine[2], 0, (10, 10))
        )
        arms = {}
        for side, sign, arm in ((".L", 1, row.left), (".R", -1, row.right)):
            upper, forearm = (unit(np.array(part, float) * (sign, 1, 1)) for part in arm)
            arms |= arm_rotations(identity.rig, side, upper, forearm)
        yield Entry(
            row.group,
            row.text,
            row.yaw,
            render(identity, replace(posture, rotations=posture.rotations | arms), row.yaw, row.framing),
        )


def render(identity: Identity, posture: Posture, yaw: int, framing: str) -> View:
    camera = Camera(framing, pitch=3.0, distance=4.5, fill=0.88, shift=(0.0, 0.0))
    return render_view(identity, ViewSpec(0, float(yaw), camera, background=11), HEIGHT, WIDTH, motion=posture)


def stored(entry: Entry, name: str) -> dict[str, object]:
    """An entry as it stands in the file; points out of the picture are missing."""
    pose: Pose = entry.view.pose.resize(WIDTH * SCALE, HEIGHT * SCALE)
    points = [
        [round(float(x), 1), round(float(y), 1), float(confidence)] if inside else [0, 0, 0]
        for (x, y, confidence), inside in zip(pose.keypoints, pose.inside, strict=True)
    ]
    return {"name": name, "text": entry.text, "view": VIEWS[round(entry.yaw / 45) * 45 % 360], "keypoints": points}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="folder for the rendered person in each pose")
    pictures = parser.parse_args().pictures
    identity = make_identity(BODY)
    numbers: dict[str, int] = {}
    lines = []
    for entry in (*drawn_entries(identity, DRAWN), *written_entries(identity, WRITTEN)):
        numbers[entry.group] = numbers.get(entry.group, 0) + 1
        name = f"{entry.group}-{numbers[entry.group]:02}"
        lines.append(json.dumps(stored(entry, name)))
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            Image.fromarray(entry.view.picture).save(pictures / f"{name}.png")
    lines.sort(key=lambda line: json.loads(line)["name"])
    frame = f'"height": {HEIGHT * SCALE}, "width": {WIDTH * SCALE}'
    write_text(FILE, f'{{{frame}, "poses": [\n' + ",\n".join(lines) + "\n]}\n")
    print(f"{len(lines)} poses: {FILE}")


if __name__ == "__main__":
    main()
