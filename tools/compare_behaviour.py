"""Does the present tree give the same bits as an earlier revision? The same commands run with both.

python tools/compare_behaviour.py [--before f7e4db9] [--before-folder FOLDER] [--after-folder FOLDER]

Pictures, numbers of a report, tensors of checkpoints and TensorBoard's scalars must be equal bit for bit; nothing is
tolerated. Data sets, caches and checkpoints that the earlier revision wrote are given to the present tree, so each row
tells of its own command. Exit code 1 where a row is not equal.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from behaviour_results import difference, read_results

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "f7e4db9"

WORDS: dict[str, str] = {}
"""Options of the commands, fields of the configurations and texts of the snippet that have another name in the present
tree: name before -> name after, where a dot leads into a section. A command that is to run otherwise is mended here, not
by leaving it out."""

INPUTS = {
    "mini": "src/imagpose/weights/mini",
    "person": "src/imagpose/serving/demo_people/2000003",
}
"""What both trees are given: folders of the earlier revision, as ``inputs/<name>``."""


@dataclass(frozen=True)
class Command:
    """One run of a tree, in the folder of its side.

    Attributes:
        name: as the table shows it.
        arguments: of `imagpose`; ``{config}`` is the file with `config`.
        results: what is compared -> glob pattern of its files.
        config: a training configuration.
        snippet: Python that is run instead of `imagpose`.
        given: folder of the earlier revision's results -> place in this side's folder to which it is copied first.
    """

    name: str
    arguments: str
    results: dict[str, str]
    config: dict[str, Any] = field(default_factory=dict)
    snippet: str = ""
    given: dict[str, str] = field(default_factory=dict)


def _generate(name: str, options: str) -> Command:
    results = {"pictures": f"{name}/*.png", "facts": f"{name}/result.json"}
    return Command(
        f"generate {name}", f"generate --model inputs/mini --seed 3 --steps 4 --out {name} {options}", results
    )


def _views(first_seed: int, folder: str) -> dict[str, Any]:
    size = {"views": 4, "height": 128, "width": 96}
    return {"folder": folder, "first_seed": first_seed, "identities": 2, "block": 2, **size}


def _run(output: str, cache: str = "cache") -> dict[str, Any]:
    """A run of one step on two rendered people, with two others held out."""
    return {
        "output": output, "data": _views(7, f"{cache}/train"), "validation": _views(1_000_007, f"{cache}/validation"),
        "seed": 1, "threads": 1, "precision": "bf16", "steps": 1, "batch_size": 2, "learning_rate": 1e-3,
        "log_every": 1, "validate_every": 1, "sample_every": 1, "checkpoint_every": 1,
    }  # fmt: skip


def _results(output: str) -> dict[str, str]:
    return {
        "checkpoint": f"{output}/checkpoints/*/*",
        "weights": f"{output}/weights/**/*",
        "scalars, samples": f"{output}/tensorboard/*",
    }


def _train(stage: str, **options: Any) -> Command:
    output = f"runs/{stage}"
    return Command(f"train {stage}", f"train {stage} --config {{config}}", _results(output), _run(output) | options)


CROPS = {"crop_size": 64, "latent_noise": 0.4, "reduced_fraction": 0.5}
DENOISER: dict[str, Any] = {
    "preset": "mini", "autoencoder": "inputs/mini/vae", "image_encoder": "inputs/mini/image_encoder",
    "unet": {"block_out_channels": [16, 16, 32, 32], "norm_num_groups": 4, "attention_head_dim": [1, 1, 2, 2]},
    "pose_channels": [8, 8, 16], "texture_long_side": 128, "grids": {"2x2": 0.5, "1x2": 0.5},
    "prediction_type": "v_prediction", "zero_terminal_snr": True, "visible_weight": 0.1, "attention_weight": 0.05,
    "person_weight": 2.0, "timestep_shift": 3.0, "repeat_probability": 0.25, "all_masked_share": 0.1,
    "phases": [{"steps": 2, "low_resolution_share": 1.0, "pure_noise_share": 1.0}, {"pure_noise_share": 0.1}],
    "steps": 4, "checkpoint_every": 2, "validate_every": 2, "keep_checkpoints": 2, "ema_decay": 0.9,
    "sampling": {"steps": 2},
}  # fmt: skip
STAGES = (
    _train("autoencoder", model={"block_out_channels": [16, 24], "latent_channels": 8, "norm_num_groups": 4}, **CROPS),
    _train("autoencoder-finish", autoencoder="inputs/mini/vae", adversarial_start=0, **CROPS),
    _train("encoder", model={"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}),
    _train("pose-estimator"),
    _train("silhouette", height=64),
    _train("identity"),
    _train("denoiser", **DENOISER),
    Command("cache", "cache --config {config}", {"views": "cache/**/*"}, _run("none") | DENOISER),
)

SNIPPET = """
import json, torch
from PIL import Image
from safetensors.torch import save_file
from imagpose import IMAGPosePipeline, Pose, ViewGrid

