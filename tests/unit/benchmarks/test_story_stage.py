"""The story's stage, callers and judge together, on a whole gateway over a fake engine."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.admin import Admin
from benchmarks.story_acts import ALIAS, PARTS, Stage, report, timeline_of
from benchmarks.story_check import by_edition, describe, violations
from benchmarks.story_rows import Prompt
from benchmarks.story_traffic import Traffic
from benchmarks.wire import Address
from tests.living import Living, living

pytestmark = pytest.mark.timeout(240)


@dataclass
class Seeded:
    """Makes versions of random weights; the fourth breaks half of its answers."""

    house: Living
    admin: Admin

    async def make(self, number: int) -> str:
        """Add one, and begin its rollout."""
        version = await self.house.add(number)
        if number == 4:
            self.house.engine.broken[version] = 0.5
        await self.admin.begin_rollout(ALIAS, version, examine=False)
        return version


async def test_a_good_version_is_promoted_and_a_broken_one_is_gone_with_nobody_failing(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        parts = urlsplit(str(house.http.base_url))
        address = Address(parts.hostname or "", parts.port or 0)
        admin = Admin(address)
        traffic = Traffic(address, "labels", [Prompt("Ledger is down", "outage")], callers=200, judged=0.1)
        stage = Stage(admin, Seeded(house, admin), traffic, slow_per_s=50.0, patience_s=60.0)
        first, better, _, broken = PARTS
        await stage.play(first)
        asking = asyncio.create_task(traffic.run(4))
        try:
            for part in (better, broken):
                await stage.play(part)
                await traffic.answered(10)
        finally:
            traffic.stop()
            await asking
        history = await admin.history(ALIAS)

    assert [act.phase for act in stage.acts] == [first.ends, better.ends, broken.ends]
    assert (describe(traffic.exchanges)["failed"], traffic.refused_feedback) == (0, [])
    hands = {act.version: "no edition" for act in stage.acts}
    assert violations(traffic.exchanges, hands, by_edition, timeline_of(stage.acts)) == []
    told = report(stage.acts[-1], traffic.exchanges, clock=0.0)
    assert "worse than" in told["reason"]
    assert told["until_rollback"]["candidate_requests_in_all"] > 0
    assert {event["actor"] for event in history} >= {"rollout"}
