"""A real Prometheus evaluates the scaling measures on a real gateway: load up, more wanted; load down, fewer."""

import asyncio
from pathlib import Path

from monitoring.dashboards.promql import Scope, equals
from monitoring.dashboards.scaling import measures
from tests.lifecycle import until
from tests.living import living
from tests.prometheus_host import Prometheus, program, prometheus

CALLERS = 12
MEASURES = {one.name: one.query.text for one in measures(Scope(equals("loraplex"), "5m"))}


async def _value(server: Prometheus, name: str) -> float | None:
    found = await server.query(MEASURES[name])
    return float(found[0]["value"][1]) if found else None


async def test_requests_in_progress_raise_the_number_that_is_wanted_and_their_end_lowers_it(tmp_path: Path) -> None:
    program("prometheus")
    async with living(tmp_path) as it:
        await it.add(1, promote=True)
        target = it.http.base_url.netloc.decode()
        async with prometheus(tmp_path / "prometheus", target, []) as server:
            assert await _value(server, "inFlight") is None, "nothing was scraped yet: nothing is to change"
            await server.until_scraped(2)
            assert {name: await _value(server, name) for name in MEASURES} == dict.fromkeys(MEASURES, 0.0)

            it.engine.gate.clear()
            asking = [asyncio.create_task(it.ask(stream=True)) for _ in range(CALLERS)]
            await it.engine.until(lambda engine: len(engine.running) == CALLERS)

            async def more() -> bool:
                return (await _value(server, "inFlight") or 0) > CALLERS / 2

            await until(more, "the scrapes of the requests in progress")
            most = await _value(server, "inFlight")
            it.engine.gate.set()
            assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}

            async def fewer() -> bool:
                value = await _value(server, "inFlight")
                return value is not None and most is not None and value < most

            await until(fewer, "the scrapes of their end")
            late = await _value(server, "ttft")
            assert late is not None
            assert late >= 0
