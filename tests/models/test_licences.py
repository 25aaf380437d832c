"""Cards of models: which licences they name, and that nothing restricted is called free."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagpose.models import presets
from imagpose.models.licences import BASES, DATA, IMAGE_ENCODERS, model_card, model_licence

PAGE = (Path(__file__).parents[2] / "docs" / "licences.md").read_text(encoding="utf-8")


def test_every_base_and_encoder_has_a_licence_and_a_row_in_the_document():
    repositories = {base.repository for base in presets.BASES.values()}
    encoders = {encoder.repository for encoder in presets.IMAGE_ENCODERS.values()}
    assert repositories == set(BASES) and encoders == set(IMAGE_ENCODERS)
    for name in repositories | encoders:
        assert f"`{name}`" in PAGE, name


@pytest.mark.parametrize(
    ("preset", "data", "replaced", "licence"),
    [
        ("mini", "people", {}, "apache-2.0"),
        ("mini", "people", {"image encoder": True}, "other"),
        ("mini", "deepfashion", {}, "other"),
        ("mini", "folder", {}, "other"),
        ("sd15-dinov2-g:B3", "people", {}, "other"),
    ],
)
def test_only_what_is_all_ours_is_called_apache(tmp_path, preset, data, replaced, licence):
    card = model_card(preset, data, None, replaced)
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "README.md").write_text(card)
    assert model_licence(tmp_path) == licence
    assert DATA[data] in card
    if preset.startswith("sd15"):
        assert "Open RAIL-M" in card and "facebook/dinov2-giant: Apache-2.0" in card
    further = model_card("mini", "people", str(tmp_path))  # training on does not wash a licence away
    assert f"license: {licence}\n" in further and f"its card says {licence}" in further


def test_the_shipped_model_states_its_licence_and_a_folder_without_a_card_none(tmp_path):
    assert model_licence("mini") == "apache-2.0"
    (tmp_path / "model_index.json").write_text("{}")
    assert model_licence(tmp_path) is None
    (tmp_path / "README.md").write_text("license: mit\n")  # no front matter
    assert model_licence(tmp_path) is None
    assert model_licence("owner/name") is None
