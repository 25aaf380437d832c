"""A data set of known pictures and a pipeline that returns them, for `evaluate model`."""

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from imagpose.data.prepare import Person
from imagpose.data.records import make_record
from imagpose.evaluation.measure import MeasureSettings
from imagpose.evaluation.model import evaluate_model
from imagpose.evaluation.model_requests import ModelEvaluation
from imagpose.evaluation.networks import Needs, Networks
from imagpose.pose import Pose

HEIGHT, WIDTH = 42, 36  # the height is no multiple of what the autoencoder below halves to
ABSENT = Networks(Needs("needs L: pip install"), Needs("needs F"), Needs("needs I"))
PEOPLE = [
    Person("ann", "test", ("a", "b", "c?", "d", "e")), Person("bo", "test", ("x", "y", "z")),
    Person("cyril", "train", ("t", "u", "v")),
]  # fmt: skip
PAIRS = [("ann/a", "ann/b"), ("ann/a", "ann/c?"), ("bo/x", "bo/y")]


def picture(identity, number, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng([len(identity), number])
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3)).astype(np.uint8)
    return coarse.repeat(4, 0).repeat(4, 1)[:height, :width]


def make_person(person):
    """Views whose first joint says which they are: x is the length of the identity's name, y the view's number."""
    records = []
    for number, view in enumerate(person.views):
        points = np.stack([np.arange(18) + len(person.identity), np.full(18, number), np.ones(18)], 1)
        mask = Image.new("L", (WIDTH, HEIGHT))
        mask.paste(255, (4, 4, 20, 30 + number))
        settings = {"identity": person.identity, "view": view, "split": person.split, "source_file": view}
        own = Image.fromarray(picture(person.identity, number))
        records.append(make_record(own, Pose(points, WIDTH, HEIGHT), mask=mask, **settings))
    return records, []


def make_styled(person):
    """As `make_person`, with a part map (skin above tops) and, of one person, another style."""
    records = []
    for plain in make_person(person)[0]:
        parts = np.where(plain.foreground(), np.where(np.arange(HEIGHT)[:, None] < 18, 1, 3), 0).astype(np.uint8)
        style = "toon" if person.identity == "bo" else "photographic"
        settings = {"identity": plain.identity, "view": plain.view, "split": plain.split, "source_file": plain.view}
        mask = Image.fromarray(plain.foreground()).convert("L")
        records.append(make_record(plain.decode(), plain.pose, mask=mask, style=style, parts=parts, **settings))
    return records, []


class StandInPipeline:
    """Returns the view whose pose is asked for, the darker the more its noise says; keeps what it was asked."""

    def __init__(self):
        torch.manual_seed(0)
        self.vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(4, 4, 4), norm_num_groups=2, latent_channels=4,
        ).eval()  # fmt: skip
        self.calls = []

    def to(self, device):
        return self

    def set_progress_bar_config(self, **_):
        pass

    def __call__(self, sources, target_poses, source_poses, **settings):
        self.calls.append({"sources": sources, "poses": target_poses, "source_poses": source_poses, **settings})
        darker = [int(torch.randint(5, 60, (1,), generator=own)) for own in settings["generator"]]
        return ([[shifted(pose, own) for pose in poses] for poses, own in zip(target_poses, darker, strict=True)],)


def shifted(pose, darker):
    number, identity = int(pose.keypoints[0, 1]), "x" * int(pose.keypoints[0, 0])
    return Image.fromarray((picture(identity, number).astype(int) - darker).clip(0, 255).astype(np.uint8))


def measure(out, model, data, **changes):
    """The tables of an evaluation by one process without networks; `changes` as in the two objects of settings."""
    how = {name: changes.pop(name) for name in ("protocols", "networks", "detect") if name in changes}
    settings = MeasureSettings(**{"workers": 1, "networks": ABSENT, **how})
    return evaluate_model(out, ModelEvaluation(str(model), data, **changes), settings)


def read(path):
    return np.asarray(Image.open(path))


def rows_of(summary, method, style=None):
    """Clean rows of first samples by key."""
    found = summary["methods"][method]
    rows = found["rows"] if style is None else found["styles"][style]
    return {row["key"]: row for row in rows if row["protocol"] == "clean" and row["best_of"] == 1}
