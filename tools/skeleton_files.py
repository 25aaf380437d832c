"""Skeletons drawn as the usual tools draw them, with their truth; and how they are read back.

    python tools/skeleton_files.py --count 200

prints the share of the joints within 2 % of the person's height, by variation: sticks of 4 pixels or scaled with the
picture, thin or broad lines, hands, face, white or transparent ground, JPEG, resized after drawing, half bodies, R and B
exchanged.
The drawing is written here once more, from the published rules, so that it shares no line with `imagpose.pose.drawing`.
"""

from __future__ import annotations

import argparse
import colorsys
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from pose_file_people import OPENPOSE, STANDING

Colour = tuple[int, ...] | int
Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLOURS = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(index / 18, 1, 1)) for index in range(18)]
SIZES = (
    (256, 176),
    (384, 256),
    (512, 384),
    (512, 512),
    (768, 512),
    (768, 768),
    (1024, 768),
    (1536, 1024),
    (1080, 1920),
)
STICKS = {
    "fixed": "sticks of 4 pixels",
    "scaled": "sticks scaled",
    "thin": "thin lines",
    "line": "broad lines of 70 %",  # of the joints' brightness, as an editor in the browser draws limbs
}
HAND = np.array(
    [[0.0, 0], *[[0.35 * (side - 2) * step / 4, 0.3 + 0.2 * step] for side in range(5) for step in range(1, 5)]]
)
HAND_EDGES = [(0, 1 + 4 * f) for f in range(5)] + [(1 + 4 * f + s, 2 + 4 * f + s) for f in range(5) for s in range(3)]


@dataclass
class Drawing:
    """A drawn skeleton: the picture as a user has it, points (18, 3) with 1 where drawn, and what was varied."""

    picture: Image.Image
    points: np.ndarray
    variations: set[str] = field(default_factory=set)


def random_points(rng: np.random.Generator, size: tuple[int, int], half: bool) -> np.ndarray:
    """(18, 3): a person with turned body and limbs at random angles; hips and more outside for half a body."""
    places = {name: np.array(place, float) for name, place in STANDING.items()}
    width = rng.uniform(0.25, 1) * rng.choice([1, 1, 1, -1])  # the body turned; -1: seen from behind
    for place in places.values():
        place[0] *= width
    for name in ("nose", "right_eye", "left_eye", "right_ear", "left_ear"):
        places[name] += [rng.normal(0, 0.015), rng.normal(0, 0.006)]
    for side in ("right", "left"):
        for chain, reach in ((("shoulder", "elbow", "wrist"), 1.2), (("hip", "knee", "ankle"), 0.5)):
            names = [f"{side}_{part}" for part in chain]
            for first in range(2):
                angle, length = rng.normal(0, reach), rng.uniform(0.6, 1)
                turn = length * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
                origin, follow = places[names[first]], names[first + 1 :]
                moved = [origin + turn @ (places[name] - origin) for name in follow]
                for name, place in zip(follow, moved, strict=True):
                    places[name] = place
    points = np.array([places[name] for name in OPENPOSE])
    if half:
        points = np.where(np.isin(np.arange(18), (9, 10, 12, 13))[:, None], np.nan, points)
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    share = rng.uniform(0.6, 0.92)
    scale = min(share * size[0] / (high[1] - low[1]), 0.92 * size[1] / (high[0] - low[0]))
    room = np.array(size[::-1]) - scale * (high - low)
    points = scale * (points - low) + room * rng.uniform(0.2, 0.8, 2)
    found = ~np.isnan(points[:, :1])
    if rng.random() < 0.3:
        found[rng.choice([3, 4, 6, 7, 14, 15, 16, 17], rng.integers(1, 3), replace=False)] = False
    return np.concatenate([np.nan_to_num(points), found], 1)


def paint(canvas: np.ndarray, inside: Inside, box: tuple[float, float, float, float], colour: Colour) -> None:
    """Fill the pixels (x, y in whole numbers) for which `inside` holds, in a box."""
    left, top, right, bottom = np.floor(box[:2]).astype(int).clip(0).tolist() + np.ceil(box[2:]).astype(int).tolist()
    window = canvas[top : bottom + 1, left : right + 1]
    if window.size:
        y, x = np.mgrid[top : top + window.shape[0], left : left + window.shape[1]]
        window[inside(x, y)] = colour


