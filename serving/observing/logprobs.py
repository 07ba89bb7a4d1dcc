"""Log-probabilities that the gateway asks an engine for itself: taken out of the answer before anybody sees it. Pure.

Of an answer's tokens the natural log-probability is taken, and the entropy of the distribution over the alternatives
that the engine names, normalised to sum to one: a lower bound of the whole distribution's.
"""

import math
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from serving.engine.protocol import Endpoint, JsonObject

_INCLUDED = "message.output_text.logprobs"
_MOST_OF_COMPLETIONS = 5
"""Alternatives that OpenAI's older API gives at most."""


class Probabilities:
    """What one answer's tokens were worth to the model. The first choice counts."""

    def __init__(self, *, hidden: bool) -> None:
        self.logprobs: list[float] = []
        self.alternatives: list[list[float]] = []
        """Log-probabilities of the most probable tokens in each place; the entropy is taken of them elsewhere."""
        self._hidden = hidden

    def take(self, endpoint: Endpoint, event: JsonObject) -> JsonObject:
        """Note what an answer, or an event of one, says; take it out where its caller did not ask for it."""
        if endpoint is Endpoint.RESPONSES:
            self._take_response(event)
            return event
        for choice in event.get("choices") or ():
            found = choice.get("logprobs")
            if not found:
                continue
            if choice.get("index", 0) == 0:
                self._note(endpoint, found)
            if self._hidden:
                choice["logprobs"] = None
        return event

    def _take_response(self, event: JsonObject) -> None:
        # A stream says everything three times, and last of all in the whole response.
        response = event.get("response", event)
        if isinstance(response, dict) and "output" in response:
            final = response.get("status") in ("completed", "incomplete")
            for item in response["output"] or ():
                self._take_parts(item, note=final)
            if self._hidden and response.get("top_logprobs"):
                response["top_logprobs"] = 0
        if isinstance(item := event.get("item"), dict):
            self._take_parts(item, note=False)
        for holder in (event, event.get("part")):
            if self._hidden and isinstance(holder, dict) and holder.get("logprobs"):
                holder["logprobs"] = []

    def _take_parts(self, item: JsonObject, *, note: bool) -> None:
        for part in item.get("content") or ():
            if not isinstance(part, dict) or not part.get("logprobs"):
                continue
            if note:
                self._note(Endpoint.RESPONSES, part["logprobs"])
            if self._hidden:
                part["logprobs"] = []

    def _note(self, endpoint: Endpoint, found: Any) -> None:
        try:
            tokens = _tokens(endpoint, found)
        except (AttributeError, KeyError, TypeError, ValueError):
            return  # an engine elsewhere has a form of its own for them
        for logprob, alternatives in tokens:
            self.logprobs.append(logprob)
            if len(alternatives) > 1:
                self.alternatives.append(alternatives)


def ask(endpoint: Endpoint, body: JsonObject, alternatives: int) -> tuple[JsonObject, Probabilities]:
    """``body`` with the fields that ask for log-probabilities; a caller's own wish stays as it is.

    Args:
        alternatives: for each token, 0 to 20.
    """
    if asked(endpoint, body) or body.get("echo"):
        # Of a prompt that is echoed an engine would tell the probabilities too.
        return body, Probabilities(hidden=False)
    more: JsonObject
    match endpoint:
        case Endpoint.CHAT:
            more = {"logprobs": True, "top_logprobs": alternatives}
        case Endpoint.COMPLETIONS:
            more = {"logprobs": min(alternatives, _MOST_OF_COMPLETIONS)}
        case _:
            given = body.get("include")
            include = [*(given if isinstance(given, list) else ()), _INCLUDED]
            more = {"include": include, "top_logprobs": alternatives}
    return {**body, **more}, Probabilities(hidden=True)


async def read_events(
    probabilities: Probabilities, endpoint: Endpoint, events: AsyncGenerator[JsonObject, None]
) -> AsyncGenerator[JsonObject, None]:
    """A stream's events, with what the caller did not ask for taken out."""
    async with aclosing(events):
        async for event in events:
            yield probabilities.take(endpoint, event)


def asked(endpoint: Endpoint, body: JsonObject) -> bool:
    """Whether a request wants log-probabilities."""
    if endpoint is Endpoint.RESPONSES:
        include = body.get("include")
        return isinstance(include, list) and _INCLUDED in include
    wanted = body.get("logprobs")
    return bool(wanted) if endpoint is Endpoint.CHAT else wanted is not None and wanted is not False


def entropy(logprobs: list[float]) -> float:
    """In nats, of a distribution proportional to the exponentials; 0 for one outcome or none."""
    weights = [math.exp(min(value, 0.0)) for value in logprobs]
    whole = math.fsum(weights)
    if whole <= 0:
        return 0.0
    return -math.fsum(weight / whole * math.log(weight / whole) for weight in weights if weight > 0)


def _tokens(endpoint: Endpoint, found: Any) -> list[tuple[float, list[float]]]:
    """Each token's log-probability, and those of its alternatives."""
    if endpoint is Endpoint.RESPONSES:
        return _listed(found)
    if endpoint is Endpoint.CHAT:
        return _listed(found.get("content") or ())
    chosen = found.get("token_logprobs") or ()
    others = found.get("top_logprobs") or [None] * len(chosen)
    pairs = zip(chosen, others, strict=False)
    # A prompt that is echoed begins with a token of which there is no probability.
    return [(float(one), [float(value) for value in (of or {}).values()]) for one, of in pairs if one is not None]


def _listed(tokens: Iterable[Mapping[str, Any]]) -> list[tuple[float, list[float]]]:
    return [
        (float(token["logprob"]), [float(one["logprob"]) for one in token.get("top_logprobs") or ()])
        for token in tokens
    ]
