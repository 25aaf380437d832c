"""The screenshots of docs/web.md, taken in a real browser from a page with mini.

    python tools/web_pictures.py --out docs/images

Needs the extras web, video and dev, and a Chromium (Playwright's or the system's).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from browsers import launch_chromium
from imagpose.serving.web.limits import Limits
from imagpose.serving.web.server import Address, open_page

_SLOW = 600_000  # milliseconds
_WIDE, _PHONE = {"width": 1280, "height": 900}, {"width": 380, "height": 760}


def opened(browser: Any, url: str, scheme: str, **options: Any) -> Any:
    """The page with two views of a rendered person."""
    context = browser.new_context(color_scheme=scheme, **options)
    context.set_default_timeout(_SLOW)
    tab = context.new_page()
    tab.goto(url)
    tab.locator(".im-stage circle").first.wait_for(state="attached")
    tab.get_by_role("button", name="Rendered person 4", exact=True).click()
    tab.get_by_role("button", name=re.compile("^[+] back")).click()
    return tab


def make(tab: Any, said: str) -> None:
    """Generate, and wait until the page says so and all pictures are there."""
    tab.get_by_role("button", name="Generate", exact=True).click()
    tab.get_by_text(re.compile(said)).wait_for()
    tab.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    tab.evaluate("document.activeElement.blur()")


def take(browser: Any, url: str, out: Path) -> None:
    """All screenshots."""
    tab = opened(browser, url, "light", viewport=_WIDE)
    for name in ("walk-03", "wave-01"):
        tab.get_by_role("button", name=re.compile(f"^Add {name}:")).click()
    make(tab, "3 pictures in")
    tab.screenshot(path=out / "web-desktop.png", full_page=True)

    tab.get_by_role("radio", name="Film").click()
    make(tab, "A film of 25 frames in")
    tab.locator("video").evaluate("video => { video.pause(); video.currentTime = 1; }")
    tab.wait_for_function("!document.querySelector('video').seeking")
    tab.locator("#imagpose-right").screenshot(path=out / "web-film.png")

    tab = opened(browser, url, "dark", viewport=_PHONE, has_touch=True)
    make(tab, "1 picture in")
    editor, right = tab.locator("#imagpose-editor").bounding_box(), tab.locator("#imagpose-right").bounding_box()
    top = editor["y"] + tab.evaluate("scrollY") - 12
    high = right["y"] + right["height"] - editor["y"] + 24
    tab.screenshot(
        path=out / "web-phone.png", full_page=True, clip={"x": 0, "y": top, "width": _PHONE["width"], "height": high}
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with open_page(Address(port=0), ["mini"], Limits(), None) as page, sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        take(browser, page.local_url, out)
        browser.close()


if __name__ == "__main__":
    main()
