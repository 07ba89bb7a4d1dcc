"""``/v1/models``: what the caller may use."""

import time
from typing import Any

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.api.wire import CONTEXT, GatewayStatus, send_json
from serving.errors import NotReady
from serving.generate import Generator
from serving.tasks import ModelEntry

PATH = "/v1/models"
_STATUS_OK = 200
_OWNER = "loraplex"


class _ModelsRoute:
    """The list, and one model."""

    def __init__(self, generator: Generator, status: GatewayStatus) -> None:
        self._generator = generator
        self._status = status
        self._started = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises ModelNotFound, PermissionDenied, NotReady."""
        if not self._status.ready:
            raise NotReady(f"The gateway is not ready: {self._status.message}.")
        caller = scope[CONTEXT].caller
        name = scope.get("path_params", {}).get("model")
        if name is not None:
            await send_json(send, _STATUS_OK, self._describe(self._generator.model(name, caller)))
            return
        models = [self._describe(entry) for entry in self._generator.models(caller)]
        await send_json(send, _STATUS_OK, {"object": "list", "data": models})

    def _describe(self, entry: ModelEntry) -> dict[str, Any]:
        model: dict[str, Any] = {
            "id": entry.name,
            "object": "model",
            "created": self._started if entry.created is None else entry.created,
            "owned_by": _OWNER,
            "root": entry.root,
            "parent": entry.parent,
        }
        if entry.description:
            model["description"] = entry.description
        return model


def routes(generator: Generator, status: GatewayStatus) -> list[Route]:
    """List and retrieve."""
    models = _ModelsRoute(generator, status)
    return [
        Route(PATH, models, methods=["GET"], name="models"),
        Route(PATH + "/{model:path}", models, methods=["GET"], name="model"),
    ]
