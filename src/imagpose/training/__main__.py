"""``python -m imagpose.training <stage> --config FILE [key=value ...] [--resume latest] [--stop-after 50m]``."""

import argparse
import importlib

from imagpose.training.config import parse_duration

parser = argparse.ArgumentParser()
parser.add_argument("stage")
parser.add_argument("--config", required=True)
parser.add_argument("--resume")
parser.add_argument("--stop-after", type=parse_duration)
parser.add_argument("overrides", nargs="*")
arguments = parser.parse_intermixed_args()
module = importlib.import_module(f"imagpose.training.{arguments.stage}")
train = getattr(module, f"train_{arguments.stage}")
outcome = train(arguments.config, arguments.overrides, arguments.resume, arguments.stop_after)
print(outcome.reason, outcome.step, outcome.validation)
