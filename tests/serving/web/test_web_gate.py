"""What is refused before the application hears of it, and what a refused request may still take: bytes and time."""

from __future__ import annotations

import asyncio
import time

import pytest

from imagpose.serving.web import gate as gate_module
from imagpose.serving.web.gate import Gate
from imagpose.serving.web.limits import Limits

FULL = Limits(file_bytes=1000, kept_bytes=0)


async def never(scope, receive, send) -> None:
    raise AssertionError("a refused request reached the application")


@pytest.fixture
def refuse(tmp_path):
    """A function that sends a request to a page without room, from a function that gives its messages; gives the answer."""

    def send_request(receive, method="POST", path="/gradio_api/upload"):
        told = []

        async def send(message):
            told.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [(b"content-length", b"9")]}
        asyncio.run(Gate(never, tmp_path, FULL)(scope, receive, send))
        return told[0]["status"], told[1]["body"].decode()

    return send_request


def body(content: bytes, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": content, "more_body": more}


def test_a_refused_upload_is_read_to_its_end_before_the_answer(refuse):
    left = [b"a" * 400, b"b" * 400, b"c"]

    async def receive():
        content = left.pop(0)
        return body(content, bool(left))

    status, text = refuse(receive)
    assert status == 413 and "no room" in text and not left


def test_no_more_is_read_of_a_refused_upload_than_a_file_may_have(refuse):
    taken = []

    async def receive():
        taken.append(400)
        assert len(taken) < 50
        return body(bytes(400), True)

    assert refuse(receive)[0] == 413
    assert sum(taken) == 1200  # the first that is above 1000


@pytest.mark.parametrize("trickle", [True, False])
def test_a_refused_upload_that_does_not_end_is_answered_after_a_while(refuse, monkeypatch, trickle):
    monkeypatch.setattr(gate_module, "_READ_AWAY_FOR", 0.2)

    async def receive():
        await asyncio.sleep(0.01 if trickle else 5)
        return body(b"a", True)

    started = time.monotonic()
    assert refuse(receive)[0] == 413
    assert 0.2 <= time.monotonic() - started < 2


def test_a_client_that_has_gone_is_not_waited_for(refuse):
    async def receive():
        return {"type": "http.disconnect"}

    assert refuse(receive)[0] == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/gradio_api/file=HTTPS://example.com/photo.png", 403),
        ("GET", "/gradio_api/file/Http://example.com/photo.png", 403),
        ("GET", "/gradio_api/Proxy=https://example.com/photo.png", 403),
        ("POST", "/gradio_api/upload/", 413),
    ],
)
def test_other_spellings_are_refused_too(refuse, method, path, status):
    async def receive():
        return body(b"", False)

    assert refuse(receive, method, path)[0] == status
