"""The workflows of `comfyui/example_workflows`, run by ComfyUI itself, compared with the command line.

    python tools/comfyui_server.py path/to/ComfyUI --python path/to/its/python --out comfyui-trial

Starts ComfyUI's server on the CPU with a base folder of its own, into which `comfyui/` is linked, and opens ComfyUI's page
in a Chromium. Each workflow is run twice: x.json is opened in the page and queued by it, api/x.json is sent to /prompt. It
fails unless both gave the bytes of `imagpose generate` or `imagpose animate`, messages of progress came, and an interrupted
request ended and wrote nothing. It leaves the page's screenshot as x.png and the pictures side by side as x.jpg, which
ComfyUI's list of templates shows. ComfyUI's Python needs imagpose and what ComfyUI names in requirements.txt.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from browsers import launch_chromium
from imagpose.io import write_json
from imagpose.pose import draw_skeleton, read_pose
from imagpose.provenance import Origin, save_generated
from imagpose.serving.demo import PEOPLE_FOLDER

NODES = Path(__file__).parents[1] / "comfyui"
WORKFLOWS = NODES / "example_workflows"
_PATIENCE = 600.0  # seconds
_CPU = ("--device", "cpu", "--seed", "0")
_SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False}  # nothing lies over the nodes


def commands(inputs: Path) -> dict[str, list[str]]:
    """What gives the pictures of each workflow: the words after `imagpose`, without --out.

    Args:
        inputs: ComfyUI's input folder; the drawn pose of fitted.json is written beside it, for its command.
    """
    one, other = PEOPLE_FOLDER / "2000006", PEOPLE_FOLDER / "2000007"
    views = [
        f"--{name}={one / f'{view}.{ending}'}"
        for view in (0, 1)
        for name, ending in (("source", "png"), ("source-pose", "json"))
    ]
    text = next(node["inputs"]["text"] for node in prompt_of("fitted").values() if "text" in node["inputs"])
    draw_skeleton(read_pose(json.loads(text)).fit(352, 512), 352, 512).save(inputs.parent / "image.png")
    generate, film = ["generate", "--backend", "torch", *_CPU], ["animate", "--backend", "torch", *_CPU]
    return {
        "poses": [*generate, *views, "--pose", "walk-03", "--pose", "stand-01"],
        "photo": [*generate, "--source", str(inputs / "example.png"), "--pose", "walk-03"],
        "fitted": [
            *generate, "--source", str(other / "0.png"), "--source-pose", str(other / "0.json"),
            "--pose", str(inputs.parent / "image.png"),
        ],
        "film": [
            *film, *views[:2], "--grid", "2x2", "--fps", "4", "--smooth", "none",
            *(word for number in range(1, 5) for word in ("--poses", f"walk-0{number}")),
        ],
    }  # fmt: skip


def prompt_of(name: str) -> dict[str, Any]:
    """A workflow in the format of the API."""
    prompt: dict[str, Any] = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    return prompt


@contextmanager
def server(comfyui: Path, python: str, base: Path) -> Iterator[str]:
    """ComfyUI with our nodes; its address."""
    for name in ("custom_nodes", "input", "output", "models", "user/default"):
        (base / name).mkdir(parents=True)
    (base / "custom_nodes" / "imagpose").symlink_to(NODES, target_is_directory=True)
    shutil.copy(PEOPLE_FOLDER / "2000006" / "0.png", base / "input" / "example.png")
    write_json(base / "user" / "default" / "comfy.settings.json", _SETTINGS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, str(comfyui / "main.py"), "--cpu", "--port", str(port), "--base-directory", str(base)]
    with (base / "server.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(lambda: process.poll() is not None or answers(address))
            if process.poll() is not None:
                raise SystemExit(f"ComfyUI ended: see {base / 'server.log'}")
            yield address
        finally:
            process.kill()


def answers(address: str) -> bool:
    """Whether ComfyUI is ready."""
    try:
        get(f"{address}/queue")
    except OSError:
        return False
    return True


def wait_for(is_so: Callable[[], Any]) -> Any:
    """What `is_so` gives, as soon as it is true."""
    end = time.monotonic() + _PATIENCE
    while not (found := is_so()):
        if time.monotonic() > end:
            raise SystemExit(f"nothing happened within {_PATIENCE:.0f} s")
        time.sleep(0.1)
    return found


def get(url: str, value: Any = None) -> Any:
    """JSON of an address; a value is sent to it."""
    data = None if value is None else json.dumps(value).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=60
    ) as answer:
        return json.loads(answer.read() or b"null")


class Comfy:
    """ComfyUI's server, and its page in a browser.

    Attributes:
        told: number of messages of progress, and of previews, that the page has got.
    """

    def __init__(self, address: str, base: Path, page: Page) -> None:
        self.address, self.base, self.page = address, base, page
        page.set_default_timeout(_PATIENCE * 1000)
        page.goto(address, wait_until="commit")
        page.wait_for_function("window.app?.graph && window.app.api?.socket?.readyState === 1")
        page.evaluate(_LISTEN)

    @property
    def told(self) -> dict[str, int]:
        found: dict[str, int] = self.page.evaluate("window.told")
        return found

    def has_told_more(self, before: int) -> bool:
        """Whether the page has got more messages of progress than `before`."""
        return self.told["progress"] > before

    def open(self, name: str, save_as: str) -> None:
        """Open x.json in the page; what the page makes of it must be api/x.json."""
        saved = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
        made = self.page.evaluate(_OPEN, [saved, name, save_as])
        for node in made.values():
            node.pop("_meta", None)
        assert made == named(name, save_as), f"the page reads {name}.json as {made}"

    def ended(self, queue: Callable[[], Any]) -> dict[str, Any]:
        """ComfyUI's record of the request that `queue` makes, when it has ended."""
        before = get(f"{self.address}/history").keys()
        queue()
        record: dict[str, Any] = wait_for(
            lambda: [one for own, one in get(f"{self.address}/history").items() if own not in before]
        )[0]
        return record

    def send(self, prompt: dict[str, Any]) -> None:
        """Send a workflow in the format of the API, as the page would: it is told of the progress."""
        get(f"{self.address}/prompt", {"prompt": prompt, "client_id": self.page.evaluate("window.app.api.clientId")})


