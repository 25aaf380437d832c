"""The page: components of ours and the settings, laid out by Gradio.

The components are HTML and scripts of the folder `assets`, without a build step and without anything from elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from imagpose.films import FILM_FORMATS, check_film
from imagpose.io import error_line
from imagpose.pixel_marks import NO_MARK, PIXEL_MARKS, check_pixel_mark
from imagpose.pose.drawing import COLOURS
from imagpose.pose.keypoints import KEYPOINT_NAMES, LIMBS, MIRRORED
from imagpose.serving.web.calls import add_calls
from imagpose.serving.web.desk import BusyError, Job
from imagpose.serving.web.orders import FILM_SETTINGS, Photo
from imagpose.serving.web.studio import Studio
from imagpose.version import __version__

_ASSETS = Path(__file__).parent / "assets"
_LOOK_EVERY = 0.25  # seconds between looks at a job
_ANY = "any"
_PAGE = "page"  # name of the call that the page's button makes
_OF_THE_PAGE = "the page sent something else than it should: reload it"
_SCENARIOS = [
    ("any to any", _ANY),
    ("T1: one photo, one pose a canvas, best kept by the seed", "T1"),
    ("T2: one photo three times, one pose a canvas", "T2"),
    ("T3: three photos, one pose a canvas", "T3"),
    ("star: one photo, three poses a canvas", "star"),
]
STYLE = _ASSETS / "page.css"
THEME = gr.themes.Base(
    primary_hue="orange",
    neutral_hue="stone",
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Menlo", "monospace"],
)


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


_OF_POSES = {"names": KEYPOINT_NAMES, "limbs": LIMBS, "mirrored": MIRRORED, "colours": COLOURS}
HEAD = f"<script>window.imagpose = {json.dumps(_OF_POSES)};\n{_asset('shared.js')}</script>"
"""The script that the components share, and what it knows of poses."""


def _component(name: str, **options: Any) -> gr.HTML:
    """One of ours: the files `name`.html and `name`.js of the assets; its value is the JSON that its script makes."""
    template, script = _asset(f"{name}.html"), _asset(f"{name}.js")
    return gr.HTML(
        html_template=template, js_on_load=script, apply_default_css=False, elem_id=f"imagpose-{name}", **options
    )


def build_page(studio: Studio) -> gr.Blocks:
    """The page of a studio.

    Its calls for programs are those of `calls.add_calls`.
    """
    with _Page(title="imagpose", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(
            _asset("header.html").replace("VERSION", __version__), apply_default_css=False, elem_id="imagpose-header"
        )
        with gr.Row(elem_id="imagpose-columns"):
            with gr.Column(elem_id="imagpose-left", min_width=260):
                person = _component(
                    "person",
                    value={"photos": []},
                    people=studio.people(),
                    limit=studio.limits.photos,
                    server_functions=[_told(studio.detect, "detect")],
                )
            with gr.Column(elem_id="imagpose-middle", min_width=320):
                editor = _component(
                    "editor",
                    value={"poses": []},
                    library=studio.library(),
                    limit=studio.limits.poses,
                    server_functions=[_told(studio.read, "read")],
                )
            with gr.Column(elem_id="imagpose-right", min_width=300):
                action = _component(
                    "action",
                    value={"kind": "pictures"},
                    formats=_film_formats(),
                    limit=studio.limits.frames,
                    server_functions=[_told(studio.desk.cancel, "cancel"), _told(studio.look_at_sequence, "look")],
                )
                with gr.Accordion("Settings", open=False, elem_id="imagpose-settings"):
                    settings = _settings(studio)
                    settings["model"].change(
                        studio.usual_sampling, settings["model"], [settings["steps"], settings["guidance_scale"]],
                        show_progress="hidden", queue=False, api_visibility="private",
                    )  # fmt: skip
                results = _component("results", value={})

        async def generate(person: Any, poses: Any, film: Any, *values: Any) -> AsyncIterator[dict[str, Any]]:
            request = secrets.token_hex(8)  # the script hears only of values that differ from the last one
            async for told in _generated(studio, person, poses, film, dict(zip(settings, values, strict=True))):
                yield {**told, "request": request}

        def refused() -> dict[str, Any]:
            """What is shown where Gradio itself refuses a request: it says the reason above the page."""
            return {"state": "failed", "message": "the request was refused", "request": secrets.token_hex(8)}

        asked = action.generate(
            generate, [person, editor, action, *settings.values()], [results], show_progress="hidden",
            concurrency_limit=None, api_name=_PAGE, api_visibility="private", trigger_mode="multiple",
        )  # fmt: skip
        asked.failure(refused, None, [results], show_progress="hidden", queue=False, api_visibility="private")
        add_calls(studio)
    for block in page.blocks.values():
        _keep_local(block)
    page.queue(max_size=1000, default_concurrency_limit=8)
    return page


class _Page(gr.Blocks):
    """Gradio's page, which says in a line why it does not take a request; Gradio itself would say nothing, and log."""

    async def preprocess_data(self, block_fn: Any, *given: Any, **options: Any) -> Any:
        try:
            return await super().preprocess_data(block_fn, *given, **options)
        except gr.Error:
            raise
        except Exception:
            needed = ", ".join(block.label for block in block_fn.inputs if block.label)
            text = f"{needed} expected, files uploaded before (gradio_api/info says more)"
            raise gr.Error(_OF_THE_PAGE if block_fn.api_name == _PAGE else text, print_exception=False) from None


