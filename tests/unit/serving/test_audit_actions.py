"""Which requests change something: every route of every app is known to the table."""

import re
from typing import Any, cast

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from serving.api.admin import AdminApi
from serving.api.admin_life import LifeApi
from serving.api.admin_monitoring import MonitoringApi
from serving.api.audit_actions import ACTIONS, UNLISTED, action_of, details_of, object_of
from serving.api.embeddings import EmbeddingsApi
from serving.api.files import FilesApi
from serving.api.fine_tuning import FineTuningApi
from serving.api.vector_stores import VectorStoresApi
from serving.config import KnowledgeSettings

NONE = cast("Any", None)
ROUTERS: tuple[APIRouter, ...] = (
    AdminApi(NONE, NONE).router(),
    LifeApi(NONE).router(),
    MonitoringApi(NONE).router(),
    FilesApi(NONE).router(),
    FineTuningApi(NONE, NONE).router(),
    VectorStoresApi(NONE, NONE, NONE, NONE, NONE).router(),
    EmbeddingsApi(KnowledgeSettings(), NONE).router(),
)
ROUTES = [
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods)
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_route_is_a_reading_one_or_a_change_with_a_name(method: str, path: str) -> None:
    found = action_of(method, re.sub(r"\{\w+\}", "x", path))

    assert found is None or found[0].name != UNLISTED
    assert method != "GET" or found is None


def test_every_change_in_the_table_has_a_route() -> None:
    assert {(action.method, action.path) for action in ACTIONS} - set(ROUTES) == set()


def test_the_first_parameter_names_what_is_changed() -> None:
    found = action_of("POST", "/v1/vector_stores/vs_1/file_batches/batch_2/cancel")
    assert found is not None
    action, thing, others = found
    assert (action.name, thing, others) == ("stores.cancel_batch", "vs_1", {"batch_id": "batch_2"})


def test_a_change_that_the_table_does_not_know_is_recorded_by_its_path() -> None:
    found = action_of("PUT", "/admin/v1/something/new")
    assert found is not None
    assert (found[0].name, found[1]) == (UNLISTED, "/admin/v1/something/new")


def test_a_search_changes_nothing() -> None:
    assert action_of("POST", "/v1/vector_stores/vs_1/search") is None


def test_of_a_body_names_versions_and_shares_are_told_and_nothing_else() -> None:
    found = action_of("POST", "/admin/v1/adapters")
    assert found is not None
    body = {"name": "triage", "source": "s3://key:secret@bucket/x", "promote": True}
    assert details_of(found[0], body) == {"name": "triage", "promote": True}
    assert object_of(found[0], body) == "triage"
    assert details_of(found[0], ["no", "object"]) == {}
    assert object_of(found[0], {"name": 7}) == ""


def test_what_is_told_is_short() -> None:
    found = action_of("POST", "/v1/vector_stores/vs_1/file_batches")
    assert found is not None
    told = details_of(found[0], {"file_ids": ["f" * 5000, {"deep": "secret"}] * 500})
    assert len(told["file_ids"]) == 200
    assert told["file_ids"][:2] == ["f" * 200, "…"]


def test_lists_in_lists_are_not_told() -> None:
    found = action_of("POST", "/admin/v1/adapters/triage/rollout")
    assert found is not None
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    told = details_of(found[0], {"steps": [0.1, [0.2, "secret"]], "version": deep})
    assert told == {"steps": [0.1, "…"], "version": ["…"]}
