"""What the measures give on real pictures and on worse copies of them."""

import json

import numpy as np
import pytest
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.prepare import Person, write_dataset
from imagpose.data.records import make_record
from imagpose.data.rendered import prepare_people
from imagpose.evaluation.blur_check import ALTERED, check_measures, halve
from imagpose.judges.identity import embed_people
from imagpose.judges.pose import find_keypoints
from imagpose.metrics.detail import gradient_energy
from imagpose.metrics.keypoints import counted_points, pck
from imagpose.pose import Pose


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked") / "people"
    prepare_people(2_400_000, 3, 3, 256, 176, folder, workers=1)
    return folder


def test_the_table_and_its_numbers(data, tmp_path):
    out = tmp_path / "new folder" / "judges.json"
    table = check_measures(data, out=out)
    summary = json.loads(out.read_text())
    measures = summary["measures"]
    assert (summary["people"], summary["views"]) == (3, 9) and table.startswith("9 views of 3 people")
    truth, blurred, halved = (measures[name] for name in ALTERED)
    for name, best in (
        ("gradient energy", 1),
        ("detail correlation", 1),
        ("features / copying", 0),
        ("colour error", 0),
    ):
        assert truth[name]["mean"] == pytest.approx(best, abs=1e-6), name
    for name in ("gradient energy", "detail correlation", "SSIM in the mask", "PSNR in the mask, dB"):
        assert blurred[name]["mean"] < truth[name]["mean"] and halved[name]["mean"] < truth[name]["mean"], name
        assert blurred[name]["low"] <= blurred[name]["mean"] <= blurred[name]["high"]
    assert 0 < halved["features / copying"]["mean"] < blurred["features / copying"]["mean"] < 1
    line = next(line for line in table.splitlines() if line.startswith("| gradient energy |"))
    assert [cell.split()[0] for cell in line.split("|")[2:5]] == [
        f"{own['gradient energy']['mean']:.3f}" for own in (truth, blurred, halved)
    ]

    records = list(PersonDataset(data, "test").stream())
    pictures = np.stack([np.asarray(own.decode()) for own in records])
    soft = np.stack([ALTERED["blurred, sigma 1.5"](own) for own in pictures])
    shares = [
        pck(found, own.keypoints, counted_points(own.keypoints, 176, 256))
        for found, own in zip(find_keypoints(soft), records, strict=True)
    ]
    assert blurred["PCK@0.1"]["mean"] == pytest.approx(np.nanmean(shares))
    energies = [
        [gradient_energy(own, record.foreground()) for own in pair]
        for *pair, record in zip(soft, pictures, records, strict=True)
    ]
    assert blurred["gradient energy"]["mean"] == pytest.approx(np.divide(*np.mean(energies, 0)))
    near = embed_people(soft) @ embed_people(pictures).T
    np.fill_diagonal(near, -np.inf)
    assert blurred["identity rank-1"]["mean"] == pytest.approx(np.mean(near.argmax(1) // 3 == np.arange(9) // 3))


def test_halving_keeps_what_is_flat_and_loses_what_is_fine():
    flat = np.full((40, 30, 3), 77, np.uint8)
    np.testing.assert_array_equal(halve(flat), flat)
    checks = (np.indices((40, 30)).sum(0) % 2 * 200)[..., None].repeat(3, 2).astype(np.uint8)
    assert np.ptp(halve(checks)) <= 2 and abs(int(halve(checks).mean()) - 100) <= 1
    assert halve(checks[:39, :29]).shape == (39, 29, 3)


def test_other_data_sets_are_refused(tmp_path):
    def make(person):
        picture = np.zeros((40, 30, 3), np.uint8)
        settings = {"identity": person.identity, "split": person.split, "source_file": "x"}

        pose = Pose(np.ones((18, 3)), 30, 40)
        return [make_record(Image.fromarray(picture), pose, view=view, **settings) for view in person.views], []

    write_dataset(tmp_path / "photos", [Person("ann", "test", ("a", "b"))], make, {}, workers=1)
    with pytest.raises(ValueError, match="photos shows no rendered people"):
        check_measures(tmp_path / "photos")
    with pytest.raises(ValueError, match="people is 0"):
        check_measures(tmp_path / "photos", 0)
