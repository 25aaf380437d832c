"""Key points found in a picture by RTMPose, through rtmlib (extra `pose`).

A person detector (YOLOX) finds the people, RTMPose the 17 COCO key points of the largest. Source: Jiang et al., "RTMPose:
real-time multi-person pose estimation based on MMPose", 2023; the networks are rtmlib's "balanced" pair.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from imagpose.pose.keypoints import Pose
from imagpose.pose.layouts import LAYOUTS, to_body, with_neck

__all__ = ["DEVICES", "PoseDetector", "detection_models"]

DEVICES = ("cpu", "cuda")
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_NETWORKS = ("det", "pose")  # rtmlib's names of the two
_LEAST_CONFIDENCE = 0.3  # what rtmlib draws; less is a guess


class PoseDetector:
    """Finds the pose of the largest person in a picture.

    Attributes:
        name: of both networks' files, which decide what is found.
    """

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

    def __call__(self, picture: Image.Image) -> Pose:
        """The pose of the largest person in the picture's frame; key points of less than 0.3 confidence are missing.

        Warns with UserWarning where there are several people.

        Raises:
            ValueError: nobody was found.
        """
        pixels = np.asarray(picture.convert("RGB"))
        # MMDetection trained YOLOX on BGR, MMPose RTMPose on RGB; rtmlib passes on what it is given.
        boxes = np.asarray(self._find_people(np.ascontiguousarray(pixels[:, :, ::-1]))).reshape(-1, 4)
        if not len(boxes):
            raise ValueError("nobody was found in the picture")
        if len(boxes) > 1:
            warnings.warn(f"{len(boxes)} people in the picture; the largest is taken", UserWarning, stacklevel=2)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        places, scores = self._find_keypoints(pixels, bboxes=[boxes[areas.argmax()]])
        confidence = np.where(scores[0] < _LEAST_CONFIDENCE, 0.0, scores[0]).clip(0, 1)
        if not confidence.any():
            raise ValueError("a person was found in the picture, but no key point")
        body = to_body(np.column_stack([places[0], confidence]), LAYOUTS[17].names)
        return Pose(np.nan_to_num(with_neck(body)), picture.width, picture.height)


def detection_models() -> tuple[Path, Path]:
    """The ONNX files of the person detector and of RTMPose, downloaded if they are not there.

    They lie in ``imagpose/pose`` below the user's folder of caches (``$XDG_CACHE_HOME``, else ``~/.cache``), where they
    can be put by hand.

    Raises:
        ValueError: the extra is not installed.
        OSError: a file is not there and cannot be downloaded; the message names it, its folder and its address.
    """
    rtmlib = _rtmlib()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "imagpose" / "pose"
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
        raise ValueError(f"poses are detected by the extra 'pose': pip install \"imagpose[pose]\" ({error})") from error
    return rtmlib


def _check_device(device: str) -> None:
    import onnxruntime

    if device not in DEVICES:
        raise ValueError(f"device {device!r}; one of {', '.join(DEVICES)} expected")
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
        raise OSError(
            f"{file} cannot be used: {' '.join(str(error).split())[:200]}; remove it to have it downloaded"
        ) from error
    if network.session.get_providers()[0] != _PROVIDERS[device]:
        raise ValueError(f"onnxruntime falls back from {device} to the CPU here: check its installation, or use cpu")
    return network
