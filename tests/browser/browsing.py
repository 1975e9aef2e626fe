"""A real browser before a real API: Debian's chromium, driven by Playwright.

What a page does wrong by itself is gathered while it is used: errors in its console, uncaught ones, requests to another origin. `Visitor`
opens pages by their place behind the `#`, waits until what they load has come, and asks checks.js about them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Route, sync_playwright

from tests.system.running import ROOT

CHECKS = (Path(__file__).parent / "checks.js").read_text()
HEIGHT = 800
WIDE, NARROW = 1280, 360
LIMIT_MS = 30_000
NO_CHROMIUM = "chromium is not installed: apt-get install chromium"
PATHS = {f"{ROOT}/tests/browser": "/app/shop", "tests.browser.tasks": "shop.tasks"}
"""As pictures show them."""


def chromium_path() -> str:
    """Without chromium the test is skipped at home, and fails in CI."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            raise AssertionError(NO_CHROMIUM)
        pytest.skip(NO_CHROMIUM)
    return path


@contextmanager
def chromium() -> Iterator[Browser]:
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One window of one browser session. `faults`: what went wrong in the page so far. `pictures`: a folder; without it none are made."""

    def __init__(
        self, browser: Browser, url: str, *, width: int = WIDE, theme: Any = "light", pictures: Path | None = None
    ) -> None:
        self.url = url
        self.pictures = pictures
        self.faults: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": HEIGHT}, color_scheme=theme
        )
        self.context.set_default_timeout(LIMIT_MS)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda fault: self.faults.append(f"uncaught: {fault}"))
        self.page.on("request", self._on_request)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def hide(self, names: Mapping[str, str]) -> None:
        """For pictures: paths of the machine on which they are made are shown as others."""

        def renamed(route: Route) -> None:
            answer = route.fetch()
            text = answer.text()
            for name, instead in names.items():
                text = text.replace(name, instead)
            route.fulfill(response=answer, body=text)

        self.context.route("**/api/v1/jobs/*", renamed)

    def open(self, place: str = "") -> Page:
        """`place`: such as `jobs?status=failed`. Returns when all that it loads has come."""
        target = f"{self.url}/#/{place}"
        if self.page.url != target:
            self.page.goto(target)
        self.settle()
        return self.page

    def settle(self) -> None:
        self.page.wait_for_selector("main:not([aria-busy]) h1")

    def check(self, name: str) -> list[str]:
        """The findings of one function of checks.js."""
        return list(self.page.evaluate(f"() => {{ {CHECKS}; return {name}(); }}"))

    def picture(self, name: str) -> None:
        if self.pictures is not None:
            self.page.screenshot(path=self.pictures / f"dashboard-{name}.png", animations="disabled")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Request) -> None:
        wanted, asked = urlsplit(self.url), urlsplit(request.url)
        if asked.scheme not in ("data", "blob") and asked.netloc != wanted.netloc:
            self.faults.append(f"request to another origin: {request.url}")
