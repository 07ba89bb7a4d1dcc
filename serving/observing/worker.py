"""Observes a replica's finished requests in a process of its own: ``python -m serving.observing.worker``.

It reads JSON objects from its standard input, one a line, and answers each with a line. The first one is ``{"config",
"replica"}``, answered with a ``problem`` where it cannot begin; then come ``{"records"}``, each answered with what the
checks found, and in the end ``{"stop": true}``. Whatever it says holds nothing of a prompt or an answer. It ends
with its standard input: its parent has died.
"""

import os
import queue
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any

import orjson

from adapters.catalog import Catalog
from adapters.database import Database
from adapters.sample_records import SampleRecords
from monitoring.quality.options import ScoreOptions
from retrieval.embedding import Embedder
from serving.config import GatewayConfig, MonitoringSettings, parse_config
from serving.life.scoring import Scorers
from serving.observing.checking import Checker, Looked
from serving.observing.embedding import PromptEmbedder, embedder_settings, load_embedder
from serving.observing.facts import Fact
from serving.observing.judged import Judge, Judging, Sampled
from serving.observing.keeper import Keeper
from serving.observing.notes import ANSWER, Record
from serving.observing.options import score_options
from serving.observing.records import MonitoringRecords
from serving.observing.references import TrainingData
from serving.observing.rollout_scores import RolloutScores
from serving.observing.tables import SCHEMA
from serving.observing.windows import Means, Windows
from serving.process.priority import step_back
from serving.settings.monitoring import DriftSettings

_NICENESS = 19


class Worker:
    """Checks records at once, and leaves the rest to threads of its own.

    Args:
        judge: gives verdicts; default: as the scoring of rollouts does.
        make_embedder: loads the embedder; default: the one that the configuration names.
    """

    def __init__(
        self,
        config: GatewayConfig,
        settings: MonitoringSettings,
        replica: str,
        *,
        judge: Judge | None = None,
        make_embedder: Callable[[], Embedder] | None = None,
    ) -> None:
        self._settings = settings
        self._checker = Checker(config, settings)
        self._scores: dict[str, ScoreOptions | None] = {}
        self._told: dict[str, Any] | None = None
        source = f"{replica}:{uuid.uuid4().hex[:12]}"
        catalog = Catalog(config.state.url)
        records = MonitoringRecords(Database(config.state.url, SCHEMA), source)
        self._judging = Judging(judge or Scorers().answer, records.spend)
        self._rollouts = RolloutScores(SampleRecords(catalog, f"observer:{source}"), config.adapters.rollouts)
        embedder = PromptEmbedder(make_embedder or (lambda: load_embedder(config, embedder_settings(config))))
        means = Means(embedder.vectors, lambda: embedder.name, self._checker.language)
        drift = settings.drift or DriftSettings()
        training = TrainingData(config)
        self.keeper = Keeper(
            records,
            embedder,
            lambda: Windows(config, settings, means),
            lambda version: training.rows(version, drift.reference_requests),
            lambda: set(catalog.snapshot().versions),
            write=self._rollouts.write,
            check_s=drift.check_interval_s,
        )

    def start(self) -> None:
        """Begin what goes on beside the checks."""
        self.keeper.start()
        self._judging.start()

    def stop(self) -> None:
        """Write down what is known."""
        self.keeper.stop()

    def observe(self, records: Sequence[Record]) -> dict[str, Any]:
        """What the records showed, for the replica's metrics; and how things stand."""
        counts: Counter[tuple[str, str, str, str, bool]] = Counter()
        confidence: list[list[Any]] = []
        lags: list[float] = []
        facts: list[Fact] = []
        observed = 0
        failed: Counter[str] = Counter()
        for record in records:
            try:
                looked = self._look(record)
            except Exception as error:  # its text may quote the record; what is not observed counts as dropped
                failed[type(error).__name__] += 1
                continue
            facts.append(looked.fact)
            _count(counts, looked)
            if record["kind"] == ANSWER:
                observed += 1
                lags.append(time.time() - record["at"])
                if looked.logprob is not None or looked.entropy is not None:
                    confidence.append([record["task"], record["adapter"], looked.logprob, looked.entropy])
        for verdict in self._judging.take():
            with suppress(ValueError):
                looked = self._checker.judged(verdict)
                facts.append(looked.fact)
                _count(counts, looked)
        self.keeper.add(facts)
        return {
            "observed": observed,
            "checks": _listed(counts),
            "confidence": confidence,
            "lags": lags,
            "standing": self._news(),
            "problem": "; ".join(filter(None, (self.keeper.problem, self._judging.problem, _failures(failed)))),
        }

    def _look(self, record: Record) -> Looked:
        looked = self._checker.look(record)
        options = self._score_options(record["task"])
        if record["kind"] != ANSWER or options is None or not looked.fact["counts"]:
            return looked
        self._rollouts.add(record, looked.checks, options)
        settings = self._settings.quality_of(record["task"])
        if record.get("content") is not None and settings is not None and settings.judge is not None:
            sampled = Sampled(
                record["task"], record["adapter"], record["role"], record["at"], content=record["content"]
            )
            self._judging.offer(sampled, settings.judge)
        return looked

    def _news(self) -> dict[str, Any] | None:
        """How things stand; None where that was told already."""
        standing = self.keeper.standing
        if standing is self._told:
            return None
        self._told = standing
        return standing

    def _score_options(self, name: str) -> ScoreOptions | None:
        if name not in self._scores:
            settings = self._settings.quality_of(name)
            self._scores[name] = None if settings is None else score_options(settings)
        return self._scores[name]


