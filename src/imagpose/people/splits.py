"""Which identity seeds the project trains on and which it never shows to a model in training."""

from __future__ import annotations

TRAIN_SEEDS = range(1_000_000)
VALIDATION_SEEDS = range(1_000_000, 2_000_000)
TEST_SEEDS = range(2_000_000, 3_000_000)
# Seeds from here on are left to others, who may judge our models on people that we cannot have seen.
RESERVED_FROM = 10_000_000


def split_of(seed: int) -> str:
    """Name of the split ("train", "validation", "test", "free" or "reserved") that an identity seed belongs to."""
    for name, seeds in (("train", TRAIN_SEEDS), ("validation", VALIDATION_SEEDS), ("test", TEST_SEEDS)):
        if seed in seeds:
            return name
    return "reserved" if seed >= RESERVED_FROM else "free"
