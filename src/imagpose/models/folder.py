"""Where a model's name points to, and whether the weight files of a model folder are whole."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

EMBEDDED_MODELS = ("mini",)
_LIBRARIES = ("diffusers", "imagpose", "transformers")
WEIGHTS_ROOT = Path(__file__).parents[1] / "weights"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve_model(model: str | Path) -> str:
    """The folder of an embedded model or of the user, or the Hub id, that `model` means.

    Raises:
        ValueError: it is none of the three, or the folder holds no pipeline.
    """
    name = str(model)
    folder = WEIGHTS_ROOT / name if name in EMBEDDED_MODELS else Path(name)
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise ValueError(f"model folder {folder} has no model_index.json, so it is not a saved pipeline")
        return str(folder)
    if name in EMBEDDED_MODELS:
        raise ValueError(f"the weights of '{name}' are not in this installation (expected in {folder})")
    if _HUB_ID.fullmatch(name):
        return name
    raise ValueError(
        f"unknown model '{name}': give {', '.join(repr(known) for known in EMBEDDED_MODELS)}, the folder of a saved"
        " pipeline, or a Hub id such as 'owner/name'"
    )


def model_name(model: str | Path) -> str:
    """How results name the model that made them: embedded models and Hub ids as they are, folders by their last part."""
    name = str(model)
    return name if name in EMBEDDED_MODELS or not Path(name).is_dir() else Path(name).resolve().name


@dataclass(frozen=True)
class ModelFiles:
    """The files of one network.

    Attributes:
        place: a folder, or a repository on the hub.
        subfolder: the folder inside it; "" for none.
        repository: where a user who has not got the files finds them.
    """

    place: str
    subfolder: str = ""
    repository: str = ""

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; None for a repository on the hub."""
        return Path(self.place) / self.subfolder if Path(self.place).is_dir() else None

    def check(self, stems: tuple[tuple[str, str], ...]) -> str | None:
        """See that configuration and weights lie in the folder; nothing to see for a repository on the hub.

        Args:
            stems: names that the weights may have, each in two parts: ("model", ".safetensors").

        Returns:
            "fp16" where the weights are there in this variant only, else None.

        Raises:
            FileNotFoundError: no such folder, or a file is missing; the message says which and where to get it.
            ValueError: a safetensors file is damaged.
        """
        if self.folder is None:
            if not _HUB_ID.fullmatch(self.place):
                raise FileNotFoundError(f"no folder {self.place}: {self._remedy()}")
            return None
        self.require("config.json")
        for variant in (None, "fp16"):
            dot = "" if variant is None else f".{variant}"
            for stem, ending in stems:
                if (self.folder / f"{stem}{dot}{ending}").is_file():
                    check_weight_files(self.folder)
                    return variant
                index = self.folder / f"{stem}{ending}.index{dot}.json"
                if index.is_file():
                    for name in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())):
                        self.require(name)
                    check_weight_files(self.folder)
                    return variant
        self.require("".join(stems[0]))
        return None

    def require(self, name: str) -> None:
        """Raises `FileNotFoundError` with the remedy if the folder has no file `name`."""
        if self.folder is None or not (self.folder / name).is_file():
            raise FileNotFoundError(f"{self.folder or self.place} has no {name}: {self._remedy()}")

    def _remedy(self) -> str:
        if not self.repository:
            return "give a folder that has it"
        inside = f", folder {self.subfolder}" if self.subfolder else ""
        return (
            f"get it from {self.repository}{inside} (hf download {self.repository} --local-dir FOLDER), or give another"
            " folder"
        )


def check_no_code(folder: Path) -> None:
    """Look through a pipeline's model_index.json before anything that it names is imported: no code of a folder is run.

    Raises:
        ValueError: it is no JSON object, or names a class of another library than those that a pipeline is made of, or
            one of transformers' Auto classes, which ask for the folder's code where its configuration has `auto_map`.
    """
    index = folder / "model_index.json"
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {index}: {' '.join(str(error).split())}") from error
    if not isinstance(entries, dict) or not isinstance(entries.get("_class_name"), str):
        raise ValueError(
            f"{index}: _class_name, the name of a pipeline's class, is expected; code of a folder is not run"
        )
    for name, entry in entries.items():
        if name.startswith("_") or not isinstance(entry, list) or entry == [None, None]:
            continue
        library, kind = (*entry, None, None)[:2]
        if len(entry) != 2 or library not in _LIBRARIES or not isinstance(kind, str):
            raise ValueError(
                f"{index}: {name} is {json.dumps(entry)}; a class of {', '.join(_LIBRARIES)} is expected, code of a folder"
                " is not run"
            )
        if library == "transformers" and kind.startswith("Auto"):
            raise ValueError(
                f"{index}: {name} is an {kind}, which may run code of the folder: name the network's class"
            )


def check_weight_files(folder: Path) -> None:
    """Opens every safetensors file below `folder`.

    Raises:
        ValueError: one is damaged (header unreadable, or its length does not match); the message names it.
    """
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"damaged weights file {path}: {error}") from error


def check_loaded_weights(pipeline: "DiffusionPipeline", folder: Path) -> None:
    """Looks at what was loaded from `folder`: diffusers only warns where a file lacks weights, and leaves them random.

    Raises:
        ValueError: a diffusers model lacks weights in its files, or a loaded weight is not finite; the message names
            the component's file and the first such weight.
    """
    import torch
    from diffusers import ModelMixin
    from safetensors import safe_open

    for name, component in pipeline.components.items():
        if not isinstance(component, torch.nn.Module):
            continue
        files = sorted((folder / name).glob("*.safetensors"))
        where = ", ".join(str(path) for path in files) or str(folder / name)
        if isinstance(component, ModelMixin) and files:
            stored: set[str] = set()
            for path in files:
                with safe_open(path, framework="pt") as weights:
                    stored.update(weights.keys())
            missing = sorted(set(component.state_dict()) - stored)
            if missing:
                raise ValueError(
                    f"damaged weights file {where}: {len(missing)} weights are missing, first {missing[0]}"
                )
        for key, weight in component.named_parameters():
            if weight.is_meta or not bool(torch.isfinite(weight).all()):
                raise ValueError(f"damaged weights file {where}: {key} has values that are missing or not finite")