def pose(number):
    held = json.load(open(f"inputs/person/{number}.json"))
    points = held["people"][0]["pose_keypoints_2d"]
    return Pose(torch.tensor(points).reshape(18, 3).numpy(), held["canvas_width"], held["canvas_height"])

pipeline = IMAGPosePipeline.from_pretrained("inputs/mini")
views = [Image.open(f"inputs/person/{number}.png") for number in range(3)]
made = {}
for kind in ("feature", "full"):
    for output in ("pt", "latent"):
        answer = pipeline(
            sources=[views[:1], views[1:]], target_poses=[[pose(3), pose(4)], [pose(5), pose(6)]],
            source_poses=[[pose(0)], [pose(1), pose(2)]], grid=ViewGrid(2, 3), height=80, width=56,
            num_inference_steps=2, guidance_scale=1.7, guidance=kind, output_type=output,
            generator=torch.Generator().manual_seed(5),
        )
        for request, images in enumerate(answer.images):
            made |= {f"{kind} {output} {request} {number}": image.clone() for number, image in enumerate(images)}
save_file(made, "pipeline.safetensors")
"""

PERSON = "inputs/person"
COMMANDS = (
    _generate("T1", f"--scenario T1 --source {PERSON}/0.png --pose {PERSON}/1.json"),
    _generate(
        "T3", f"--scenario T3 {' '.join(f'--source {PERSON}/{n}.png' for n in (0, 2, 4))} --pose {PERSON}/1.json"
    ),
    _generate(
        "several",
        f"--source {PERSON}/0.png --source-pose {PERSON}/0.json --grid 2x3 "
        + " ".join(f"--pose {PERSON}/{n}.json" for n in range(1, 8)),
    ),
    Command("the pipeline's tensors", "", {"pictures, latents": "pipeline.safetensors"}, snippet=SNIPPET),
    Command(
        "people",
        "people --seed 2000100 --count 2 --views 3 --size 256x176 --workers 1 --out people",
        {"pictures, masks": "people/**/*.png", "poses": "people/**/?.json"},
    ),
    Command(
        "prepare people",
        "prepare people --seed 100 --count 1 --test-people 2 --views 3 --size 256x176 --workers 1 --out data",
        {"records": "data/*.parquet"},
    ),
    Command(
        "evaluate model",
        "evaluate model --model inputs/mini --data data-before --scenario T1,star --steps 2 --limit 4 --workers 1"
        " --out evaluation",
        {"summary": "evaluation/summary.json", "pairs": "evaluation/pairs.parquet", "pictures": "evaluation/**/*.png"},
        given={"data": "data-before"},
    ),
    *STAGES,
    Command(
        "resume denoiser",
        "train denoiser --config {config} --resume latest",
        {**_results("resumed"), "its cache": "cache-before/**/*"},
        config=_run("resumed", "cache-before") | DENOISER,
        given={"runs/denoiser/checkpoints/step-00000002": "resumed/checkpoints/step-00000002", "cache": "cache-before"},
    ),
)


@dataclass(frozen=True)
class Side:
    """A source tree and the folder of its results; `words` as `WORDS`."""

    name: str
    source: Path
    folder: Path
    words: dict[str, str]

    def run(self, before: Path) -> list[str]:
        """Run all commands; `before` is the folder that holds what they are given.

        Returns:
            For each command the last line of its error, empty where it succeeded.

        Raises:
            ValueError: they cannot be run at all.
        """
        jobs = [self._job(command, before) for command in COMMANDS]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        settings = {"PYTHONPATH": str(self.source), "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
        errors = []
        with subprocess.Popen(
            [sys.executable, str(ROOT / "tools" / "behaviour_side.py"), str(self.source)],
            cwd=self.folder, env={**os.environ, **threads, **settings}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdin is not None and process.stdout is not None
            json.dump(jobs, process.stdin)
            process.stdin.close()
            for number, line in enumerate(process.stdout):
                print(f"{self.name}: {COMMANDS[number].name}", file=sys.stderr)
                said = (self.folder / f"{number}.txt").read_text().strip().splitlines()
                errors.append("" if int(line) == 0 else " ".join(said[-1:]) or "failed")
        if len(errors) < len(COMMANDS):
            raise ValueError(f"{self.name}: the commands cannot be run")
        return errors

    def _job(self, command: Command, before: Path) -> dict[str, Any]:
        config = self.folder / f"{command.name.replace(' ', '-')}.yaml"
        if command.config:
            config.write_text(json.dumps(self._renamed(command.config)))
        code = command.snippet
        for old, new in self.words.items():
            code = code.replace(old, new)
        return {
            "copy": {str(before / folder): place for folder, place in command.given.items()},
            "code": code,
            "arguments": [self.words.get(word, word) for word in command.arguments.format(config=config.name).split()],
        }

    def _renamed(self, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        renamed: dict[str, Any] = {}
        for name, value in values.items():
            *sections, own = str(self.words.get(name, name)).split(".")
            place = renamed
            for section in sections:
                place = place.setdefault(section, {})
            place[own] = self._renamed(value)
        return renamed


def extract(revision: str, folder: Path) -> None:
    """The tree `src` of a revision."""
    packed = subprocess.run(["git", "archive", revision, "src"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def record_before(revision: str, folder: Path) -> None:
    """Run all commands with the tree of a revision in `folder`; what it holds complete already is used again.

    Raises:
        ValueError: it holds another record, or a command fails.
    """
    recorded = {"revision": revision, "commands": hashlib.sha256(repr((COMMANDS, INPUTS)).encode()).hexdigest()}
    done = folder / "recorded.json"
    if done.is_file() and json.loads(done.read_text()) == recorded:
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no record of {revision} by these commands: remove it")
    with tempfile.TemporaryDirectory() as tree:
        extract(revision, Path(tree))
        for name, place in INPUTS.items():
            shutil.copytree(Path(tree) / place, folder / "inputs" / name)
        errors = Side("before", Path(tree) / "src", folder, {}).run(folder)
    for command, error in zip(COMMANDS, errors, strict=True):
        if error:
            raise ValueError(f"{revision}: {command.name}: {error}")
    done.write_text(json.dumps(recorded))


def compare(before: Path, after: Path) -> list[tuple[str, str, str]]:
    """Run all commands with the present tree in the folder `after`.

    Returns:
        Command, what of its results, and the difference, empty where there is none.
    """
    shutil.copytree(before / "inputs", after / "inputs")
    errors = Side("after", ROOT / "src", after, WORDS).run(before)
    rows = []
    for command, error in zip(COMMANDS, errors, strict=True):
        for what, pattern in command.results.items():
            differs = difference(read_results(before, pattern), read_results(after, pattern))
            rows.append((command.name, what, f"failed: {error}" if error else differs))
    return rows


def main() -> None:
    """Print the table; exit code 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, help="git revision to compare with")
    parser.add_argument("--before-folder", type=Path, help="keeps its results for the next time; default: temporary")
    parser.add_argument(
        "--after-folder", type=Path, help="new folder that keeps the present tree's; default: temporary"
    )
    options = parser.parse_args()
    revision = subprocess.run(
        ["git", "rev-parse", "--verify", f"{options.before}^{{commit}}"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout.strip()  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        before = (options.before_folder or Path(temporary) / "before").absolute()
        after = (options.after_folder or Path(temporary) / "after").absolute()
        record_before(revision, before)
        rows = compare(before, after)
    print(f"| command | result | against {revision[:7]} |\n| --- | --- | --- |")
    for name, what, differs in rows:
        print(f"| {name} | {what} | {differs or 'equal'} |")
    sys.exit(any(differs for *_, differs in rows))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