def _keep_local(block: Any) -> None:
    """Make a block refuse files that a request gives by an address; Gradio would fetch them."""
    move = block.async_move_resource_to_block_cache

    async def move_local(path: Any) -> Any:
        if str(path).lower().startswith(("http:", "https:")):
            raise gr.Error("a file must be uploaded: files of other machines are not fetched", print_exception=False)
        return await move(path)

    block.async_move_resource_to_block_cache = move_local


def _settings(studio: Studio) -> dict[str, gr.components.Component]:
    """The settings by the names of `read_order`."""
    models, row, pictures = list(studio.models), "im-row", "im-of-pictures"
    steps, guidance = studio.usual_sampling(models[0])
    return {
        "scenario": gr.Dropdown(_SCENARIOS, value=_ANY, label="Scenario", elem_classes=[row, pictures]),
        "steps": gr.Slider(1, studio.limits.steps, steps, step=1, label="Steps", elem_classes=row),
        "guidance_scale": gr.Slider(1, 8, guidance, step=0.1, label="Guidance", elem_classes=row),
        "grid": gr.Textbox("2x2", label="View grid", info="Rows x columns, or auto"),
        "seed": gr.Number(0, precision=0, label="Seed", info="Same seed, same pictures"),
        "size": gr.Textbox("", label="Size", placeholder="model's own", info="Height x width"),
        "model": gr.Dropdown(models, value=models[0], label="Model", info="Draws the pictures"),
        "samples": gr.Slider(
            1, 8, 1, step=1, label="Samples", info="Pictures of each pose", elem_classes=[row, pictures]
        ),
        "background": gr.Textbox(
            "keep", label="Background", info="keep, transparent, or a colour like #ffffff", elem_classes=[row, pictures]
        ),
        "mark": gr.Dropdown(_pixel_marks(), value=NO_MARK, label="Mark in the pixels", elem_classes=row),
        "crop": gr.Checkbox(True, label="Frame photos around the person", elem_classes=row),
        "retarget": gr.Checkbox(False, label="Fit poses to the person's body", elem_classes=row),
    }


def _pixel_marks() -> list[tuple[str, str]]:
    """Marks that pictures can get here, by the words that the page has for them."""
    words = ("none", "a line in the corner: AI generated", "invisible watermark", "both")
    marks = []
    for text, mark in zip(words, PIXEL_MARKS, strict=True):
        with suppress(ValueError):  # its extra is missing
            check_pixel_mark(mark)
            marks.append((text, mark))
    return marks


