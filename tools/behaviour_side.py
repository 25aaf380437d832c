"""Runs one source tree's jobs for `compare_behaviour.py`, each in a fork of a process that has loaded the libraries.

PYTHONPATH=TREE/src python tools/behaviour_side.py TREE/src < jobs.json

A job: ``copy`` (folder -> new place) happens first, then ``code`` or the command ``imagpose`` with ``arguments``. Its output
goes to ``<number>.txt``, its exit code to a line of standard output.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import imagpose


def run(job: dict[str, Any]) -> None:
    """Do a job in this process; leaves it as the job does."""
    for folder, place in job["copy"].items():
        shutil.copytree(folder, place)
    if job["code"]:
        exec(job["code"], {"__name__": "__main__"})
    else:
        sys.argv = ["imagpose", *job["arguments"]]
        runpy.run_module("imagpose", run_name="__main__", alter_sys=True)


def in_fork(job: dict[str, Any], output: Path) -> int:
    """Exit code of a job that is done in a fork."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    code = 1
    try:
        run(job)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Refuse another tree than the one that is meant, then do the jobs of standard input."""
    if Path(sys.argv[1]).resolve() not in Path(imagpose.__file__).resolve().parents:
        sys.exit(f"{imagpose.__file__} is imported instead of {sys.argv[1]}")
    _ = imagpose.IMAGPosePipeline  # loads torch, diffusers and transformers: most of a short command's time
    for number, job in enumerate(json.load(sys.stdin)):
        print(in_fork(job, Path(f"{number}.txt")), flush=True)


if __name__ == "__main__":
    main()
