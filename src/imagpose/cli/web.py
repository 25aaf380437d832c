"""`imagpose web`: the web page."""

from __future__ import annotations

from typing import Annotated

import typer


def web(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any that is free.")] = 7860,
    password: Annotated[
        str | None,
        typer.Option(envvar="IMAGPOSE_PASSWORD", help="Ask for this password; the user is imagpose.", show_envvar=True),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Also open a public address through Gradio's servers.")
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option(help="'mini', the folder of a saved pipeline, or a Hub id; repeat to offer several."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cuda, cuda:1, ..., mps or cpu; default: cuda if there is one.")
    ] = None,
    waiting: Annotated[int, typer.Option(min=0, help="Requests that may wait; more are told that it is busy.")] = 8,
    max_megabytes: Annotated[float, typer.Option(min=0.1, max=4096, help="Largest file that is taken.")] = 20.0,
    max_megapixels: Annotated[float, typer.Option(min=0.1, max=100, help="Largest photo that is taken.")] = 40.0,
) -> None:
    """Serve a web page with a pose editor, for this machine alone unless --host or --share says otherwise (extra web)."""
    from imagpose.serving.web.limits import Limits
    from imagpose.serving.web.server import Address, serve

    limits = Limits(
        file_bytes=round(max_megabytes * 2**20), picture_pixels=round(max_megapixels * 1e6), waiting=waiting
    )
    serve(Address(host, port, password, share), model or ("mini",), limits, device, typer.echo)
