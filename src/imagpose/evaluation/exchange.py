"""Pictures of other methods: their archives' names brought to ours, and what they have to be asked for.

Behind `imagpose evaluate import` and `imagpose evaluate requests`. An archive's file names a source and a target, both by
the data set's published names. Source of the rules: PIDM's `utils/metrics.py` reads
"<source>_2_<target>_vis"; PCDMs' `stage3_batchtest_refined_model.py` writes "<source>_to_<target>"; CFLD's
`pose_transfer_test.py` writes no pictures, so that both are tried.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagpose.data.dataset import PersonDataset
from imagpose.data.deepfashion_names import parse_name
from imagpose.data.pairs import ViewPair
from imagpose.data.records import ViewRecord, identity_of
from imagpose.evaluation.folders import list_pictures, refuse
from imagpose.evaluation.judging import SPLIT
from imagpose.evaluation.model_pictures import Pictures
from imagpose.evaluation.model_requests import DatasetRequest, ModelEvaluation, ask
from imagpose.io import write_json, write_text
from imagpose.outputs import check_free_space, check_replaceable, result_folder
from imagpose.pose import draw_skeleton, write_openpose_json

RULES = {"pidm": ("_2_",), "pcdms": ("_to_",), "cfld": ("_2_", "_to_"), "flat": ("_to_",)}
"""What stands between source and target, by archive."""


def import_pictures(folder: Path, rule: str, data: Path, out: Path, overwrite: bool = False) -> str:
    """Copy an archive's pictures to "<identity>/<source>_to_<target>" below a new folder, as `find_made` takes them.

    A source or target is known by its file's name in the published data set, in DeepFashion by the field's flat name
    ("fashionWOMEN...", "deepfashionWOMEN..."), or by "<identity>_<view>" of the data set. Folders in the archive do not
    count. Files that name no two views of one person are listed in ``unmatched.txt``.

    Args:
        folder: the unpacked archive.
        rule: one of `RULES`.
        data: the data set, with a split "test".
        out: the new folder.
        overwrite: replace an earlier import.

    Returns:
        How many were copied, not matched, and are missing of the data set's pairs, in lines.

    Raises:
        FileNotFoundError, ValueError, OSError: an unknown rule, no such folder or data set, no picture that matches, two of
            one pair; `out` exists; too little room.
    """
    if rule not in RULES:
        raise ValueError(f"archive {rule!r}: one of {', '.join(RULES)} expected")
    check_replaceable(out, overwrite)
    asked = ask(ModelEvaluation("", data))
    known = _known_names(asked.dataset)
    files = list_pictures(folder, "generated")
    found: dict[ViewPair, list[Path]] = {}
    unmatched = []
    for name, file in files.items():
        if pair := _pair(name.rpartition("/")[2], RULES[rule], known):
            found.setdefault(pair, []).append(file)
        else:
            unmatched.append(file.relative_to(folder).as_posix())
    twice = [f"{own[0]} and {own[1]}" for own in found.values() if len(own) > 1]
    refuse(twice, "pictures of one pair")
    if not found:
        raise ValueError(f"no picture in {folder} names two views of a person of {data}: {unmatched[0]} is the first")
    check_free_space(out, sum(own.stat().st_size for (own,) in found.values()))
    with result_folder(out, overwrite) as new:
        for pair, (file,) in found.items():
            copy = _answer(new, pair, file.suffix.lower())
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        if unmatched:
            write_text(new / "unmatched.txt", "\n".join(unmatched) + "\n", errors="backslashreplace")
    missing = [f"{source} to {target}" for source, target in asked.pairs if (source, target) not in found]
    return "\n".join(
        [
            f"{len(found):,} pictures copied",
            f"{len(unmatched):,} not matched" + (f", see {out / 'unmatched.txt'}" if unmatched else ""),
            f"{len(missing):,} of {len(asked.pairs):,} pairs have no picture"
            + (f", first {missing[0]}" if missing else ""),
        ]
    )


def _known_names(dataset: PersonDataset) -> dict[str, str]:
    """Our view "<identity>/<view>" by the names that an archive may have for it; what several views share is left out."""
    found: dict[str, set[str]] = {}
    for identity in dataset.identities:
        for record in dataset.views(identity):
            for name in _names(record):
                found.setdefault(name, set()).add(record.name)
    return {name: own.pop() for name, own in found.items() if len(own) == 1}


def _names(record: ViewRecord) -> Iterator[str]:
    yield Path(record.source_file).stem
    yield f"{record.identity}_{record.view}"
    if fashion := parse_name(record.source_file):
        flat = fashion.flat.removesuffix(".jpg")
        yield from (flat, f"deep{flat}")


def _pair(name: str, separators: Sequence[str], known: dict[str, str]) -> ViewPair | None:
    """The pair that an archive's name tells; None where it tells none, or not one person's."""
    name = re.sub(r"_vis$", "", name)
    for separator in separators:
        for place in re.finditer(f"(?={separator})", name):  # a name may hold it several times
            sides = name[: place.start()], name[place.start() + len(separator) :]
            source, target = (known.get(re.sub(r"\.(jpg|png)$", "", own), "") for own in sides)
            if source and target and identity_of(source) == identity_of(target):
                return source, target
    return None


def _answer(folder: Path, pair: ViewPair, ending: str) -> Path:
    """Where `find_made` looks for a pair."""
    first = Pictures(folder).generated("", pair, 0)
    return first.with_name(f"{first.stem.removesuffix('_0')}{ending}")


def write_requests(evaluation: ModelEvaluation, out: Path, overwrite: bool = False) -> int:
    """Write every request of an evaluation's scenarios for a method that we can't run: pictures, skeletons, poses, a list.

    ``requests.json`` has the views, each with its ``picture``, ``skeleton`` and ``pose``, and the requests: ``scenario``,
    ``sources``, ``targets``, and per target the file that should answer it, below a folder per scenario.

    Args:
        evaluation: its model, seeds and sampling do not count.
        out: the new folder.
        overwrite: replace an earlier one.

    Returns:
        The number of requests.

    Raises:
        FileNotFoundError, ValueError, OSError: see `ask`; `out` exists.
    """
    check_replaceable(out, overwrite)
    asked = ask(evaluation)
    requests = [request for own in asked.requests.values() for request in own]
    wanted = dict.fromkeys(name for request in requests for name in (*request.sources, *request.targets))
    with result_folder(out, overwrite) as new:
        views: dict[str, dict[str, str]] = {}
        for identity in dict.fromkeys(identity_of(name) for name in wanted):
            for name, record in asked.dataset.by_name(identity).items():
                if name in wanted:
                    views[name] = _write_view(new, name, record)
        listed = [_listed(request) for request in requests]
        write_json(new / "requests.json", {"format": 1, "split": SPLIT, "views": views, "requests": listed})
    return len(requests)


def _write_view(folder: Path, name: str, record: ViewRecord) -> dict[str, str]:
    pictures = Pictures(folder)
    files = {"picture": pictures.view(name, "pictures"), "skeleton": pictures.view(name, "skeletons")}
    files["pose"] = pictures.view(name, "poses").with_suffix(".json")
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
    record.decode().save(files["picture"])
    draw_skeleton(record.pose).save(files["skeleton"])
    write_openpose_json(record.pose, files["pose"])
    return {kind: file.relative_to(folder).as_posix() for kind, file in files.items()}


def _listed(request: DatasetRequest) -> dict[str, object]:
    scenario = Pictures(Path()).generated(request.name, request.pairs[0], 0).parts[0]
    answers = [(Path(scenario) / _answer(Path(), pair, ".png")).as_posix() for pair in request.pairs]
    return {
        "scenario": request.name, "sources": list(request.sources), "targets": list(request.targets), "answers": answers,
    }  # fmt: skip
