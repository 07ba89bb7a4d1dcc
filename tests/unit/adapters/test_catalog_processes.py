"""Several processes on one catalog: nothing that was acknowledged is lost."""

import multiprocessing
from itertools import pairwise

from adapters.catalog import Catalog
from adapters.types import ReplicaReport
from tests.adapter_factory import make_version

WRITERS = 4
CHANGES = 12


def _write(url: str, writer: int) -> None:
    """What one process does: migrate, as every start does, then change the catalog as fast as it can."""
    catalog = Catalog(url)
    catalog.migrate()
    for number in range(CHANGES):
        version = make_version("shared", f"{writer}-{number}")
        assert catalog.register(version, f"writer-{writer}")
        catalog.promote("shared", version.name, f"writer-{writer}")
        catalog.pin(version.name, f"writer-{writer}")
        catalog.report(ReplicaReport(f"replica-{writer}", catalog.revision(), True, ()))
    catalog.close()


def test_processes_that_write_at_once_lose_nothing(state_url: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["adapters.catalog", "tests.adapter_factory"])
    writers = [context.Process(target=_write, args=(state_url, number)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS

    catalog = Catalog(state_url)
    snapshot = catalog.snapshot()
    everything = WRITERS * CHANGES
    assert snapshot.revision == 3 * everything, "one step for every change"
    assert len(snapshot.versions) == len(snapshot.pins) == everything
    history = catalog.history("shared", limit=1000)
    assert len(history) == 3 * everything

    promotions = [event for event in reversed(history) if event.action == "promote"]
    for before, after in pairwise(promotions):
        assert after.detail == f"was {before.version}", "each promotion saw the one before it"
    assert snapshot.aliases["shared"].stable == promotions[-1].version
    assert snapshot.aliases["shared"].previous == promotions[-2].version
    assert {report.replica for report in catalog.replicas(60)} == {f"replica-{number}" for number in range(WRITERS)}
    catalog.close()
