"""``/v1/files``. Who calls is known before it is reached."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile

from serving.auth import Caller
from serving.errors import InvalidRequest
from serving.knowledge.library import Library
from serving.knowledge.types import FileRecord

_LONGEST_LIFE_S = 30 * 86_400
_SHORTEST_LIFE_S = 3_600

Order = Annotated[Literal["asc", "desc"], Query()]


class FilesApi:
    """The routes, over one ``Library``."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def router(self) -> APIRouter:
        """All routes under ``/v1/files``."""
        router = APIRouter(prefix="/v1/files")
        router.add_api_route("", self.upload, methods=["POST"])
        router.add_api_route("", self.list_files, methods=["GET"])
        router.add_api_route("/{file_id}", self.show, methods=["GET"])
        router.add_api_route("/{file_id}", self.delete, methods=["DELETE"])
        router.add_api_route("/{file_id}/content", self.content, methods=["GET"])
        return router

    def upload(
        self,
        request: Request,
        file: Annotated[UploadFile, File()],
        purpose: Annotated[str, Form()],
        anchor: Annotated[str | None, Form(alias="expires_after[anchor]")] = None,
        seconds: Annotated[int | None, Form(alias="expires_after[seconds]")] = None,
    ) -> dict[str, Any]:
        """Take in a file."""
        life_s = _life(anchor, seconds)
        data = file.file.read()
        record = self._library.upload(caller_of(request), file.filename or "", data, purpose, life_s)
        return file_view(record)

    def list_files(
        self,
        request: Request,
        purpose: str | None = None,
        after: str | None = None,
        order: Order = "desc",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    ) -> dict[str, Any]:
        """The files that the caller may see."""
        page = self._library.page(
            caller_of(request), after=after, ascending=order == "asc", limit=limit, purpose=purpose
        )
        return list_view([file_view(record) for record in page.entries], has_more=page.has_more)

    def show(self, request: Request, file_id: str) -> dict[str, Any]:
        """One file."""
        return file_view(self._library.file(caller_of(request), file_id))

    def delete(self, request: Request, file_id: str) -> dict[str, Any]:
        """Delete a file, and take it out of every vector store."""
        self._library.delete(caller_of(request), file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    def content(self, request: Request, file_id: str) -> Response:
        """The bytes of a file. Never as a type that a browser would run."""
        record, data = self._library.content(caller_of(request), file_id)
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(record.filename)}",
            "x-content-type-options": "nosniff",
        }
        return Response(data, media_type="application/octet-stream", headers=headers)


def caller_of(request: Request) -> Caller:
    """Who calls."""
    caller: Caller = request.state.caller
    return caller


def file_view(record: FileRecord) -> dict[str, Any]:
    """A file as OpenAI's API shows it, with its digest besides."""
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.bytes,
        "created_at": record.created_at,
        **({} if record.expires_at is None else {"expires_at": record.expires_at}),
        "filename": record.filename,
        "purpose": record.purpose,
        "status": "processed",
        "sha256": record.sha256,
    }


def list_view(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """A page of a list as OpenAI's API shows it; its ids are strings also where it is empty."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else "",
        "last_id": data[-1]["id"] if data else "",
        "has_more": has_more,
    }


def _life(anchor: str | None, seconds: int | None) -> int | None:
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at" or seconds is None or not _SHORTEST_LIFE_S <= seconds <= _LONGEST_LIFE_S:
        raise InvalidRequest(
            f"`expires_after` is an object with `anchor: created_at` and `seconds` from {_SHORTEST_LIFE_S} to "
            f"{_LONGEST_LIFE_S}.",
            param="expires_after",
        )
    return seconds
