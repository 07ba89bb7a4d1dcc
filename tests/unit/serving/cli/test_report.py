"""``loraplex report``: what it asks, what it tells, and what it says that it does not know."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from typer.testing import CliRunner

from monitoring.catalogue import CATALOGUE, REQUESTS
from monitoring.readings import read_exposition
from serving.cli.client import REFUSED, UNREACHABLE
from serving.cli.main import build_app
from serving.cli.report_data import over_time, span_of
from tests.lifecycle import until
from tests.live import served
from tests.living import living

ONE, TWO = "triage@11111111", "triage@22222222"
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(1)">'
NOWHERE = "http://127.0.0.1:9"


class Reader(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All texts, with single spaces."""
        return " ".join(" ".join(self.texts).split())


class FakePrometheus:
    """Answers by what a query is about: lines that rise, and one value for a moment."""

    def __init__(self, task: str = "support", *, observed: bool = True, empty: bool = False) -> None:
        self.queries: list[str] = []
        self._task = task
        self._observed = observed
        self._empty = empty

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        query = form["query"]
        self.queries.append(query)
        absent = "loraplex_drift" in query or "loraplex_quality" in query
        labels = [] if self._empty or (absent and not self._observed) else list(self._labels(query))
        if request.url.path.endswith("query_range"):
            result: list[Any] = [{"metric": found, "values": self._line(form)} for found in labels]
        else:
            result = [{"metric": found, "value": [float(form["time"]), "0.5"]} for found in labels]
        answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        await JSONResponse(answer)(scope, receive, send)

    def _labels(self, query: str) -> Iterator[dict[str, str]]:
        """One or two series with the labels that the query groups by."""
        match = re.search(r"by \(([^)]*)\)", query)
        wanted = [] if match is None else [name.strip() for name in match[1].split(",")]
        values = {
            "task": self._task,
            "role": "stable",
            "outcome": "ok",
            "signal": "topics",
            "part": "schema",
            "alias": "triage",
            "action": "promote",
        }
        for adapter in (ONE, TWO) if "adapter" in wanted else (ONE,):
            yield {name: (values | {"adapter": adapter})[name] for name in wanted if name != "le"}

    @staticmethod
    def _line(form: dict[str, str]) -> list[list[Any]]:
        start, end, step = float(form["start"]), float(form["end"]), float(form["step"])
        count = int((end - start) / step)
        places = [*range(count // 3), *range(count // 2, count)]
        return [[start + place * step, str(0.1 + place / count)] for place in places]


def run(*arguments: str | Path, exit_code: int = 0, env: dict[str, str] | None = None) -> str:
    result = CliRunner(env=env).invoke(build_app("report"), ["report", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result.output


async def page_of(prometheus: FakePrometheus, out: Path, *, url: str = NOWHERE) -> str:
    async with served(prometheus) as address:
        await asyncio.to_thread(run, "--prometheus", address, "--url", url, "--out", out)
    return out.read_text(encoding="utf-8")


async def test_a_prometheus_gives_lines_for_every_section(tmp_path: Path) -> None:
    read = Reader(await page_of(FakePrometheus(), tmp_path / "page.html"))

    for title in ("Requests and errors", "Latency", "Adapter changes", "Drift", "Output quality", "Retrieval"):
        assert title in read.text
    assert read.tags.count("svg") == 8
    for expected in (ONE, TWO, "topics", "schema", "the Prometheus at http://127.0.0.1", "50% of the time"):
        assert expected in read.text
    assert "Without a Prometheus" not in read.text


async def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    page = await page_of(FakePrometheus(), tmp_path / "page.html")

    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)


async def test_hostile_names_stay_texts(tmp_path: Path) -> None:
    read = Reader(await page_of(FakePrometheus(HOSTILE), tmp_path / "page.html"))

    assert {"script", "img"} & set(read.tags) == set()
    assert not [name for name in read.attributes if name.startswith("on")]
    assert "alert(1)" in read.text


async def test_without_the_gateway_changes_come_from_the_metrics_and_the_page_says_so(tmp_path: Path) -> None:
    text = Reader(await page_of(FakePrometheus(), tmp_path / "page.html")).text

    assert "The gateway's history could not be read" in text
    assert "as the metrics tell" in text


async def test_the_gateways_history_gives_the_changes_where_it_answers(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        version = await it.add(1, promote=True)
        text = Reader(await page_of(FakePrometheus(), tmp_path / "page.html", url=str(it.http.base_url))).text

    assert version in text
    assert "anonymous" in text
    assert "could not be read" not in text


async def test_a_history_that_may_be_longer_is_said(tmp_path: Path) -> None:
    now = datetime.now(UTC).isoformat()
    event = {"at": now, "actor": "olga", "action": "pin", "alias": "triage", "version": ONE, "detail": ""}

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse({"data": [event] * 1000})(scope, receive, send)

    async with served(gateway) as url:
        text = Reader(await page_of(FakePrometheus(), tmp_path / "page.html", url=url)).text

    assert "there may have been more in this time" in text
    assert "The newest 100 of 1000." in text


async def test_one_of_several_gateways_is_told_of_by_its_job(tmp_path: Path) -> None:
    prometheus = FakePrometheus()
    async with served(prometheus) as address:
        arguments = ("--prometheus", address, "--job", "llm", "--url", NOWHERE, "--out", tmp_path / "page.html")
        await asyncio.to_thread(run, *arguments)

    assert prometheus.queries
    assert [query for query in prometheus.queries if 'job="llm"' not in query or "job=~" in query] == []


def test_a_job_without_a_prometheus_is_a_wrong_use(tmp_path: Path) -> None:
    run("--job", "llm", "--url", NOWHERE, "--out", tmp_path / "page.html", exit_code=2)


async def test_what_is_not_measured_is_said(tmp_path: Path) -> None:
    text = Reader(await page_of(FakePrometheus(observed=False), tmp_path / "page.html")).text

    assert "There are no drift metrics" in text
    assert "There are no metrics of output quality" in text


async def test_a_prometheus_that_knows_nothing_gives_a_page_that_says_so(tmp_path: Path) -> None:
    text = Reader(await page_of(FakePrometheus(empty=True), tmp_path / "page.html")).text

    assert "No request was answered." in text
    assert "Nothing was changed in this time." in text
    assert "No request looked for passages." in text


async def test_without_a_prometheus_the_gateway_tells_its_totals_and_the_page_says_what_it_lacks(
    tmp_path: Path,
) -> None:
    async with living(tmp_path) as it:
        version = await it.add(1, promote=True)
        for _ in range(5):
            assert (await it.ask(stream=True)).status_code == 200

        async def all_are_counted() -> bool:
            scrape = read_exposition((await it.http.get("/metrics")).text, 0.0)
            return sum(scrape.values(REQUESTS.name).values()) == 5

        await until(all_are_counted, "the count of five")
        url = str(it.http.base_url).rstrip("/")
        out = tmp_path / "page.html"
        told = await asyncio.to_thread(run, "--since", "1h", "--out", out, "--url", url)
        summary = json.loads(await asyncio.to_thread(run, "--out", out, "--url", url, "--json"))
    read = Reader(out.read_text(encoding="utf-8"))

    assert f"wrote {out}, from the gateway at {url}" in " ".join(told.split())
    assert "Without a Prometheus there are no lines over time" in read.text
    assert "There are no drift metrics" in read.text
    for expected in (version, "labels", "promote", "anonymous"):
        assert expected in read.text
    assert read.tags.count("svg") == 2
    assert (summary["requests"], summary["changes"]) == (5, 2)


async def test_a_prompt_and_a_key_are_not_on_the_page(tmp_path: Path) -> None:
    secret = "xylophone-4111"
    async with living(tmp_path) as it:
        await it.add(1, promote=True)
        assert (await it.ask(messages=[{"role": "user", "content": secret}])).status_code == 200
        out = tmp_path / "page.html"
        arguments = ("--out", out, "--url", str(it.http.base_url))
        await asyncio.to_thread(run, *arguments, env={"LORAPLEX_API_KEY": "a-secret-key"})
    page = out.read_text(encoding="utf-8")

    assert secret not in page
    assert "a-secret-key" not in page


def test_without_a_gateway_and_a_prometheus_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert "No gateway answers" in run("--url", NOWHERE, "--out", tmp_path / "page.html", exit_code=UNREACHABLE)
    assert not (tmp_path / "page.html").exists()


async def test_a_prometheus_that_is_away_is_told(tmp_path: Path) -> None:
    arguments = ("--prometheus", NOWHERE, "--url", NOWHERE, "--out", tmp_path / "page.html")
    output = await asyncio.to_thread(run, *arguments, exit_code=UNREACHABLE)

    assert "No Prometheus answers" in output
    assert "without it the page is made of what the gateway itself knows" in output


async def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    async with served(FakePrometheus(empty=True)) as address:
        arguments = ("--prometheus", address, "--url", NOWHERE, "--out", tmp_path / "no" / "page.html")
        output = await asyncio.to_thread(run, *arguments, exit_code=REFUSED)
    assert "cannot be written" in output


@pytest.mark.parametrize("since", ["yesterday", "24", "0h", "1s", "59m59s", "-1h", "400d"])
def test_a_time_that_is_none_is_a_wrong_use(tmp_path: Path, since: str) -> None:
    run("--since", since, "--url", NOWHERE, "--out", tmp_path / "page.html", exit_code=2)


@pytest.mark.parametrize("since_s", [60, 1800, 3600, 86400, 7 * 86400, 366 * 86400])
def test_a_span_has_at_most_240_points_and_no_window_leaves_time_out(since_s: int) -> None:
    span = span_of(since_s, time.time())

    assert (span.end - span.start) / span.step_s <= 240.001
    assert span.window_s >= max(span.step_s, 240)


async def test_every_query_is_about_metrics_that_exist(tmp_path: Path) -> None:
    prometheus = FakePrometheus()
    await page_of(prometheus, tmp_path / "page.html")
    known = {spec.name for spec in CATALOGUE} | {f"{spec.name}_bucket" for spec in CATALOGUE if spec.buckets}
    later = re.compile(r"loraplex_(quality|drift)_\w+")
    asked = {name for query in prometheus.queries for name in re.findall(r"loraplex_\w+", query)}

    assert asked
    assert {name for name in asked - known if not later.fullmatch(name)} == set()
    assert set(over_time(span_of(86400, 0.0).window_s).values()) <= set(prometheus.queries)
