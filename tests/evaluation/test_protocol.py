"""The protocol with pipelines whose numbers are known beforehand."""

import json

import numpy as np
import pytest
from PIL import Image

from imagpose.evaluation import protocol
from imagpose.evaluation.protocol import (
    ShownPerson,
    embed_person,
    evaluate_model,
    generate_people,
    identity_ranks,
    measure_person,
)
from imagpose.evaluation.report import Measure, markdown_table, summarise
from imagpose.metrics.pixels import psnr


def measured(pipeline, people):
    """The records of all targets."""
    made = list(generate_people(pipeline, people, 1, 1.0, 0))
    ranks = identity_ranks([embed_person(own) for own in made])
    records = [record for own in made for record in measure_person(own)]
    return [record | own for record, own in zip(records, ranks, strict=True)]


def test_what_is_asked_of_the_pipeline(copying, people):
    list(generate_people(copying, people, steps=3, guidance=1.5, seed=7))
    assert [call["scenario"] for call in copying.calls] == ["T1", "T3"]
    first, three = copying.calls
    for index, person in enumerate(people):
        (front,) = first["sources"][index]
        assert front is person.front.picture
        assert first["poses"][index] == [view.pose for view in person.targets.values()]
        expected = [person.front, person.back, person.side]
        assert all(one is view.picture for one, view in zip(three["sources"][index], expected, strict=True))
        assert three["source_poses"][index] == [view.pose for view in expected]
        assert three["poses"][index] == [person.targets["back"].pose]
        assert first["generator"][index].initial_seed() == 7 + person.seed
    assert (first["num_inference_steps"], first["guidance_scale"]) == (3, 1.5)


def test_truth_measures_as_truth(omniscient, people):
    pairs = measured(omniscient, people)
    assert len(pairs) == 6
    grey = np.full_like(people[0].front.picture, 128)
    for person in people:
        own = [pair for pair in pairs if pair["seed"] == person.seed]
        assert [pair["target"] for pair in own] == ["front", "side", "back"]
        assert ["psnr_three" in pair for pair in own] == [False, False, True]
        target = person.targets["back"]
        rows, columns = np.nonzero(target.foreground)
        box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        assert own[2]["psnr_three"] == pytest.approx(psnr(grey, target.picture, box))
        assert own[2]["psnr_copy"] == pytest.approx(psnr(person.front.picture, target.picture, box))
    for pair in pairs:
        assert pair["psnr"] == 60.0 and pair["iou"] == 1.0
        assert pair["ssim"] == pytest.approx(1.0) and pair["ssim_box"] == pytest.approx(1.0)
        assert pair["iou_mask"] == pair["iou_finder"]
        assert all(pair[name] == pair[f"{name}_judge"] for name in ("pck", "oks", "rank1"))
        assert pair["ssim_oracle"] < 1.0
    met = {measure.name: measure.met for measure in summarise(pairs)}
    assert met["PSNR over the foreground box, dB: T1"] is True
    assert met["PSNR over the box, dB, from behind: T3"] is False


def test_a_copy_gains_nothing(copying, people):
    pairs = measured(copying, people)
    by_name = {measure.name: measure for measure in summarise(pairs)}
    gain = by_name["PSNR over the foreground box, dB: T1"]
    assert gain.difference == 0.0 and gain.met is False
    assert by_name["PSNR over the box, dB, from behind: T3"].met is False  # as good is not better
    assert by_name["silhouette IoU with the truth: T1"].met is False


def test_identity_is_looked_for_among_all_other_views():
    """Three people, two targets each, against a plain loop."""
    rng = np.random.default_rng(3)

    def unit(*shape):
        values = rng.normal(size=shape)
        return values / np.linalg.norm(values, axis=-1, keepdims=True)

    people = [ShownPerson(unit(2, 2), unit(2, 2), unit(2, 2)) for _ in range(3)]
    views = [(i, "target", k, own.targets[k]) for i, own in enumerate(people) for k in range(2)]
    views += [(i, "other", k, own.others[k]) for i, own in enumerate(people) for k in range(2)]
    expected = []
    for i, own in enumerate(people):
        for k in range(2):
            gallery = [view for view in views if view[:3] != (i, "target", k)]
            record = {}
            for name, query in (("rank1", own.generated[k]), ("rank1_judge", own.targets[k])):
                nearest = min(gallery, key=lambda view, query=query: np.sum((view[3] - query) ** 2))
                record[name] = float(nearest[0] == i)
            expected.append(record)
    assert identity_ranks(people) == expected
    assert len({tuple(record.values()) for record in expected}) > 1


