"""The paper's numbers: of photographs, by its own evaluation. Source: Tables 1, 2, 3 and 7, and section 4's T3."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imagpose.data.info import DatasetInfo


@dataclass(frozen=True)
class PublishedRow:
    """SSIM (higher is better), LPIPS and FID (lower is better) of a method."""

    method: str
    ssim: float
    lpips: float
    fid: float


_DEEPFASHION_256, _DEEPFASHION_512 = ("deepfashion", 256, 176), ("deepfashion", 512, 352)
_MARKET = ("market1501", 128, 64)
_ROWS = {
    ("table1", _DEEPFASHION_256): """
        Def-GAN .6786/.2330/18.457; PATN .6709/.2562/20.751; ADGAN .6721/.2283/14.458; PISE .6629/.2059/13.610;
        GFLA .7074/.2341/10.573; DPTN .7112/.1931/11.387; NTED .7182/.1752/8.6838; CASD .7248/.1936/11.373;
        PoCoLD .7310/.1642/8.0667; PIDM .7312/.1678/6.3671; CFLD .7378/.1519/6.8040; PCDMs .7444/.1365/7.4734;
        IMAGPose .7561/.1284/5.8738""",
    ("table1", _DEEPFASHION_512): """
        CocosNet2 .7236/.2265/13.325; NTED .7376/.1980/7.7821; PIDM .7419/.1768/5.8365; PoCoLD .7430/.1920/8.4163;
        CFLD .7478/.1819/7.1490; PCDMs .7601/.1475/7.5519; IMAGPose .7718/.1396/5.6298""",
    ("table1", _MARKET): """
        Def-GAN .2683/.2994/25.364; PTN .2821/.3196/22.657; GFLA .2883/.2817/19.751; DPTN .2854/.2711/18.995;
        PIDM .3054/.2415/14.451; PCDMs .3169/.2238/13.897; IMAGPose .3282/.2104/12.659""",
    ("table2", _DEEPFASHION_256): """
        B0 .7235/.1704/8.2153; B1 .7281/.1646/7.8209; B2 .7406/.1471/7.3284; B3 .7453/.1390/6.3655;
        B4 .7528/.1326/6.0242; IMAGPose .7561/.1284/5.8738""",
    ("table3", _DEEPFASHION_256): """
        SD 1.5, CLIP-B/14 .7516/.1364/6.1342; SD 1.5, CLIP-bigG/14 .7548/.1331/5.9645;
        SD 1.5, CLIP-H/14 .7552/.1296/6.0231; SD 1.5, DINOv2-B/14 .7541/.1343/5.9286;
        SD 1.5, DINOv2-L/14 .7556/.1323/5.9432; SD 1.5, DINOv2-G/14 .7561/.1284/5.8738;
        SD 2.1, CLIP-B/14 .7562/.1350/6.2736; SD 2.1, CLIP-bigG/14 .7535/.1281/6.2239;
        SD 2.1, CLIP-H/14 .7542/.1266/6.1239; SD 2.1, DINOv2-B/14 .7553/.1304/5.9120;
        SD 2.1, DINOv2-L/14 .7579/.1276/6.1315; SD 2.1, DINOv2-G/14 .7572/.1294/5.8543""",
    ("table7", _DEEPFASHION_256): """
        PIDM .7312/.1678/6.3671; M1 .7145/.1743/6.9406; IMAGPose .7561/.1284/5.8738""",
    ("figure7", _DEEPFASHION_256): "IMAGPose, T1 .7561/.1284/5.8738; IMAGPose, T3 .7727/.1172/5.3286",
}


def published_rows(item: str, info: DatasetInfo) -> list[PublishedRow]:
    """The paper's rows of an item ("table2") for a data set; none where the paper did not measure on it."""
    rows = []
    for text in filter(None, re.split(r";\s*", _ROWS.get((item, stored_as(info)), "").strip())):
        method, _, values = text.rpartition(" ")
        rows.append(PublishedRow(method, *map(float, values.split("/"))))
    return rows


def stored_as(info: DatasetInfo) -> tuple[str, int, int]:
    """What a data set was prepared from, and height and width of its views; 0 and 0 where they are as they were."""
    height, width = info.settings.get("size") or (0, 0)
    return str(info.settings.get("command")), int(height), int(width)
