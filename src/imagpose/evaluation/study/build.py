"""`imagpose study build`: a blind questionnaire as a static page, the answer key apart.

What participants get must not tell the answer: every picture is encoded anew in one size and without metadata, its name is a
keyed hash, and every order is drawn. Source: own; questions as in the paper's appendix C.3.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imagpose.evaluation.folders import list_pictures
from imagpose.pictures import load_picture

__all__ = ["StudySettings", "build_study"]

_PAGE = Path(__file__).parent / "page.html"
_REAL, _GENERATED = "real", "generated"
_FORMAT = "imagpose study 1"


@dataclass(frozen=True)
class StudySettings:
    """How large a study is.

    Attributes:
        real_fake: real pictures, and as many generated ones, that are judged one by one.
        side_by_side: sets of which the best picture is chosen.
        seed: of all orders; the same seed and pictures give the same study.
    """

    real_fake: int = 40
    side_by_side: int = 40
    seed: int = 0


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
        ValueError: no method, a number below 1, folders without enough pictures in common, damaged pictures, or `out`
            exists.
    """
    out = Path(out)
    if out.exists():
        raise ValueError(f"{out} exists: a study is never mixed with another, choose a new folder")
    if not methods:
        raise ValueError("at least one method is needed: NAME=FOLDER")
    if settings.real_fake < 1 or settings.side_by_side < 1:
        raise ValueError("the numbers of pictures and of sets must be at least 1")
    truth = list_pictures(Path(real), "real")
    made = {name: list_pictures(Path(folder), name) for name, folder in methods.items()}
    shown = {
        role: list_pictures(Path(folder), role)
        for role, folder in (("source", sources), ("skeleton", skeletons))
        if folder is not None
    }
    common = sorted(set(truth).intersection(*made.values(), *shown.values()))
    needed = max(settings.real_fake, settings.side_by_side)
    if len(common) < needed:
        raise ValueError(f"{len(common)} pictures have the same name in all folders; {needed} are needed")
    return _Study(truth, made, shown, common, settings).write(out)


class _Study:
    """The questions of a study and the pictures that they show."""

    def __init__(
        self,
        truth: dict[str, Path],
        made: dict[str, dict[str, Path]],
        shown: dict[str, dict[str, Path]],
        names: list[str],
        settings: StudySettings,
    ) -> None:
        self.truth, self.made, self.shown, self.names, self.settings = truth, made, shown, names, settings
        self.rng = np.random.default_rng(settings.seed)
        contents = json.dumps([settings.seed, names, sorted(made)]).encode()
        self.secret = hashlib.sha256(b"imagpose study" + contents + truth[names[0]].read_bytes()).digest()
        self.study = self._hash("study")
        self.size = load_picture(truth[names[0]]).size
        self.files: dict[str, Path] = {}
        self.key: dict[str, dict] = {}

    def write(self, out: Path) -> Path:
        """Everything into a temporary folder, then renamed."""
        questions = [*self._real_fake(), *self._side_by_side()]
        partial = out.with_name(f"{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        pictures = partial / "questionnaire" / "pictures"
        pictures.mkdir(parents=True)
        try:
            for name, path in sorted(self.files.items()):
                _write_picture(path, pictures / name, self.size)
            data = json.dumps({"study": self.study, "questions": questions}).replace("</", "<\\/")
            page = _PAGE.read_text(encoding="utf-8").replace("/*STUDY*/null", data)
            (partial / "questionnaire" / "index.html").write_text(page, encoding="utf-8")
            subject, *_ = self.made
            key = {
                "format": _FORMAT, "study": self.study, "seed": self.settings.seed, "subject": subject,
                "methods": list(self.made), "items": self.key,
            }  # fmt: skip
            (partial / "key.json").write_text(json.dumps(key, indent=1) + "\n")
            os.replace(partial, out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return out / "questionnaire" / "index.html"

    def _real_fake(self) -> list[dict]:
        """One picture each, real and generated mixed; where there are enough, no place occurs as both."""
        count = self.settings.real_fake
        order = self.rng.permutation(len(self.names)).tolist()
        real = order[:count]
        generated = order[count : 2 * count] if len(order) >= 2 * count else order[-count:]
        subject = next(iter(self.made.values()))
        items = [(_REAL, name, self.truth[name]) for name in (self.names[index] for index in real)]
        items += [(_GENERATED, name, subject[name]) for name in (self.names[index] for index in generated)]
        questions = []
        for index in self.rng.permutation(len(items)).tolist():
            answer, name, path = items[index]
            item = self._hash(f"real or generated {answer} {name}")
            self.key[item] = {"kind": "real_fake", "answer": answer, "name": name}
            questions.append({"id": item, "picture": self._picture(item, path)})
        return questions

    def _side_by_side(self) -> list[dict]:
        """Sets of one picture of each method; each method stands equally often at each place, up to a remainder."""
        methods = list(self.made)
        chosen = self.rng.choice(len(self.names), self.settings.side_by_side, replace=False).tolist()
        turns = self.rng.permutation(np.arange(len(chosen)) % len(methods)).tolist()
        questions = []
        for index, turn in zip(chosen, turns, strict=True):
            name = self.names[index]
            order = self.rng.permutation(len(methods)).tolist()
            start = order.index(turn)
            order = order[start:] + order[:start]
            item = self._hash(f"best of {name}")
            self.key[item] = {"kind": "side_by_side", "methods": [methods[place] for place in order], "name": name}
            question: dict = {"id": item}
            for role, files in self.shown.items():
                question[role] = self._picture(f"{item} {role}", files[name])
            question["candidates"] = [
                self._picture(f"{item} {methods[place]}", self.made[methods[place]][name]) for place in order
            ]
            questions.append(question)
        return questions

    def _picture(self, what: str, path: Path) -> str:
        file = f"{self._hash(what)}.png"
        self.files[file] = path
        return f"pictures/{file}"

    def _hash(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()[:20]


def _write_picture(source: Path, target: Path, size: tuple[int, int]) -> None:
    """Pixels only: a new picture has no metadata of the old one."""
    picture = load_picture(source)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    Image.fromarray(np.asarray(picture)).save(target, format="PNG")
    os.utime(target, (0, 0))