def test_means_and_standard_errors_by_hand():
    def pair(seed, value, reference, target="side"):
        keys = ("psnr", "ssim", "ssim_box", "iou", "iou_mask", "pck", "oks", "rank1")
        references = (
            "psnr_copy",
            "ssim_oracle",
            "ssim_box_oracle",
            "iou_finder",
            "pck_judge",
            "oks_judge",
            "rank1_judge",
        )
        return dict.fromkeys(keys, value) | dict.fromkeys(references, reference) | {"seed": seed, "target": target}

    pairs = [pair(1, 10.0, 7.0), pair(1, 12.0, 7.0), pair(2, 9.0, 3.0), pair(2, 9.0, 7.0, "back") | {"psnr_three": 9.5}]
    first, *_, three = summarise(pairs)
    assert (first.pairs, first.value, first.reference, first.difference) == (4, 10.0, 6.0, 4.0)
    # Differences of person 1: 3, 5; of person 2: 6, 2; both have the mean 4, so the error is 0.
    assert first.error == 0.0 and first.met is True
    assert (three.pairs, three.value, three.reference, three.difference) == (1, 9.5, 9.0, 0.5)
    pairs[0]["psnr"] = 14.0  # person 1: 7, 5, mean 6; person 2: mean 4; standard deviation sqrt(2), error 1
    assert summarise(pairs)[0].error == pytest.approx(1.0)


def test_the_table_says_what_is_met():
    rows = [
        Measure("PSNR, dB", "copy", 3, 20.0, 15.0, 5.0, 0.25, 4.0, False, True),
        Measure("IoU", "finder", 3, 0.85, 0.97, -0.12, 0.01, 0.9, False, False),
        Measure("SSIM", "oracle", 3, 0.5, 0.5, 0.0, 0.0, 0.0, True, True),
        Measure("other", "oracle", 3, 0.5, 0.25, 0.25, 0.0, None, False, True),
    ]
    assert markdown_table(rows).splitlines()[2:] == [
        "| PSNR, dB | 3 | 20.00 | 15.00 copy | +5.00 ± 0.25 | at least +4.00 | yes |",
        "| IoU | 3 | 0.850 ± 0.010 | 0.970 finder |  | at least 0.900 | no |",
        "| SSIM | 3 | 0.500 | 0.500 oracle | +0.000 ± 0.000 | > 0.000 | no |",
        "| other | 3 | 0.500 | 0.250 oracle | +0.250 ± 0.000 |  |  |",
    ]


@pytest.fixture
def model(tmp_path, monkeypatch, omniscient):
    """A folder that passes for a model; what is loaded from it is the omniscient pipeline."""
    folder = tmp_path / "known"
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")
    monkeypatch.setattr(protocol, "load_pipeline", lambda name: omniscient)
    return str(folder)


def test_files(model, people, tmp_path):
    out = tmp_path / "new" / "evaluation"
    table = evaluate_model(out, model=model, identities=2, steps=4, guidance=3.0, seed=5)
    assert sorted(path.name for path in out.iterdir()) == ["pairs.json", "rows.png", "summary.json", "table.md"]
    text = (out / "table.md").read_text()
    assert text.startswith("Model known, 2 held-out synthetic people, 64x48, 4 steps, guidance 3, seed 5")
    assert table in text and "| 60.00 |" in table
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["identities"] == 2 and summary["settings"]["model"] == "known"
    assert summary["measures"][0]["value"] == 60.0 and summary["measures"][0]["met"] is True
    assert len(json.loads((out / "pairs.json").read_text())) == 6
    with Image.open(out / "rows.png") as rows:
        pixels = np.asarray(rows)
    assert pixels.shape == (2 * 64, 11 * 48, 3)
    np.testing.assert_array_equal(pixels[64:, :48], people[1].front.picture)
    # Source; then skeleton, T1, truth of front, side, back; then T3.
    for cell, name in ((3, "front"), (6, "side"), (9, "back")):
        np.testing.assert_array_equal(pixels[:64, cell * 48 : (cell + 1) * 48], people[0].targets[name].picture)
    assert (pixels[:, 10 * 48 :] == 128).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identities": 0}, "identities is 0"),
        ({"steps": 0}, "num_inference_steps"),
        ({"guidance": float("nan")}, "guidance_scale"),
        ({"seed": -1}, "seed must be"),
        ({"model": "minni"}, "unknown model"),
    ],
)
def test_bad_settings_write_nothing(model, tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(protocol, "load_pipeline", lambda name: pytest.fail("the model was loaded"))
    with pytest.raises(ValueError, match=message):
        evaluate_model(tmp_path / "out", **{"model": model, "identities": 1, **changes})
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_refused(model, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match="is not a folder"):
        evaluate_model(tmp_path / "out", model=model, identities=1)
