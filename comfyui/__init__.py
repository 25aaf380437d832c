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

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes; makes their folder of models known, since not every version of ComfyUI calls `on_load`."""
        add_models_folder()
        return NODES


async def comfy_entrypoint() -> ImagposeExtension:
    """What ComfyUI calls when it loads this folder."""
    return ImagposeExtension()
