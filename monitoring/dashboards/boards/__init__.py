"""The dashboards, a module each."""

from monitoring.dashboards.boards.adapters import ADAPTERS
from monitoring.dashboards.boards.engine import ENGINE_AND_HARDWARE
from monitoring.dashboards.boards.overview import OVERVIEW
from monitoring.dashboards.boards.quality import DRIFT_AND_QUALITY
from monitoring.dashboards.boards.retrieval import RETRIEVAL
from monitoring.dashboards.boards.versions import VERSIONS

DASHBOARDS = (OVERVIEW, VERSIONS, ADAPTERS, RETRIEVAL, DRIFT_AND_QUALITY, ENGINE_AND_HARDWARE)
