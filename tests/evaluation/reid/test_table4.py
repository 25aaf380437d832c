"""Table 4: the page's numbers against plain means, and the whole rehearsed with a stand-in for the generator."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from reid_pieces import colour_set

from imagpose.data.reid import list_pictures, subset
from imagpose.data.reid_people import ANNOTATIONS
from imagpose.evaluation.reproduce.table4 import Table4, make_table4
from imagpose.evaluation.reproduce.table4_page import Line, write_table4
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import read_annotation_csv
from imagpose.training.configs import load_config
from imagpose.training.denoiser import DenoiserConfig
from imagpose.training.log import Outcome
from imagpose.training.reid import ReidConfig

pytest.importorskip("matplotlib", reason="needs the extra plots")


@pytest.fixture
def small(tmp_path):
    """Writes a configuration of a small training, with some values of one's own."""

    def write(**changes):
        values = {
            "output": "run", "data": "nowhere", "network": "resnet18-half", "height": 32, "width": 16, "epochs": 3,
            "warmup_epochs": 1, "decay_epochs": [2], "batch_size": 8, "per_identity": 2, "crop_padding": 2,
            "precision": "fp32", "learning_rate": 0.001, "threads": 1, **changes,
        }  # fmt: skip
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(values))
        return tmp_path / "small.yaml"

    return write


def line(method, share, lift, seeds=2, people=20):
    rng = np.random.default_rng(0)
    precisions = rng.uniform(0.2, 0.5, (seeds, 2 * people)) + lift
    first = (rng.random((seeds, 2 * people)) < 0.4 + lift).astype(float)
    sets = [{"real": 5, "generated": 7, "rejected": {"identity": 1, "pose": 2}, "auc_real_or_generated": 0.9}] * seeds
    return Line(
        method, share, np.repeat(np.arange(people), 2), first, precisions, sets if method == "generated" else ()
    )


def test_the_page_has_means_differences_and_verdicts(tmp_path):
    lines = [
        line("standard", 1.0, 0.3),
        line("standard", 0.2, 0),
        line("copies", 0.2, 0.31),
        line("generated", 0.2, 0.3),
    ]
    table = write_table4(tmp_path, lines, "imagpose reproduce table4", ["2 seeds."])
    page = (tmp_path / "table4.md").read_text()
    assert table in page and (tmp_path / "table4.png").stat().st_size > 1000
    means = [100 * own.precisions.mean() for own in lines]
    rows = [row for row in table.splitlines() if "%" in row][1:]
    assert [f"{mean:.1f} (" in row for mean, row in zip(means, rows, strict=True)] == [True] * 4
    seeds = 100 * lines[1].precisions.mean(axis=1)
    assert f"{seeds.min():.1f} to {seeds.max():.1f}" in rows[1]
    (against,) = [row for row in page.splitlines() if "generated against standard" in row]
    (copies,) = [row for row in page.splitlines() if "generated against copies" in row]
    assert f"{means[3] - means[1]:+.1f}" in against and against.endswith("holds |") and "not" not in against
    assert f"{means[3] - means[2]:+.1f}" in copies and copies.endswith("does not hold |")
    assert "| 20 %, seed 1 | 5 | 7 | 3 | 0.900 |" in page and "| IMAGPose | 66.4 | 69.2 | 75.1 | 77.6 |" in page


_ENLARGED = {"real": 8, "generated": 8, "rejected": {}, "auc_real_or_generated": None}


def nothing_is_computed(monkeypatch, **stubs):
    """Stand-ins for all that takes time."""

    def write(_, folder, settings):
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
        (folder / "queries.csv").write_text("file,identity,camera,rank,average_precision\na,1,1,1,1\n")

    quick = {"write_result": write, "evaluate_reid": lambda *_: None, "open_embedder": lambda *_: None, **stubs}
    for name, stub in quick.items():
        monkeypatch.setattr(f"imagpose.evaluation.reproduce.table4.{name}", stub)


