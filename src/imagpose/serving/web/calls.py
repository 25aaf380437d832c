"""The calls for programs: what the page does, for `gradio_client` and curl."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import gradio as gr

from imagpose.io import error_line
from imagpose.serving.web.desk import Desk, Job
from imagpose.serving.web.orders import Photo
from imagpose.serving.web.studio import Studio

_LOOK_EVERY = 0.25  # seconds between looks at a job


def add_calls(studio: Studio) -> None:
    """Add `generate`, `animate`, `detect` and `read_poses` to the page that is being built.

    Their inputs and outputs are components that nobody sees.
    """
    photos = gr.File(label="a list of photos", file_count="multiple", visible=False)
    poses = gr.JSON(label="a list of poses", visible=False)
    sequence = gr.File(label="a sequence or null", visible=False)
    options = gr.JSON(label="settings", visible=False)
    written = gr.File(label="files", file_count="multiple", visible=False)
    found = gr.JSON(label="found", visible=False)
    one = gr.File(label="a file", visible=False)

    async def generate(photos: list[str] | None, poses: Any, settings: Any) -> list[str]:
        given = [Photo(path) for path in photos or ()]
        if not isinstance(poses, list) or not isinstance(settings or {}, dict):
            raise _error("a list of photos, a list of poses and an object of settings expected")
        return await _files(studio.desk, lambda: studio.submit(given, poses, settings or {}))

    async def animate(photos: list[str] | None, poses: Any, sequence: str | None, settings: Any) -> list[str]:
        given = [Photo(path) for path in photos or ()]
        if not isinstance(poses or [], list) or not isinstance(settings or {}, dict):
            raise _error("a list of photos, a list of poses, a file and an object of settings expected")
        return await _files(studio.desk, lambda: studio.submit_film(given, poses or [], sequence, settings or {}))

    def asked(function: Any) -> Any:
        def ask(path: str) -> Any:
            try:
                return function(path)
            except ValueError as error:
                raise _error(error) from None

        return ask

    button = gr.Button("calls", visible=False)
    button.click(generate, [photos, poses, options], [written], api_name="generate", concurrency_limit=None)
    button.click(animate, [photos, poses, sequence, options], [written], api_name="animate", concurrency_limit=None)
    button.click(asked(studio.detect), [one], [found], api_name="detect")
    button.click(asked(studio.read), [one], [found], api_name="read_poses")


async def _files(desk: Desk, submit: Callable[[], Job]) -> list[str]:
    """The files of a request, when it is done."""
    try:
        job = await asyncio.to_thread(submit)
    except ValueError as error:
        raise _error(error) from None
    try:
        while not job.ended.is_set():
            job.look()
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        desk.cancel(job.token)  # does nothing to one that ended; the client of another is gone
    if job.state != "done":
        raise _error(job.error or "cancelled")
    files: list[str] = job.result["files"]
    return files


def _error(text: object) -> gr.Error:
    return gr.Error(error_line(text), print_exception=False)
