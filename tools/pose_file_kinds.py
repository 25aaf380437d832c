"""Files of key points as the tools of this field write them, made by chance, with their truth: a function for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pose_file_people import (
    BODY_25,
    COCO,
    HALPE,
    MEDIAPIPE,
    OPENPOSE,
    Case,
    expected,
    flat,
    framed,
    listed,
    people_of,
    plain,
    random_person,
    random_size,
    spelling,
)  # fmt: skip


def openpose(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people, at = people_of(rng, size)
    entries = [{"person_id": [-1], "pose_keypoints_2d": flat(listed(p, OPENPOSE, rng, spelling(rng)))} for p in people]
    data = {"version": 1.3, "people": entries, "canvas_height": size[0], "canvas_width": size[1]}
    return Case(data, [expected(people[at], False)], size)


def openpose_body_25(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people, at = people_of(rng, size)
    entries = [{"pose_keypoints_2d": flat(listed(p, BODY_25, rng))} for p in people]
    case = Case({"version": 1.3, "people": entries}, [expected(people[at], False)], size, "walk_keypoints.json")
    return framed(rng, size, case, "walk")


def openpose_fractions(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    person = random_person(rng, size, 1.05)  # the feet outside
    points = listed(person, OPENPOSE, rng, spelling(rng, "zeros", "minus_sure", "zeros_sure"))
    found = np.array([[name not in person.missing] for name in OPENPOSE])
    points[:, :2] = np.where(found, points[:, :2] / size[::-1], points[:, :2])
    data = {"people": [{"pose_keypoints_2d": flat(points)}], "canvas_height": size[0], "canvas_width": size[1]}
    return Case(data, [expected(person, False)], size)


def openpose_signed(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    person = random_person(rng, size)
    points = listed(person, OPENPOSE, rng)
    points[:, :2] = np.where(points[:, 2:] > 0, points[:, :2] / size[::-1] * 2 - 1, 0)
    data = {"people": [{"pose_keypoints_2d": flat(points)}], "canvas_height": size[0], "canvas_width": size[1]}
    return Case(data, [expected(person, False)], size)


def openpose_before_1_3(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    person = random_person(rng, size)
    names = OPENPOSE if rng.random() < 0.5 else BODY_25
    empty: dict[str, Any] = {"face_keypoints": [], "hand_left_keypoints": [], "hand_right_keypoints": []}
    data = {"version": 1.0, "people": [{"pose_keypoints": flat(listed(person, names, rng)), **empty}]}
    return framed(rng, size, Case(data, [expected(person, False)], size))


def openpose_frames(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people = [random_person(rng, size) for _ in range(3)]
    canvas = {"canvas_height": size[0], "canvas_width": size[1]}
    data = [{"people": [{"pose_keypoints_2d": flat(listed(p, OPENPOSE, rng))}], **canvas} for p in people]
    return Case(data, [expected(p, False) for p in people], size)


def openpose_hands(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    person = random_person(rng, size)
    hands = np.stack(
        [rng.uniform(0, 0.03 * size[0], (21, 2)) + person.places[f"{side}_wrist"] for side in ("left", "right")]
    )
    sure = np.concatenate([hands, np.full((2, 21, 1), 0.8)], 2)
    entry = {
        "pose_keypoints_2d": flat(listed(person, OPENPOSE, rng)), "face_keypoints_2d": [1.0, 2.0, 0.5] * 70,
        "hand_left_keypoints_2d": flat(sure[0]), "hand_right_keypoints_2d": flat(sure[1]),
    }  # fmt: skip
    data = {"people": [entry], "canvas_height": size[0], "canvas_width": size[1]}
    return Case(data, [expected(person, False)], size, hands=[hands])


def results(rng: np.random.Generator, names: list[str], count: int) -> Case:
    """AlphaPose's list, two pictures, further points of face and hands."""
    size = random_size(rng)
    entries, truths, hands = [], [], []
    for picture in range(2):
        people, at = people_of(rng, size)
        for index, person in enumerate(people):
            points = listed(person, names, rng, spelling(rng, "zeros", "low"))
            rest = np.column_stack(
                [rng.uniform(0, size[0], (count - len(points), 2)), np.full(count - len(points), 0.7)]
            )
            points = np.concatenate([points, rest])
            entries.append({
                "image_id": f"{picture}.jpg", "category_id": 1, "keypoints": flat(points), "score": 3.0,
                "box": [1.0, 2.0, 3.0, 4.0], "idx": [0.0],
            })  # fmt: skip
            if index == at:
                truths.append(expected(person, "neck" not in names))
                start = {133: 91, 136: 94}.get(count)
                if start:
                    hands.append(points[start : start + 42, :2].reshape(2, 21, 2))
    case = Case(entries, truths, size, hands=hands)
    if rng.random() < 0.5:
        case.beside = ("0.jpg", "1.jpg")
    else:
        case.options["frame"] = size
    return case


