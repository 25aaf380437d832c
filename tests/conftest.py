"""The command line in this process, and pose networks of a few nodes with the inputs and outputs of rtmlib's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from imagpose.workers import default_to_one_thread

default_to_one_thread()  # before numpy and torch are imported: threads that share busy cores wait for each other

import numpy as np
import pytest
from PIL import Image

from imagpose.cli import main

PERSON_INPUT = (640, 640)  # height, width
KEYPOINT_INPUT = (256, 192)
CONFIDENCE = np.linspace(1.0, 0.2, 17).round(2)  # of the 17 COCO key points: 0.2 and 0.25 count as missing
SHIFTS = np.array([(7 * k - 50, 45 - 5 * k) for k in range(17)])  # pixels of the network's input from the blue spot


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command line in this process; gives exit code, stdout and stderr."""

    def command(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["imagpose", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return SimpleNamespace(code=code or 0, **capsys.readouterr()._asdict())

    return command


@pytest.fixture(scope="session")
def pose_networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of caches ($XDG_CACHE_HOME) with both networks: people are red or green blocks, in each a blue spot."""
    for extra in ("rtmlib", "onnxruntime", "onnx"):
        pytest.importorskip(extra, reason="needs the extra pose, and onnx", exc_type=ImportError)
    import onnx
    from rtmlib import Body

    caches = tmp_path_factory.mktemp("caches")
    folder = caches / "imagpose" / "pose"
    folder.mkdir(parents=True)
    for network, graph in (("det", _person_graph()), ("pose", _keypoint_graph())):
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, folder / f"{Path(Body.MODE['balanced'][network]).stem}.onnx")
    return caches


def _person_graph():
    """(1, 3, 640, 640) BGR, 0 to 255 -> (1, 2, 5): box and score of what is red, of what is green."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {"half": np.float32([100.0]), "flat": np.int64([1])}
    nodes = [helper.make_node("Split", ["input"], ["blue", "green", "red"], axis=1)]

    def add(operator: str, inputs: list[str], output: str, **attributes) -> None:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    boxes = []
    for colour, other in (("red", "green"), ("green", "red")):
        name = f"{colour}_"
        add("Sub", [colour, other], f"{name}difference")
        add("Greater", [f"{name}difference", "half"], f"{name}there")
        add("Cast", [f"{name}there"], f"{name}mask", to=TensorProto.FLOAT)
        edges = []
        for axis, reduced in (("x", 2), ("y", 3)):
            add("ReduceMax", [f"{name}mask"], f"{name}{axis}line", axes=[reduced], keepdims=0)
            for end, last in (("first", 0), ("last", 1)):
                place = f"{name}{axis}{end}_place"
                add("ArgMax", [f"{name}{axis}line"], place, axis=2, keepdims=0, select_last_index=last)
                add("Cast", [place], f"{name}{axis}{end}", to=TensorProto.FLOAT)
                edges.append(f"{name}{axis}{end}")
        add("ReduceMax", [f"{name}mask"], f"{name}found", axes=[1, 2, 3], keepdims=0)
        add("Unsqueeze", [f"{name}found", "flat"], f"{name}score")
        ordered = [edges[0], edges[2], edges[1], edges[3], f"{name}score"]
        add("Concat", ordered, f"{name}row", axis=1)
        add("Unsqueeze", [f"{name}row", "flat"], f"{name}box")
        boxes.append(f"{name}box")
    add("Concat", boxes, "output", axis=1)
    return helper.make_graph(
        nodes, "people",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *PERSON_INPUT])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 2, 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip


def _keypoint_graph():
    """(1, 3, 256, 192) RGB, normalised -> SimCC (1, 17, 384) and (1, 17, 512), two bins to a pixel.

    Key point k has its peak, CONFIDENCE[k] high, SHIFTS[k] from where blue exceeds red most.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Split", ["input"], ["red", "green", "blue"], axis=1),
        helper.make_node("Sub", ["blue", "red"], ["excess"]),
    ]
    constants = {"confidence": CONFIDENCE.astype(np.float32).reshape(17, 1)}
    outputs = []
    for axis, size, reduced in (("x", KEYPOINT_INPUT[1], [0, 1, 2]), ("y", KEYPOINT_INPUT[0], [0, 1, 3])):
        places = np.arange(2 * size) // 2 - SHIFTS[:, ["x", "y"].index(axis), None]
        constants[f"places_{axis}"] = places.clip(0, size - 1).astype(np.int64)
        constants[f"valid_{axis}"] = ((places >= 0) & (places < size)).astype(np.float32)
        nodes += [
            helper.make_node("ReduceMax", ["excess"], [f"line_{axis}"], axes=reduced, keepdims=0),
            helper.make_node("ReduceMax", [f"line_{axis}"], [f"peak_{axis}"], axes=[0], keepdims=1),
            helper.make_node("Div", [f"line_{axis}", f"peak_{axis}"], [f"share_{axis}"]),
            helper.make_node("Gather", [f"share_{axis}", f"places_{axis}"], [f"moved_{axis}"], axis=0),
            helper.make_node("Mul", [f"moved_{axis}", f"valid_{axis}"], [f"inside_{axis}"]),
            helper.make_node("Mul", [f"inside_{axis}", "confidence"], [f"weighted_{axis}"]),
            helper.make_node("Unsqueeze", [f"weighted_{axis}", "batch"], [f"simcc_{axis}"]),
        ]
        outputs.append(helper.make_tensor_value_info(f"simcc_{axis}", TensorProto.FLOAT, [1, 17, 2 * size]))
    constants["batch"] = np.int64([0])
    return helper.make_graph(
        nodes, "keypoints",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *KEYPOINT_INPUT])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip


@pytest.fixture
def block_person():
    """Draws people as `pose_networks` sees them: blocks (left, top, right, bottom), each with the place of its spot."""

    def draw(size: tuple[int, int], *people: tuple[str, tuple[int, int, int, int], tuple[float, float]]) -> Image.Image:
        width, height = size
        pixels = np.full((height, width, 3), 90.0)
        rows, columns = np.mgrid[:height, :width]
        for colour, (left, top, right, bottom), (x, y) in people:
            block = np.array((220.0, 20.0, 20.0) if colour == "red" else (20.0, 220.0, 20.0))
            inside = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
            spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 6.0**2))[..., None]
            mixed = block * (1 - spot) + np.array((0.0, 20.0, 255.0)) * spot
            pixels[inside] = mixed[inside]
        return Image.fromarray(pixels.round().astype(np.uint8))

    return draw


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """A browser: Playwright's own Chromium, or else the system's."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    from browsers import launch_chromium

    with api.sync_playwright() as playwright:
        try:
            browser = launch_chromium(playwright)
        except FileNotFoundError as missing:
            pytest.skip(str(missing))
        yield browser
        browser.close()