def disc(canvas: np.ndarray, place: np.ndarray, radius: float, colour: Colour) -> None:
    x0, y0 = int(place[0]), int(place[1])
    box = (x0 - radius, y0 - radius, x0 + radius, y0 + radius)
    paint(canvas, lambda x, y: (x - x0) ** 2 + (y - y0) ** 2 <= radius**2 + 0.3, box, colour)


def stick(
    canvas: np.ndarray, first: np.ndarray, last: np.ndarray, radius: float, colour: Colour, ellipse: bool = True
) -> None:
    """An ellipse (or a line of this half width) from joint to joint."""
    middle, half = (first + last) / 2, np.hypot(*(last - first)) / 2 + 1e-6
    along = (last - first) / (2 * half)

    def inside(x, y):
        u = (x - middle[0]) * along[0] + (y - middle[1]) * along[1]
        v = (y - middle[1]) * along[0] - (x - middle[0]) * along[1]
        return (u / half) ** 2 + (v / radius) ** 2 <= 1 if ellipse else (np.abs(u) <= half) & (np.abs(v) <= radius)

    low, high = np.minimum(first, last) - radius, np.maximum(first, last) + radius
    paint(canvas, inside, (*low, *high), colour)


def draw(rng: np.random.Generator) -> Drawing:
    size = SIZES[rng.integers(len(SIZES))]
    half = bool(rng.random() < 0.2)
    points = random_points(rng, size, half)
    said = {"half body"} if half else set()
    sticks = str(rng.choice(list(STICKS)))
    radius = {"scaled": max(2.0, 4 * size[0] / 512), "thin": 3.0, "line": max(3.0, 5 * size[0] / 768)}.get(sticks, 4.0)
    said.add(STICKS[sticks])
    canvas = np.zeros((*size, 3), np.uint8)
    alpha = np.zeros(size, np.uint8)
    for layer, fill in ((canvas, None), (alpha, 255)):
        body(layer, points, radius, sticks, fill)
    height = np.ptp(points[points[:, 2] > 0, 1])
    if rng.random() < 0.35:
        said.add("hands")
        turns = rng.uniform(0, 2 * np.pi, 2)
        for layer, fill in ((canvas, None), (alpha, 255)):
            hands(layer, points, turns, 0.08 * height, fill)
    if rng.random() < 0.3 and points[0, 2]:
        said.add("face")
        for layer in (canvas, alpha):
            face(layer, points[0, :2], 0.045 * height)
    picture = Image.fromarray(canvas)
    if rng.random() < 0.1:
        said.add("R and B exchanged")
        picture = Image.fromarray(canvas[:, :, ::-1].copy())
    picture, points = grounded(rng, picture, alpha, points, said)
    return Drawing(picture, points, said)


def body(canvas: np.ndarray, points: np.ndarray, radius: float, sticks: str, fill: int | None) -> None:
    for (first, last), colour in zip(LIMBS, COLOURS, strict=False):
        if points[first, 2] and points[last, 2]:
            brightness = 0.7 if sticks == "line" else 0.6
            dimmed = tuple(int(brightness * part) for part in colour) if fill is None else fill
            half_width, ellipse = 1.0 if sticks == "thin" else radius, sticks in ("fixed", "scaled")
            stick(canvas, points[first, :2], points[last, :2], half_width, dimmed, ellipse)
    for point, colour in zip(points, COLOURS, strict=True):
        if point[2]:
            disc(canvas, point[:2], radius, colour if fill is None else fill)


