"""Renders the people of `imagpose demo` into the package: pictures and OpenPose JSON of people that nobody trained on.

Every person has a front, a back and a side view to be used as sources (0, 1, 2) and five target views (3 to 7) that
look, in this order, from the front, the back, the side, the other side and the back. Run from the repository:
`python tools/make_demo_people.py`.
"""

import shutil
from pathlib import Path

from PIL import Image

from imagpose.people import ViewSpec, make_identity, render_view, sample_view_specs
from imagpose.people.splits import TEST_SEEDS
from imagpose.pose import write_openpose_json
from imagpose.provenance import save_rendered

# Chosen by eye among the first test identities: unlike each other, and with a back that the front does not tell.
SEEDS = (2_000_003, 2_000_006, 2_000_007, 2_000_015, 2_000_017)
HEIGHT, WIDTH = 256, 176
FOLDER = Path(__file__).parents[1] / "src" / "imagpose" / "serving" / "demo_people"
LOOKS_FROM = ("front", "back", "side", "front", "back", "right", "left", "back")
CANDIDATES = 32


def choose_views(seed: int) -> list[ViewSpec]:
    """For each entry of `LOOKS_FROM` the identity's next full-body view from there."""
    left = [spec for spec in sample_view_specs(seed, CANDIDATES) if spec.camera.framing == "full"]
    chosen = []
    for wanted in LOOKS_FROM:
        spec = next(spec for spec in left if wanted in looks_from(spec.yaw))
        left.remove(spec)
        chosen.append(spec)
    return chosen


def looks_from(yaw: float) -> str:
    """The quadrant of a yaw in degrees: "front", "right side", "back" or "left side"."""
    return ("front", "right side", "back", "left side")[round(yaw / 90) % 4]


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for seed in SEEDS:
        assert seed in TEST_SEEDS
        identity = make_identity(seed)
        folder = FOLDER / str(seed)
        folder.mkdir(parents=True)
        for index, spec in enumerate(choose_views(seed)):
            view = render_view(identity, spec, HEIGHT, WIDTH)
            save_rendered(Image.fromarray(view.picture), folder / f"{index}.png")
            write_openpose_json(view.pose, folder / f"{index}.json")


if __name__ == "__main__":
    main()
