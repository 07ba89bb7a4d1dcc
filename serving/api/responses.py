"""``/v1/responses``. Nothing is stored: there is no response to fetch, delete or cancel by its id."""

import orjson
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.api.generation import Resource
from serving.api.validate import check_response
from serving.engine.protocol import Endpoint, JsonObject
from serving.errors import ResponseNotStored

PATH = "/v1/responses"


def _encode(event: JsonObject) -> bytes:
    kind: str = event["type"]
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"


RESOURCE = Resource(Endpoint.RESPONSES, check_response, _encode, b"")


class _NotStored:
    """Answers for every response id."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ResponseNotStored."""
        name = scope["path_params"]["response_id"]
        raise ResponseNotStored(
            f"Response with id `{name}` not found: this gateway stores no responses. Send the conversation in `input`.",
            param="response_id",
        )


def stored_routes() -> list[Route]:
    """The URLs of single responses."""
    one = PATH + "/{response_id}"
    return [
        Route(one, _NotStored(), methods=["GET", "DELETE"], name="stored response"),
        Route(f"{one}/cancel", _NotStored(), methods=["POST"], name="cancel response"),
        Route(f"{one}/input_items", _NotStored(), methods=["GET"], name="response input items"),
    ]
