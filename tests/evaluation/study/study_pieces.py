"""What the tests of the user study share."""

from __future__ import annotations

import json
import re
from pathlib import Path

from PIL import Image

from imagpose.evaluation.study.build import StudySettings

SMALL = StudySettings(real_fake=3, side_by_side=4, seed=1)
SIZE = (24, 32)
MAKERS = ("real", "ours", "theirs", "third", "sources")


def seen(picture: Path) -> tuple[str, str]:
    """Who made a picture of the questionnaire, and its name, from its colour."""
    with Image.open(picture) as opened:
        red, green, _ = opened.convert("RGB").getpixel((12, 16))
    return MAKERS[round(red / 40)], f"place-{round(green / 20)}"


def methods_of(folders: dict[str, Path], *names: str) -> dict[str, Path]:
    return {name: folders[name] for name in names}


def shown_by(study: Path) -> dict:
    page = (study / "questionnaire" / "index.html").read_text()
    found = re.search(r"^const study = (.*);$", page, re.MULTILINE)
    assert found
    return json.loads(found[1])


def key_of(study: Path) -> dict:
    return json.loads((study / "key.json").read_text())


def files_of(study: Path) -> dict[str, bytes]:
    return {
        path.relative_to(study).as_posix(): path.read_bytes() for path in sorted(study.rglob("*")) if path.is_file()
    }


def answers_of(key: dict, wrong: int, best: str) -> dict:
    """All real or generated answers right but the first `wrong` of each kind; always `best` in the sets."""
    answers: dict = {}
    left = {"real": wrong, "generated": wrong}
    for number, item in key["items"].items():
        if item["kind"] == "set":
            answers[number] = item["methods"].index(best)
            continue
        truth = item["answer"]
        answers[number] = truth if left[truth] == 0 else {"real": "generated", "generated": "real"}[truth]
        left[truth] = max(0, left[truth] - 1)
    return answers


def sheet(folder: Path, study: str, participant: object, answers: object, name: str | None = None) -> Path:
    path = folder / f"answers-{name or participant}.json"
    path.write_text(json.dumps({"study": study, "participant": participant, "answers": answers}))
    return path
