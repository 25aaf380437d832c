"""The networks' files out of a wheel that a stand-in for pip makes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from imagpose.pose import blazepose_files
from imagpose.pose.blazepose_files import install, network_files
from imagpose.pose.detection import open_detector

FILES = {
    "mediapipe/modules/pose_detection/pose_detection.tflite": b"people",
    "mediapipe/a/pose_landmark_full.tflite": b"points",
}


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Stands in for pip: writes a wheel of `contents`, or fails with `error`; counts its calls."""

    class Pip:
        contents, error, calls = dict(FILES), "", 0

        def run(self, command: list[str], **_options) -> subprocess.CompletedProcess[str]:
            self.calls += 1
            assert command[:4] == [sys.executable, "-m", "pip", "download"] and "--no-deps" in command
            assert command[-1] == "mediapipe==0.10.14" and any("--platform=" in word for word in command)
            (folder,) = (word.partition("=")[2] for word in command if word.startswith("--dest="))
            if not self.error:
                with zipfile.ZipFile(Path(folder) / "mediapipe-0.10.14.whl", "w") as wheel:
                    for name, content in self.contents.items():
                        wheel.writestr(name, content)
            return subprocess.CompletedProcess(command, bool(self.error), "", self.error)

    own = Pip()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(blazepose_files, "_FILES", digests)
    monkeypatch.setattr(subprocess, "run", own.run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return own


def test_both_files_come_out_of_the_wheel_once(pip, tmp_path: Path) -> None:
    files = install()
    assert files == network_files()
    assert [file.read_bytes() for file in files] == list(FILES.values())
    assert sorted(files) == sorted((tmp_path / "imagpose" / "pose").iterdir())
    assert install() == files and pip.calls == 1


def test_damaged_files_are_fetched_again(pip) -> None:
    install()[1].write_bytes(b"poin")
    assert install()[1].read_bytes() == b"points" and pip.calls == 2


def test_another_network_is_refused_and_nothing_is_written(pip, tmp_path: Path) -> None:
    pip.contents = {name: content + b"!" for name, content in FILES.items()}
    with pytest.raises(OSError, match=r"pose_detection\.tflite in mediapipe-0\.10\.14\.whl has SHA-256"):
        install()
    pip.contents = {}
    with pytest.raises(OSError, match=r"holds no mediapipe/modules/pose_detection"):
        install()
    assert not (tmp_path / "imagpose").exists()


def test_what_pip_says_is_passed_on(pip) -> None:
    pip.error = "Looking in indexes\nERROR: No matching distribution found for mediapipe==0.10.14\n"
    with pytest.raises(OSError, match=r"pip cannot download mediapipe==0\.10\.14: ERROR: No matching"):
        install()


def test_without_files_the_message_names_the_command(pip) -> None:
    with pytest.raises(FileNotFoundError, match="imagpose poses setup"):
        open_detector()


def test_detectors_have_names() -> None:
    with pytest.raises(ValueError, match="detector 'yolo'; one of mediapipe, rtmlib, rtmlib-cuda expected"):
        open_detector("yolo")
