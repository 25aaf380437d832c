"""The browser that pages are looked at with, for tools and tests; needs the extra dev."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright


def launch_chromium(playwright: Playwright) -> Browser:
    """Playwright's own Chromium, or else the system's.

    Raises:
        FileNotFoundError: there is none.
    """
    installed = [playwright.chromium.executable_path]
    installed += filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    found = next((path for path in installed if Path(path).exists()), None)
    if found is None:
        raise FileNotFoundError("needs a Chromium: apt-get install chromium, or playwright install chromium")
    return playwright.chromium.launch(executable_path=found)
