"""``Keeper``: the slow part of observing, in a thread of the observing process.

Every replica's keeper has prompts embedded and leaves what was observed in the state database, in batches. One of
them at a time, the one that holds a lease, folds the batches of all into one set of windows and scores, so that a task
has one false alarm rate however many replicas serve it; it writes them down together with the deletion of the batches
that they were made of. All of them read what was found, and show it.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from adapters.errors import CatalogUnavailable
from serving.observing.embedding import PromptEmbedder
from serving.observing.facts import Fact, packed
from serving.observing.records import DONE, FAILED, WAITING, LeaseLost, MonitoringRecords, Reference, StateKey
from serving.observing.references import DataUnknown, Row

TURN_S = 2.0
"""Between two turns at most, in seconds."""
MOST_FACTS = 5000
"""Observations that wait for a turn; beyond them the oldest are forgotten."""
MOST_PENDING = 100
"""Batches that wait for the database; beyond them the oldest are forgotten."""
SHOWN_S = 86_400.0
"""How long the score of a version is shown after its last answer, in seconds."""

_LEASE_S = 60.0
_LONG_LEASE_S = 900.0
_SAVE_S = 300.0
"""A save writes all windows that have changed; a crash before it folds the batches since the last one again."""
_FOLDED_AT_ONCE = 50
_LAST_TURN_S = 8.0


class Keeping(Protocol):
    """Windows and scores of all tasks; see ``serving.observing.windows.Windows``."""

    def load(self, states: dict[StateKey, str]) -> None: ...
    def fold(self, facts: Iterable[Fact]) -> None: ...
    def freeze(self, task: str) -> str: ...
    def replace(self, task: str, version: str, rows: Sequence[Row]) -> str: ...
    def changed(self) -> dict[StateKey, str]: ...
    def saved(self) -> None: ...
    def forget(self, versions: set[str], now: float) -> list[StateKey]: ...
    def reports(self, now: float, beat: Callable[[], None]) -> dict[str, dict[str, Any]]: ...


class Keeper:
    """Give it facts with :meth:`add`, from any thread; what stands is in ``standing``.

    Args:
        make_windows: new ones, empty.
        rows: a version's training data; raises DataUnknown and CatalogUnavailable.
        versions: the names of all versions that there are; raises CatalogUnavailable.
        write: writes whatever else waits for the database; raises CatalogUnavailable.
        check_s: how often windows are looked at, in seconds.
        clock: seconds, from any moment on.
        now: Unix seconds.
    """

    def __init__(
        self,
        records: MonitoringRecords,
        embedder: PromptEmbedder,
        make_windows: Callable[[], Keeping],
        rows: Callable[[str], Sequence[Row]],
        versions: Callable[[], set[str]],
        *,
        write: Callable[[], None],
        check_s: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._embedder = embedder
        self._make_windows = make_windows
        self._rows = rows
        self._versions = versions
        self._write = write
        self._check_s = check_s
        self._clock = clock
        self._now = now
        self._facts: deque[Fact] = deque(maxlen=MOST_FACTS)
        self._pending: deque[str] = deque(maxlen=MOST_PENDING)
        self._windows: Keeping | None = None
        """Those of all, while the lease is held."""
        self._held_at = 0.0
        self._settled: dict[int, tuple[str, str]] = {}
        """References that were set or refused, until that is written down."""
        self._folded: list[int] = []
        """Batches that are in the windows, and in no saved state."""
        self._migrated = False
        self._saved_at = self._checked_at = self._shown_at = -_SAVE_S
        self._away = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.standing: dict[str, Any] | None = None
        """What is shown of all tasks; see ``standing_of``. None until it was read once."""

    @property
    def problem(self) -> str:
        """What is away; empty where nothing is."""
        return "; ".join(filter(None, (self._away, self._embedder.problem)))

    def add(self, facts: Iterable[Fact]) -> None:
        """Keep what was observed. Never waits."""
        self._facts.extend(facts)

    def start(self) -> None:
        """Begin to take turns."""
        self._thread = threading.Thread(target=self._keep_turning, name="keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last turn, and write everything down. What takes too long is left to the next process."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_LAST_TURN_S)

    def turn(self, *, last: bool = False) -> None:
        """Do what there is to do. Never raises; what is away is told by ``problem``."""
        try:
            self._hand_in()
            self._write()
            self._hold()
            if self._windows is not None:
                self._keep(self._windows, last=last)
            self._show()
        except CatalogUnavailable as error:
            self._away = str(error)
        except LeaseLost:
            self._let_go()
        except Exception as error:  # its text may quote a prompt
            self._away = f"keeping what was observed failed with {type(error).__name__}"
        else:
            self._away = ""

    def _keep_turning(self) -> None:
        while not self._stopping.wait(min(TURN_S, self._check_s)):
            self.turn()
        self.turn(last=True)
        try:
            self._records.release()
        except CatalogUnavailable:
            return  # it runs out by itself

    def _hand_in(self) -> None:
        facts = [self._facts.popleft() for _ in range(len(self._facts))]
        if facts:
            self._pending.append(json.dumps(packed(facts, self._embedder)))
        if not self._migrated:
            self._records.migrate()
            self._migrated = True
        while self._pending:
            self._records.add_batch(self._pending[0])
            self._pending.popleft()

    def _hold(self) -> None:
        if not self._records.claim(_LEASE_S):
            self._let_go()
            return
        self._held_at = self._clock()
        if self._windows is None:
            windows = self._make_windows()
            windows.load(self._records.states())
            self._windows = windows

    def _let_go(self) -> None:
        self._windows, self._folded, self._settled = None, [], {}

    def _beat(self) -> None:
        """Keep the lease in the middle of long work."""
        if self._clock() - self._held_at >= _LEASE_S / 4:
            self._records.claim(_LEASE_S)
            self._held_at = self._clock()

    def _keep(self, windows: Keeping, *, last: bool) -> None:
        now = self._clock()
        while batches := self._records.new_batches(set(self._folded), _FOLDED_AT_ONCE):
            for number, content in batches:
                self._folded.append(number)
                # One that another release wrote, and that cannot be read, must not stop the others for ever.
                with suppress(LookupError, TypeError, ValueError):
                    windows.fold(json.loads(content))
        self._settle(windows)
        settled = self._settled
        if settled or last or now - self._checked_at >= self._check_s:
            self._checked_at = now
            gone = windows.forget(self._versions(), self._now())
            found = windows.reports(self._now(), self._beat)
            reports = {task: json.dumps(body, default=float) for task, body in found.items()}
            self._records.save_reports(reports)
            if settled or gone or last or now - self._saved_at >= _SAVE_S:
                self._records.save(windows.changed(), gone=gone, folded=self._folded, settled=settled)
                windows.saved()
                self._saved_at, self._folded, self._settled = now, [], {}

    def _settle(self, windows: Keeping) -> None:
        """Set the references that somebody asked for, and remember how each of them ended."""
        for wish in self._records.references(state=WAITING):
            if wish.id not in self._settled:
                self._settled[wish.id] = self._set(windows, wish)

    def _set(self, windows: Keeping, wish: Reference) -> tuple[str, str]:
        try:
            if wish.version is None:
                return DONE, windows.freeze(wish.task)
            # To embed them takes a minute and more.
            self._records.claim(_LONG_LEASE_S)
            return DONE, windows.replace(wish.task, wish.version, self._rows(wish.version))
        except (DataUnknown, ValueError) as error:
            return FAILED, str(error)
        except (CatalogUnavailable, LeaseLost):
            raise
        except Exception as error:  # its text may quote the data; tried again, it would stop everything else for ever
            return FAILED, f"it failed with {type(error).__name__}"

    def _show(self) -> None:
        now = self._clock()
        if self._shown_at < self._checked_at or now - self._shown_at >= self._check_s:
            reports = {report.task: json.loads(report.body) for report in self._records.reports()}
            self.standing = standing_of(reports, self._now())
            self._shown_at = now


def standing_of(reports: dict[str, dict[str, Any]], now: float) -> dict[str, Any]:
    """What replicas show of the reports, by task: lists of labels with their values at the end.

    Of a version that has answered nobody for ``SHOWN_S`` nothing: its score is of another day, and its other series are
    forgotten too.
    """
    found: dict[str, list[list[Any]]] = {"signals": [], "windows": [], "scores": [], "parts": []}
    for task, report in reports.items():
        drift = report["drift"]
        for signal in () if drift is None else drift["signals"]:
            found["signals"].append([task, signal["name"], signal["p_value"], signal["effect"], signal["detected"]])
        for window in () if drift is None else ("reference", "live"):
            found["windows"].append([task, window, (drift[window] or {"rows": 0})["rows"]])
        for adapter, quality in report["quality"].items():
            if now - quality["updated_at"] > SHOWN_S:
                continue
            if quality["score"] is not None:
                found["scores"].append([task, adapter, quality["score"]])
            for part, values in quality["parts"].items():
                found["parts"].append([task, adapter, part, values["value"]])
    return found
