"""Names of pictures of DeepFashion In-shop: the raw tree, the field's flat names, and what both say.

Source: facts about the data set and the field's renaming; the grammar parses all 52,712 names of the benchmark's lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

_FLAT = re.compile(
    r"(?:deep)?fashion(?P<gender>MEN|WOMEN)(?P<category>[A-Za-z_]+?)id(?P<item>\d{8})(?P<colour>\d{2})_"
    r"(?P<number>\d)(?P<side>\w+)"
)
_TREE = re.compile(
    r"(?P<gender>MEN|WOMEN)/(?P<category>[A-Za-z_]+)/id_(?P<item>\d{8})/(?P<colour>\d{2})_(?P<number>\d)_(?P<side>\w+)"
)


@dataclass(frozen=True, order=True)
class FashionName:
    """What a name says.

    Attributes:
        gender: "MEN" or "WOMEN".
        category: such as "Tees_Tanks".
        item: eight digits. The same item may occur in both splits of the benchmark, in other colours.
        colour: two digits.
        number: 1 front, 2 side, 3 back, 4 full, 6 flat, 7 additional.
        side: the word for it.
    """

    gender: str
    category: str
    item: str
    colour: str
    number: str
    side: str

    @property
    def identity(self) -> str:
        """The unit in which the benchmark's splits are disjoint: one garment in one colour."""
        return f"{self.gender}-{self.category}-{self.item}-{self.colour}"

    @property
    def view(self) -> str:
        """The view's name within its identity, such as "1front"."""
        return f"{self.number}{self.side}"

    @property
    def flat(self) -> str:
        """The field's flat name, with .jpg."""
        return f"fashion{self.gender}{self.category}id{self.item}{self.colour}_{self.view}.jpg"


def parse_name(path: str | PurePath) -> FashionName | None:
    """What the path of a picture or of its key points says; None where it is no name of the data set.

    Args:
        path: a flat name ("fashionWOMENTees_Tanksid0000783805_7additional.jpg", also beginning with "deepfashion"), or a
            path that ends like the raw tree's ("WOMEN/Tees_Tanks/id_00007838/05_7_additional.jpg"); any ending.
    """
    parts = PurePath(path).parts
    stem = PurePath(path).stem
    found = _FLAT.fullmatch(stem) or _TREE.fullmatch("/".join((*parts[-4:-1], stem)))
    return None if found is None else FashionName(**found.groupdict())