def _count(counts: Counter[tuple[str, str, str, str, bool]], looked: Looked) -> None:
    fact = looked.fact
    for one in looked.checks:
        counts[(fact["task"], fact["adapter"], fact["role"], one.name, one.bad)] += 1


def _listed(counts: Counter[tuple[str, str, str, str, bool]]) -> list[list[Any]]:
    """Labels, how many were good, how many bad."""
    labels = dict.fromkeys(key[:4] for key in counts)
    return [[*label, counts[(*label, False)], counts[(*label, True)]] for label in labels]


def _failures(failed: Counter[str]) -> str:
    if not failed:
        return ""
    kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(failed.items()))
    return f"{failed.total()} records could not be checked: {kinds}"


def main() -> int:
    """Entry point. The exit status."""
    step_back(_NICENESS)
    answers = _own_output()
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), name="orders", daemon=True).start()
    try:
        worker = _begun(orjson.loads(lines.get()))
    except Exception as error:  # nothing of a request is here yet
        _say(answers, {"problem": f"{type(error).__name__}: {error}"})
        return 1
    _say(answers, {"problem": ""})
    while True:
        message = orjson.loads(lines.get())
        if message.get("stop"):
            worker.stop()
            _say(answers, {"stopped": True})
            # Threads that still wait for a model or a judge would keep the interpreter from ending.
            os._exit(0)
        _say(answers, worker.observe(message["records"]))


def _begun(hello: dict[str, Any]) -> Worker:
    config = parse_config(hello["config"])
    if config.monitoring is None:
        raise ValueError("the configuration has no section `monitoring`")
    worker = Worker(config, config.monitoring, hello["replica"])
    worker.start()
    return worker


def _own_output() -> IO[bytes]:
    """Where answers go. What a library prints must not come between them."""
    own = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return own


def _say(answers: IO[bytes], answer: dict[str, Any]) -> None:
    answers.write(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    answers.flush()


def _read(lines: "queue.Queue[bytes]") -> None:
    for line in sys.stdin.buffer:
        lines.put(line)
    # The parent has died: what is in no saved state yet stands in the database, but for the last seconds.
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