def _film_formats() -> list[str]:
    """What films can be written as here, without the dot, the default first."""
    formats = []
    for ending in FILM_FORMATS:
        with suppress(ValueError):  # its extra is missing
            check_film(Path(f"film{ending}"), 1)
            formats.append(ending[1:])
    return formats


def _submitted(studio: Studio, person: Any, poses: Any, film: Any, settings: dict[str, Any]) -> Job:
    """The request of the page's values, in the line.

    Raises:
        KeyError, TypeError: they are not what the page sends.
        ValueError, BusyError: as `Studio.submit` and `submit_film`.
    """
    photos = [Photo(str(own["path"]), own.get("pose")) for own in person["photos"]]
    if film["kind"] != "film":
        settings["scenario"] = None if settings["scenario"] == _ANY else settings["scenario"]
        return studio.submit(photos, poses["poses"], {**settings, "units": "pixels"})
    asked = {name: value for name, value in settings.items() if name in (*FILM_SETTINGS, "model")}
    asked |= {name: film.get(name) for name in ("fps", "format")}
    if film["from"] == "strip":
        return studio.submit_film(
            photos, poses["poses"], None, {**asked, "between": film["between"], "units": "pixels"}
        )
    if not film.get("path"):
        raise ValueError("no sequence: add a file of frames or a clip, or take the target poses")
    return studio.submit_film(photos, [], str(film["path"]), {**asked, "frame": film.get("frame")})


async def _generated(
    studio: Studio, person: Any, poses: Any, film: Any, settings: dict[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """What the results show, from the moment of the request to its end."""
    try:
        job = await asyncio.to_thread(_submitted, studio, person, poses, film, settings)
    except (KeyError, TypeError):
        yield {"state": "failed", "message": _OF_THE_PAGE}
        return
    except BusyError as error:
        yield {"state": "busy", "message": str(error)}
        return
    except ValueError as error:
        yield {"state": "failed", "message": str(error)}
        return
    before = None
    try:
        while not job.ended.is_set():
            job.look()
            told = {"token": job.token, "state": job.state, "place": studio.desk.place(job), **job.news}
            if told != before:
                yield told
                before = told
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        studio.desk.cancel(job.token)  # does nothing to one that ended; the page of another was closed
    yield _ended(job)


def _ended(job: Job) -> dict[str, Any]:
    if job.state == "failed":
        return {"state": "failed", "message": error_line(job.error)}
    if job.state == "cancelled":
        return {"state": "cancelled"}
    result = job.result
    told = {
        "state": "done",
        "source": _file(result["sources"][0]),
        "zip": _file(result["files"][-1]),
        "seconds": result["seconds"],
        "note": result["note"],
    }
    if "frames" in result:
        film = {"film": _file(result["files"][0]), "frames": result["frames"], "fps": result["fps"]}
        return {**told, **film, "skeletons": [_file(path) for path in result["skeletons"]]}
    items = zip(result["pictures"], result["skeletons"], result["scores"], strict=True)
    return {
        **told,
        "items": [
            {"picture": _file(picture), "skeleton": _file(skeleton), "scores": scores}
            for picture, skeleton, scores in items
        ],
    }


def _file(path: str) -> dict[str, Any]:
    """A file as Gradio gives it an address."""
    return {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}


def _told(function: Any, name: str) -> Any:
    """A function for a component's script: gets a list of arguments, gives {"value": ...} or {"error": a line}."""

    def told(arguments: Any) -> dict[str, Any]:
        try:
            return {"value": function(*map(str, arguments))}
        except ValueError as error:
            return {"error": error_line(error)}
        except TypeError:
            return {"error": _OF_THE_PAGE}

    told.__name__ = name
    return told
