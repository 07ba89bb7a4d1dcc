"""What a scrape brings together, and what it goes without."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from adapters.types import ReplicaReport
from monitoring.metrics import GatewayMetrics
from retrieval.errors import KnowledgeServerError
from serving.jobs.watch import JobWatch
from serving.peers import Peers
from serving.status import Status
from tests.api.knowledge import MemoryKnowledge


class SilentKnowledge(MemoryKnowledge):
    """Knowledge in a process that does not answer."""

    async def metrics_text(self) -> bytes:
        """Raises KnowledgeServerError."""
        raise KnowledgeServerError("nobody answers")


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics(CollectorRegistry(), replica="a")


def _peers(metrics: GatewayMetrics, *others: str) -> Peers:
    def reports(_: float) -> Sequence[ReplicaReport]:
        return [ReplicaReport(who, 0, ready=True, holdings=(), address="http://127.0.0.1:9/gone") for who in others]

    return Peers("a", reports, metrics.render)


async def test_a_replica_that_was_missed_once_is_not_missed_for_ever(metrics: GatewayMetrics) -> None:
    peers = _peers(metrics, "b")
    await peers.start()
    try:
        scraped = (await Status(metrics, peers).metrics_text()).decode()
    finally:
        await peers.stop()

    assert 'loraplex_silent_replicas{replica="a"} 1.0' in scraped
    assert b'loraplex_silent_replicas{replica="a"} 0.0' in metrics.render()


async def test_a_scrape_goes_without_those_who_do_not_answer(metrics: GatewayMetrics, tmp_path: Path) -> None:
    jobs = JobWatch(f"sqlite:///{tmp_path}/empty.db")
    status = Status(metrics, _peers(metrics), SilentKnowledge(), jobs)
    metrics.set_catalog_reachable(reachable=True)
    scraped = (await status.metrics_text()).decode()
    jobs.close()

    assert 'loraplex_catalog_reachable{replica="a"} 1.0' in scraped
    assert "loraplex_jobs{" not in scraped
