"""The web page: `imagpose web` (extra web)."""
