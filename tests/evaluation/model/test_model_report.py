"""What `imagpose evaluate model` writes for a reader."""

import re

import pyarrow.parquet
from model_pieces import PAIRS, rows_of

from imagpose.evaluation.networks import Needs, Networks


def test_page_and_table(run, tmp_path):
    run(scenarios=("T1", "star"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "http" not in page
    assert page.count("<h2>") == 6 and "<h2>star: Worst by SSIM, clean</h2>" in page
    assert page.count("<span>source</span>") == page.count("<span>generated</span>") == 6
    table = pyarrow.parquet.read_table(tmp_path / "out" / "pairs.parquet").to_pydict()
    assert table["method"] == [
        name for name in ("copy of the source", "autoencoder alone", "T1", "star") for _ in PAIRS
    ]  # fmt: skip
    assert table["name"][0] == "ann/a to ann/b"


def test_captions_have_ratios_of_one_picture(run):
    run(protocols=("clean",))
    values = pyarrow.parquet.read_table(run.out / "pairs.parquet").to_pydict()
    ratios = [one / other for one, other in zip(values["clean_gradient"], values["clean_gradient_real"], strict=True)]
    page = (run.out / "report.html").read_text()
    found = re.findall(r"gradient energy ([0-9.]+)", page)
    assert found and set(found) <= {f"{ratio:.3f}" for ratio in ratios}


def test_what_a_data_set_lacks_is_said(run):
    _, summary = run(networks=Networks(*[Needs("needs X")] * 4))
    rows = rows_of(summary, "T1")
    assert rows["gradient_ratio"]["value"] > 0  # there are masks
    assert rows["colour"]["needs"] == "needs part maps of the references: a data set of imagpose prepare people"
    assert rows["features_over_copy"]["needs"] == "needs X"
    assert summary["methods"]["T1"]["styles"] == {} and "mean colours" not in summary["methods"]
