"""``loraplex report`` over a real Prometheus that scrapes a real gateway."""

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

from monitoring.catalogue import REQUESTS
from serving.cli.prometheus import Prometheus
from serving.cli.report_data import Findings, from_prometheus, span_of
from serving.cli.report_page import report_html
from tests.lifecycle import until
from tests.living import living
from tests.prometheus_host import prometheus


async def test_it_takes_every_query_and_tells_what_happened(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        version = await it.add(1, promote=True)
        target = urlsplit(str(it.http.base_url)).netloc
        async with prometheus(tmp_path / "prometheus", target, []) as server:
            client = Prometheus(str(server.http.base_url))

            def look() -> Findings:
                return from_prometheus(client, span_of(600, time.time()), None)

            async def is_scraped() -> bool:
                query = f'{REQUESTS.name}{{adapter="{version}"}}'
                return bool(await asyncio.to_thread(client.query, query, time.time()))

            assert (await it.ask(stream=True)).status_code == 200
            await until(is_scraped, "the first scrape of the version")
            for _ in range(10):
                assert (await it.ask(stream=True)).status_code == 200

            async def is_counted() -> bool:
                found = await asyncio.to_thread(look)
                return any(row.requests > 5 and row.ttft_p95_s is not None for row in found.totals)

            await until(is_counted, "the growth of the counters")
            found = await asyncio.to_thread(look)
            client.close()

    [row] = [row for row in found.totals if row.adapter == version]
    assert (row.task, row.role, row.failed) == ("labels", "stable", 0)
    assert set(found.outcomes) == {"labels"}
    assert found.lines["requests"]
    assert found.lines["errors"][0].last == 0
    assert found.lines["ttft_p95"][0].labels["adapter"] == version
    assert version in report_html(found)
