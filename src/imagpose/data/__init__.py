"""Data sets of people on disk: one format, the commands that make it, and what training reads from it."""
