"""The judges that ship, on people whom nothing was trained on; and the rows that they give a data set of such people."""

import json

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.rendered import prepare_people
from imagpose.evaluation.folders import ComparedPair
from imagpose.evaluation.images import ImageFolders, evaluate_images
from imagpose.evaluation.judging import JudgedPairs, RenderedPeople, judge_pairs
from imagpose.evaluation.measure import MeasureSettings
from imagpose.evaluation.networks import Needs, Networks
from imagpose.evaluation.store import ValueStore
from imagpose.judges.identity import IDENTITY_WEIGHTS, embed_people, first_ranks
from imagpose.judges.pose import POSE_WEIGHTS, find_keypoints
from imagpose.judges.silhouette import SILHOUETTE_WEIGHTS, find_foreground
from imagpose.metrics.keypoints import counted_points, oks, pck
from imagpose.metrics.statistics import bootstrap_mean

PEOPLE, VIEWS, HEIGHT, WIDTH = 6, 4, 256, 176
FIRST = 2_777_000  # of the test split
ABSENT = Networks(Needs("needs L"), Needs("needs F"), Needs("needs I"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged") / "people"
    prepare_people(FIRST, PEOPLE, VIEWS, HEIGHT, WIDTH, folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def records(data):
    """All views by name."""
    return {f"{own.identity}/{own.view}": own for own in PersonDataset(data, "test").stream()}


@pytest.fixture(scope="module")
def people(data):
    return RenderedPeople(PersonDataset(data, "test"))


@pytest.fixture
def references(records, tmp_path):
    for name, record in records.items():
        save(record.decode(), tmp_path / "references" / f"{name}.png")
    return tmp_path / "references"


def save(picture, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def test_the_weights_are_small():
    assert sum(file.stat().st_size for file in (POSE_WEIGHTS, IDENTITY_WEIGHTS, SILHOUETTE_WEIGHTS)) < 6_000_000


def test_key_points_are_found(records):
    pictures = np.stack([np.asarray(own.decode()) for own in records.values()])
    shares = [
        pck(found, own.keypoints, counted_points(own.keypoints, WIDTH, HEIGHT))
        for found, own in zip(find_keypoints(pictures), records.values(), strict=True)
    ]
    assert np.mean(shares) > 0.9


def test_key_points_are_in_pixels_of_the_picture_given(records):
    shown = [own.decode() for own in list(records.values())[:4]]
    doubled = [own.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BILINEAR) for own in shown]
    small, large = (np.stack([np.asarray(own) for own in pictures]) for pictures in (shown, doubled))
    difference = np.linalg.norm(find_keypoints(large)[..., :2] / 2 - find_keypoints(small)[..., :2], axis=-1)
    assert np.median(difference) < 1.0


def test_first_ranks_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    queries, gallery = (
        own / np.linalg.norm(own, axis=1, keepdims=True) for own in (rng.normal(size=(9, 3)), rng.normal(size=(12, 3)))
    )
    wanted, owners = rng.integers(0, 3, 9), rng.integers(0, 3, 12)
    left_out = rng.random((9, 12)) < 0.3
    expected = []
    for i in range(9):
        nearest = min(
            (j for j in range(12) if not left_out[i, j]), key=lambda j: np.sum((queries[i] - gallery[j]) ** 2)
        )
        expected.append(owners[nearest] == wanted[i])
    assert first_ranks(queries, wanted, gallery, owners, left_out).tolist() == expected
    assert len(set(expected)) == 2


def test_people_are_told_apart_whatever_is_behind_them(records):
    """Other views of each person are found among all people's, the ground being a random one."""
    rng = np.random.default_rng(1)
    pictures = []
    for record in records.values():
        ground = np.full((HEIGHT, WIDTH, 3), rng.integers(60, 200, 3), np.uint8)
        pictures.append(np.where(record.foreground()[..., None], np.asarray(record.decode()), ground))
    found = embed_people(np.stack(pictures))
    owners = np.array([own.identity for own in records.values()])
    hits = first_ranks(found, owners, found, owners, np.eye(len(found), dtype=bool))
    assert hits.mean() > 0.8  # chance: 3 of 23


def test_values_are_those_of_the_judges(people, records, references, tmp_path):
    """Two samples per pair, one of another person: the identity is wrong, the pose is another one."""
    names = list(records)
    targets, sources = [names[0], names[5]], [(names[1],), (names[4], names[6])]
    wrong = [names[4 * 3], names[4 * 5]]
    pairs = [
        ComparedPair(
            target, (references / f"{target}.png", references / f"{other}.png"), references / f"{target}.png", None
        )
        for target, other in zip(targets, wrong, strict=True)
    ]
    values = judge_pairs(pairs, JudgedPairs(people, targets, sources), ValueStore(tmp_path / "parts", 1))
    gallery_names, gallery = people.gallery
    for i, (target, other) in enumerate(zip(targets, wrong, strict=True)):
        truth = records[target]
        for j, shown in enumerate((target, other)):
            picture = np.asarray(records[shown].decode())[None]
            points, outline = find_keypoints(picture)[0], find_foreground(picture)[0]
            (embedding,) = embed_people(picture)
            counted = counted_points(truth.keypoints, WIDTH, HEIGHT)
            mask = truth.foreground()
            assert values["pck"][i, j] == pytest.approx(pck(points, truth.keypoints, counted))
            assert values["oks"][i, j] == pytest.approx(oks(points, truth.keypoints, counted, mask.sum()), abs=1e-4)
            assert values["iou"][i, j] == pytest.approx((outline & mask).sum() / (outline | mask).sum())
            allowed = [k for k, name in enumerate(gallery_names) if name not in (target, *sources[i])]
            nearest = max(allowed, key=lambda k: float(gallery[k] @ embedding))
            assert values["rank1"][i, j] == (gallery_names[nearest].split("/")[0] == target.split("/")[0])
    for key in ("pck", "oks", "iou", "rank1"):
        np.testing.assert_array_equal(values[f"{key}_real"], values[key][:, :1].repeat(2, 1))
    assert values["rank1"][:, 1].tolist() == [0, 0]
    assert (values["pck"][:, 0] > values["pck"][:, 1]).all()


def test_a_copied_source_gains_nothing(people, references, tmp_path, monkeypatch):
    """Its own place in the gallery is empty, so that the nearest other view counts: here a stranger's."""
    source = min(references.rglob("0.png"))
    (embedding,) = embed_people(np.asarray(Image.open(source))[None])
    name = source.relative_to(references).with_suffix("").as_posix()
    target = name.replace("/0", "/1")
    stranger, other = 0.9 * embedding, -embedding
    gallery = np.array([name, target, f"{name}-other", "stranger/0"]), np.stack([embedding, embedding, other, stranger])
    monkeypatch.setitem(people.__dict__, "gallery", gallery)
    pair = ComparedPair("a", (source,), references / f"{target}.png", None)
    for sources, expected in (([(name,)], 0), ([()], 1)):
        values = judge_pairs([pair], JudgedPairs(people, [target], sources), ValueStore(tmp_path / "parts", 1))
        assert values["rank1"].tolist() == [[expected]]


def test_people_without_another_view_have_no_rank(people, records, references, tmp_path):
    names = list(records)[:VIEWS]
    pair = ComparedPair(names[0], (references / f"{names[0]}.png",), references / f"{names[0]}.png", None)
    values = judge_pairs([pair], JudgedPairs(people, names[:1], [names[1:]]), ValueStore(tmp_path / "parts", 1))
    assert np.isnan(values["rank1"]).all()


def test_a_folder_of_pictures_gets_the_rows(data, references, tmp_path):
    def evaluate(out, pictures, protocols, **changes):
        folders = ImageFolders(pictures, pictures, **changes)
        table = evaluate_images(folders, tmp_path / out, MeasureSettings(protocols, workers=1, networks=ABSENT))
        return table, json.loads((tmp_path / out / "summary.json").read_text())

    table, summary = evaluate("with", references, ("clean",), data=data)
    rows = {row["key"]: row for row in summary["rows"] if row["protocol"] == "clean"}
    assert rows["pck"]["value"] == rows["pck_real"]["value"] > 0.9
    assert rows["rank1_open"]["count"] == PEOPLE * VIEWS and "rank1" not in rows
    assert "Identity: 24 real views of 6 people are searched." in summary["notes"]
    assert "| PCK@0.1 of the references ↑ |" in table
    values = pyarrow.parquet.read_table(tmp_path / "with" / "pairs.parquet")["clean_pck"].to_numpy()
    assert rows["pck"]["value"] == pytest.approx(values.mean())
    people = np.arange(PEOPLE).repeat(VIEWS)
    expected = bootstrap_mean(values, people=people)
    assert (rows["pck"]["low"], rows["pck"]["high"]) == pytest.approx((expected.low, expected.high))

    table, summary = evaluate("without", references / str(FIRST), ("clean", "field"))
    assert "| PCK@0.1 ↑ | needs the references' poses and people: a data set (--data) |" in table
    assert not any(row["key"].endswith("_real") and row["key"] != "fid_real" for row in summary["rows"])


def test_references_that_are_no_views_are_refused(data, records, tmp_path):
    save(next(iter(records.values())).decode(), tmp_path / "pictures" / "stranger.png")
    with pytest.raises(ValueError, match=r"has no view of: 1 \(stranger\)"):
        folders = ImageFolders(tmp_path / "pictures", tmp_path / "pictures", data=data)
        evaluate_images(folders, tmp_path / "out", MeasureSettings(workers=1, networks=ABSENT))
