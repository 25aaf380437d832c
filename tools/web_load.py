"""Many clients at once on a page: each gets pictures or is told "busy", memory stays flat.

    python tools/web_load.py --clients 50 --rounds 5
    python tools/web_load.py --clients 50 --rounds 5 --waiting 50 --model mini

Without --model, a stand-in takes its place. Prints a line a round: how many got pictures, how many were told that it is
busy, how many got neither, the seconds, and the process's resident memory. The exit code is 1 if a client got neither.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from PIL import Image

from imagpose.io import write_json
from imagpose.outputs import result_folder
from imagpose.pose import to_openpose
from imagpose.pose.library import library
from imagpose.serving.results import Generated
from imagpose.serving.web.limits import Limits
from imagpose.serving.web.server import Address, open_page


def stand_in(seconds: float) -> Callable[..., Generated]:
    """Takes the place of `generate_inputs`: writes grey pictures after some time."""

    def generate(pipeline: Any, inputs: Any, settings: Any, *, out: Path, after_step: Any) -> Generated:
        time.sleep(seconds)
        pictures = [Image.new("RGB", (176, 256), "grey") for _ in inputs.names]
        record = {"outputs": [{"scores": {"pose": None, "likeness": 0.0}} for _ in inputs.names]}
        with result_folder(out) as folder:
            for name, picture in zip(inputs.names, pictures, strict=True):
                picture.save(folder / f"{name}.png")
            write_json(folder / "result.json", record)
        files = [*(out / f"{name}.png" for name in inputs.names), out / "result.json"]
        return Generated(pictures, inputs.names, record, files)

    return generate


def ask(url: str, photo: str) -> str:
    """One client: "pictures", "busy", or what it got in their place."""
    sent = {"path": photo, "meta": {"_type": "gradio.FileData"}}
    pose = to_openpose(library()["stand-01"].pose)
    try:
        event = _post(f"{url}gradio_api/call/generate", {"data": [[sent], [pose], {}]})["event_id"]
        with urllib.request.urlopen(f"{url}gradio_api/call/generate/{event}", timeout=600) as answer:
            text = answer.read().decode()
    except (OSError, urllib.error.URLError) as error:
        return f"lost: {error}"
    if "event: complete" in text and "target-0.png" in text:
        return "pictures"
    return "busy" if "event: error" in text and "busy" in text else f"lost: {text[-200:]}"


def _post(url: str, value: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(value).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def run_round(url: str, photo: str, clients: int) -> Counter[str]:
    """All clients at the same moment; what each of them got."""
    got: list[str] = []
    barrier = threading.Barrier(clients)

    def client() -> None:
        barrier.wait()
        got.append(ask(url, photo))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(got)


def resident_megabytes() -> float:
    """Memory of this process, which is server and clients in one."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def load(
    clients: int,
    rounds: int,
    seconds: float,
    waiting: int,
    say: Callable[[str], None] = print,
    model: str | None = None,
) -> list[tuple[Counter[str], float]]:
    """Run all rounds; of each, what the clients got and the memory after it.

    Args:
        clients: at once, each with one request.
        rounds: how often.
        seconds: that the stand-in takes for a request.
        waiting: requests that may wait beside the one that is worked on.
        say: is told each round.
        model: of the page; None: a stand-in.
    """
    found = []
    with (
        nullcontext() if model else _stand_in_for_mini(seconds),
        open_page(Address(port=0), [model or "mini"], Limits(waiting=waiting), "cpu") as page,
    ):
        photo = str(next(Path(os.environ["GRADIO_TEMP_DIR"]).glob("people/*/0.png")))
        for number in range(1, rounds + 1):
            started = time.perf_counter()
            got = run_round(page.local_url, photo, clients)
            took = time.perf_counter() - started
            found.append((got, resident_megabytes()))
            lost = sum(count for what, count in got.items() if what.startswith("lost"))
            say(
                f"round {number}: {got['pictures']} pictures, {got['busy']} busy, {lost} lost,"
                f" {took:.0f} s, {found[-1][1]:.0f} MB"
            )
    return found


@contextmanager
def _stand_in_for_mini(seconds: float) -> Iterator[None]:
    with (
        mock.patch("imagpose.serving.web.work.generate_inputs", stand_in(seconds)),
        mock.patch("imagpose.serving.web.work.watch"),
        mock.patch("imagpose.serving.web.studio.load_pipeline", return_value=mock.MagicMock(config={})),
    ):
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--waiting", type=int, default=8)
    parser.add_argument("--model", help="a model in place of the stand-in")
    given = parser.parse_args()
    found = load(given.clients, given.rounds, given.seconds, given.waiting, model=given.model)
    lost = {what: count for got, _ in found for what, count in got.items() if what.startswith("lost")}
    for what, count in lost.items():
        print(f"{count} x {what}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
