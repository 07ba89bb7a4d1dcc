"""What one scrape tells of fine-tuning jobs.

It is made anew for each scrape, so that what one replica read an hour ago is not still told by it today.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from monitoring.catalogue import JOB_SILENCE, JOBS, TRAINING
from monitoring.recorder import Recorder

REPLICA = "control"
"""Value of the label ``replica``."""


def render_jobs(counts: Mapping[str, int], silence_s: float) -> bytes:
    """An exposition in the text format.

    Args:
        counts: how many jobs there are, by status.
        silence_s: for how long the quietest trainer at work has told nothing, in seconds.
    """
    recorder = Recorder(CollectorRegistry(), TRAINING, replica=REPLICA)
    for status, count in counts.items():
        recorder.gauge(JOBS, status).set(count)
    recorder.gauge(JOB_SILENCE).set(silence_s)
    return recorder.render()
