"""`imagpose evaluate images` on pictures on disk, against the libraries and against the published recipe."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from imagpose.evaluation import measure
from imagpose.evaluation.images import ImageFolders, evaluate_images
from imagpose.evaluation.measure import MeasureSettings
from imagpose.evaluation.networks import Needs, Network, Networks, feature_values, lpips_values, set_features
from imagpose.evaluation.pixel_values import read_mask
from imagpose.evaluation.store import ValueStore

HEIGHT, WIDTH, PAIRS = 60, 56, 5
ABSENT = Networks(Needs("needs L"), Needs("needs F"), Needs("needs I"))


def weighted_error(one, other):
    """Stands in for LPIPS: not symmetric, and not indifferent to the range of its input."""
    return ((one - other).abs() * (1 + one) ** 2).mean((1, 2, 3))


def eight_bit_features(pixels):
    """Stands in for FID's network: uint8 (b, 3, H, W) to (b, 4)."""
    assert pixels.dtype == torch.uint8
    rows = pixels.float().mean(3)  # (b, 3, H)
    return torch.cat([rows[:, :2].mean(2), rows[:, 1:].std(2)], 1)


def float_features(pixels):
    """Stands in for the field's Inception: float (b, 3, H, W) of one size to (b, 4)."""
    assert pixels.dtype == torch.float32 and pixels.shape[2:] == (HEIGHT, WIDTH)
    return torch.cat([pixels.mean((2, 3)), pixels[:, :1].std((2, 3))], 1)


@pytest.fixture
def networks():
    named = {"lpips": weighted_error, "fid": eight_bit_features, "field_inception": float_features}
    return Networks(**{name: Network(run, name) for name, run in named.items()})


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).save(path)


