"""The tiny pipeline for all tests here."""

from tiny_pipeline import build_pipeline, picture, pipeline, pose, seeded

__all__ = ["build_pipeline", "picture", "pipeline", "pose", "seeded"]
