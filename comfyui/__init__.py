"""imagpose in ComfyUI: this folder, copied or linked into `custom_nodes`, adds the nodes of `nodes.py`.

ComfyUI's Python needs imagpose itself (`pip install 'imagpose[pose]'`). See docs/comfyui.md.
"""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .host import add_models_folder
from .nodes import NODES

__all__ = ["ImagposeExtension", "comfy_entrypoint"]


class ImagposeExtension(ComfyExtension):
    """What ComfyUI asks for the nodes."""

    async def on_load(self) -> None:
        """Make the folder of models known."""
        add_models_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        return NODES


async def comfy_entrypoint() -> ImagposeExtension:
    """What ComfyUI calls when it loads this folder."""
    return ImagposeExtension()
