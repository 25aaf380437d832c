"""Table 4: what generated pictures bring to re-identification when few real ones are there.

Per subset of the training pictures and per seed, one network is trained three times: on the subset as it is (standard), as
long as on the whole set (copies: the subset repeated, with the usual changes), and on the subset filled up with generated
pictures. All else is the same. Everything is continued by the same command.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagpose.data.market1501 import prepare_market1501
from imagpose.data.reid import check_not_enlarged, list_pictures, subset
from imagpose.data.reid_people import ANNOTATIONS
from imagpose.evaluation.model_requests import model_mark
from imagpose.evaluation.reid.augment import augment_with_model
from imagpose.evaluation.reid.evaluate import evaluate_reid, open_embedder, write_result
from imagpose.evaluation.reid.gate import Augmentation
from imagpose.evaluation.reproduce.measuring import model_text
from imagpose.evaluation.reproduce.page import check_matplotlib
from imagpose.evaluation.reproduce.table4_page import Line, write_table4
from imagpose.io import locked_folder, partial_file, read_json
from imagpose.outputs import check_new_files, check_output_folder, claim_folder
from imagpose.pipeline.loading import settled_sampling
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import read_annotation_csv, write_annotation_csv
from imagpose.training.configs import defaults_of, load_config
from imagpose.training.denoiser import DenoiserConfig, train_denoiser
from imagpose.training.reid import ReidConfig, train_reid

METHODS = ("standard", "copies", "generated")
_SHARES = (0.2, 0.4, 0.6, 0.8)
_FRAME = (64, 128)  # width and height of Market-1501's pictures


@dataclass(frozen=True)
class Table4:
    """What is asked for; the command's options have the same names.

    Attributes:
        out: folder of page, plot, sets and runs; the same command continues in it.
        data: the set, in Market-1501's layout.
        config: YAML of `reid train`. Its data, output, subset and seeds are replaced; it says epochs, not steps.
        sampling: of the generated pictures; its seed is the first repetition's, the next one's is one more.
        command: that was given, for the page.
        annotations: key points of the training pictures; None: ``market-annotation-train.csv`` in the set.
        model: that generates, if there is no `finetune`.
        finetune: YAML of a denoiser that is trained on the set first and then generates; None: `model` as it is.
        generator_per_subset: it is trained on each subset alone, and not on the whole training set.
        shares: of the real training pictures.
        seeds: number of repetitions, each with another subset, other sources, donors and noise, and another network.
        overrides: key=value replacements in `config`.
    """

    out: Path
    data: Path
    config: Path
    sampling: Sampling
    command: str
    annotations: Path | None = None
    model: str = "mini"
    finetune: Path | None = None
    generator_per_subset: bool = False
    shares: Sequence[float] = _SHARES
    seeds: int = 3
    overrides: Sequence[str] = ()

    @property
    def key_points(self) -> Path:
        """The CSV of the training pictures' key points."""
        return self.annotations or self.data / ANNOTATIONS["train"]

    def base(self, changes: Sequence[str] = ()) -> ReidConfig:
        """The configuration of all runs, with some changes."""
        return load_config(ReidConfig, self.config, [*self.overrides, *changes])

    def check(self) -> None:
        """Look at everything before any time is spent, and mark the folder.

        Raises:
            ValueError, OSError: matplotlib, a file or a folder is missing; a value is out of its range; the folder holds
                the results of other settings.
        """
        check_matplotlib()
        if not self.shares or not all(0 < share < 1 for share in self.shares) or self.seeds < 1:
            raise ValueError(
                f"subsets {self.shares}, seeds {self.seeds}: shares between 0 and 1, at least 1 seed expected"
            )
        if self.generator_per_subset and self.finetune is None:
            raise ValueError("--generator-per-subset trains the generator: give --finetune")
        if self.finetune is not None and self.model != "mini":
            raise ValueError("--finetune trains a generator of its own (key initial), so --model would not be used")
        for file in (self.config, self.finetune):
            if file is not None and not file.is_file():
                raise FileNotFoundError(f"configuration file not found: {file}")
        check_not_enlarged(self.data)
        for part in ("train", "query", "gallery"):
            list_pictures(self.data, part)
        if not self.key_points.is_file():
            raise FileNotFoundError(f"key points not found: {self.key_points}; give --annotations")
        config = self.base([f"data={self.data}", "output=x"])
        if config.steps:
            raise ValueError(f"steps is {config.steps}: trainings of sets of several sizes are compared by epochs")
        start: str | None = self.model
        if self.finetune is not None:
            start = load_config(DenoiserConfig, self.finetune, _generator_changes(self.out, self.out)).initial
        check_output_folder(self.out)
        check_new_files(self.out, ("table4.md", "table4.png"), overwrite=True)
        claim_folder(
            self.out,
            {
                "config": config.model_dump(mode="json", exclude={"output", "threads", "workers"}),
                "model": None if start is None else model_mark(start),
                "sampling": str(self.sampling), "seed": self.sampling.seed,
                "finetune": None if self.finetune is None else self.finetune.read_text(encoding="utf-8"),
                "generator_per_subset": self.generator_per_subset, "annotations": str(self.key_points.resolve()),
            },
            {"config": defaults_of(ReidConfig)},
        )  # fmt: skip


def make_table4(asked: Table4) -> str:
    """Train, generate, measure what is missing; write ``table4.md`` and ``table4.png``.

    Returns:
        The table, Markdown.

    Raises:
        InterruptedError: a training was stopped; the same command continues.
        ValueError, OSError, FloatingPointError: see `Table4.check`, `train_reid`, `augment_with_model`.
    """
    asked.check()
    lines: list[Line] = []
    with locked_folder(asked.out):
        lines.append(_line(asked, "standard", 1.0))
        for share in asked.shares:
            lines += [_line(asked, method, share) for method in METHODS]
        return write_table4(asked.out, lines, asked.command, _setting(asked))


