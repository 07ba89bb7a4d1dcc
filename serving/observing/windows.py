"""``Windows``: every task's drift detector, and the quality score of every task and version. Without I/O."""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from adapters.errors import CatalogUnavailable
from adapters.types import Role
from monitoring.drift.detector import DriftDetector
from monitoring.drift.errors import DriftError
from monitoring.drift.options import OUTCOME, RETRIEVAL_SCORE, ROUTING, DriftOptions
from monitoring.drift.types import DriftReport, Observation, Point, Vectors
from monitoring.quality.comparison import Difference, compare
from monitoring.quality.score import Part, QualityScore
from monitoring.quality.types import Check
from serving.config import GatewayConfig, MonitoringSettings
from serving.observing.checking import length_of
from serving.observing.facts import Fact, read
from serving.observing.options import score_options
from serving.observing.records import DRIFT, QUALITY, LeaseLost, StateKey
from serving.observing.references import Row
from serving.tasks import BASE

MOST_TASKS = 200
"""Tasks whose drift is watched; each takes some megabytes."""

_NOT_IN_DATA = (ROUTING, OUTCOME, RETRIEVAL_SCORE)
"""Signals of which training data says nothing."""
_STABLE_ROLES = (Role.STABLE, BASE)
_FORGET_AFTER_S = 30 * 86_400.0
"""A version that has answered nobody for so long has no score any more, in seconds."""

Embed = Callable[[Sequence[str]], Vectors | None]
Language = Callable[[str], str]


@dataclass(slots=True)
class _Watched:
    """One task's drift."""

    detector: DriftDetector
    model: str = ""
    """What made its vectors; empty before the first one."""
    version: str | None = None
    """Whose training data the reference is; None for one of requests."""
    note: str = ""
    """What people should know of the windows."""
    report: dict[str, Any] | None = None
    changed: bool = True


@dataclass(slots=True)
class _Scored:
    """The quality of one task and version."""

    score: QualityScore
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Means:
    """What rows of training data are made into observations with."""

    embed: Embed
    """Vectors of texts; None where there are none now."""
    model: Callable[[], str]
    """The name of what makes them."""
    language: Language


def _nothing() -> None:
    """Nobody waits."""


