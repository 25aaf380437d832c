"""`imagpose study build`: a blind questionnaire as a static page, the answer key apart.

What participants get must not tell the answer. All pictures are encoded anew as JPEG of one size, quality and length,
without metadata, under names that are hashes of the seed; every order is drawn, and the seed is a secret. JPEG and not
PNG, although it is lossy: photographs of data sets come as JPEG and generated pictures as PNG, and a lossless copy would
keep the 8 x 8 blocks that are in one kind alone; quality 95 at full colour resolution adds the same to both, below what
is seen. The size of a file follows how smooth its picture is, which differs between real and generated, so that shorter
files are filled up after their end, which decoders ignore. Source: own; questions as in the paper's appendix C.3.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagpose.evaluation.folders import list_pictures, refuse
from imagpose.evaluation.study.files import Key, SetItem, SingleItem
from imagpose.io import clear_left_overs, json_digest, partial_folder, write_text
from imagpose.pictures import encoded_picture, fit_view, load_picture

_PAGE = Path(__file__).parent / "page.html"


@dataclass(frozen=True)
class StudySettings:
    """How large a study is.

    Attributes:
        real_fake: real pictures, and as many generated ones, that are judged one by one; 0 leaves this part out.
        side_by_side: sets of which the best picture is chosen; 0 leaves this part out.
        seed: of all orders; the same seed and pictures give the same study. None: drawn from the system's randomness.
            Who knows the seed and this software knows the answers.
    """

    real_fake: int = 40
    side_by_side: int = 40
    seed: int | None = None


@dataclass(frozen=True)
class _Folders:
    """Files by their name without ending; methods and what is shown above a set by their names."""

    real: dict[str, Path]
    methods: dict[str, dict[str, Path]]
    given: dict[str, dict[str, Path]]

    def common(self) -> list[str]:
        return sorted(set(self.real).intersection(*self.methods.values(), *self.given.values()))


@dataclass(frozen=True)
class _Question:
    """What the key and what the page hold of a question.

    Attributes:
        judged: the picture, or the pictures of a set from left to right.
        given: by role, what is shown above a set.
    """

    item: SingleItem | SetItem
    judged: list[Path]
    given: dict[str, Path] = field(default_factory=dict)


def build_study(
    real: Path | str,
    methods: Mapping[str, Path | str],
    out: Path | str,
    settings: StudySettings = StudySettings(),
    sources: Path | str | None = None,
    skeletons: Path | str | None = None,
) -> Path:
    """Write ``questionnaire/index.html`` with its pictures, and ``key.json``, which participants must not see.

    Pictures of all folders belong together by their names without ending.

    Args:
        real: folder of true pictures.
        methods: folders of generated pictures by the methods' names; the first is the one that is judged against the real
            ones.
        out: folder of the study; made anew, must not exist.
        settings: see there.
        sources, skeletons: folders of what is shown above a set: the source picture, the drawn pose.

    Returns:
        The page.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: too few methods, a negative number, no question, folders without enough pictures in common, damaged
            pictures, real or generated pictures of different sizes, or `out` exists.
    """
    out = Path(out)
    _check(methods, settings, out)
    folders = _Folders(
        list_pictures(Path(real), "real"),
        {name: list_pictures(Path(folder), name) for name, folder in methods.items()},
        {
            role: list_pictures(Path(folder), role)
            for role, folder in (("source", sources), ("skeleton", skeletons))
            if folder is not None
        },
    )
    needed = max(settings.real_fake, settings.side_by_side)
    if len(folders.common()) < needed:
        raise ValueError(f"{len(folders.common())} pictures have the same name in all folders; {needed} are needed")
    seed = secrets.randbits(64) if settings.seed is None else settings.seed
    questions = _draw_questions(folders, settings, np.random.default_rng(seed))
    return _write(out, questions, _encode(questions), list(methods), seed)


def _check(methods: Mapping[str, Path | str], settings: StudySettings, out: Path) -> None:
    clear_left_overs(out)
    if out.exists():
        raise ValueError(f"{out} exists: a study is never mixed with another, choose a new folder")
    if min(settings.real_fake, settings.side_by_side) < 0 or settings.real_fake + settings.side_by_side == 0:
        raise ValueError("the numbers of pictures and of sets must be at least 0, and one of them at least 1")
    if settings.seed is not None and settings.seed < 0:
        raise ValueError(f"the seed is {settings.seed}; at least 0 expected")
    if not methods:
        raise ValueError("at least one method is needed: NAME=FOLDER")
    if settings.side_by_side and len(methods) < 2:
        raise ValueError("sets to choose from need at least two methods; with one, the number of sets must be 0")


def _draw_questions(folders: _Folders, settings: StudySettings, rng: np.random.Generator) -> list[_Question]:
    """Singles, then sets. Where there are enough names, none comes up twice; else those come up again that came first."""
    count, names = settings.real_fake, folders.common()
    order = np.resize(rng.permutation(len(names)), 2 * count + settings.side_by_side)
    real, generated, sets = ([names[index] for index in part] for part in np.split(order, [count, 2 * count]))
    subject = next(iter(folders.methods.values()))
    singles = [_Question(SingleItem(name=name, answer="real"), [folders.real[name]]) for name in real]
    singles += [_Question(SingleItem(name=name, answer="generated"), [subject[name]]) for name in generated]
    questions = [singles[index] for index in rng.permutation(len(singles))]
    for name, row in zip(sets, _balanced_orders(len(sets), len(folders.methods), rng), strict=True):
        methods = [list(folders.methods)[index] for index in row]
        judged = [folders.methods[method][name] for method in methods]
        given = {role: files[name] for role, files in folders.given.items()}
        questions.append(_Question(SetItem(name=name, methods=tuple(methods)), judged, given))
    return questions


def _balanced_orders(sets: int, methods: int, rng: np.random.Generator) -> np.ndarray:
    """Which method stands at each place of each set, (sets, methods): each at each place equally often, up to 1.

    The rows are those of Latin squares, drawn anew for every `methods` sets (cyclic squares with rows, columns and symbols
    permuted); the last square is cut. They come in a drawn order.
    """
    rows = []
    for _ in range(math.ceil(sets / methods)):
        cyclic = (rng.permutation(methods)[:, None] + rng.permutation(methods)) % methods
        rows += list(rng.permutation(methods)[cyclic])
    return rng.permutation(np.array(rows[:sets]).reshape(sets, methods))


def _encode(questions: list[_Question]) -> dict[Path, bytes]:
    """The file that participants get of each picture; all have one size and one length.

    Raises:
        ValueError: pictures that are judged have different sizes: they would tell whose they are, and so would traces of
            resizing.
    """
    judged = {path: load_picture(path) for question in questions for path in question.judged}
    size = next(iter(judged.values())).size
    different = [
        f"{path}: {picture.width}x{picture.height} (width x height), not {size[0]}x{size[1]}"
        for path, picture in judged.items()
        if picture.size != size
    ]
    refuse(different, "real and generated pictures of different sizes")
    given = {path: fit_view(load_picture(path), *size) for question in questions for path in question.given.values()}
    files = {path: _jpeg(picture) for path, picture in (given | judged).items()}
    length = max(map(len, files.values()))
    return {path: data.ljust(length, b"\0") for path, data in files.items()}


def _jpeg(picture: Image.Image) -> bytes:
    pixels_only = Image.fromarray(np.asarray(picture))  # Pillow would copy comments and colour profiles
    return encoded_picture(pixels_only, "JPEG", quality=95, subsampling=0)


def _write(out: Path, questions: list[_Question], encoded: dict[Path, bytes], methods: list[str], seed: int) -> Path:
    """Everything into a temporary folder, then renamed."""
    files: dict[str, bytes] = {}

    def add(number: int, role: str, path: Path) -> str:
        name = hashlib.sha256(f"imagpose study {seed} {number} {role}".encode()).hexdigest()[:20]
        files[f"{name}.jpg"] = encoded[path]
        return f"pictures/{name}.jpg"

    shown: list[dict[str, Any]] = []
    for number, question in enumerate(questions, 1):
        judged = [add(number, str(place), path) for place, path in enumerate(question.judged)]
        given = {role: add(number, role, path) for role, path in question.given.items()}
        shown.append({"candidates": judged, **given} if isinstance(question.item, SetItem) else {"picture": judged[0]})
    items = {str(number): question.item.model_dump() for number, question in enumerate(questions, 1)}
    secret = {"seed": seed, "subject": methods[0], "methods": methods, "items": items}
    key = Key.model_validate({"study": _digest(secret, shown, files), **secret})

    with partial_folder(out) as partial:
        _write_questionnaire(partial / "questionnaire", key.study, shown, files)
        write_text(partial / "key.json", key.model_dump_json(indent=1) + "\n")
    return out / "questionnaire" / "index.html"


def _digest(secret: dict[str, Any], shown: list[dict[str, Any]], files: dict[str, bytes]) -> str:
    """Of the key, of the kind and order of the questions, and of every picture's bytes: names the study.

    Answers to other questions or pictures are recognised by it. It tells nothing of the key, which holds the secret seed.
    """
    pictures = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    return json_digest([secret, shown, pictures])[:20]


def _write_questionnaire(folder: Path, study: str, shown: list[dict[str, Any]], files: dict[str, bytes]) -> None:
    """In the order of the names and with one time, so that neither tells which picture came when."""
    (folder / "pictures").mkdir(parents=True)
    now = time.time()
    for name, data in sorted(files.items()):
        path = folder / "pictures" / name
        path.write_bytes(data)
        os.utime(path, (now, now))
    page = _PAGE.read_text(encoding="utf-8").replace("/*STUDY*/null", json.dumps({"study": study, "questions": shown}))
    (folder / "index.html").write_text(page, encoding="utf-8")
