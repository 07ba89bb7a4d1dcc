"""``/v1/feedback``: what a caller thinks of an answer."""

from typing import Any

from starlette.types import Receive, Scope, Send

from serving.api.wire import CONTEXT, RequestContext, read_json, send_json
from serving.engine.protocol import JsonObject
from serving.errors import InvalidRequest, RouteNotFound
from serving.life.feedback import Feedback, FeedbackDesk

PATH = "/v1/feedback"

_FIELDS = ("id", "request_id", "rating", "score", "comment")
_RATINGS = {"up": 1.0, "down": 0.0}
_STATUS_OK = 200


class FeedbackRoute:
    """The ASGI endpoint. ``desk``: None where feedback is switched off."""

    def __init__(self, desk: FeedbackDesk | None) -> None:
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what the middleware turns into an error answer."""
        if self._desk is None:
            raise RouteNotFound("This gateway takes no feedback: `feedback.enabled` is false in its configuration.")
        context: RequestContext = scope[CONTEXT]
        feedback = read_feedback(await read_json(context, receive), self._desk.max_comment_chars)
        answer = await self._desk.judge(context.caller, feedback)
        found = {
            "object": "feedback",
            "id": feedback.id,
            "model": answer.task,
            "version": answer.version,
            "role": answer.role,
            "score": answer.score,
            "comment": answer.comment,
        }
        await send_json(send, _STATUS_OK, found)


def read_feedback(body: JsonObject, max_comment_chars: int) -> Feedback:
    """The judgment that a body holds. Raises InvalidRequest."""
    for name in body:
        if name not in _FIELDS:
            raise InvalidRequest(f"Unknown field `{name}`; there are {', '.join(_FIELDS)}.", param=name)
    comment = body.get("comment")
    if comment is not None and not isinstance(comment, str):
        raise InvalidRequest("`comment` must be a string.", param="comment")
    if comment is not None and "\x00" in comment:
        raise InvalidRequest("`comment` holds a NUL character.", param="comment")
    if comment is not None and len(comment) > max_comment_chars:
        raise InvalidRequest(f"`comment` is longer than {max_comment_chars} characters.", param="comment")
    return Feedback(_read_id(body), _read_score(body), comment)


def _read_id(body: JsonObject) -> str:
    given = [name for name in ("id", "request_id") if body.get(name) is not None]
    if len(given) != 1:
        raise InvalidRequest(
            "Say which answer is meant: `id`, from its body, or `request_id`, from its header x-request-id.", param="id"
        )
    value = body[given[0]]
    if not isinstance(value, str) or not value or "\x00" in value:
        raise InvalidRequest(f"`{given[0]}` must be a string with an id.", param=given[0])
    return value


def _read_score(body: JsonObject) -> float:
    rating, score = body.get("rating"), body.get("score")
    if (rating is None) == (score is None):
        raise InvalidRequest('Judge the answer by either `rating`, "up" or "down", or `score`.', param="rating")
    if score is None:
        return _read_rating(rating)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise InvalidRequest("`score` must be a number from 0 to 1.", param="score")
    return float(score)


def _read_rating(rating: Any) -> float:
    if not isinstance(rating, str) or rating not in _RATINGS:
        raise InvalidRequest('`rating` must be "up" or "down".', param="rating")
    return _RATINGS[rating]
