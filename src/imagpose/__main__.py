"""`python -m imagpose`, for launchers that start modules (torchrun, accelerate)."""

from imagpose.cli import main

if __name__ == "__main__":
    main()
