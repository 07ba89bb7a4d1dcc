"""Which requests of versions under watch a replica keeps as samples, and what of them.

Requests are drawn when they begin, so that what comes of them has no part in it. What is kept goes to the state
database and nowhere else: no log, no metric.
"""

import json
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.rollout_types import RolloutMark, Sample
from adapters.types import Role
from serving.engine.protocol import Endpoint, JsonObject
from serving.settings.life import RolloutSettings, SamplesSettings

Asked = tuple[Endpoint, JsonObject]
"""What a caller asked for: the resource, and the body as it came."""

MOST_WAITING = 256
"""Samples that wait to be written; beyond them no request is kept."""

_MINUTE_S = 60.0
_FRAME = '{"messages": %s, "context": %s, "answer": %s}'


class Draft:
    """A request that was drawn, until it has ended. Tell it the answer, then :meth:`keep` it or let it go."""

    def __init__(self, keep: Callable[[str, Sequence[str]], None]) -> None:
        self._keep = keep
        self._answer: str | None = None

    def answered(self, text: str) -> None:
        """One generated text; the first one is the sample's."""
        if self._answer is None:
            self._answer = text

    def keep(self, passages: Sequence[str]) -> None:
        """The request ended well. ``passages``: what retrieval put into its prompt."""
        if self._answer is not None:
            self._keep(self._answer, passages)


class Sampler:
    """One replica's. Not thread-safe.

    Args:
        rollouts: the policies of adapters, by name.
        chance: a number from [0, 1), another one at each call.
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        rollouts: Mapping[str, RolloutSettings],
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = {
            name: policy.signals.samples for name, policy in rollouts.items() if policy.signals.samples is not None
        }
        self._chance = chance
        self._clock = clock
        self._minute = 0
        self._drawn: dict[tuple[int, str], int] = {}
        """Requests drawn in this minute, by rollout and version."""
        self._waiting: deque[Sample] = deque()

    def draw(self, mark: RolloutMark, role: Role, version: str, task: str, asked: Asked) -> Draft | None:
        """A draft for a request that is to become a sample; None for all others."""
        settings = self._settings.get(mark.alias)
        if settings is None or self._chance() >= settings.share or not self._has_room(mark.id, version, settings):
            return None

        def keep(answer: str, passages: Sequence[str]) -> None:
            content = content_of(asked, answer, passages, settings.max_bytes)
            if content is not None:
                self._add(settings, Sample(mark.id, role.value, "", version, task, content, *_times(settings)))

        return Draft(keep)

    def take(self) -> list[Sample]:
        """The samples that wait to be written."""
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def _has_room(self, rollout: int, version: str, settings: SamplesSettings) -> bool:
        minute = int(self._clock() // _MINUTE_S)
        if minute != self._minute:
            self._minute = minute
            self._drawn.clear()
        drawn = self._drawn.get((rollout, version), 0)
        if drawn >= settings.per_minute or len(self._waiting) >= MOST_WAITING:
            return False
        self._drawn[(rollout, version)] = drawn + 1
        return True

    def _add(self, settings: SamplesSettings, sample: Sample) -> None:
        # One for each signal: a signal that is done with its own has nothing to do with another's.
        for signal in settings.signals:
            self._waiting.append(replace(sample, signal=signal))


def content_of(asked: Asked, answer: str, passages: Sequence[str], max_bytes: int) -> str | None:
    """Prompt, answer and passages as a sample keeps them: JSON of ASCII characters, 2 * ``max_bytes`` at most.

    None for a prompt that is too large, or that is no text or conversation. An answer that is too large is cut.
    """
    messages = messages_of(*asked)
    # Before anything is encoded: an image in a prompt has megabytes.
    if messages is None or letters(messages) > max_bytes:
        return None
    prompt = json.dumps(messages), json.dumps(list(passages))
    if sum(map(len, prompt)) > max_bytes - len(_FRAME):
        return None
    text = answer[:max_bytes]
    while len(json.dumps(text)) > max_bytes:
        text = text[: len(text) // 2]
    return _FRAME % (*prompt, json.dumps(text))


def messages_of(endpoint: Endpoint, body: JsonObject) -> list[JsonObject] | None:
    """A request's prompt as chat messages; None for token ids, several prompts, and turns that are no messages."""
    match endpoint:
        case Endpoint.CHAT:
            given: Any = body.get("messages")
        case Endpoint.COMPLETIONS:
            given = _turn("user", body.get("prompt"))
        case _:
            asked = body.get("input")
            turns = _turn("user", asked) if isinstance(asked, str) else asked
            system = _turn("system", body.get("instructions")) or []
            given = [*system, *turns] if isinstance(turns, list) else None
    if not isinstance(given, list) or not given:
        return None
    if not all(isinstance(turn, dict) and "role" in turn for turn in given):
        return None
    return [_plain(turn) for turn in given]


def _turn(role: str, text: Any) -> list[JsonObject] | None:
    return [{"role": role, "content": text}] if isinstance(text, str) else None


def _plain(turn: JsonObject) -> JsonObject:
    """A message whose content is text where it is nothing but parts of text."""
    parts = turn.get("content")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return turn
    texts = [part.get("text") for part in parts]
    if not all(isinstance(text, str) for text in texts):
        return turn
    return turn | {"content": "\n".join(str(text) for text in texts)}


def letters(value: Any) -> int:
    """The length of all texts in plain data."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(len, value)) + sum(map(letters, value.values()))
    return sum(map(letters, value)) if isinstance(value, list | tuple) else 0


def _times(settings: SamplesSettings) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now, now + timedelta(minutes=settings.keep_minutes)
