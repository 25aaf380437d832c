"""`DiffusionPipeline.from_pretrained` loads our folders once imagpose is imported, without any code in them.

diffusers looks among its own attributes for the class that a folder's model_index.json names. It gets ours as one that is
imported when it is asked for, so that `import imagpose` imports neither diffusers nor torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_LIBRARY = "diffusers"


def offer_pipeline() -> None:
    """Gives diffusers the class `IMAGPosePipeline`: now if it is imported, else when it is."""
    if _LIBRARY in sys.modules:
        _extend(sys.modules[_LIBRARY])
    elif not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())


class _AfterImport(MetaPathFinder):
    """Finds diffusers as the other finders do, and has it extended when it has been imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _LIBRARY:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_extend(module: ModuleType) -> None:
                execute(module)
                _extend(sys.modules[fullname])  # diffusers puts another module in its place

            spec.loader.exec_module = execute_and_extend  # type: ignore[method-assign]
        return spec


def _extend(library: ModuleType) -> None:
    def pipeline(_: ModuleType) -> Any:
        from imagpose.pipeline import IMAGPosePipeline

        return IMAGPosePipeline

    if not hasattr(type(library), "IMAGPosePipeline"):
        library.__class__ = type(type(library).__name__, (type(library),), {"IMAGPosePipeline": property(pipeline)})
