"""Which generated picture belongs to which reference, and whether the files can be compared at all.

Rule: files belong together if they have the same name without the ending, folders inside a folder included. Where a
reference `a` has no generated `a`, generated `a_0`, `a_1`, ... are several samples of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagpose.pictures import PICTURE_ENDINGS, picture_files, picture_size

_SHOWN = 3


@dataclass(frozen=True)
class ComparedPair:
    """What is compared with one reference.

    Attributes:
        name: path below its folder, without ending, with forward slashes.
        samples: generated pictures, in the order of their numbers; one where there are no several samples.
        reference, mask: files; the mask is None where the masks' folder has none of this name.
        parts: file of the reference's part map (values index `people.outfit.PART_NAMES`); None where unknown.
        source: file of the view that the samples were made from; None where unknown.
        reconstruction: file of the reference through the model's autoencoder; None where unknown.
        person, style: whom the reference shows, and in which style it was rendered; None where unknown.
    """

    name: str
    samples: tuple[Path, ...]
    reference: Path
    mask: Path | None
    parts: Path | None = None
    source: Path | None = None
    reconstruction: Path | None = None
    person: str | None = None
    style: str | None = None


def list_pictures(folder: Path, role: str) -> dict[str, Path]:
    """The pictures of a folder and of the folders in it, by name without ending, sorted by path.

    Files with other endings, and those whose name starts with a dot, are passed over.

    Args:
        role: what the folder holds, for messages.

    Raises:
        FileNotFoundError, ValueError: no such folder, no picture in it, or two of one name.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of {role} pictures not found: {folder}")
    found: dict[str, Path] = {}
    twice = []
    for path in picture_files(folder.rglob("*")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            twice.append(f"{found[name]} and {path.name}")
        found[name] = path
    if not found:
        raise ValueError(f"folder of {role} pictures {folder} holds no picture ({', '.join(PICTURE_ENDINGS)})")
    refuse(twice, f"{role} pictures of one name")
    return found


def find_pairs(generated: Path, reference: Path, masks: Path | None = None) -> list[ComparedPair]:
    """The pairs of two folders, in the order of the references' paths.

    Raises:
        FileNotFoundError, ValueError: as `list_pictures`; a reference without generated picture or the reverse;
            references with different numbers of samples; masks of which none belongs to a reference.
    """
    references = list_pictures(reference, "reference")
    samples = _samples(list_pictures(generated, "generated"), references)
    found = {} if masks is None else list_pictures(masks, "mask")
    if masks is not None and not found.keys() & references.keys():
        raise ValueError(f"no mask in {masks} has the name of a reference: {_counted(list(found))}")
    return [ComparedPair(name, samples[name], path, found.get(name)) for name, path in references.items()]


def _samples(generated: dict[str, Path], references: dict[str, Path]) -> dict[str, tuple[Path, ...]]:
    """The generated pictures of each reference."""
    numbered: dict[str, dict[int, Path]] = {name: {} for name in references}
    strangers, clashes = [], []
    for name, path in generated.items():
        parts = re.fullmatch(r"(.+)_([0-9]{1,4})", name, re.DOTALL)
        if name in references:
            owner, number = name, 0
        elif parts and parts[1] in references:
            owner, number = parts[1], int(parts[2])
        else:
            strangers.append(name)
            continue
        if number in numbered[owner] or (owner in generated and name != owner):
            clashes.append(name)
        numbered[owner][number] = path
    missing = [name for name, own in numbered.items() if not own]
    if missing or strangers:
        raise ValueError(
            "both folders must hold the same names; references without a generated picture:"
            f" {_counted(missing)}, generated pictures without a reference: {_counted(strangers)}"
        )
    refuse(clashes, "samples that are there twice")
    count = max(len(own) for own in numbered.values())
    uneven = [name for name, own in numbered.items() if sorted(own) != list(range(count))]
    refuse(uneven, f"references without all of the samples _0 to _{count - 1} that others have")
    return {name: tuple(own[number] for number in range(count)) for name, own in numbered.items()}


def check_sizes(pairs: Sequence[ComparedPair], resizing: bool) -> set[tuple[int, int]]:
    """Reads the header of every file.

    Args:
        resizing: whether generated pictures of another size than their references are allowed.

    Returns:
        The sizes (width, height) of the references.

    Raises:
        ValueError: files that cannot be read; generated pictures or masks of another size than their references.
    """
    unreadable: list[str] = []
    different: list[str] = []
    strange_masks: list[str] = []
    sizes = set()
    for pair in pairs:
        size = _size(pair.reference, unreadable)
        if size:
            sizes.add(size)
        for file in pair.samples:
            _compare(file, _size(file, unreadable), size, different)
        if pair.mask:
            _compare(pair.mask, _size(pair.mask, unreadable), size, strange_masks)
    refuse(unreadable, "pictures that cannot be read")
    refuse(strange_masks, "masks of another size than their references")
    if not resizing:
        hint = "; the clean protocol resizes nothing, the field's alone does (--protocol field)"
        refuse(different, "generated pictures of another size than their references", hint)
    return sizes


def check_readable(files: Iterable[Path]) -> None:
    """Reads the header of every file.

    Raises:
        ValueError: some cannot be read.
    """
    unreadable: list[str] = []
    for file in files:
        _size(file, unreadable)
    refuse(unreadable, "pictures that cannot be read")


def _size(path: Path, problems: list[str]) -> tuple[int, int] | None:
    try:
        return picture_size(path)
    except (ValueError, OSError) as error:
        problems.append(str(error))
        return None


def _compare(path: Path, size: tuple[int, int] | None, expected: tuple[int, int] | None, different: list[str]) -> None:
    if size and expected and size != expected:
        different.append(f"{path}: {size[0]}x{size[1]} (width x height), not {expected[0]}x{expected[1]}")


def refuse(problems: Sequence[str], what: str, hint: str = "") -> None:
    """Raises ValueError with the number of problems and the first few of them, if there are any."""
    if problems:
        raise ValueError(f"{what}: {_counted(problems)}{hint}")


def _counted(problems: Sequence[str]) -> str:
    if not problems:
        return "none"
    more = ", ..." if len(problems) > _SHOWN else ""
    return f"{len(problems)} ({', '.join(problems[:_SHOWN])}{more})"
