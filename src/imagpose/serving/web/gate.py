"""What Gradio would let through and the page does not: files from other machines, and uploads without end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from imagpose.serving.web.limits import Limits

# Gradio fetches such addresses and passes on what they give
_ELSEWHERE = ("/file=http:", "/file=https:", "/file/http:", "/file/https:", "/proxy=")
_READ_AWAY_FOR = 20.0  # seconds at most


class Gate:
    """A layer around a page's application (ASGI), which refuses before the application hears of it.

    Args:
        app: the application.
        folder: of the page's files.
        limits: of these files together.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], folder: Path, limits: Limits) -> None:
        self._app, self._folder, self._limits = app, folder, limits

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, text = refusal
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._read_away(receive), _READ_AWAY_FOR)
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    async def _read_away(self, receive: Any) -> None:
        """Take what a refused request still sends, up to the size of one file.

        A client that is sending when its connection is closed never sees the answer.
        """
        taken, more = 0, True
        while more and taken <= self._limits.file_bytes:
            message = await receive()
            taken += len(message.get("body", b""))
            more = message.get("more_body", False)

    def _refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        path = scope["path"]
        if any(address in path.lower() for address in _ELSEWHERE):
            return 403, "files of other machines are not fetched"
        if scope["method"] == "POST" and path.rstrip("/").endswith("/upload"):
            length = dict(scope["headers"]).get(b"content-length", b"")
            if not length.isdigit():
                return 411, "the length of an upload must be stated"
            try:
                self._limits.check_room(self._folder, int(length))
            except ValueError as error:
                return 413, str(error)
        return None