def hands(canvas: np.ndarray, points: np.ndarray, turns: np.ndarray, length: float, fill: int | None) -> None:
    """21 blue points and 20 edges of all hues, in full brightness, at each wrist."""
    for wrist, turn in zip((4, 7), turns, strict=True):
        if points[wrist, 2]:
            rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            places = points[wrist, :2] + length * HAND @ rotation.T
            for index, (first, last) in enumerate(HAND_EDGES):
                colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(index / 20, 1, 1))
                stick(canvas, places[first], places[last], 1.0, colour if fill is None else fill, ellipse=False)
            for place in places:
                disc(canvas, place, 4, (0, 0, 255) if fill is None else fill)


def face(canvas: np.ndarray, nose: np.ndarray, size: float) -> None:
    """White points of radius 3: the outline, the eyes, the mouth."""
    angles = np.linspace(0.1 * np.pi, 0.9 * np.pi, 17)
    spots = [nose + 1.4 * size * np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
    for side in (-0.5, 0.5):
        spots += [nose + size * np.array([side + 0.2 * np.cos(a), -0.4 + 0.1 * np.sin(a)]) for a in np.arange(6)]
    spots += [nose + size * np.array([0.4 * np.cos(a), 0.7 + 0.15 * np.sin(a)]) for a in np.arange(0, 6.2, 0.5)]
    for spot in spots:
        disc(canvas, spot, 3, 255)


def grounded(
    rng: np.random.Generator, picture: Image.Image, alpha: np.ndarray, points: np.ndarray, said: set[str]
) -> tuple[Image.Image, np.ndarray]:
    """White or transparent ground, resized, saved as JPEG."""
    ground = rng.choice(["black", "black", "white", "transparent"])
    if ground == "white":
        picture = Image.composite(picture, Image.new("RGB", picture.size, "white"), Image.fromarray(alpha))
    if ground == "transparent":
        picture = picture.copy()
        picture.putalpha(Image.fromarray(alpha))
    if ground != "black":
        said.add(f"{ground} ground")
    if rng.random() < 0.3:
        factor = rng.uniform(0.6, 1.5)
        size = (round(picture.width * factor), round(picture.height * factor))
        points = points * [size[0] / picture.width, size[1] / picture.height, 1]
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        said.add("resized")
    if rng.random() < 0.3 and picture.mode == "RGB":
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(rng.choice([75, 85, 95])))
        picture = Image.open(file)
        said.add("JPEG")
    return picture, points


def measure(drawing: Drawing) -> tuple[np.ndarray | None, int, str]:
    """Joints within 2 % of the person's height (of those drawn, None where refused), joints made up, the refusal."""
    from imagpose.pictures import load_picture
    from imagpose.pose import read_skeleton_picture

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pose, _ = read_skeleton_picture(load_picture(drawing.picture))
    except ValueError as error:
        return None, 0, str(error)
    drawn = drawing.points[:, 2] > 0
    height = np.ptp(drawing.points[drawn, 1])
    near = np.hypot(*(pose.keypoints - drawing.points)[:, :2].T) <= 0.02 * height
    return (near & pose.visible)[drawn], int((pose.visible & ~drawn).sum()), ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", action="store_true", help="list drawings that are not read right")
    arguments = parser.parse_args()
    rows: dict[str, list[tuple[np.ndarray | None, int]]] = {}
    for number in range(arguments.count):
        drawing = draw(np.random.default_rng((arguments.seed, number)))
        near, made_up, refusal = measure(drawing)
        for name in {"all", *(drawing.variations or {"plain"})}:
            rows.setdefault(name, []).append((near, made_up))
        if arguments.faults and (near is None or not near.all() or made_up):
            lost = [OPENPOSE[i] for i in np.flatnonzero(drawing.points[:, 2])[~near]] if near is not None else refusal
            print(number, drawing.picture.size, sorted(drawing.variations), made_up, lost, flush=True)
    print("| variation | drawings | refused | joints within 2 % | joints made up |\n| --- | --- | --- | --- | --- |")
    for name, found in sorted(rows.items(), key=lambda row: -len(row[1])):
        read = [near for near, _ in found if near is not None]
        share = 100 * np.concatenate(read).mean() if read else 0.0
        made_up = sum(count for _, count in found)
        print(f"| {name} | {len(found)} | {len(found) - len(read)} | {share:.1f} % | {made_up} |")


if __name__ == "__main__":
    main()
