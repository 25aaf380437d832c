"""Where a model's name points to, and whether the weight files of a model folder are whole."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagpose.io import error_line, read_json

EMBEDDED_MODELS = ("mini",)
_SHOWN = 3
_LIBRARIES = ("diffusers", "imagpose", "transformers")
_CONFIGURATIONS = ("config.json", "scheduler_config.json", "preprocessor_config.json", "model_index.json")
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
            ValueError: a safetensors file or a configuration is damaged.
        """
        if self.folder is None:
            if not _HUB_ID.fullmatch(self.place):
                raise FileNotFoundError(f"no folder {self.place}: {self._remedy()}")
            return None
        self.require("config.json")
        check_configurations(self.folder)
        for variant in (None, "fp16"):
            dot = "" if variant is None else f".{variant}"
            for stem, ending in stems:
                if (self.folder / f"{stem}{dot}{ending}").is_file():
                    check_weight_files(self.folder)
                    return variant
                index = self.folder / f"{stem}{ending}.index{dot}.json"
                if index.is_file():
                    for name in _shards(index):
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


def fetch_folder(model: str, download: Callable[..., Any], options: Mapping[str, Any]) -> Path:
    """The folder of a pipeline; of one on the Hub the folder in its cache.

    Args:
        model: see `resolve_model`.
        download: a pipeline class's own.
        options: of diffusers' `from_pretrained`.

    Raises:
        ValueError: the options ask for code of the model.
        OSError: the Hub cannot be reached or does not have it.
    """
    if options.get("trust_remote_code") or options.get("custom_pipeline") is not None:
        raise ValueError("trust_remote_code, custom_pipeline: code of a model is never run; leave them out")
    if Path(model).is_dir():
        return Path(model)
    try:
        return Path(download(model, **options))
    except OSError as error:
        reason = error_line(error.__cause__ or error)  # diffusers' own text points at a stack trace
        raise OSError(f"no copy of model '{model}' here, and none from the Hub: {reason}") from error


def check_folder(folder: Path, options: Mapping[str, Any]) -> None:
    """Looks through a pipeline's folder before anything in it is loaded.

    Args:
        folder: of the pipeline.
        options: of diffusers' `from_pretrained`, components among them.

    Raises:
        ValueError: it needs code of its own, or a file is damaged or lacks weights; the message names it.
    """
    index = folder / "model_index.json"
    entries = read_json(index)
    check_no_code(entries, str(index))
    check_configurations(folder)
    check_weight_files(folder)
    if options.get("variant") is None:
        _check_not_half_only([folder / name for name in entries if name not in options])


def check_no_code(entries: Mapping[str, Any], index: str = "model_index.json") -> None:
    """Look through a pipeline's configuration before anything that it names is imported: no code of a folder is run.

    Args:
        entries: what model_index.json holds.
        index: how a message names it.

    Raises:
        ValueError: it names a class of another library than those that a pipeline is made of, or one of transformers'
            Auto classes, which ask for the folder's code where its configuration has `auto_map`.
    """
    if not isinstance(entries.get("_class_name"), str):
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


def check_configurations(folder: Path) -> None:
    """Reads every configuration in the folders of a pipeline's parts, or in a network's own.

    Each must be an object: of another value diffusers would take it for a name, and ask the Hub for it. An index of
    weights must name files beside it.

    Raises:
        ValueError: one is none; the message names it.
    """
    for path in sorted((*folder.glob("*.json"), *folder.glob("*/*.json"))):
        if ".index." in path.name:
            _shards(path)
        elif path.name in _CONFIGURATIONS:
            read_json(path)


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


def _check_not_half_only(parts: Iterable[Path]) -> None:
    """Raises `ValueError` where the folder of a part has weights of the variant fp16 alone."""
    for part in (path for path in parts if path.is_dir()):
        files = [path.name for path in part.iterdir() if path.suffix in (".safetensors", ".bin")]
        if files and all(".fp16" in name for name in files):
            raise ValueError(f"{part} holds weights of the variant fp16 only: load it with variant='fp16'")


def weight_shapes(weights: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes by name of a state dict."""
    return {key: tuple(weight.shape) for key, weight in weights.items()}


def check_shapes(where: str, stored: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Compares the weights of a file with those of a network, by name and shape; as `refuse_differing`."""
    both = stored.keys() & wanted.keys()
    refuse_differing(
        where,
        sorted(wanted.keys() - stored.keys()),
        sorted(stored.keys() - wanted.keys()),
        sorted(f"{key} {stored[key]} instead of {wanted[key]}" for key in both if stored[key] != wanted[key]),
    )


def refuse_differing(
    where: str, missing: Sequence[str], unknown: Sequence[str] = (), misshapen: Sequence[str] = ()
) -> None:
    """Refuse weights that are not those of the network: nothing may be left at random numbers, or be left out unseen.

    Args:
        where: the file or folder, at the head of the message.
        missing, unknown, misshapen: names, the first three of each are shown.

    Raises:
        ValueError: there is one.
    """
    found = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    texts = [
        f"{len(names)} weights are {kind}, first {', '.join(names[:_SHOWN])}" for kind, names in found.items() if names
    ]
    if texts:
        raise ValueError(f"{where}: {'; '.join(texts)}")


def _shards(index: Path) -> list[str]:
    """Names of the files that hold the weights of a network in several, all of them beside the index."""
    places = read_json(index).get("weight_map")
    names = list(places.values()) if isinstance(places, dict) else []
    texts = sorted({name for name in names if isinstance(name, str) and name and Path(name).name == name})
    if not texts or len(texts) < len({str(name) for name in names}):
        raise ValueError(f"{index}: a weight_map, names of files beside it by weight, is expected")
    return texts


@contextmanager
def failures_of(path: Path) -> Iterator[None]:
    """Says of which file or folder of a model an error comes that torch, diffusers or transformers raise for its content.

    What they raise has no common class: a number of a wrong type alone gives TypeError, ZeroDivisionError, IndexError,
    AttributeError, classes of their own and more, depending on the network.

    Raises:
        ValueError: any of them; the message names `path`.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        reason = error_line(error)
        named = reason if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {reason}"
        raise ValueError(f"cannot load {path}: {named}") from error
