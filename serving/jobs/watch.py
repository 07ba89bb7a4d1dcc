"""``JobWatch``: what the state database says of fine-tuning jobs, for a scrape."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from adapters.database import Database
from monitoring.jobs import render_jobs
from serving.jobs.records import Jobs
from serving.jobs.tables import SCHEMA
from serving.jobs.types import ACTIVE, UNFINISHED


class JobWatch:
    """Reads only. Any replica can do it, wherever the control plane lives.

    Args:
        url: the state database.
        clock: Unix seconds.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(url, SCHEMA)
        self._jobs = Jobs(self._database)
        self._clock = clock
        # Where the database hangs, one thread does, and none of those that everything else shares.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="job-watch")

    async def metrics_text(self) -> bytes:
        """Jobs by status, and the longest silence of a trainer at work. Raises CatalogUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def _read(self) -> bytes:
        counts = self._jobs.counts()
        heard_at = self._jobs.heard_at(ACTIVE)
        silence_s = 0.0 if heard_at is None else max(self._clock() - heard_at, 0.0)
        return render_jobs({status.value: counts.get(status, 0) for status in UNFINISHED}, silence_s)
