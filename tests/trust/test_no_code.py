"""No code that lies in a model's folder is run, nor asked for."""

from __future__ import annotations

import ast
import builtins
import json
import shutil
from pathlib import Path

import pytest

import imagpose
from imagpose import IMAGPosePipeline
from imagpose.models.folder import WEIGHTS_ROOT, ModelFiles
from imagpose.models.loading import load_image_encoder

SOURCES = Path(imagpose.__file__).parent
PLANTED = """from pathlib import Path
Path({mark!r}).touch()
from transformers import PretrainedConfig, PreTrainedModel
class Config(PretrainedConfig):
    model_type = "planted"
class Model(PreTrainedModel):
    config_class = Config
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Questions that were put to the user, who answers each with yes."""
    questions: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda text="": questions.append(text) or "y")
    return questions


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What the planted code makes."""
    return tmp_path / "code-was-run"


def plant(folder: Path, mark: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "planted", "auto_map": {"AutoConfig": "planted.Config", "AutoModel": "planted.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "planted.py").write_text(PLANTED.format(mark=str(mark)))


def refused(call: object, *arguments: object, **options: object) -> str:
    with pytest.raises(ValueError) as error:
        call(*arguments, **options)  # type: ignore[operator]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_image_encoders_code_is_refused_in_one_line(tmp_path: Path, mark: Path, asked: list[str]) -> None:
    folder = shutil.copytree(WEIGHTS_ROOT / "mini" / "image_encoder", tmp_path / "encoder")
    plant(folder, mark)
    message = refused(load_image_encoder, ModelFiles(str(folder)))
    assert str(folder) in message and "auto_map" in message and "never run" in message
    assert not asked and not mark.exists()


def test_auto_map_of_a_known_network_is_not_followed(tmp_path: Path, mark: Path, asked: list[str]) -> None:
    folder = shutil.copytree(WEIGHTS_ROOT / "mini" / "image_encoder", tmp_path / "encoder")
    known = json.loads((folder / "config.json").read_text())["model_type"]
    plant(folder, mark)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": known}))
    assert load_image_encoder(ModelFiles(str(folder))).config.model_type == known
    assert not asked and not mark.exists()


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("image_encoder", ["transformers", "AutoModel"]),
        ("image_encoder", ["planted", "Model"]),
        ("scheduler", ["antigravity", "Scheduler"]),
        ("_class_name", ["planted", "Pipeline"]),
    ],
)
def test_a_pipelines_code_is_refused_in_one_line(
    tmp_path: Path, mark: Path, asked: list[str], name: str, entry: list[str]
) -> None:
    folder = shutil.copytree(WEIGHTS_ROOT / "mini", tmp_path / "model")
    plant(folder / "image_encoder", mark)
    for place in (folder, folder / "scheduler"):
        (place / "planted.py").write_text(PLANTED.format(mark=str(mark)))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {name: entry}))
    message = refused(IMAGPosePipeline.from_pretrained, folder)
    assert "model_index.json" in message and name in message and "code" in message
    assert not asked and not mark.exists()


@pytest.mark.parametrize("option", [{"trust_remote_code": True}, {"custom_pipeline": "planted"}])
def test_code_cannot_be_asked_for(option: dict[str, object]) -> None:
    assert "never run" in refused(IMAGPosePipeline.from_pretrained, "mini", **option)


def test_every_auto_class_is_told_not_to_run_code() -> None:
    calls = [
        (path.name, node)
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained"
        if isinstance(node.func.value, ast.Name) and node.func.value.id.startswith("Auto")
        and not node.func.value.id.startswith("Autoencoder")
    ]  # fmt: skip
    assert len(calls) >= 2
    for name, call in calls:
        told = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert told.get("trust_remote_code") == "False", f"{name}:{call.lineno}"
