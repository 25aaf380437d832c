"""`python -m imagpose`, for launchers that start modules (torchrun, accelerate)."""

from imagpose.cli import main

main()