def test_each_training_has_its_own_part_of_the_set_and_its_seed(tmp_path, monkeypatch, small):
    root, config = colour_set(tmp_path / "set"), small(subset=0.25, subset_seed=9)
    trained, enlarged = {}, []

    def train(_, changes, resume):
        found = load_config(ReidConfig, config, changes)
        trained[found.output.name] = (found.data, found.subset, found.subset_seed, found.seed)
        return Outcome()

    def enlarge(_, out, asked, *__, **___):
        enlarged.append((asked.subset, asked.seed))
        return _ENLARGED

    nothing_is_computed(monkeypatch, train_reid=train, augment_with_model=enlarge)
    make_table4(Table4(tmp_path / "out", root, config, Sampling(seed=5), "command", shares=(0.5,), seeds=2))
    for repetition in (0, 1):
        seed = 5 + repetition
        assert trained[f"standard-100-{repetition}"] == (root, 1.0, seed, seed)
        assert trained[f"standard-50-{repetition}"] == trained[f"copies-50-{repetition}"] == (root, 0.5, seed, seed)
        data, share, _, own = trained[f"generated-50-{repetition}"]
        assert (data.name, share, own) == (f"50-{repetition}", 1.0, seed)  # all that is in the enlarged set
    assert enlarged == [(0.5, 5), (0.5, 6)]


@pytest.mark.parametrize("alone", [True, False])
def test_a_generator_is_trained_on_the_subset_alone_or_on_all(tmp_path, monkeypatch, small, alone):
    root, config, finetune = colour_set(tmp_path / "set"), small(), tmp_path / "generator.yaml"
    finetune.write_text("output: x\ndata: {dataset: x, height: 128, width: 64}\n")
    seen, used = {}, []

    def prepare(_, dataset, train_annotations):
        seen[dataset.parent.name] = set(read_annotation_csv(train_annotations, (64, 128)))

    def train(_, changes, resume):
        weights = load_config(DenoiserConfig, finetune, changes).output / "weights"
        weights.mkdir(parents=True, exist_ok=True)
        (weights / "training.json").write_text('{"step": 7}')
        (weights / "model_index.json").write_text('{"_class_name": "IMAGPosePipeline", "default_guidance_scale": 1.5}')
        return Outcome()

    def enlarge(_, out, *__, model, **___):
        used.append((out.name, Path(model).parents[1].name))
        return _ENLARGED

    stubs = {"train_reid": lambda *_: Outcome(), "augment_with_model": enlarge}
    nothing_is_computed(monkeypatch, prepare_market1501=prepare, train_denoiser=train, **stubs)
    asked = {"finetune": finetune, "generator_per_subset": alone, "shares": (0.5,), "seeds": 2}
    make_table4(Table4(tmp_path / "out", root, config, Sampling(seed=5), "c", **asked))
    full = list_pictures(root, "train")
    names = {f"50-{number}": {own.file.name for own in subset(full, 0.5, 5 + number)} for number in (0, 1)}
    assert seen == (names if alone else {"all": {own.file.name for own in full}})
    assert used == [(name, name if alone else "all") for name in names]
    said = "each subset alone" if alone else "also those outside the subset"
    page = (tmp_path / "out" / "table4.md").read_text()
    assert f"7 steps of generator.yaml on {'' if alone else 'all training pictures, '}{said}" in page
    assert "Pictures: 20 steps, guidance 1.5, seed 5." in page  # what the generator's own folder says