_LISTEN = """() => {
  window.told = { progress: 0, previews: 0 };
  for (const [event, name] of [["progress", "progress"], ["b_preview", "previews"]])
    window.app.api.addEventListener(event, () => { window.told[name] += 1; });
}"""
_OPEN = """async ([saved, name, saveAs]) => {
  await window.app.loadGraphData(saved, true, true, name);
  for (const node of window.app.graph._nodes)
    for (const widget of node.widgets ?? []) if (widget.name === "save_as") widget.value = saveAs;
  return (await window.app.graphToPrompt()).output;
}"""


def named(name: str, save_as: str, **others: Any) -> dict[str, Any]:
    """A workflow in the format of the API whose pictures are saved under another name."""
    prompt = prompt_of(name)
    for node in prompt.values():
        if "save_as" in node["inputs"]:
            node["inputs"] |= {"save_as": save_as, **others}
    return prompt


def compared(comfy: Comfy, name: str, words: list[str]) -> Iterator[str]:
    """A line for each way in which a workflow was run.

    Raises:
        AssertionError: it failed, or gave other bytes than the command.
    """
    expected = comfy.base / "command" / name
    subprocess.run(
        [sys.executable, "-m", "imagpose", *words, "--out", str(expected)], check=True, stdout=subprocess.PIPE
    )
    files = sorted(expected.glob("*.png"))

    def by_page(save_as: str) -> None:
        comfy.open(name, save_as)
        comfy.page.evaluate("window.app.queuePrompt(0)")

    def by_api(save_as: str) -> None:
        comfy.send(named(name, save_as))

    for way, queue in (("page", by_page), ("api", by_api)):
        before, started = comfy.told, time.monotonic()
        record = comfy.ended(partial(queue, f"{name}-{way}"))
        assert record["status"]["status_str"] == "success", record["status"]
        written = comfy.base / "output" / f"{name}-{way}_00001"
        assert files and [file.name for file in files] == [file.name for file in sorted(written.glob("*.png"))]
        for file in files:
            assert (written / file.name).read_bytes() == file.read_bytes(), f"{name}, {way}: {file.name} differs"
        wait_for(partial(comfy.has_told_more, before["progress"]))  # messages may come behind the pictures
        now = {kind: count - before[kind] for kind, count in comfy.told.items()}
        yield (
            f"{name} ({way}): {len(files)} files equal the command's, {now['progress']} messages of progress,"
            f" {now['previews']} previews, {time.monotonic() - started:.0f} s"
        )


def write_thumbnail(pictures: list[Path], file: Path) -> None:
    """Generated pictures side by side."""
    opened = [Image.open(path).convert("RGB") for path in pictures]
    width, height = opened[0].size
    row = Image.new("RGB", (width * len(opened), height))
    for place, picture in enumerate(opened):
        row.paste(picture, (width * place, 0))
    save_generated(row, file, Origin("mini", 0))


def interrupted(comfy: Comfy) -> str:
    """A request of 100 steps, interrupted when it has begun.

    Raises:
        AssertionError: it ended in another way, or wrote something.
    """
    before = comfy.told["progress"]

    def queue() -> None:
        comfy.send(named("poses", "interrupted", steps=100))
        wait_for(lambda: comfy.told["progress"] > before)
        get(f"{comfy.address}/interrupt", {})

    record = comfy.ended(queue)
    kinds = [kind for kind, _ in record["status"]["messages"]]
    assert "execution_interrupted" in kinds, kinds
    assert not list((comfy.base / "output").glob("interrupted*")), "an interrupted request wrote files"
    return f"interrupted: ended after {comfy.told['progress'] - before} messages of progress, wrote nothing"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comfyui", type=Path, help="a checkout of ComfyUI")
    parser.add_argument("--python", default=sys.executable, help="ComfyUI's Python")
    parser.add_argument(
        "--out", type=Path, required=True, help="a new folder: ComfyUI's base folder, pictures, screenshots"
    )
    given = parser.parse_args()
    base = given.out.resolve()
    base.mkdir(parents=True)
    with server(given.comfyui.resolve(), given.python, base) as address, sync_playwright() as playwright:
        stats = get(f"{address}/system_stats")["system"]
        print(f"ComfyUI {stats['comfyui_version']}, PyTorch {stats['pytorch_version']}", flush=True)
        browser = launch_chromium(playwright)
        comfy = Comfy(address, base, browser.new_page(viewport={"width": 1440, "height": 900}))
        for name, words in commands(base / "input").items():
            for line in compared(comfy, name, words):
                print(line, flush=True)
            comfy.page.screenshot(path=base / f"{name}.png", clip={"x": 0, "y": 40, "width": 1440, "height": 860})
            made = sorted((base / "command" / name).glob("*.png"))
            write_thumbnail([file for file in made if file.name != "sheet.png"], base / f"{name}.jpg")
            if name == "poses":
                print(interrupted(comfy), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