def smooth(rng, height=HEIGHT, width=WIDTH):
    noise = rng.normal(size=(height // 4, width // 4, 3)).repeat(4, 0).repeat(4, 1)
    return 128 + 60 * noise


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(PAIRS):
        truth = smooth(rng)
        save(tmp_path / "reference" / f"p{number}.png", truth)
        save(tmp_path / "generated" / f"p{number}.png", truth * 0.8 + rng.normal(10, 4 + 8 * number, truth.shape))
        if number in (1, 3):
            mask = np.zeros((HEIGHT, WIDTH))
            mask[10:50, 8 : 20 + 5 * number] = 255
            save(tmp_path / "masks" / f"p{number}.png", mask)
    for number in range(7):
        save(tmp_path / "train" / f"t{number}.png", smooth(rng, 48, 72))
    return {role: tmp_path / role for role in ("generated", "reference", "masks", "train")}


def run(folders, out, networks, **changes):
    """The table, and the rows of the summary by protocol, measure and best of."""
    how = {name: changes.pop(name) for name in ("protocols", "networks", "workers") if name in changes}
    settings = MeasureSettings(**{"workers": 1, "networks": networks, **how})
    table = evaluate_images(ImageFolders(**{**folders, **changes}), out, settings)
    rows = json.loads((out / "summary.json").read_text())["rows"]
    return table, {(row["protocol"], row["key"], row["best_of"]): row for row in rows}


def read(folder, name):
    return np.asarray(Image.open(folder / f"{name}.png").convert("RGB"))


def pictures(folders):
    return [(read(folders["generated"], f"p{i}"), read(folders["reference"], f"p{i}")) for i in range(PAIRS)]


def recipe_ssim(prediction, truth, window, data_range, correction=1.0):
    """SSIM by two-dimensional convolutions over the places where the window fits, channel by channel."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2

    def mean(values):
        return convolve2d(values, window, mode="valid")

    found = []
    for channel in range(3):
        x, y = prediction[..., channel].astype(float), truth[..., channel].astype(float)
        mean_x, mean_y = mean(x), mean(y)
        variance = (mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2) * correction
        covariance = (mean(x * y) - mean_x * mean_y) * correction
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        found.append((luminance * (2 * covariance + c2) / (variance + c2)).mean())
    return np.mean(found)


def gaussian_window(deviation, radius):
    line = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * deviation**2))
    return np.outer(line, line) / line.sum() ** 2


def frechet(one, other):
    one, other = np.asarray(one, float), np.asarray(other, float)
    covariances = np.cov(one.T), np.cov(other.T)
    root = sqrtm(covariances[0] @ covariances[1]).real
    return ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)


def channels_first(pixels):
    return torch.from_numpy(np.stack(pixels)).movedim(-1, 1)


def test_the_field_protocol_is_the_published_recipe(folders, tmp_path, networks):
    _, rows = run(folders, tmp_path / "out", networks, protocols=("field",))
    pairs = pictures(folders)
    expected = {
        "ssim": np.mean([
            recipe_ssim(one, other, gaussian_window(1.2, 4), float(one.max()) - float(one.min()))
            for one, other in pairs
        ]),
        "ssim_51": np.mean([
            recipe_ssim(one / 255, other / 255, np.full((51, 51), 51**-2), 1.0, 51**2 / (51**2 - 1))
            for one, other in pairs
        ]),
        "psnr": np.mean([-10 * math.log10(((one / 255 - other / 255) ** 2).mean()) for one, other in pairs]),
        "lpips": np.mean([(abs(one / 255 - other / 255) * (1 + one / 255) ** 2).mean() for one, other in pairs]),
    }  # fmt: skip
    for key, value in expected.items():
        row = rows["field", key, 1]
        assert row["value"] == pytest.approx(value, abs=5e-5), key
        assert row["count"] == PAIRS and row["low"] < value < row["high"]


def test_the_clean_protocol_is_the_libraries(folders, tmp_path, networks):
    _, rows = run(folders, tmp_path / "out", networks, protocols=("clean",))
    pairs = pictures(folders)
    settings = {
        "data_range": 255, "channel_axis": -1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False,
    }  # fmt: skip
    expected = {
        "ssim": np.mean([structural_similarity(other, one, **settings) for one, other in pairs]),
        "psnr": np.mean([peak_signal_noise_ratio(other, one, data_range=255) for one, other in pairs]),
        "lpips": np.mean(
            [(abs(one - other.astype(float)) / 127.5 * (one / 127.5) ** 2).mean() for one, other in pairs]
        ),
    }
    masked = {"ssim_mask": [], "psnr_mask": []}
    for number in (1, 3):
        one, other = pairs[number]
        mask = read(folders["masks"], f"p{number}")[..., 0] == 255
        masked["ssim_mask"].append(structural_similarity(other, one, full=True, **settings)[1][mask].mean())
        masked["psnr_mask"].append(
            20 * math.log10(255) - 10 * math.log10(((one - other.astype(float))[mask] ** 2).mean())
        )
    for key, value in (expected | {key: np.mean(own) for key, own in masked.items()}).items():
        assert rows["clean", key, 1]["value"] == pytest.approx(value, abs=1e-6), key
        assert rows["clean", key, 1]["count"] == (2 if key in masked else PAIRS)


def test_half_grey_of_a_mask_is_the_ground(tmp_path):
    greys = np.array([0, 1, 127, 128, 255]).repeat(4)
    save(tmp_path / "mask.png", np.tile(greys, (16, 1)))
    found = read_mask(tmp_path / "mask.png", np.zeros((16, 20, 3)))
    assert found[0, ::4].tolist() == [False, False, False, True, True]


def test_networks_get_every_value_as_numpy_computes_it(tmp_path):
    """To the bit: values of published tables were computed so."""
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    save(tmp_path / "every.png", values)
    single, given = values.astype(np.float32), []

    def run(one, *others):
        given.extend([one, *others[:1]])
        return one.mean((2, 3)) if len(others) == 0 else one.mean((1, 2, 3))

    store, item = ValueStore(tmp_path / "parts", 1), (tmp_path / "every.png",) * 2
    save(tmp_path / "mask.png", np.full((16, 16), 255))
    lpips_values(store, "clean", [item], Network(run, "clean"))
    feature_values(store, [(*item, tmp_path / "mask.png")], Network(run, "features"))
    lpips_values(store, "field", [item], Network(run, "field"))
    set_features(store, "field", item[:1], Network(run, "inception"), (16, 16))
    signed, unit = single / 127.5 - 1, single / 255
    for pixels, expected in zip(given, [signed] * 4 + [unit] * 3, strict=True):
        assert pixels.dtype == torch.float32
        np.testing.assert_array_equal(pixels[0].movedim(0, -1).numpy(), expected)


def test_distances_of_sets(folders, tmp_path, networks):
    _, rows = run(folders, tmp_path / "out", networks)
    generated, references = zip(*pictures(folders), strict=True)
    train = [read(folders["train"], f"t{number}") for number in range(7)]
    features = [eight_bit_features(channels_first(own)) for own in (generated, references, train)]
    assert rows["clean", "fid_train", 1]["value"] == pytest.approx(frechet(features[0], features[2]), abs=1e-4)
    assert rows["clean", "fid_real", 1]["value"] == pytest.approx(frechet(features[1], features[2]), abs=1e-4)
    assert rows["clean", "fid_reference", 1]["value"] == pytest.approx(frechet(features[0], features[1]), abs=1e-4)
    # The field resizes the training pictures to the size of the references.
    resized = torch.nn.functional.interpolate(channels_first(train).double(), (HEIGHT, WIDTH), mode="bicubic").float()
    features = [float_features(own.float() / 255) for own in (*map(channels_first, (generated, references)), resized)]
    assert rows["field", "fid_train", 1]["value"] == pytest.approx(frechet(features[0], features[2]), abs=1e-5)
    assert rows["field", "fid_real", 1]["value"] == pytest.approx(frechet(features[1], features[2]), abs=1e-5)
    assert ("field", "fid_reference", 1) not in rows
    assert rows["clean", "fid_train", 1]["low"] is None


def test_the_field_drops_what_does_not_fill_a_batch(folders, tmp_path, networks, monkeypatch):
    smaller = {"lpips": 2, "fid_train": 4, "fid_real": 4}
    field = tuple(
        metric if metric.key not in smaller else type(metric)(**{**vars(metric), "batch": smaller[metric.key]})
        for metric in measure.METRICS["field"]
    )
    assert [metric.batch for metric in measure.METRICS["field"]] == [1, 1, 1, 64, 128, 128]
    monkeypatch.setitem(measure.METRICS, "field", field)
    _, rows = run(folders, tmp_path / "out", networks, protocols=("field",))
    pairs = [(one / 255, other / 255) for one, other in pictures(folders)]
    lpips = np.mean([(abs(one - other) * (1 + one) ** 2).mean() for one, other in pairs[:4]])
    assert rows["field", "lpips", 1]["value"] == pytest.approx(lpips, abs=1e-5)
    train = channels_first([read(folders["train"], f"t{number}") for number in range(4)])
    resized = torch.nn.functional.interpolate(train.double(), (HEIGHT, WIDTH), mode="bicubic").float() / 255
    generated = channels_first([one.astype(np.float32) for one, _ in pairs[:4]])
    expected = frechet(float_features(generated), float_features(resized))
    assert rows["field", "fid_train", 1]["value"] == pytest.approx(expected, abs=1e-5)
    assert [rows["field", key, 1]["count"] for key in ("ssim", "lpips", "fid_train", "fid_real")] == [5, 4, 4, 4]


def test_the_field_resizes_to_the_reference(folders, tmp_path, networks):
    path = folders["generated"] / "p2.png"
    large = np.asarray(Image.open(path)).repeat(2, 0).repeat(3, 1)
    save(path, large)
    with pytest.raises(ValueError, match=r"another size than their references: 1 \(.*p2\.png: 168x120"):
        run(folders, tmp_path / "out", networks)
    assert not (tmp_path / "out").exists()
    run(folders, tmp_path / "out", networks, protocols=("field",))
    table = pyarrow.parquet.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()
    small = torch.nn.functional.interpolate(channels_first([large]).double(), (HEIGHT, WIDTH), mode="bicubic")
    prediction, truth = small[0].movedim(0, -1).numpy(), read(folders["reference"], "p2")
    expected = recipe_ssim(prediction, truth, gaussian_window(1.2, 4), np.ptp(prediction))
    assert table[2]["field_ssim"] == pytest.approx(expected, abs=1e-6)


def test_what_is_absent_is_said_and_the_rest_computed(folders, tmp_path):
    table, rows = run(folders, tmp_path / "out", ABSENT, masks=None, train=None)
    assert rows["clean", "lpips", 1]["needs"] == rows["field", "lpips", 1]["needs"] == "needs L"
    assert rows["clean", "fid_train", 1]["needs"] == "needs F" and rows["field", "fid_train", 1]["needs"] == "needs I"
    assert "--masks" in rows["clean", "ssim_mask", 1]["needs"]
    assert rows["clean", "lpips", 1]["value"] is None and rows["clean", "ssim", 1]["value"] > 0
    assert "| LPIPS (AlexNet) ↓ | needs L | needs L |" in table.splitlines()
    networks = Networks(ABSENT.lpips, Network(eight_bit_features, "f"), Network(float_features, "i"))
    _, rows = run(folders, tmp_path / "out", networks, masks=None, train=None)
    assert all("--train" in rows[protocol, "fid_train", 1]["needs"] for protocol in ("clean", "field"))
    assert rows["clean", "fid_reference", 1]["value"] > 0


def test_a_wide_window_needs_a_wide_picture(folders, tmp_path):
    for role in ("generated", "reference"):
        for path in folders[role].iterdir():
            save(path, np.asarray(Image.open(path))[:50])
    _, rows = run(folders, tmp_path / "out", ABSENT, protocols=("field",), masks=None)
    assert rows["field", "ssim_51", 1]["needs"] == "needs sides of at least 51 pixels"
    assert rows["field", "ssim", 1]["count"] == PAIRS


def test_the_best_of_several_samples_has_rows_of_its_own(folders, tmp_path, networks):
    rng = np.random.default_rng(9)
    for number in range(PAIRS):
        path = folders["generated"] / f"p{number}.png"
        first = np.asarray(Image.open(path)).astype(float)
        truth = read(folders["reference"], f"p{number}").astype(float)
        better, worse = truth * 0.9 + rng.normal(0, 3, truth.shape), truth + rng.normal(0, 90, truth.shape)
        order = (first, better, worse) if number % 2 else (first, worse, better)
        for sample, values in enumerate(order):
            save(path.with_name(f"p{number}_{sample}.png"), values)
        path.unlink()
    _, rows = run(folders, tmp_path / "out", networks)
    table = pyarrow.parquet.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()
    assert [(row["name"], row["sample"]) for row in table[:4]] == [("p0", 0), ("p0", 1), ("p0", 2), ("p1", 0)]
    chosen = [3 * number + (1 if number % 2 else 2) for number in range(PAIRS)]
    for key in ("clean_ssim", "clean_psnr", "clean_lpips", "field_ssim", "field_lpips"):
        protocol, measure = key.split("_")
        first = np.mean([table[3 * number][key] for number in range(PAIRS)])
        best = np.mean([table[row][key] for row in chosen])
        assert rows[protocol, measure, 1]["value"] == pytest.approx(first)
        assert rows[protocol, measure, 3]["value"] == pytest.approx(best)
        assert rows[protocol, measure, 3]["name"].endswith(", best of 3 by SSIM")
    files = [Path(table[row]["generated"]) for row in chosen]
    features = [eight_bit_features(channels_first([np.asarray(Image.open(file)) for file in own])) for own in (
        files, sorted(folders["train"].iterdir())
    )]  # fmt: skip
    assert rows["clean", "fid_train", 3]["value"] == pytest.approx(frechet(*features), abs=1e-4)
    assert ("clean", "fid_real", 3) not in rows
    assert "3 samples" in json.loads((tmp_path / "out" / "summary.json").read_text())["notes"][0]


def test_a_second_run_computes_nothing_again(folders, tmp_path, networks, monkeypatch):
    first, _ = run(folders, tmp_path / "out", networks)
    monkeypatch.setattr(measure, "clean_pixels", lambda items: pytest.fail("computed again"))
    monkeypatch.setattr(measure, "field_pixels", lambda items: pytest.fail("computed again"))
    idle = Networks(*(Network(lambda *inputs: pytest.fail("ran again"), name) for name in vars(networks)))
    assert run(folders, tmp_path / "out", idle)[0] == first


def test_other_weights_are_run_anew(folders, tmp_path, networks):
    _, before = run(folders, tmp_path / "out", networks)
    other = Network(lambda one, other: weighted_error(one, other) * 2, "other weights")
    _, after = run(folders, tmp_path / "out", Networks(other, networks.fid, networks.field_inception))
    assert after["clean", "lpips", 1]["value"] == pytest.approx(2 * before["clean", "lpips", 1]["value"])


def test_files_and_page(folders, tmp_path, networks):
    run(folders, tmp_path / "out", networks)
    out = tmp_path / "out"
    shown = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    assert shown == ["pairs.parquet", "parts", "report.html", "settings.json", "summary.json"]
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["pairs"], summary["samples"], summary["protocols"]) == (PAIRS, 1, ["clean", "field"])
    assert any("biased" in note for note in summary["notes"])
    table = pyarrow.parquet.read_table(out / "pairs.parquet").to_pydict()
    assert table["name"] == [f"p{number}" for number in range(PAIRS)]
    assert [value is None for value in table["clean_ssim_mask"]] == [True, False, True, False, True]
    for row in summary["rows"]:
        column = table.get(f"{row['protocol']}_{row['key']}")
        if column and row["value"] is not None:
            assert row["value"] == pytest.approx(np.mean([value for value in column if value is not None]))
    page = (out / "report.html").read_text()
    assert "http" not in page and "<script" not in page  # complete in itself
    order = np.argsort(table["clean_ssim"])
    for title, shown in (("Worst", order[:2]), ("Median", order[1:3]), ("Best", order[::-1][:2])):
        strip = page.split(f"<h2>{title} by SSIM, clean</h2>")[1].split("<h2>")[0]
        assert [strip.index(f"<figcaption>p{number}<") for number in shown] == sorted(
            strip.index(f"<figcaption>p{number}<") for number in shown
        )
        assert strip.count("<figure>") == 2


def test_names_from_files_are_text_in_the_page(folders, tmp_path):
    for role in ("generated", "reference"):
        (folders[role] / "p0.png").rename(folders[role] / "<b>&.png")
    run(folders, tmp_path / "out", ABSENT, masks=None)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b>&" not in page and "&lt;b&gt;&amp;" in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocols": ("clean", "dirty")}, "protocol is 'clean,dirty'"),
        ({"protocols": ("clean", "clean")}, "clean, field or clean,field expected"),
        ({"workers": 0}, "workers is 0"),
        ({"train": Path("nowhere")}, "folder of train pictures not found: nowhere"),
    ],
)
def test_bad_settings_write_nothing(folders, tmp_path, changes, message):
    with pytest.raises((ValueError, OSError), match=message):
        run(folders, tmp_path / "out", ABSENT, **changes)
    assert not (tmp_path / "out").exists()


def test_damage_behind_the_header_is_found_and_the_rest_is_kept(folders, tmp_path):
    for role, name in (("generated", "p1"), ("train", "t2")):
        path = folders[role] / f"{name}.png"
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cannot be used: 1 \(.*generated/p1\.png: damaged picture"):
        run(folders, tmp_path / "out", ABSENT)
    save(folders["generated"] / "p1.png", np.zeros((HEIGHT, WIDTH, 3)))
    networks = Networks(ABSENT.lpips, Network(eight_bit_features, "f"), ABSENT.field_inception)
    with pytest.raises(ValueError, match=r"cannot be used: 1 \(.*train/t2\.png: damaged picture"):
        run(folders, tmp_path / "out", networks)
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_mask_that_marks_nothing_is_refused(folders, tmp_path):
    save(folders["masks"] / "p3.png", np.zeros((HEIGHT, WIDTH)))
    with pytest.raises(ValueError, match=r"cannot be used: 1 \(.*p3\.png: a mask must .*mark pixels"):
        run(folders, tmp_path / "out", ABSENT)
