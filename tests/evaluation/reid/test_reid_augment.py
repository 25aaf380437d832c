"""Sets enlarged by generated pictures: what is wanted, written, refused, continued; what third-party code reads."""

import csv
import glob
import json
import os.path as osp
import re
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from reid_pieces import HEIGHT, WIDTH, colour_set, middle_colour

from imagpose.data.reid import FOLDERS, MANIFEST, UNFINISHED, generated_names, list_pictures, subset
from imagpose.evaluation.reid import drawing
from imagpose.evaluation.reid.augment import augment_set, augment_with_model
from imagpose.evaluation.reid.drawing import Drawing, find_poses, open_drawing
from imagpose.evaluation.reid.gate import Augmentation
from imagpose.evaluation.reid.shortcut import real_or_generated
from imagpose.evaluation.reid.wanted import counts_per_identity, wanted_groups
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import Pose
from imagpose.provenance import read_marks


def redrawn(drawings):
    """Every picture is the source, brighter by what its seed and pose say."""
    found = []
    for own in drawings:
        values = np.asarray(own.source).astype(int) + own.seed % 7
        found.append([Image.fromarray((values + k).clip(0, 255).astype(np.uint8)) for k in range(len(own.poses))])
    return found


@pytest.fixture
def root(tmp_path):
    return colour_set(tmp_path / "set")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Nothing is found in pictures, and the classifier is a small one."""
    monkeypatch.setattr("imagpose.evaluation.reid.gate.find_keypoints", lambda own: np.zeros((len(own), 18, 3)))
    monkeypatch.setattr("imagpose.evaluation.reid.shortcut._SIZE", (32, 16))
    monkeypatch.setattr("imagpose.evaluation.reid.shortcut._STEPS", 30)


def enlarge(root, out, asked=None, draw=redrawn, **others):
    poses = find_poses(list_pictures(root, "train"), [root / "market-annotation-train.csv"], None)
    return augment_set(
        root, out, asked or Augmentation(subset=0.5, seed=3), draw, poses, model="m", settings={}, **others
    )


def read_by_loaders(folder, train):
    """As fast-reid (data/datasets/market1501.py) and torchreid (data/datasets/image/market1501.py) read a folder."""
    pattern = re.compile(r"([-\d]+)_c(\d)")
    found = []
    for path in glob.glob(osp.join(folder, "*.jpg")):
        pid, camid = map(int, pattern.search(path).groups())
        if pid == -1:
            continue
        assert 0 <= pid <= 1501
        assert 1 <= camid <= 6
        found.append((path, pid, camid - 1))
    assert not train or all(pid > 0 for _, pid, _ in found)
    return found


def test_the_groups_fill_the_set_with_poses_of_others(root):
    full = list_pictures(root, "train")
    real = subset(full, 0.5, 0)
    counts = counts_per_identity(real, None, len(full) + 3)
    assert sum(counts.values()) == len(full) + 3 - len(real) and max(counts.values()) - min(counts.values()) <= 1
    groups = wanted_groups(real, {own.file.name for own in real}, counts, "donor", seed=0)
    names = [own.name for group in groups for own in group.pictures]
    assert len(set(names)) == len(names) == sum(counts.values())
    assert Counter(group.identity for group in groups for _ in group.pictures) == counts
    for group in groups:
        assert group.source in real and group.source.identity == group.identity
        for own in group.pictures:
            assert own.donor in real and own.donor.identity != group.identity
            assert f"{group.identity:04d}_c{own.donor.camera}s1_9" in own.name
    many = wanted_groups(real, {own.file.name for own in real}, dict.fromkeys(counts, 30), "source", seed=1)
    assert not [own for group in many for own in group.pictures if own.donor.identity == group.identity]
    again = wanted_groups(real, {own.file.name for own in real}, counts, "donor", seed=0)
    assert again == groups != wanted_groups(real, {own.file.name for own in real}, counts, "donor", seed=1)
    new = wanted_groups(real, {own.file.name for own in real}, counts, "new", seed=0)
    assert {own.camera for group in new for own in group.pictures} == {3}
    with pytest.raises(ValueError, match="--per-identity"):
        counts_per_identity(full, None, len(full))
    with pytest.raises(ValueError, match="known pose"):
        wanted_groups(real, set(), counts, "source", 0)


def test_the_enlarged_set_is_a_whole_one_and_says_what_is_generated(root, tmp_path):
    out = tmp_path / "enlarged"
    report = enlarge(root, out, seen={1, 2})
    assert (report["real"], report["generated"], report["rejected"]) == (8, 8, {"identity": 0, "pose": 0})
    assert [len(read_by_loaders(str(out / FOLDERS[part]), part == "train")) for part in FOLDERS] == [16, 8, 16]
    rows = list(csv.DictReader((out / MANIFEST).open()))
    assert {row["file"] for row in rows} == generated_names(out) and not (out / UNFINISHED).exists()
    for row in rows:
        file, source = out / FOLDERS["train"] / row["file"], root / FOLDERS["train"] / row["source"]
        assert source.name.startswith(f"{int(row['identity']):04d}_c{row['camera']}")
        assert not row["pose_donor"].startswith(f"{int(row['identity']):04d}")
        assert row["generator_saw"] == ("yes" if row["identity"] in "12" else "no")
        with Image.open(file) as made, Image.open(source) as real:
            assert made.size == real.size and made.quantization == real.quantization
            assert made.layer == real.layer  # the chroma's subsampling
        assert read_marks(file).generated and read_marks(file).seed == int(row["seed"])
    assert {own.file.name for own in list_pictures(out, "train")} - generated_names(out) == {
        own.file.name for own in subset(list_pictures(root, "train"), 0.5, 3)
    }
    assert enlarge(root, out, seen={1, 2}, draw=None) == report  # finished: nothing is drawn
    with pytest.raises(ValueError, match="other settings"):
        enlarge(root, out, Augmentation(subset=0.5, seed=4))


def test_a_broken_off_work_continues_and_gives_the_same_files(root, tmp_path, monkeypatch):
    monkeypatch.setattr("imagpose.evaluation.reid.augment._GROUPS_AT_ONCE", 1)
    enlarge(root, tmp_path / "whole", Augmentation(per_identity=7))
    drawn = []

    def breaks(drawings):
        if len(drawn) == 5:
            raise KeyboardInterrupt
        drawn.append(drawings)
        return redrawn(drawings)

    with pytest.raises(KeyboardInterrupt):
        enlarge(root, tmp_path / "cut", Augmentation(per_identity=7), draw=breaks)
    part = tmp_path / "cut" / UNFINISHED
    part.write_text(part.read_text()[:-9])  # as a kill leaves it
    with pytest.raises(ValueError, match="not finished"):
        generated_names(tmp_path / "cut")
    again = []
    enlarge(root, tmp_path / "cut", Augmentation(per_identity=7), draw=lambda own: again.append(own) or redrawn(own))
    assert 7 <= len(again) <= 8  # of 12 groups: four were whole
    files = {own.relative_to(tmp_path / "whole") for own in (tmp_path / "whole").rglob("*") if own.is_file()}
    assert len(files) > 60
    for file in files - {next(own for own in files if own.name == ".lock")}:
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


def test_a_kill_before_the_first_line_is_written_loses_nothing(root, tmp_path):
    enlarge(root, tmp_path / "whole")

    def killed(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enlarge(root, tmp_path / "cut", draw=killed)
    (tmp_path / "cut" / UNFINISHED).touch()
    half = tmp_path / "cut" / FOLDERS["train"] / "0001_c1s1_900000_00.jpg.12.partial"
    half.write_bytes(b"half a picture")
    enlarge(root, tmp_path / "cut")
    assert not half.exists()
    assert (tmp_path / "cut" / MANIFEST).read_bytes() == (tmp_path / "whole" / MANIFEST).read_bytes()


def test_what_makes_no_sense_is_refused_before_a_model_or_key_points_are_looked_for(root, tmp_path):
    out = tmp_path / "out"

    def ask(asked, of=root, to=out, **others):
        augment_with_model(
            of, to, asked, Sampling(), model="nowhere/at-all", annotations=tmp_path / "none.csv", **others
        )

    for asked, said in (
        (Augmentation(per_identity=1, camera="mine"), "camera is 'mine'; one of source, donor, new"),
        (Augmentation(per_identity=1, min_pose=1.5), "min_pose is 1.5; 0 to 1"),
        (Augmentation(), "--per-identity"),
        (Augmentation(subset=2), "share is 2"),
    ):
        with pytest.raises(ValueError, match=said):
            ask(asked)
    with pytest.raises(ValueError, match="min_identity is -2; -1 to 1"):
        Augmentation(min_identity=-2).check(has_network=True)
    with pytest.raises(ValueError, match="not written by this command"):
        ask(Augmentation(per_identity=1), to=root)
    with pytest.raises(FileNotFoundError, match="nobody"):
        ask(Augmentation(per_identity=1), seen=str(tmp_path / "nobody"))
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        ask(Augmentation(per_identity=1))
    assert not out.exists()
    enlarge(root, out)
    with pytest.raises(ValueError, match="has generated pictures"):
        ask(Augmentation(per_identity=1), of=out, to=tmp_path / "again")
    with pytest.raises(ValueError, match=r"data differ"):
        enlarge(colour_set(tmp_path / "other"), out)


def test_pictures_of_somebody_else_or_in_another_pose_are_refused_and_counted(root, tmp_path, monkeypatch):
    strangers = {own.identity: np.asarray(Image.open(own.file)) for own in list_pictures(root, "train")}

    def mixed(drawings):
        """The first picture of each drawing shows identity 1."""
        return [[Image.fromarray(strangers[1]), *pictures[1:]] for pictures in redrawn(drawings)]

    def found(pictures):
        """The pose that is asked for, but in the last picture of each group everything lies in a corner."""
        points = np.stack([asked[0].keypoints] * len(pictures))
        points[-1, :, :2] = 0
        return points

    pose = find_poses(list_pictures(root, "train"), [root / "market-annotation-train.csv"], None)
    asked = [next(iter(pose.values()))]
    monkeypatch.setattr("imagpose.evaluation.reid.gate.find_keypoints", found)
    monkeypatch.setattr(
        "imagpose.evaluation.reid.wanted.np.random.default_rng", lambda *_: np.random.Generator(np.random.PCG64(0))
    )
    same = dict.fromkeys(pose, asked[0])
    report = augment_set(
        root, tmp_path / "out", Augmentation(per_identity=3, min_pose=0.5), mixed, same, model="m", settings={},
        embed=middle_colour,
    )  # fmt: skip
    assert report["rejected"] == {"identity": 3, "pose": 4} and report["generated"] == 12 - 7
    refused = list(csv.DictReader((tmp_path / "out" / "rejected.csv").open()))
    assert Counter(row["rejected"] for row in refused) == {"identity": 3, "pose": 4}
    assert {row["nearest"] for row in refused if row["rejected"] == "identity"} == {"1"}
    kept = {own.file.name for own in list_pictures(tmp_path / "out", "train")}
    assert (
        not kept & {row["file"] for row in refused}
        and json.loads((tmp_path / "out" / "augment.json").read_text()) == report
    )
    with pytest.raises(ValueError, match="--network"):
        enlarge(root, tmp_path / "other", Augmentation(min_identity=0.5))


def test_a_classifier_tells_what_can_be_told(root, tmp_path):
    large = colour_set(tmp_path / "large", identities=8, views=4)
    pictures = list_pictures(large, "train")
    assert real_or_generated(pictures, pictures) == pytest.approx(0.5)
    striped = tmp_path / "striped" / FOLDERS["train"]
    striped.mkdir(parents=True)
    for own in pictures:
        values = np.array(Image.open(own.file))
        values[::8] = 255
        Image.fromarray(values).save(striped / own.file.name)
    assert real_or_generated(pictures, list_pictures(tmp_path / "striped", "train")) > 0.95
    assert real_or_generated(pictures, pictures[:2]) is None


class Recording:
    """A pipeline that returns its sources, and keeps what it was asked."""

    config: ClassVar[dict] = {}

    def set_progress_bar_config(self, **_):
        pass

    def __call__(self, **asked):
        self.asked = asked
        return ([[own[0]] * len(poses) for own, poses in zip(asked["sources"], asked["target_poses"], strict=True)],)


def test_sources_are_drawn_in_the_models_size_and_come_back_in_their_own(monkeypatch):
    pipeline = Recording()
    monkeypatch.setattr(drawing, "load_pipeline", lambda *_: pipeline)
    smooth = Image.linear_gradient("L").resize((32, 64)).convert("RGB")
    points = np.ones((18, 3), np.float32)
    points[:, 0], points[:, 1] = np.linspace(4, 28, 18), np.linspace(4, 60, 18)
    draw = open_drawing("m", Sampling(steps=2), (128, 96), fit_bodies=False)
    ((one, two),) = draw([Drawing(smooth, None, [Pose(points, 32, 64), Pose(points, 32, 64)], 5)])
    assert one.size == two.size == (32, 64)
    assert np.abs(np.asarray(one).astype(int) - np.asarray(smooth)).mean() < 2
    asked = pipeline.asked
    assert asked["sources"][0][0].size == (96, 128) and asked["num_inference_steps"] == 2
    assert asked["source_poses"] == [[None]] and asked["generator"][0].initial_seed() == 5
    assert asked["target_poses"][0][0].keypoints[:, :2] == pytest.approx(points[:, :2] * 2 + (16, 0))
    open_drawing("m", Sampling(), (64, 32))([Drawing(smooth, Pose(points, 32, 64), [Pose(points, 32, 64)], 0)])
    assert pipeline.asked["source_poses"][0][0].width == 32


def test_key_points_are_given_in_one_way(root):
    pictures = list_pictures(root, "train")
    with pytest.raises(ValueError, match="--annotations"):
        find_poses(pictures, [], None)
    found = find_poses(pictures, [root / "market-annotation-train.csv"], None)
    assert set(found) == {own.file.name for own in pictures}
    assert {(own.width, own.height) for own in found.values()} == {(WIDTH, HEIGHT)}
