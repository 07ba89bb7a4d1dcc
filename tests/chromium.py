"""A headless Chromium, driven over WebDriver (W3C Recommendation) by HTTP alone."""

import asyncio
import base64
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lifecycle import until

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Chromium:
    """One browser session."""

    http: httpx.AsyncClient
    session: str

    async def open(self, url: str, *, width: int, dark: bool = False, headers: dict[str, str] | None = None) -> None:
        """Show a page in a window of ``width`` pixels, and wait until it is loaded."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self._devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._devtools("Emulation.setEmulatedMedia", {"media": "screen", "features": [scheme]})
        if headers:
            await self._devtools("Network.enable", {})
            await self._devtools("Network.setExtraHTTPHeaders", {"headers": headers})
        await self._call("POST", "url", {"url": url})

    async def complaints(self) -> list[str]:
        """What the browser's console said since the last time: warnings and errors."""
        entries = await self._call("POST", "se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    async def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        return await self._call("POST", "execute/sync", {"script": f"return {script}", "args": []})

    async def overflow(self) -> int:
        """By how many pixels the page is wider than its window; 0 where it fits."""
        return int(await self.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    async def screenshot(self, path: Path) -> None:
        """Keep a picture of what is seen, for people."""
        path.write_bytes(base64.b64decode(await self._call("GET", "screenshot")))

    async def _devtools(self, command: str, parameters: dict[str, Any]) -> None:
        await self._call("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = await self.http.request(method, f"/session/{self.session}/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()["value"]


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Chromium]:
    """A browser of its own. Skips the test where there is none."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (on Debian `make tools` installs them)")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (folder / "chromedriver.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(driver, f"--port={port}", stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=_START_S, trust_env=False) as http:
            await until(lambda: _is_up(http), "chromedriver's start")
            session = await _begin(http, browser, folder)
            try:
                yield Chromium(http, session)
            finally:
                await http.delete(f"/session/{session}")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _is_up(http: httpx.AsyncClient) -> bool:
    try:
        return bool((await http.get("/status")).json()["value"]["ready"])
    except (httpx.HTTPError, ValueError, KeyError):
        return False


async def _begin(http: httpx.AsyncClient, browser: str, folder: Path) -> str:
    options = {"binary": browser, "args": [*_ARGUMENTS, f"--user-data-dir={folder / 'profile'}"]}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    answer = await http.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
    assert answer.is_success, answer.text
    return str(answer.json()["value"]["sessionId"])