def _line(asked: Table4, method: str, share: float) -> Line:
    """One method on one share: the values of each query that counts, by seed."""
    ranks, precisions, sets = [], [], []
    identities: np.ndarray = np.zeros(0)
    for repetition in range(asked.seeds):
        name, seed = f"{method}-{round(100 * share)}-{repetition}", asked.sampling.seed + repetition
        data, changes = asked.data, [f"subset={share}", f"subset_seed={seed}"]
        if method == "generated":
            data, report = _enlarged(asked, share, repetition, seed)
            sets.append(report)
            changes = ["subset=1.0"]  # what is real in it is the subset
        if method != "standard":
            changes.append(f"steps={_steps_of_all(asked)}")
        weights = _train(asked, name, [f"data={data}", f"seed={seed}", *changes])
        folder = asked.out / "evaluations" / name
        if not (folder / "result.json").is_file():
            write_result(evaluate_reid(asked.data, open_embedder(str(weights))), folder, {"network": name})
        with (folder / "queries.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["rank"])]
        ranks.append([int(row["rank"]) == 1 for row in rows])
        precisions.append([float(row["average_precision"]) for row in rows])
        identities = np.array([int(row["identity"]) for row in rows])
    return Line(method, share, identities, np.array(ranks, np.float64), np.array(precisions), sets)


def _steps_of_all(asked: Table4) -> int:
    """Steps of a training on the whole set."""
    config = asked.base([f"data={asked.data}", "output=x"])
    return config.with_steps(len(list_pictures(asked.data, "train"))).steps


def _train(asked: Table4, name: str, changes: Sequence[str]) -> Path:
    """A network's weights; trained, or trained on, where they are not finished."""
    output = asked.out / "runs" / name
    train_reid(asked.config, [*asked.overrides, f"output={output}", *changes], "latest").require_finished(name)
    return output / "weights"


def _enlarged(asked: Table4, share: float, repetition: int, seed: int) -> tuple[Path, dict[str, Any]]:
    """The set of a subset and generated pictures, and what is to say of it."""
    model, seen = asked.model, "unknown"
    if asked.finetune is not None:
        name = f"{round(100 * share)}-{repetition}" if asked.generator_per_subset else "all"
        part = (share, seed) if asked.generator_per_subset else (1.0, 0)
        weights, dataset = _generator(asked, asked.finetune, name, *part)
        model, seen = str(weights), str(dataset)
    out = asked.out / "sets" / f"{round(100 * share)}-{repetition}"
    wanted = Augmentation(subset=share, seed=seed)
    return out, augment_with_model(
        asked.data, out, wanted, asked.sampling, model=model, annotations=asked.key_points, seen=seen
    )


def _generator(asked: Table4, finetune: Path, name: str, share: float, seed: int) -> tuple[Path, Path]:
    """Weights of a generator trained on a share of the training pictures, and its data set."""
    folder = asked.out / "generators" / name
    dataset, points = folder / "data", folder / "points.csv"
    if not points.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shown = {own.file.name for own in subset(list_pictures(asked.data, "train"), share, seed)}
        found = read_annotation_csv(asked.key_points, _FRAME)
        with partial_file(points) as partial:
            write_annotation_csv({file: pose for file, pose in found.items() if file in shown}, partial)
    prepare_market1501(asked.data, dataset, train_annotations=points)
    train_denoiser(finetune, _generator_changes(folder, dataset), "latest").require_finished(f"generator {name}")
    return folder / "run" / "weights", dataset


def _generator_changes(folder: Path, dataset: Path) -> list[str]:
    """What is replaced in the configuration of the generator."""
    return [
        f"output={folder / 'run'}", f"data.dataset={dataset}", "data.split=train", f"data.cache={folder / 'cache'}",
        "validation=null", f"data.height={_FRAME[1]}", f"data.width={_FRAME[0]}",
    ]  # fmt: skip


def _setting(asked: Table4) -> list[str]:
    """How it was measured, one sentence each."""
    config, steps = asked.base([f"data={asked.data}", "output=x"]), _steps_of_all(asked)
    train, query, gallery = (list_pictures(asked.data, part) for part in ("train", "query", "gallery"))
    people = len({own.identity for own in train})
    model = asked.model
    if asked.finetune is None:
        generator = f"{model_text(model)} It generates as it is."
    else:
        on = (
            "each subset alone"
            if asked.generator_per_subset
            else "all training pictures, also those outside the subset"
        )
        (done, *_) = sorted((asked.out / "generators").glob("*/run/weights/training.json"))
        model = str(done.parent)
        generator = f"Generator: {read_json(done)['step']:,} steps of {asked.finetune.name} on {on}."
    start = "from scratch" if config.imagenet is None else "from ImageNet's weights"
    return [
        f"{len(train):,} training pictures of {people:,} people, {len(query):,} queries, {len(gallery):,} in the gallery.",
        f"Network: {config.network} at {config.height}x{config.width}, {start}, batches of {config.batch_size}.",
        f"Standard: {config.epochs} epochs of the subset; copies and generated: the {steps:,} steps of {config.epochs}"
        " epochs of the whole set.",
        f"{asked.seeds} seed{'s' * (asked.seeds > 1)}.",
        generator,
        f"Pictures: {settled_sampling(asked.sampling, model)}.",
    ]
