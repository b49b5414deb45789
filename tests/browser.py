"""A real headless Chromium, driven through chromedriver's HTTP interface."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


def missing() -> str | None:
    """Why there is no browser to test with; None where there is one."""
    if _program() is None:
        return f"none of {', '.join(PROGRAMS)} is installed"
    return "chromedriver is not installed" if shutil.which("chromedriver") is None else None


def _program() -> str | None:
    return next((path for name in PROGRAMS if (path := shutil.which(name)) is not None), None)


@dataclass(frozen=True)
class Browser:
    """A session of chromedriver."""

    address: str

    def command(self, path: str, given: dict[str, Any] | None = None) -> Any:
        data = None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def cdp(self, name: str, **params: Any) -> Any:
        return self.command("/goog/cdp/execute", {"cmd": name, "params": params})

    def look(self, width: int, scheme: str = "light", media: str = "screen") -> None:
        """Sets the width in CSS pixels and what the page's media queries are told."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.cdp("Emulation.setEmulatedMedia", media=media, features=[feature])

    def open(self, path: Path) -> None:
        self.command("/url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs the body of a JavaScript function."""
        return self.command("/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector: str) -> str:
        return str(self.command("/element", {"using": "css selector", "value": selector})[ELEMENT])

    def click(self, selector: str) -> None:
        self.command(f"/element/{self.find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self.command(f"/element/{self.find(selector)}/value", {"text": text})

    def messages(self) -> list[str]:
        """What stands in the console: errors, warnings, and what was refused."""
        return [str(entry["message"]) for entry in self.command("/se/log", {"type": "browser"})]

    def pages(self) -> int:
        """Pages of the paper that it prints on."""
        data = self.cdp("Page.printToPDF", preferCSSPageSize=True)["data"]
        return len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(data)))

    def violations(self) -> list[Any]:
        """What axe-core finds wrong for those who read a page by other means: its rule, and where."""
        self.run((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
        return list(
            self.run(
                "return axe.run().then((found) => found.violations.map((v) => [v.id, v.nodes.map((n) => n.html)]))"
            )
        )

    def screenshot(self, path: Path, whole: bool = True) -> None:
        data = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(data["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.cdp("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Starts a browser with an empty profile, and ends it."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert driver.stdout is not None
        line = next(line for line in driver.stdout if "successfully on port" in line)
        root = Browser(f"http://127.0.0.1:{line.rsplit(' ', 1)[1].strip().rstrip('.')}")
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": _program()}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = root.command("/session", {"capabilities": {"alwaysMatch": wanted}})
        browser = Browser(f"{root.address}/session/{made['sessionId']}")
        try:
            yield browser
        finally:
            request = urllib.request.Request(browser.address, method="DELETE")
            urllib.request.urlopen(request, timeout=60).close()
    finally:
        driver.terminate()
        driver.wait(timeout=30)


def shown(browser: Browser, column: int = 0) -> list[str]:
    """The visible cells of a column of the first table."""
    script = """
        const rows = [...document.querySelector("table").tBodies[0].rows].filter((row) => row.offsetParent !== null);
        return rows.map((row) => row.cells[arguments[0]].firstChild.textContent.trim());
    """
    return [str(cell) for cell in browser.run(script, column)]


def settle(browser: Browser) -> None:
    """Waits until the page has done what follows: a frame later it scrolls, or hears of a dialog's end."""
    browser.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def focus(browser: Browser, selector: str) -> None:
    """Gives an element the focus."""
    browser.run("document.querySelector(arguments[0]).focus()", selector)
    settle(browser)


def leave_dialog(browser: Browser) -> None:
    """Leaves the open dialog by Escape."""
    browser.type("dialog .head button", "\ue00c")
    settle(browser)


def press(browser: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.cdp("Input.dispatchKeyEvent", type=kind, key=key)


def contrast(one: list[int], other: list[int]) -> float:
    """WCAG 2.2's contrast ratio of two colours."""

    def luminance(color: list[int]) -> float:
        parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
