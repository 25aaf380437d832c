"""A small good file of each kind that is read, with its reader. Torch is imported only by the kinds of networks' files."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import pose_file_kinds
from imagpose.pose import Pose
from pose_file_people import Case
from trust_damage import Sample

SIZE = (48, 32)  # height, width
Maker = Callable[[Path], Iterator[Sample]]


def samples(folder: Path, *rooms: str) -> Iterator[Sample]:
    """The files of some of `MAKERS`, all by default, made in `folder`; one after another, for some are slow to make."""
    for room in rooms or MAKERS:
        place = folder / room
        place.mkdir(parents=True)
        yield from MAKERS[room](place)


def _sample(kind: str, path: Path, read: Callable[[], Any]) -> Sample:
    return Sample(kind, path, path.read_bytes(), read)


def _picture() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def _pose(number: int = 0) -> Pose:
    points = np.random.default_rng(number).uniform(2, (SIZE[1] - 2, SIZE[0] - 2), (18, 2))
    return Pose(np.concatenate([points, np.ones((18, 1))], 1).astype(np.float32), SIZE[1], SIZE[0])


def _pictures(folder: Path) -> Iterator[Sample]:
    from imagpose.pictures import load_picture, picture_size

    for ending in ("png", "jpg", "tiff", "webp", "bmp", "gif", "ppm"):
        path = folder / f"a.{ending}"
        _picture().save(path)
        yield _sample(ending.upper(), path, lambda path=path: (load_picture(path).tobytes(), picture_size(path)))


def _marked_pictures(folder: Path) -> Iterator[Sample]:
    from imagpose.provenance import Origin, read_marks, save_generated

    for ending in ("png", "jpg", "webp"):
        path = folder / f"a.{ending}"
        save_generated(_picture(), path, Origin("mini", 3))
        yield _sample(f"marks in {ending.upper()}", path, lambda path=path: read_marks(path))


def _drawings(folder: Path) -> Iterator[Sample]:
    from imagpose.pose import draw_skeleton, read_pose_file

    path = folder / "skeleton.png"
    points = [
        (88, 40),
        (88, 70),
        (64, 70),
        (58, 105),
        (54, 138),
        (112, 70),
        (118, 105),
        (122, 138),
        (74, 140),
        (72, 190),
    ]
    points += [(70, 236), (102, 140), (104, 190), (106, 236), (82, 34), (94, 34), (76, 38), (100, 38)]
    draw_skeleton(Pose(np.array([(*point, 1) for point in points], np.float32), 176, 256)).save(path)
    yield _sample("drawn skeleton (PNG)", path, lambda: _poses(read_pose_file(path)))


def _poses(found: Any) -> Any:
    return [(pose.keypoints.tobytes(), pose.width, pose.height) for pose in found.poses]


def _pose_files(folder: Path) -> Iterator[Sample]:
    from imagpose.pose import PoseOptions, read_pose_file

    for name, make in sorted(vars(pose_file_kinds).items()):
        if not inspect.isfunction(make) or make.__module__ != "pose_file_kinds" or list(
            inspect.signature(make).parameters
        ) != ["rng"]:  # fmt: skip
            continue
        case: Case = make(np.random.default_rng(1))
        place = folder / name
        place.mkdir(exist_ok=True)
        path = place / case.name
        if isinstance(case.content, np.ndarray):
            np.save(path, case.content)
        else:
            text = case.content if isinstance(case.content, str) else json.dumps(case.content)
            path.write_text(text, encoding="utf-8")
        for other in case.beside:
            Image.new("RGB", case.size[::-1]).save(place / other)
        options = PoseOptions(**case.options)
        kind = {".npy": "NPY", ".csv": "CSV", ".txt": "text"}.get(path.suffix, "JSON")
        read = lambda path=path, options=options: _poses(read_pose_file(path, options))  # noqa: E731
        yield _sample(f"{kind}: poses, {name}", path, read)


def _lists(folder: Path) -> Iterator[Sample]:
    from imagpose.data.pairs import read_pairs, read_view_pairs
    from imagpose.pose import read_annotation_csv

    points = ", ".join(str(3 + number) for number in range(18))
    rows = "".join(f"{name}.jpg: [{points}]: [{points}]\n" for name in "abc")
    files = {
        "annotations.csv": f"name:keypoints_y:keypoints_x\n{rows}",
        "pairs.csv": "from,to\na,b\nb,c\n",
        "pairs.txt": "a,b,c\nb,a\n",
        "views.csv": "source,target\na/0,a/1\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    names = {"a", "b", "c"}
    annotations, pairs, lines, views = (folder / name for name in files)
    yield _sample("CSV: annotations", annotations, lambda: _annotated(read_annotation_csv(annotations, SIZE[::-1])))
    yield _sample("CSV: pairs", pairs, lambda: read_pairs(pairs, lambda name: name if name in names else None))
    yield _sample("text: pairs", lines, lambda: read_pairs(lines, lambda name: name if name in names else None))
    yield _sample("CSV: views", views, lambda: read_view_pairs(views))


def _annotated(found: dict[str, Pose]) -> Any:
    return {name: pose.keypoints.tobytes() for name, pose in found.items()}


def _data_set(folder: Path) -> Iterator[Sample]:
    from imagpose.data.dataset import PersonDataset, check_dataset
    from imagpose.data.pairs import pairs_of_dataset
    from imagpose.data.prepare import Person, write_dataset
    from imagpose.data.records import make_record

    def make(person: Person) -> Any:
        views = [
            make_record(
                _picture(), _pose(view), identity=person.identity, view=str(view), split="test", source_file="a"
            )
            for view in person.views
        ]
        return views, []

    people = [Person(str(number), "test", (0, 1)) for number in range(3)]
    data = folder / "set"
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bar
        write_dataset(data, people, make, {"command": "people"}, workers=1)

    def read() -> Any:
        views = list(PersonDataset(data).stream())
        pixels = [view.decode().tobytes() for view in views]
        return (
            [(view.identity, view.view, view.keypoints.tobytes()) for view in views],
            pixels,
            pairs_of_dataset(data, "test"),
        )

    (shard,) = data.glob("test-*.parquet")
    yield _sample("parquet: shard", shard, read)
    yield _sample("parquet: shard, prepare check", shard, lambda: check_dataset(data).summary())
    yield _sample("parquet: index", data / "index.parquet", read)
    yield _sample("JSON: info.json", data / "info.json", read)


def _configurations(folder: Path) -> Iterator[Sample]:
    from imagpose.training.autoencoder.config import AutoencoderConfig
    from imagpose.training.configs import load_config
    from imagpose.training.denoiser.config import DenoiserConfig

    root = Path(__file__).parents[1] / "configs" / "mini"
    for name, kind in (("autoencoder", AutoencoderConfig), ("denoiser", DenoiserConfig)):
        path = Path(shutil.copy(root / f"{name}.yaml", folder))
        yield _sample(f"YAML: {name}", path, lambda kind=kind, path=path: load_config(kind, path))
    flow = folder / "flow.yaml"
    flow.write_text(load_config(AutoencoderConfig, folder / "autoencoder.yaml").model_dump_json())
    yield _sample("YAML: in JSON's form", flow, lambda: load_config(AutoencoderConfig, flow))


def _study(folder: Path) -> Iterator[Sample]:
    from imagpose.evaluation.study.build import StudySettings, build_study
    from imagpose.evaluation.study.files import read_key, read_sheet

    for name in ("real", "ours", "theirs"):
        (folder / name).mkdir()
        for number in range(6):
            Image.new("RGB", (16, 24), (number * 9, 0, 0)).save(folder / name / f"{number}.png")
    build_study(
        folder / "real", {name: folder / name for name in ("ours", "theirs")}, folder / "study", StudySettings(2, 2, 1)
    )
    key, sheet = folder / "study" / "key.json", folder / "sheet.json"
    found = read_key(key)
    answers = {number: item.legal[0] for number, item in found.items.items()}
    sheet.write_text(json.dumps({"study": found.study, "participant": "p", "answers": answers}))
    yield _sample("JSON: key of a study", key, lambda: read_key(key))
    yield _sample("JSON: sheet of a study", sheet, lambda: read_sheet(sheet, found))


def _runs(folder: Path) -> Iterator[Sample]:
    """Files of a run, but for its networks."""
    from imagpose.outputs import claim_folder, mark_written
    from imagpose.training.log import append_row

    settings = folder / "settings.json"
    claim_folder(folder, {"size": [3, 4], "model": {"name": "mini"}})
    yield _sample(
        "JSON: settings.json", settings, lambda: claim_folder(folder, {"size": [3, 4], "model": {"name": "mini"}})
    )
    curve = folder / "progress.csv"
    append_row(curve, {"samples": 1.0, "loss": 0.5})

    def read() -> str:
        append_row(curve, {"samples": 2.0, "loss": 0.25})
        text = curve.read_text()
        for other in folder.glob("progress-*.csv"):
            other.unlink()
        return text

    yield _sample("CSV: progress.csv", curve, read)
    mark_written(folder)


def _networks(folder: Path) -> Iterator[Sample]:
    """A tiny pipeline's folder: every file in it, the networks' weights in safetensors and in torch's format."""
    import diffusers
    import torch
    import transformers

    from imagpose import IMAGPosePipeline
    from trust_networks import tiny_pipeline

    torch.set_num_threads(1)
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
    model = folder / "model"
    tiny_pipeline().save_pretrained(model)
    shutil.copytree(model, folder / "torch")
    vae = folder / "torch" / "vae"
    torch.save(tiny_pipeline().vae.state_dict(), vae / "diffusion_pytorch_model.bin")
    (vae / "diffusion_pytorch_model.safetensors").unlink()

    def read(place: Path) -> Any:
        pipeline = IMAGPosePipeline.from_pretrained(place)
        weights = {
            name: [weight.detach().numpy().tobytes() for weight in part.parameters()]
            for name, part in pipeline.components.items()
            if isinstance(part, torch.nn.Module)
        }
        return weights, dict(pipeline.scheduler.config), str(pipeline.image_processor), dict(pipeline.config)

    for path in sorted(model.rglob("*")):
        if path.is_file():
            kind = "safetensors" if path.suffix == ".safetensors" else "JSON"
            yield _sample(f"{kind}: model's {path.relative_to(model)}", path, lambda: read(model))
    yield _sample("torch's .bin: model's vae", vae / "diffusion_pytorch_model.bin", lambda: read(folder / "torch"))


