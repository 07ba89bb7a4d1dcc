"""Where the frames of ``loraplex top`` come from: one look at a gateway after the other, in a thread."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from monitoring.readings import Exposition, read_exposition
from serving.cli.client import REFUSED, AdminClient, ApiClient, Failed, no_metrics
from serving.cli.live_frame import Admin, Frame, make_frame

_TIMEOUT_S = 5.0
"""How long one answer may take, in seconds: merging the metrics of all replicas takes two at most."""
_CHANGES = "8"
_KEPT = 16
"""Most scrapes that are kept to count from: a large gateway's are megabytes each."""


class Looks:
    """Frames of one gateway: rates are over the scrapes of the last ``window_s`` seconds."""

    def __init__(self, url: str, window_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._window_s = window_s
        self._clock = clock
        self._root = ApiClient(url, "", timeout_s=_TIMEOUT_S)
        self._admin = AdminClient(url, timeout_s=_TIMEOUT_S)
        self._scrapes: deque[Exposition] = deque()

    def take(self) -> Frame:
        """Look once. Raises Failed where there are no metrics; without the admin API, the frame says so."""
        text = self._root.text("/metrics")
        now = self._clock()
        scrape = read_exposition(text, now)
        if not scrape.series:
            raise no_metrics(self._url)
        while self._scrapes and now - self._scrapes[0].at > self._window_s:
            self._scrapes.popleft()
        before = self._scrapes[0] if self._scrapes else None
        if not self._scrapes or now - self._scrapes[-1].at >= self._window_s / _KEPT:
            self._scrapes.append(scrape)
        state = self._state()
        try:
            return make_frame(self._url, before, scrape, self._ask_admin(), at=time.time(), state=state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"{self._url} does not answer as a gateway of this release does: {error!r}."
            raise Failed(REFUSED, "not_a_gateway", message) from error

    def _state(self) -> str | None:
        """Why the gateway is not ready; empty: it is; None: it does not say."""
        try:
            self._root.get("/readyz")
        except Failed as error:
            return str(error) if error.code == "not_ready" else None
        return ""

    def _ask_admin(self) -> Admin:
        try:
            return Admin(self._admin.get("/adapters"), self._admin.get("/history", {"limit": _CHANGES}))
        except Failed as error:
            return Admin(problem=error.code)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last look came to."""

    number: int = 0
    """Of looks so far."""
    frame: Frame | None = None
    """The last one that there was."""
    failed: Failed | None = None
    """Why the last look found none; None where it did."""


class Poller:
    """Looks every ``interval_s`` seconds in a thread of its own, so that a gateway that hangs holds no key up."""

    def __init__(self, take: Callable[[], Frame], interval_s: float) -> None:
        self._take = take
        self._interval_s = interval_s
        self._seen = Seen()
        self._broken: Exception | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="top", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present look, which nobody waits for."""
        self._stopping.set()

    @property
    def seen(self) -> Seen:
        """What the last look came to. Raises what it did not expect to happen."""
        if self._broken is not None:
            raise self._broken
        return self._seen

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._seen = Seen(self._seen.number + 1, self._take())
            except Failed as error:
                self._seen = Seen(self._seen.number + 1, self._seen.frame, error)
            except Exception as error:
                self._broken = error
                return
            self._stopping.wait(max(0.0, self._interval_s - (time.monotonic() - began)))