def test_what_would_fail_after_hours_is_refused_at_once(tmp_path, small):
    root, config, finetune = colour_set(tmp_path / "set"), small(), tmp_path / "generator.yaml"
    finetune.write_text("output: run\nsteps: many\n")

    def ask(**others):
        make_table4(Table4(tmp_path / "out", root, config, Sampling(), "c", **{"seeds": 1, **others}))

    for asked, said in (
        ({"finetune": finetune}, "generator.yaml.*steps"),
        ({"model": "no model"}, "unknown model 'no model'"),
        ({"finetune": finetune, "model": "other"}, "--model would not be used"),
        ({"overrides": ("steps=10",)}, "steps is 10"),
        ({"shares": (1.0,)}, "shares between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=said):
            ask(**asked)
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "table4.png").write_text("mine")
    with pytest.raises(ValueError, match="table4.png exists and was not written by this command"):
        make_table4(Table4(tmp_path / "others", root, config, Sampling(), "c", seeds=1))
    (root / "manifest.csv").write_text("file\na.jpg\n")
    with pytest.raises(ValueError, match="has generated pictures"):
        ask()
    assert not (tmp_path / "out").exists()


def test_the_whole_table_is_made_and_continued(tmp_path, monkeypatch, small):
    root, config = colour_set(tmp_path / "set", identities=4, views=3), small()
    module = "imagpose.evaluation.reid.augment"
    monkeypatch.setattr(f"{module}.open_drawing", lambda *_, **__: lambda own: [[o.source] * len(o.poses) for o in own])
    monkeypatch.setattr(f"{module}.real_or_generated", lambda *_: None)
    monkeypatch.setattr("imagpose.evaluation.reid.gate.find_keypoints", lambda own: np.zeros((len(own), 18, 3)))
    asked = Table4(tmp_path / "out", root, config, Sampling(steps=2), "command", shares=(0.5,), seeds=1)
    table = make_table4(asked)
    assert [row.split(" | ")[:2] for row in table.splitlines()[2:]] == [
        ["| 100 %", "standard"], ["| 50 %", "standard"], ["| 50 %", "copies"], ["| 50 %", "generated"],
    ]  # fmt: skip
    steps = {
        path.name: json.loads((path / "weights" / "training.json").read_text())["step"]
        for path in (tmp_path / "out" / "runs").iterdir()
    }
    assert steps == {"standard-100-0": 9, "standard-50-0": 6, "copies-50-0": 9, "generated-50-0": 9}
    monkeypatch.setattr("imagpose.evaluation.reproduce.table4.evaluate_reid", None)  # nothing is measured again
    assert make_table4(asked) == table
    mark = tmp_path / "out" / "settings.json"
    older = json.loads(mark.read_text())
    del older["config"]["generated_per_real"]  # as if the folder were older than the option
    mark.write_text(json.dumps(older))
    assert make_table4(asked) == table
    elsewhere = tmp_path / "points.csv"
    elsewhere.write_bytes((root / ANNOTATIONS["train"]).read_bytes())
    with pytest.raises(ValueError, match="annotations differ"):
        make_table4(replace(asked, annotations=elsewhere))
    with pytest.raises(ValueError, match="seed differ"):
        make_table4(Table4(tmp_path / "out", root, config, Sampling(steps=2, seed=1), "c", shares=(0.5,), seeds=1))
    with pytest.raises(ValueError, match="--finetune"):
        make_table4(Table4(tmp_path / "new", root, config, Sampling(), "c", generator_per_subset=True))
    (root / ANNOTATIONS["train"]).unlink()
    for data, said in ((root, "--annotations"), (tmp_path / "nowhere", "folder of pictures not found: .*nowhere")):
        with pytest.raises(FileNotFoundError, match=said):
            make_table4(Table4(tmp_path / "new", data, config, Sampling(), "c"))


@pytest.mark.parametrize("initial", [None, "mini"])
def test_another_version_of_a_model_is_another_table_only_where_the_generator_starts_from_it(
    tmp_path, monkeypatch, small, initial
):
    root, config, finetune = colour_set(tmp_path / "set"), small(), tmp_path / "generator.yaml"
    finetune.write_text(f"output: x\ndata: {{dataset: x, height: 128, width: 64}}\ninitial: {initial or 'null'}\n")
    asked = Table4(tmp_path / "out", root, config, Sampling(), "c", finetune=finetune)
    asked.check()
    monkeypatch.setattr("imagpose.evaluation.reproduce.table4.model_mark", lambda model: [model, "another version"])
    with pytest.raises(ValueError, match=r"\(model differ\)") if initial else nullcontext():
        asked.check()