def _tensors(folder: Path) -> Iterator[Sample]:
    """Shards of a cache, judges, checkpoints of the published code."""
    import torch

    from imagpose.judges.pose import PoseEstimator
    from imagpose.judges.shipped import load_judge, save_judge
    from imagpose.training.shards import load_shard, save_shard, stored_facts

    shard = folder / "shard.safetensors"
    save_shard(shard, {"source": "people"}, {"views": torch.arange(60, dtype=torch.uint8).view(3, 20)})
    yield _sample("safetensors: a cache's shard", shard, lambda: (stored_facts(shard), _bytes(load_shard(shard))))
    judge = folder / "judge.safetensors"
    torch.manual_seed(0)
    save_judge(PoseEstimator(64), judge)
    yield _sample("safetensors: a judge", judge, lambda: _bytes(load_judge(PoseEstimator, judge).state_dict()))


def _bytes(tensors: dict[str, Any]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


SLOW = ("networks", "tensors")
"""Rooms whose readers take long, or import torch."""

MAKERS: dict[str, Maker] = {
    "pictures": _pictures,
    "marks": _marked_pictures,
    "drawings": _drawings,
    "poses": _pose_files,
    "lists": _lists,
    "data": _data_set,
    "configurations": _configurations,
    "study": _study,
    "runs": _runs,
    "networks": _networks,
    "tensors": _tensors,
}
