"""The paper's numbers, as far as they are to be had as text, and on which data they were measured.

Source: Table 1 and Section 4 of the paper. The numbers of Tables 2, 3 and 7 and of Figure 8 are printed as pictures only
and are not repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagpose.data.info import DatasetInfo

__all__ = ["PublishedRow", "data_name", "published_table_1", "published_three_sources"]


@dataclass(frozen=True)
class PublishedRow:
    """SSIM (higher is better), LPIPS and FID (lower is better) of a method, by the paper's own evaluation."""

    method: str
    ssim: float
    lpips: float
    fid: float


_TABLE_1 = {
    ("deepfashion", 256, 176): (
        PublishedRow("PIDM", 0.7312, 0.1678, 6.3671),
        PublishedRow("PoCoLD", 0.7310, 0.1642, 8.0667),
        PublishedRow("CFLD", 0.7378, 0.1519, 6.8040),
        PublishedRow("PCDMs", 0.7444, 0.1365, 7.4734),
        PublishedRow("IMAGPose", 0.7561, 0.1284, 5.8738),
    ),
    ("deepfashion", 512, 352): (
        PublishedRow("PIDM", 0.7419, 0.1768, 5.8365),
        PublishedRow("PoCoLD", 0.7430, 0.1920, 8.4163),
        PublishedRow("CFLD", 0.7478, 0.1819, 7.1490),
        PublishedRow("PCDMs", 0.7601, 0.1475, 7.5519),
        PublishedRow("IMAGPose", 0.7718, 0.1396, 5.6298),
    ),
    ("market1501", 128, 64): (
        PublishedRow("PIDM", 0.3054, 0.2415, 14.451),
        PublishedRow("PCDMs", 0.3169, 0.2238, 13.897),
        PublishedRow("IMAGPose", 0.3282, 0.2104, 12.659),
    ),
}
_THREE_SOURCES = {("deepfashion", 256, 176): (PublishedRow("IMAGPose, T3", 0.7727, 0.1172, 5.3286),)}
_NAMES = {
    "deepfashion": "DeepFashion",
    "market1501": "Market-1501",
    "people": "rendered people",
    "folder": "own pictures",
}


def published_table_1(info: DatasetInfo) -> tuple[PublishedRow, ...]:
    """The rows of Table 1 for a data set; none where the paper did not measure on it."""
    return _TABLE_1.get(_key(info), ())


def published_three_sources(info: DatasetInfo) -> tuple[PublishedRow, ...]:
    """The row of several different sources (T3) for a data set; none where the paper did not measure on it."""
    return _THREE_SOURCES.get(_key(info), ())


def data_name(info: DatasetInfo) -> str:
    """What a data set is, and its pictures' size."""
    kind, height, width = _key(info)
    return f"{_NAMES.get(kind, kind)}, {f'{height}x{width}' if height else 'as stored'}"


def _key(info: DatasetInfo) -> tuple[str, int, int]:
    height, width = info.settings.get("size") or (0, 0)
    return str(info.settings.get("command")), int(height), int(width)
