"""`imagpose web`: the page on a port of this machine, its files in a folder of its own that ends with it."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagpose.devices import choose_device
from imagpose.io import LOCK_FILE, error_line, locked_folder
from imagpose.models.folder import model_name, resolve_model
from imagpose.serving.web.gate import Gate
from imagpose.serving.web.limits import Limits

_USER = "imagpose"  # of the password
_SWEEP_EVERY = 300.0  # seconds
_FOLDERS = "imagpose-web-"
_OPEN: set[Path] = set()  # folders of this process's pages, whose locks do not keep the process itself out
_SESSIONS = 200  # that Gradio remembers; ours keep nothing there


@dataclass(frozen=True)
class Address:
    """Where a page can be reached, and by whom.

    Attributes:
        host: "127.0.0.1" for this machine alone.
        port: 0 for any that is free.
        password: asked for, of user "imagpose"; None: everybody who reaches the page may use it.
        share: whether a public address is asked for at Gradio's servers, through which everything then goes.

    Raises:
        ValueError: an empty password, which would let everybody in.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    password: str | None = None
    share: bool = False

    def __post_init__(self) -> None:
        if self.password == "":
            raise ValueError(
                "the password is empty: give one, or leave it out to let in everybody who reaches the page"
            )


def serve(
    address: Address,
    models: Sequence[str],
    limits: Limits,
    device: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        address: where, and for whom.
        models, limits, device: see `Studio`.
        say: is told where the page is.

    Raises:
        ValueError: the extra web is missing, the host is not this machine's, a model or device is not there, two models
            have one name, or the port is taken.
    """
    with open_page(address, models, limits, device) as page:
        say(f"imagpose web: {page.local_url}" + (f", for everybody {page.share_url}" if page.share_url else ""))
        threading.Event().wait()


@contextmanager
def open_page(address: Address, models: Sequence[str], limits: Limits, device: str | None = None) -> Iterator[Any]:
    """A running page, as `gradio.Blocks`; it ends with the block, and its files with it.

    Raises:
        ValueError: as `serve`.
    """
    _check_host(address.host)
    named = _named(models)
    place = choose_device(device)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with _page_folder() as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        page_module = _import_page()
        from fastapi.middleware import Middleware

        from imagpose.serving.web.studio import Studio

        studio = Studio(folder, named, limits, place)
        page = page_module.build_page(studio)
        ended = threading.Event()
        sweeper = threading.Thread(target=_sweep, args=(studio, ended), daemon=True)
        sweeper.start()
        try:
            try:
                page.launch(
                    server_name=address.host,
                    server_port=address.port or None,
                    auth=None if address.password is None else (_USER, address.password),
                    auth_message=f"User: {_USER}",
                    share=address.share,
                    max_file_size=limits.file_bytes,
                    app_kwargs={"middleware": [Middleware(Gate, folder=studio.folder, limits=limits)]},
                    allowed_paths=[str(studio.people_folder)],
                    prevent_thread_lock=True,
                    quiet=True,
                    footer_links=[],
                    run_history=False,
                    enable_monitoring=False,
                    ssr_mode=False,
                    state_session_capacity=_SESSIONS,
                    _frontend=False,  # else Gradio takes a machine that needs 3 seconds to answer for one without loopback
                    mcp_server=False,
                    theme=page_module.THEME,
                    css_paths=[page_module.STYLE],
                    head=page_module.HEAD,
                )
            except OSError as error:
                raise ValueError(f"{error_line(error)}; choose another with --port") from None
            yield page
        finally:
            ended.set()
            studio.close()
            page.close(verbose=False)


def _check_host(host: str) -> None:
    """Look at a host before Gradio tries 100 ports on it."""
    try:
        family, *_, place = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.bind(place)
    except (OSError, UnicodeError) as error:
        raise ValueError(
            f"host {host!r} is no address of this machine ({error}): 127.0.0.1, or 0.0.0.0 for other machines too, expected"
        ) from None


def _named(models: Sequence[str]) -> dict[str, str]:
    """The models by the names under which the page offers them; looks for them before Gradio is imported."""
    named: dict[str, str] = {}
    for model in models:
        resolve_model(model)
        if named.setdefault(model_name(model), model) != model:
            raise ValueError(f"{named[model_name(model)]} and {model} have the same name: rename one of the folders")
    return named


@contextmanager
def _page_folder() -> Iterator[Path]:
    """A folder for a page's files, which ends with the block; those that killed processes left behind go first."""
    with tempfile.TemporaryDirectory(prefix=_FOLDERS) as name:
        folder = Path(name)
        for other in folder.parent.glob(f"{_FOLDERS}*"):
            with suppress(OSError):  # its process lives, or somebody else was faster
                if other not in _OPEN and _is_of_a_page(other, folder.lstat().st_uid):
                    with locked_folder(other):
                        shutil.rmtree(other)
        with locked_folder(folder):
            _OPEN.add(folder)
            try:
                yield folder
            finally:
                _OPEN.remove(folder)


def _is_of_a_page(folder: Path, user: int) -> bool:
    """Whether a page of this user made a folder, alive or not; nothing of other users is followed or opened."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and (folder / LOCK_FILE).is_file()


def _import_page() -> Any:
    try:
        from imagpose.serving.web import page
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] != "gradio":
            raise
        raise ValueError(f"the page needs Gradio: pip install 'imagpose[web]' ({error})") from None
    return page


def _sweep(studio: Any, ended: threading.Event) -> None:
    """Remove old files now and then."""
    while not ended.wait(_SWEEP_EVERY):
        studio.remove_old_files()