def coco_annotations(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    images, notes, truths = [], [], []
    for number in (7, 3):
        images.append({"id": number, "file_name": f"{number:012}.jpg", "height": size[0], "width": size[1]})
        people, at = people_of(rng, size)
        for index, person in enumerate(people):
            points = listed(person, COCO, rng)
            points[:, 2] = np.where(points[:, 2] > 0, rng.integers(1, 3, 17), 0)
            notes.append(
                {"image_id": number, "category_id": 1, "keypoints": flat(points), "num_keypoints": 17, "id": len(notes)}
            )
            if index == at:
                truths.append(expected(person, True))
    data = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "person", "keypoints": COCO}]}
    return Case(data, truths, size)


def mmpose_inferencer(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people, at = people_of(rng, size)
    entries = []
    for person in people:
        points = listed(person, COCO, rng, spelling(rng, "zeros", "low"))
        entries.append({
            "keypoints": plain(points[:, :2]), "keypoint_scores": points[:, 2].tolist(), "bbox": [[1, 2, 3, 4]],
        })  # fmt: skip
    return framed(rng, size, Case(entries, [expected(people[at], True)], size))


def mmpose_saved(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    frames, truths = [], []
    for number in range(3):
        person = random_person(rng, size)
        points = listed(person, COCO, rng)
        instance = {"keypoints": plain(points[:, :2]), "keypoint_scores": points[:, 2].tolist(), "bbox": [[1, 2, 3, 4]]}
        frames.append({"frame_id": number + 1, "instances": [instance]})
        truths.append(expected(person, True))
    meta = {
        "dataset_name": "coco",
        "num_keypoints": 17,
        "keypoint_id2name": {str(i): name for i, name in enumerate(COCO)},
    }
    return framed(rng, size, Case({"meta_info": meta, "instance_info": frames}, truths, size))


def ultralytics(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people, at = people_of(rng, size)
    fractions = rng.random() < 0.5
    entries = []
    for person in people:
        points = listed(person, COCO, rng)
        points[:, :2] /= size[::-1] if fractions else (1, 1)
        x, y, seen = points.T.tolist()
        entries.append({
            "name": "person", "class": 0, "confidence": 0.9, "box": {"x1": 1, "y1": 2, "x2": 3, "y2": 4},
            "keypoints": {"x": x, "y": y, "visible": seen},
        })  # fmt: skip
    return framed(rng, size, Case(entries, [expected(people[at], True)], size))


def ultralytics_labels(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people, at = people_of(rng, size)
    lines = []
    end = ("", " 0.91", " 0.91 4")[rng.integers(3)]  # the box's confidence, the person's number
    for person in people:
        points = listed(person, COCO, rng)
        points[:, :2] /= size[::-1]
        points[:, 2] = np.where(points[:, 2] > 0, 2, 0)
        lines.append(" ".join(["0 0.5 0.5 0.3 0.9", *(f"{x:.6f} {y:.6f} {v:.0f}" for x, y, v in points)]) + end)
    return framed(rng, size, Case("\n".join(lines), [expected(people[at], True)], size, "pose.txt"))


def marks(points: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> list[dict[str, float]]:
    return [
        {"x": x / size[1], "y": y / size[0], "z": float(rng.normal(0, 0.3)), "visibility": seen}
        for x, y, seen in points
    ]


def mediapipe(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    person = random_person(rng, size)
    one = marks(listed(person, MEDIAPIPE, rng), size, rng)
    world = [{"x": 0.1, "y": -0.2, "z": 0.0, "visibility": 0.9}] * 33
    forms = (
        {"landmarks": one}, one, {"pose_landmarks": {"landmark": one}}, {"landmarks": [one], "worldLandmarks": [world]},
        {"poseLandmarks": one, "poseWorldLandmarks": world},
    )  # fmt: skip
    return framed(rng, size, Case(forms[rng.integers(len(forms))], [expected(person, True)], size))


def mediapipe_frames(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people = [random_person(rng, size) for _ in range(3)]
    found = [marks(listed(person, MEDIAPIPE, rng), size, rng) for person in people]
    data = found if rng.random() < 0.5 else [{"frame": i, "landmarks": one} for i, one in enumerate(found)]
    return framed(rng, size, Case(data, [expected(person, True) for person in people], size))


def tensorflow_js(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    person = random_person(rng, size)
    order = rng.permutation(COCO).tolist()
    points = [
        {"x": x, "y": y, "score": score, "name": name}
        for name, (x, y, score) in zip(order, listed(person, order, rng).tolist(), strict=True)
    ]
    data = {"score": 0.8, "keypoints": points}
    return framed(rng, size, Case(data if rng.random() < 0.5 else [data], [expected(person, True)], size))


def editor(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    person = random_person(rng, size)
    points = plain(listed(person, OPENPOSE, rng, spelling(rng, "minus", "zeros"))[:, :2])
    nested = [points] if rng.random() < 0.5 else points
    return Case({"width": size[1], "height": size[0], "keypoints": nested}, [expected(person, False)], size)


def alphapose_cmu(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people = [random_person(rng, size) for _ in range(2)]
    data = {
        f"{index}.jpg": {"version": "AlphaPose v0.3", "bodies": [{"joints": flat(listed(person, OPENPOSE, rng))}]}
        for index, person in enumerate(people)
    }
    return Case(data, [expected(person, False) for person in people], size, beside=("0.jpg", "1.jpg"))


def annotation_csv(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people = [random_person(rng, size) for _ in range(3)]
    lines, truths = ["name:keypoints_y:keypoints_x"], []
    for index, person in enumerate(people):
        points = np.rint(listed(person, OPENPOSE, rng, "minus")[:, :2]).astype(int)
        lines.append(f"{index}.jpg: {points[:, 1].tolist()}: {points[:, 0].tolist()}")
        truth = expected(person, False)
        truths.append(np.where(truth[:, 2:] > 0, np.rint(truth), 0))
    return Case("\n".join(lines), truths, size, "annotation.csv", {"frame": size})


def pidm_text(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    person = random_person(rng, size)
    points = listed(person, OPENPOSE, rng, "minus")[:, :2]
    separator = str(rng.choice([" ", ", ", "\t"]))
    text = "\n".join(separator.join(f"{value:.3f}" for value in row) for row in points)
    return framed(rng, size, Case(text, [expected(person, False)], size, "pose.txt"))


def numpy_array(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    person = random_person(rng, size)
    names = (OPENPOSE, COCO, MEDIAPIPE)[rng.integers(3)]
    points = listed(person, names, rng, spelling(rng, "minus", "nan"))
    width = int(rng.integers(2, 4))
    if width == 3 and names is MEDIAPIPE:
        points[:, 2] = rng.normal(0, 0.3, 33)  # depth
    if rng.random() < 0.3:
        points[:, :2] = np.where(points[:, :2] == -1, -1, points[:, :2] / size[::-1])
    values = points[:, :width].astype(np.float32)
    return framed(rng, size, Case(values, [expected(person, names is not OPENPOSE)], size, "pose.npy"))


def points_in_json(rng: np.random.Generator) -> Case:
    size = random_size(rng)
    people = [random_person(rng, size) for _ in range(2)]
    if rng.random() < 0.5:
        data: Any = [plain(listed(person, OPENPOSE, rng)) for person in people]
    else:
        people = people[:1]
        data = dict(zip(COCO, plain(listed(people[0], COCO, rng)), strict=True))
    truths = [expected(person, isinstance(data, dict)) for person in people]
    return framed(rng, size, Case(data, truths, size))


KINDS: dict[str, Callable[[np.random.Generator], Case]] = {
    "OpenPose, COCO_18": openpose,
    "OpenPose, BODY_25, no frame": openpose_body_25,
    "OpenPose, fractions": openpose_fractions,
    "OpenPose, [-1, 1]": openpose_signed,
    "OpenPose before 1.3": openpose_before_1_3,
    "OpenPose, list of frames": openpose_frames,
    "OpenPose with hands and face": openpose_hands,
    "AlphaPose / COCO results, COCO-17": lambda rng: results(rng, COCO, 17),
    "AlphaPose, Halpe-26": lambda rng: results(rng, HALPE, 26),
    "AlphaPose, Halpe-136": lambda rng: results(rng, HALPE, 136),
    "whole body 133": lambda rng: results(rng, COCO, 133),
    "AlphaPose, cmu": alphapose_cmu,
    "COCO annotations": coco_annotations,
    "MMPose inferencer": mmpose_inferencer,
    "MMPose save_pred": mmpose_saved,
    "Ultralytics JSON": ultralytics,
    "Ultralytics labels": ultralytics_labels,
    "MediaPipe": mediapipe,
    "MediaPipe, frames": mediapipe_frames,
    "TensorFlow.js, by name": tensorflow_js,
    "editors in the browser": editor,
    "annotation CSV": annotation_csv,
    "PIDM text": pidm_text,
    "NumPy": numpy_array,
    "points in JSON": points_in_json,
}