class Windows:
    """Those of all replicas, kept by one process. Not thread-safe."""

    def __init__(self, config: GatewayConfig, settings: MonitoringSettings, means: Means) -> None:
        self._config = config
        self._settings = settings
        self._means = means
        self._watched: dict[str, _Watched] = {}
        self._scored: dict[tuple[str, str], _Scored] = {}
        self._stable: dict[str, str] = {}
        """By task: what other versions are compared with, the one that answered last as the stable version."""

    # What was observed

    def fold(self, facts: Iterable[Fact]) -> None:
        """Take in facts, packed. A task beyond ``MOST_TASKS`` has no windows.

        What is asked of a version by its full name, as examinations do, is in no score: versions are compared by what
        callers of the task ask.
        """
        for fact in facts:
            drift, settings = fact["drift"], self._settings.drift_of(fact["task"])
            if drift is not None and settings is not None:
                watched = self._watch(fact["task"], settings.options)
                if watched is not None:
                    self._observe(fact["task"], watched, _observation(fact), drift["model"])
            if (fact["checks"] or fact["counts"]) and fact["role"] != Role.EXACT:
                self._score(fact)

    def _observe(self, task: str, watched: _Watched, observation: Observation, model: str) -> None:
        if model and watched.model and model != watched.model:
            self._begin_anew(task, watched, "another model embeds the prompts: the windows began anew")
        watched.model = model or watched.model
        try:
            watched.detector.observe(observation)
        except DriftError:
            self._begin_anew(task, watched, "the prompts' vectors changed their size: the windows began anew")
            watched.detector.observe(observation)
        watched.changed = True

    def _begin_anew(self, task: str, watched: _Watched, note: str) -> None:
        watched.detector.restart_reference()
        self._rewatch(task, watched, None, note)

    def _score(self, fact: Fact) -> None:
        key = (fact["task"], fact["adapter"])
        if fact["counts"] and fact["role"] in _STABLE_ROLES:
            self._stable[fact["task"]] = fact["adapter"]
        scored = self._scored.get(key)
        if scored is None:
            settings = self._settings.quality_of(fact["task"])
            if settings is None:
                return
            scored = self._scored[key] = _Scored(QualityScore(score_options(settings)))
        checks = [Check(name, badness) for name, badness in fact["checks"]]
        if fact["counts"]:
            scored.score.add(checks, fact["at"])
        else:
            scored.score.add_later(checks, fact["at"])
        scored.changed = True

    # References

    def freeze(self, task: str) -> str:
        """Make the task's requests of late its reference. What was done. Raises ValueError: there are too few."""
        watched = self._watched.get(task)
        if watched is None:
            raise ValueError(f"no request for {task} was observed yet")
        watched.detector.freeze_reference()
        self._rewatch(task, watched, None, "")
        return f"{watched.detector.report(0.0).reference.rows} requests of late"

    def replace(self, task: str, version: str, rows: Sequence[Row]) -> str:
        """Make a version's training data the task's reference. What was done.

        Raises:
            ValueError: there are too few rows, or nothing embeds them now.
        """
        settings = self._settings.drift_of(task)
        watched = None if settings is None else self._watch(task, settings.options)
        if settings is None or watched is None:
            raise ValueError(f"the drift of {task} is not watched")
        if not any(part for name, part in settings.options.weights.items() if name not in _NOT_IN_DATA):
            raise ValueError("no signal that is watched can be compared with training data")
        vectors = self._means.embed([row.prompt[: self._settings.max_chars] for row in rows])
        if vectors is None:
            raise ValueError("the prompts of the data cannot be embedded now; see the problem that is told")
        model = self._means.model()
        if model != watched.model:
            # Of the live window nothing can be compared with these vectors.
            watched.detector.restart_reference()
        given = [self._of_row(row, vector, version) for row, vector in zip(rows, vectors, strict=True)]
        watched.detector.use_reference(given)
        watched.model = model
        self._rewatch(task, watched, version, "")
        return f"{len(given)} rows of the training data of {version}"

    def _of_row(self, row: Row, vector: Vectors, version: str) -> Observation:
        return Observation(
            at=0.0,
            embedding=vector,
            prompt_tokens=length_of(row.prompt[: self._settings.max_chars]),
            answer_tokens=length_of(row.answer),
            language=self._means.language(row.prompt),
            adapter=version,
            retrieval_score=None,
            outcome="ok",
        )

    def _watch(self, task: str, options: DriftOptions) -> _Watched | None:
        watched = self._watched.get(task)
        if watched is None and len(self._watched) < MOST_TASKS:
            detector = DriftDetector(self._options(task, options, None), _seed(task))
            watched = self._watched[task] = _Watched(detector)
        return watched

    def _rewatch(self, task: str, watched: _Watched, version: str | None, note: str) -> None:
        """Watch the signals that the new reference says something of."""
        settings = self._settings.drift_of(task)
        if settings is not None and (version is None) != (watched.version is None):
            options = self._options(task, settings.options, version)
            watched.detector = DriftDetector.from_json(watched.detector.to_json(), options, _seed(task))
        watched.version, watched.note, watched.report, watched.changed = version, note, None, True

    def _options(self, task: str, options: DriftOptions, version: str | None) -> DriftOptions:
        text_length = options.text_length if self._settings.keeps_texts_of(task) else 0
        unsaid = dict.fromkeys(_NOT_IN_DATA if version is not None else (), 0.0)
        share = options.share * (self._settings.share_of(task) or 1.0)
        return replace(options, text_length=text_length, share=share, weights={**options.weights, **unsaid})

    # What others see

    def reports(self, now: float, beat: Callable[[], None] = _nothing) -> dict[str, dict[str, Any]]:
        """How things stand, by task; makes the looks that are due, each of which may take seconds.

        Args:
            now: Unix seconds.
            beat: called before each of them, and now and then while it is made.
        """
        for task, watched in self._watched.items():
            beat()
            told = self._look(task, watched, now, beat)
            watched.changed |= bool(told.found) or told.closed
            watched.report = drift_report(told, watched.version) | {"note": watched.note}
        found: dict[str, dict[str, Any]] = {
            task: {"drift": watched.report, "quality": {}} for task, watched in self._watched.items()
        }
        for (task, adapter), scored in sorted(self._scored.items()):
            report = found.setdefault(task, {"drift": None, "quality": {}})
            report["quality"][adapter] = quality_report(scored.score, self._beside_stable(task, adapter))
        return found

    def _beside_stable(self, task: str, adapter: str) -> Difference | None:
        stable = self._scored.get((task, self._stable.get(task, adapter)))
        scored = self._scored[(task, adapter)]
        return None if stable is None or stable is scored else compare(scored.score, stable.score)

    def _look(self, task: str, watched: _Watched, now: float, beat: Callable[[], None]) -> DriftReport:
        try:
            return watched.detector.report(now, beat)
        except (CatalogUnavailable, LeaseLost, MemoryError):
            raise
        except Exception as error:  # of one task, for ever perhaps: it must not stop the others
            note = f"a look at the windows failed with {type(error).__name__}: they began anew"
            self._begin_anew(task, watched, note)
            return watched.detector.report(now)

    # States

    def load(self, states: Mapping[StateKey, str]) -> None:
        """Go on where another process was. What cannot be read begins anew."""
        for key, data in states.items():
            try:
                self._load(key, json.loads(data))
            except (ValueError, LookupError, TypeError, AttributeError):
                continue

    def changed(self) -> dict[StateKey, str]:
        """The states that differ from those that were saved, as JSON."""
        found = {}
        for task, watched in self._watched.items():
            if watched.changed:
                detector = watched.detector.to_json()
                data = {"model": watched.model, "version": watched.version, "note": watched.note, "detector": detector}
                found[StateKey(DRIFT, task)] = json.dumps(data, default=float)
        for (task, adapter), scored in self._scored.items():
            if scored.changed:
                found[StateKey(QUALITY, task, adapter)] = json.dumps(scored.score.to_json())
        return found

    def saved(self) -> None:
        """What :meth:`changed` gave was written."""
        for watched in self._watched.values():
            watched.changed = False
        for scored in self._scored.values():
            scored.changed = False

    def forget(self, versions: set[str], now: float) -> list[StateKey]:
        """Drop what nobody can ask for any more: versions that are gone or silent, and names that nothing has."""
        config = self._config
        names = {*config.tasks, config.model.public_name, *(version.partition("@")[0] for version in versions)}
        gone = [StateKey(DRIFT, task) for task in self._watched if task not in names]
        for (task, adapter), scored in self._scored.items():
            is_known = task in names and (adapter == BASE or adapter in versions)
            if not is_known or now - scored.score.updated_at > _FORGET_AFTER_S:
                gone.append(StateKey(QUALITY, task, adapter))
        for key in gone:
            if key.kind == DRIFT:
                del self._watched[key.task]
            else:
                del self._scored[(key.task, key.adapter)]
        return gone

    def _load(self, key: StateKey, data: dict[str, Any]) -> None:
        if key.kind == DRIFT:
            settings = self._settings.drift_of(key.task)
            if settings is None:
                return
            if not self._settings.keeps_texts_of(key.task):
                _forget_texts(data["detector"])
            options = self._options(key.task, settings.options, data["version"])
            detector = DriftDetector.from_json(data["detector"], options, _seed(key.task))
            self._watched[key.task] = _Watched(detector, data["model"], data["version"], data["note"], changed=False)
        elif key.kind == QUALITY and (quality := self._settings.quality_of(key.task)) is not None:
            score = QualityScore.from_json(data, score_options(quality))
            self._scored[(key.task, key.adapter)] = _Scored(score, changed=False)


