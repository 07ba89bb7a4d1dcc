"""A process that hosts a gateway with fine-tuning on loopback, for tests that kill it.

    python -m tests.integration.jobs_host FOLDER

It writes one line, a JSON object with its ``url``, once it answers.
"""

import asyncio
import json
import sys
from pathlib import Path

from tests.jobs_live import jobs_config, live_jobs


async def main() -> None:
    """Host one gateway until killed."""
    folder = Path(sys.argv[1])
    async with live_jobs(jobs_config(folder), folder) as live:
        print(json.dumps({"url": live.url}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
