"""The package's version, in a file that build tools can read without importing anything."""

__version__ = "0.1.0"
