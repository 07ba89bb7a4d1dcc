"""The pages for people, in a real browser: they render without a complaint, fit, and know light and dark."""

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from serving.cli.main import build_app
from serving.cli.prometheus import Series
from serving.cli.report_data import Drift, Event, Findings, Totals, span_of
from serving.cli.report_page import report_html
from tests.api.test_admin import ADMIN_KEY, keys
from tests.chromium import Chromium, chromium
from tests.lifecycle import until
from tests.living import Living, living

WIDTHS = (400, 1400)
LONG = "a-task-with-a-name-as-long-as-names-may-be-which-is-63-letters-"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


async def fits_everywhere(browser: Chromium, url: str, folder: Path, name: str, **options: Any) -> None:
    """The page at every width, light and dark: no complaint, no overflow, a background that follows the scheme."""
    for width in WIDTHS:
        backgrounds = set()
        for dark in (False, True):
            await browser.open(url, width=width, dark=dark, **options)
            await browser.screenshot(folder / f"{name}-{width}-{'dark' if dark else 'light'}.png")
            assert await browser.ask("window.innerWidth") == width
            assert await browser.complaints() == []
            assert await browser.overflow() <= 0, f"{name} at {width} px"
            backgrounds.add(await browser.ask(BACKGROUND))
        assert len(backgrounds) == 2


async def two_versions(it: Living) -> str:
    """A stable version and a canary on the page; the canary's name."""
    await it.add(1, promote=True)
    canary = await it.add(2)
    await it.admin("POST", "/adapters/triage/canary", {"version": canary, "share": 0.25})

    async def is_told() -> bool:
        return (await it.http.get("/status")).text.count(canary) >= 3

    await until(is_told, "the canary on the page")
    return canary


async def test_the_status_page_renders(tmp_path: Path) -> None:
    tasks = {LONG[:63].rstrip("-"): {"adapter": "triage"}, "labels": {"adapter": "triage"}}
    async with living(tmp_path, tasks=tasks) as it, chromium(tmp_path) as browser:
        canary = await two_versions(it)
        url = f"{str(it.http.base_url).rstrip('/')}/status?refresh=600"
        await fits_everywhere(browser, url, tmp_path, "status")
        assert canary in await browser.ask("document.body.innerText")
        # Its style is applied: the policy names the right digest.
        assert await browser.ask("getComputedStyle(document.querySelector('.cards')).display") == "grid"


async def test_a_browser_gets_in_with_the_key_as_a_password(tmp_path: Path) -> None:
    async with living(tmp_path, api_keys=keys()) as it, chromium(tmp_path) as browser:
        credentials = base64.b64encode(f"anybody:{ADMIN_KEY}".encode()).decode()
        url = f"{str(it.http.base_url).rstrip('/')}/status"
        await browser.open(url, width=800, headers={"authorization": f"Basic {credentials}"})
        assert "Parts" in await browser.ask("document.body.innerText")


def wave(labels: dict[str, str], start: float, end: float, step_s: float) -> Series:
    """A line with a hole in it."""
    count = int((end - start) / step_s)
    points = ((start + place * step_s, 0.2 + 0.1 * (place % 7)) for place in range(count) if not 20 < place < 40)
    return Series(labels, tuple(points))


def findings() -> Findings:
    """A day of two versions, with everything that a page can show."""
    span = span_of(86400, time.time())
    one, two = "triage@11111111", "triage@22222222"

    def lines(*every: dict[str, str]) -> tuple[Series, ...]:
        return tuple(wave(labels, span.start, span.end, span.step_s) for labels in every)

    answered = [{"task": LONG, "adapter": one}, {"task": LONG, "adapter": two}]
    return Findings(
        span=span,
        source="the Prometheus at http://127.0.0.1:9090",
        over_time=True,
        totals=tuple(Totals(LONG, each, "stable", 1e6, 12, 3e7, 0.1, 0.4, 0.5, 2.5, 0.93) for each in (one, two)),
        outcomes={LONG: {"ok": 2e6, "timeout": 24.0}},
        lines={
            "requests": lines({"task": LONG}),
            "errors": lines({"task": LONG}),
            "drift": lines({"task": LONG, "signal": "topics"}),
            "quality": lines(*answered),
            "age_p50": lines({"task": LONG}),
            "age_p95": lines({"task": LONG}),
        }
        | {f"{name}_{word}": lines(*answered) for name in ("ttft", "duration") for word in ("p50", "p95")},
        drift=(Drift(LONG, "topics", 0.4, 1e-5, 0.25),),
        parts={(LONG, one, "schema"): 0.99, (LONG, two, "schema"): 0.87},
        retrievals={LONG: {"found": 1e6, "empty": 3.0}},
        ages_s={LONG: (86400.0, 9e6)},
        events=tuple(
            Event(span.start + 3600.0 * hour, "olga", "promote", "triage", one, "x" * 200) for hour in range(1, 5)
        ),
        notes=("The gateway's history could not be read.",),
    )


async def test_the_report_renders(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report_html(findings()), encoding="utf-8")
    async with chromium(tmp_path) as browser:
        await fits_everywhere(browser, page.as_uri(), tmp_path, "report")
        assert await browser.ask("document.querySelectorAll('figure svg').length") == 8
        assert await browser.ask("[...document.querySelectorAll('svg')].every(it => it.clientHeight > 50)")


async def test_a_report_of_the_gateway_alone_renders(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    async with living(tmp_path) as it, chromium(tmp_path) as browser:
        await it.add(1, promote=True)
        assert (await it.ask(stream=True)).status_code == 200
        arguments = ["report", "--out", str(page), "--url", str(it.http.base_url)]
        made = await asyncio.to_thread(CliRunner().invoke, build_app("report"), arguments)
        assert made.exit_code == 0, made.output
        await fits_everywhere(browser, page.as_uri(), tmp_path, "gateway-report")
