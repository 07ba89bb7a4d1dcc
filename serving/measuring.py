"""What one replica shows of itself: its recorder, and its engine's own series beside it."""

import logging
import os
from threading import Lock

from prometheus_client import CollectorRegistry

from monitoring.engine_series import missing_series
from monitoring.exposition import Format
from monitoring.merge import merge
from monitoring.metrics import GatewayMetrics
from monitoring.silent import SilentMetrics
from monitoring.spans import exemplar_trace_id
from serving.config import GatewayConfig
from serving.engine.protocol import Engine, EngineInfo
from serving.errors import ConfigInvalid
from serving.objectives import objectives_of
from serving.observability.logs import lost_lines
from serving.version import gateway_version

logger = logging.getLogger(__name__)


class Measuring:
    """One replica's recorder, and the exposition of it and of the engine."""

    def __init__(self, config: GatewayConfig, engine: Engine, replica: str) -> None:
        self._engine = engine
        self._replica = replica
        self._base_model = config.model.public_name
        self.metrics = _recorder(config, replica)
        self._lost_lines = 0
        self._counting = Lock()

    def render(self, form: Format) -> bytes:
        """This replica's own metrics and its engine's. From any thread: several scrapes may come at once."""
        with self._counting:
            lost = lost_lines()
            self.metrics.log_lines_lost(max(lost - self._lost_lines, 0))
            self._lost_lines = lost
        expositions = (self.metrics.render(form), self._engine_text())
        return merge([(self._replica, exposition) for exposition in expositions], form)

    def note_engine(self, info: EngineInfo) -> tuple[str, ...]:
        """Say what runs here, and return what it does not measure although the dashboards read it, as warnings."""
        name, _, number = info.version.partition(" ")
        self.metrics.set_build(gateway_version(), number if name == "vllm" else "", self._base_model)
        missing = missing_series(info.series, self._engine_text())
        self.metrics.set_missing_engine_series(missing)
        if not missing:
            return ()
        warning = f"the engine lacks the metrics {', '.join(missing)}: dashboards show nothing of them"
        logger.warning("%s", warning)
        return (warning,)

    def _engine_text(self) -> bytes:
        """The engine's own series. Where it fails to tell them, a scrape still has ours."""
        try:
            return self._engine.metrics_text()
        except Exception:
            logger.warning("the engine does not tell its metrics", exc_info=True)
            return b""


def scraper_token(config: GatewayConfig) -> str | None:
    """The token of scrapers, from the environment; None where there is none. Raises ConfigInvalid."""
    variable = config.metrics.token_env
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ConfigInvalid(f"`metrics.token_env`: the environment has no {variable}")
    return token


def _recorder(config: GatewayConfig, replica: str) -> GatewayMetrics:
    settings = config.metrics
    recorder = GatewayMetrics if settings.enabled else SilentMetrics
    return recorder(
        CollectorRegistry(),
        replica=replica,
        series_per_family=settings.series_per_family,
        forget_after_s=settings.forget_after_s,
        objectives=objectives_of(config),
        trace=exemplar_trace_id,
    )
