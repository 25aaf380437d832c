"""Key points found again in generated photographs, with a detector whose answers are known beforehand."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.prepare import Person, write_dataset
from imagpose.data.records import make_record
from imagpose.data.rendered import prepare_people
from imagpose.evaluation import judging
from imagpose.evaluation.folders import ComparedPair
from imagpose.evaluation.images import ImageFolders, evaluate_images
from imagpose.evaluation.judging import JudgedPairs, Photographs, RenderedPeople, judge_pairs, open_judged_views
from imagpose.evaluation.measure import MeasureSettings
from imagpose.evaluation.networks import Needs, Networks
from imagpose.evaluation.store import ValueStore
from imagpose.metrics.keypoints import COCO_SIGMAS
from imagpose.pose import Pose

HEIGHT, WIDTH = 60, 40
ABSENT = Networks(Needs("needs L"), Needs("needs F"), Needs("needs I"))


def points(number):
    """Key points inside of the view, the right ear (16) missing, the left eye (15) outside of the picture."""
    rng = np.random.default_rng(number)
    found = np.stack([rng.uniform(5, WIDTH - 5, 18), rng.uniform(5, HEIGHT - 5, 18), np.ones(18)], 1)
    found[16], found[15, 0] = 0, WIDTH + 3
    return found


def colour(number):
    return (10 + number, 50, 90)


def make_person(person):
    """View 0 has a mask, view 1 has none; the first colour value says which view a picture shows."""
    records = []
    for view in person.views:
        mask = Image.new("L", (WIDTH, HEIGHT))
        mask.paste(255, (5, 5, 25, 45))
        records.append(
            make_record(
                Image.new("RGB", (WIDTH, HEIGHT), colour(view)), Pose(points(view), WIDTH, HEIGHT),
                identity=person.identity, view=str(view), split="test", source_file="", mask=None if view else mask,
            )
        )  # fmt: skip
    return records, []


@pytest.fixture
def data(tmp_path):
    write_dataset(tmp_path / "data", [Person("ann", "test", (0, 1))], make_person, {"command": "folder"}, workers=1)
    return tmp_path / "data"


class StandInDetector:
    """Finds what view it is by the colour, every second key point 4 pixels off, the nose not at all; in black nobody."""

    name = "stand-in"

    def __init__(self, device):
        self.device = device

    def __call__(self, picture):
        number = picture.getpixel((0, 0))[0] - 10
        if number < 0:
            raise ValueError("nobody was found in the picture")
        warnings.warn("2 people in the picture; the largest is taken", UserWarning, stacklevel=2)
        found = points(number)
        found[1::2, 1] += 4
        found[0, 2] = 0
        return Pose(found, WIDTH, HEIGHT)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(judging, "open_detector", StandInDetector)


def save(number, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (0, 0, 0) if number is None else colour(number)).save(path)
    return path


def expected(asked, area):
    """PCK and OKS of what the detector says of the right picture, by a plain loop."""
    counted = [k for k in range(18) if k not in (15, 16)]
    side = max(np.ptp(asked[counted, 0]), np.ptp(asked[counted, 1]))
    distances = {k: np.inf if k == 0 else 4.0 if k % 2 else 0.0 for k in counted}
    right = [distances[k] <= 0.1 * side for k in counted]
    likeness = [
        np.exp(-(distances[k] ** 2) / (2 * area * (2 * COCO_SIGMAS[k]) ** 2)) for k in counted if k != 1
    ]  # the neck
    return np.mean(right), np.mean(likeness)


def test_values_are_those_of_a_plain_loop(data, tmp_path):
    views = Photographs(PersonDataset(data, "test"), StandInDetector("mediapipe"))
    pairs = []
    for number in (0, 1):
        truth = save(number, tmp_path / f"truth/{number}.png")
        samples = (save(number, tmp_path / f"a{number}.png"), save(None, tmp_path / f"b{number}.png"))
        pairs.append(ComparedPair(f"ann/{number}", samples, truth, None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = judge_pairs(pairs, JudgedPairs(views, ["ann/0", "ann/1"]), ValueStore(tmp_path / "parts", 1))
    box = np.delete(points(1), (15, 16), 0)
    areas = 20 * 40, np.ptp(box[:, 0]) * np.ptp(box[:, 1])  # the mask, the box of the key points
    for number, area in enumerate(areas):
        right, likeness = expected(points(number), area)
        assert 0.2 < right < 1 and 0.2 < likeness < 1
        # The second sample shows nobody.
        assert values["pck"][number].tolist() == [pytest.approx(right), 0]
        assert values["oks"][number].tolist() == [pytest.approx(likeness, abs=1e-5), 0]
        assert values["pck_real"][number].tolist() == [pytest.approx(right)] * 2
        assert values["oks_real"][number].tolist() == [pytest.approx(likeness, abs=1e-5)] * 2
    assert isinstance(values["iou"], Needs) and "rendered people" in values["rank1"]


def test_a_folder_of_photographs_gets_the_rows_if_asked(data, tmp_path):
    for number in (0, 1):
        save(number, tmp_path / f"pictures/ann/{number}.png")

    def rows(out, **changes):
        pictures = tmp_path / "pictures"
        folders = ImageFolders(pictures, pictures, data=data)
        evaluate_images(folders, tmp_path / out, MeasureSettings(workers=1, networks=ABSENT, **changes))
        summary = json.loads((tmp_path / out / "summary.json").read_text())
        return {row["key"]: row for row in summary["rows"] if row["protocol"] == "clean"}, summary["notes"]

    without, _ = rows("without")
    assert without["pck"]["needs"] == without["iou"]["needs"] == "needs rendered people, or for key points --detect"
    found, notes = rows("with", detect="mediapipe")
    assert found["pck"]["value"] == found["pck_real"]["value"] > 0.2
    assert found["iou"]["value"] is None and found["iou"]["needs"].startswith("needs rendered people:")
    assert any("stand-in" in note for note in notes)


def test_a_detector_may_judge_the_poses_of_rendered_people_too(data, tmp_path):
    prepare_people(2_000_000, 1, 2, 32, 24, tmp_path / "rendered", workers=1)
    dataset = PersonDataset(tmp_path / "rendered", "test")
    names, pairs = ("2000000/0", "2000000/1"), []
    for number, name in enumerate(names):
        truth = tmp_path / f"{number}.png"
        Image.new("RGB", (24, 32), colour(number)).save(truth)
        pairs.append(ComparedPair(name, (truth,), truth, None))
    judged = open_judged_views(tmp_path / "rendered", "mediapipe")
    found, shipped, alone = (
        judge_pairs(pairs, JudgedPairs(views, list(names)), ValueStore(tmp_path / f"parts{number}", 1))
        for number, views in enumerate((judged, RenderedPeople(dataset), Photographs(dataset, StandInDetector(""))))
    )
    poses = ("pck", "oks", "pck_real", "oks_real")
    for key in poses:
        np.testing.assert_array_equal(found[key], alone[key])
    assert (found["oks"] != shipped["oks"]).any()
    assert "iou" in shipped
    for key in set(shipped) - set(poses):
        np.testing.assert_array_equal(found[key], shipped[key])
    assert "stand-in" in judged.note and "people are searched" in judged.note


def test_a_detector_needs_a_data_set(data):
    assert isinstance(open_judged_views(data, "mediapipe"), Photographs)
    with pytest.raises(ValueError, match="name it"):
        open_judged_views(None, "mediapipe")


def test_a_detector_that_is_not_there_is_said_before_anything_is_made(data, tmp_path, monkeypatch):
    from imagpose.evaluation.model import evaluate_model
    from imagpose.evaluation.model_requests import ModelEvaluation

    def missing(device):
        raise ValueError("poses are detected by the extra 'pose'")

    monkeypatch.setattr(judging, "open_detector", missing)
    with pytest.raises(ValueError, match="the extra 'pose'"):
        evaluate_model(tmp_path / "out", ModelEvaluation("mini", data), MeasureSettings(detect="mediapipe"))
    assert not (tmp_path / "out").exists()