def drift_report(told: DriftReport, version: str | None) -> dict[str, Any]:
    """A drift report as plain data."""
    return {
        "frozen": told.frozen,
        "reference": asdict(told.reference),
        "reference_of": version,
        "live": None if told.live is None else asdict(told.live),
        "window": told.window,
        "window_alpha": told.window_alpha,
        "signals": [asdict(signal) for signal in told.signals],
        "unusual": [asdict(one) for one in told.unusual],
        "grown": [asdict(one) for one in told.grown],
        "map": [_placed(point) for point in told.map],
    }


def quality_report(score: QualityScore, beside_stable: Difference | None = None) -> dict[str, Any]:
    """A score as plain data; 1 is good.

    Args:
        beside_stable: this score minus the stable version's, over the parts that both have.
    """
    limits = score.interval()
    return {
        "score": score.value(),
        "interval": None if limits is None else list(limits),
        "requests": score.requests,
        "updated_at": score.updated_at,
        "parts": {name: _part(part) for name, part in score.parts().items()},
        "beside_stable": None if beside_stable is None else _difference(beside_stable),
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "value": part.good,
        "interval": [1.0 - part.high, 1.0 - part.low],
        "verdicts": part.verdicts,
        "weight": part.weight,
    }


def _difference(found: Difference) -> dict[str, Any]:
    return {"value": found.value, "interval": [found.low, found.high], "worst": found.worst() if found.worse else None}


def _placed(point: Point) -> list[Any]:
    return [round(point.x, 4), round(point.y, 4), point.live, point.place, point.marked]


def _observation(fact: Fact) -> Observation:
    drift = fact["drift"]
    return Observation(
        at=fact["at"],
        embedding=None if drift["embedding"] is None else read(drift["embedding"]),
        prompt_tokens=drift["prompt_tokens"],
        answer_tokens=drift["answer_tokens"],
        language=drift["language"],
        adapter=fact["adapter"],
        retrieval_score=drift["retrieval_score"],
        outcome=drift["outcome"],
        text=drift["text"],
    )


def _forget_texts(detector: dict[str, Any]) -> None:
    """Take prompts out of a detector's state: they were kept under another configuration."""
    for name in ("unusual", "grown"):
        for one in detector["picture"][name]:
            one["text"] = None


def _seed(task: str) -> int:
    return zlib.crc32(task.encode())
