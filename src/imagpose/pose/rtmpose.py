"""Key points found by RTMPose, through rtmlib (extra `rtmlib`), for those who can download its networks.

A person detector (YOLOX) finds the people, RTMPose the 17 COCO key points of each. Source: Jiang et al., "RTMPose:
real-time multi-person pose estimation based on MMPose", 2023; the networks are rtmlib's "balanced" pair.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from imagpose.io import error_line
from imagpose.pose.detector import USABLE_POINTS, PoseDetector, networks_folder
from imagpose.pose.keypoints import Pose
from imagpose.pose.layouts import LAYOUTS, to_body, with_neck

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_NETWORKS = ("det", "pose")  # rtmlib's names of the two
_LEAST_CONFIDENCE = 0.3  # what rtmlib draws; less is a guess


class RTMPose(PoseDetector):
    """rtmlib's person detector and RTMPose."""

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        """Load both networks, from the files that `detection_models` names.

        Args:
            device: "cpu" or "cuda". There is no silent change to the CPU.
            threads: of the CPU; None for all cores.

        Raises:
            ValueError: the extra is not installed, or onnxruntime cannot use the device.
            OSError: a network is not there and cannot be downloaded, or its file is damaged.
        """
        rtmlib = _rtmlib()
        _check_device(device)
        person, keypoint = detection_models()
        sizes = rtmlib.Body.MODE["balanced"]
        self.name = f"{person.stem} and {keypoint.stem}"
        self._find_people = _load(rtmlib.YOLOX, person, sizes["det_input_size"], device, threads)
        self._find_keypoints = _load(rtmlib.RTMPose, keypoint, sizes["pose_input_size"], device, threads)

    def people(self, picture: Image.Image) -> list[Pose]:
        pixels = np.asarray(picture.convert("RGB"))
        # MMDetection trained YOLOX on BGR, MMPose RTMPose on RGB; rtmlib passes on what it is given.
        boxes = np.asarray(self._find_people(np.ascontiguousarray(pixels[:, :, ::-1]))).reshape(-1, 4)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        return self._poses(pixels, boxes[np.argsort(-areas, kind="stable")])

    def in_crop(self, picture: Image.Image) -> Pose | None:
        pixels = np.asarray(picture.convert("RGB"))
        poses = self._poses(pixels, np.array([[0, 0, picture.width, picture.height]]))
        return next((pose for pose in poses if pose.visible.sum() >= USABLE_POINTS), None)

    def _poses(self, pixels: np.ndarray, boxes: np.ndarray) -> list[Pose]:
        """Poses in boxes (n, 4) of left, top, right, bottom; key points of less than 0.3 confidence are missing."""
        if not len(boxes):
            return []
        height, width = pixels.shape[:2]
        places, scores = self._find_keypoints(pixels, bboxes=list(boxes))
        found = []
        for points, confidence in zip(places, scores, strict=True):
            confidence = np.where(confidence < _LEAST_CONFIDENCE, 0.0, confidence).clip(0, 1)
            body = np.nan_to_num(with_neck(to_body(np.column_stack([points, confidence]), LAYOUTS[17].names)))
            found.append(Pose(body, width, height))
        return [pose for pose in found if pose.visible.any()]


def detection_models() -> tuple[Path, Path]:
    """The ONNX files of the person detector and of RTMPose, downloaded if they are not there.

    They lie in the folder of `networks_folder`, where they can be put by hand.

    Raises:
        ValueError: the extra is not installed.
        OSError: a file is not there and cannot be downloaded; the message names it, its folder and its address.
    """
    rtmlib = _rtmlib()
    folder = networks_folder()
    files = []
    for network in _NETWORKS:
        address = rtmlib.Body.MODE["balanced"][network]
        file = folder / f"{Path(address).stem}.onnx"
        if not file.is_file():
            _download(address, file)
        files.append(file)
    return files[0], files[1]


def _download(address: str, file: Path) -> None:
    from rtmlib.tools.file import download_checkpoint

    try:
        download_checkpoint(address, str(file.parent))
    except Exception as error:  # whatever its reader of addresses and archives raises
        # rtmlib keeps an archive that came in part, and would not load it again.
        (file.parent / Path(address).name).unlink(missing_ok=True)
        raise OSError(
            f"cannot download {address} ({error}): unpack it elsewhere, put its end2end.onnx to {file}"
        ) from error


def _rtmlib() -> ModuleType:
    try:
        import rtmlib
    except ImportError as error:
        raise ValueError(
            f'detector rtmlib needs the extra of that name: pip install "imagpose[rtmlib]" ({error})'
        ) from error
    module: ModuleType = rtmlib
    return module


def _check_device(device: str) -> None:
    import onnxruntime

    if device not in _PROVIDERS:
        raise ValueError(f"device {device!r}; one of {', '.join(_PROVIDERS)} expected")
    if _PROVIDERS[device] not in onnxruntime.get_available_providers():
        raise ValueError(
            f"onnxruntime cannot use {device} here: install onnxruntime-gpu in place of onnxruntime, or use cpu"
        )


def _load(kind: Any, file: Path, size: tuple[int, int], device: str, threads: int | None) -> Any:
    """One of rtmlib's networks, without its printed line, in a session of our own: rtmlib's takes all cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            network = kind(str(file), model_input_size=size, backend="onnxruntime", device=device)
        network.session = onnxruntime.InferenceSession(str(file), options, providers=[_PROVIDERS[device]])
    except Exception as error:  # onnxruntime has classes of its own for every kind of damage
        raise OSError(f"{file} cannot be used: {error_line(error, 200)}; remove it to have it downloaded") from error
    if network.session.get_providers()[0] != _PROVIDERS[device]:
        raise ValueError(f"onnxruntime falls back from {device} to the CPU here: check its installation, or use cpu")
    return network
