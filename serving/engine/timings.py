"""What vLLM tells of the time that one request took in it: the object ``metrics`` of an answer or of its last piece."""

from serving.engine.protocol import EngineTimings, JsonObject

_FIELD = "metrics"
_QUEUE = "queue_time_ms"
_OTHERS = "speculative_decoding"
"""What the object holds besides times; vLLM gives it without having been asked for them."""


def note_timings(timings: EngineTimings, answer: JsonObject) -> None:
    """Take over what an answer, or a piece of one, tells."""
    told = answer.get(_FIELD)
    queue_ms = told.get(_QUEUE) if isinstance(told, dict) else None
    if isinstance(queue_ms, int | float) and not isinstance(queue_ms, bool) and queue_ms >= 0:
        timings.queue_s = queue_ms / 1000


def drop_timings(answer: JsonObject) -> None:
    """Leave the times out of an answer whose caller did not ask for them."""
    told = answer.pop(_FIELD, None)
    if isinstance(told, dict) and told.get(_OTHERS) is not None:
        answer[_FIELD] = {_OTHERS: told[_OTHERS]}
