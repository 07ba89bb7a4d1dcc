"""Holds answers against OpenAI's own API description, where it is at hand."""

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_DESCRIPTION = Path(__file__).resolve().parents[3] / "shared" / "openai" / "openapi.yml"
_URI = "urn:openai"

requires_description = pytest.mark.skipif(
    not _DESCRIPTION.exists(), reason="OpenAI's API description is not beside this checkout (../shared/openai)"
)


@functools.cache
def _description() -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with _DESCRIPTION.open("rb") as file:
        document = yaml.load(file, Loader=loader)  # noqa: S506  (a safe loader)
    return {"components": {"schemas": _plain(document["components"]["schemas"])}}


def _plain(node: Any) -> Any:
    """OpenAPI's own words in JSON Schema's: ``nullable`` as a union, references that stay in this document."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {name: _plain(value) for name, value in node.items() if name not in ("nullable", "discriminator")}
    if schema.get("exclusiveMinimum") is True:
        schema["exclusiveMinimum"] = schema.pop("minimum")
    if isinstance(schema.get("$ref"), str):
        schema["$ref"] = schema["$ref"].replace("#/", f"{_URI}#/")
    if isinstance(schema.get("$recursiveRef"), str):
        del schema["$recursiveRef"]
    if node.get("nullable") is True:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    resource = DRAFT202012.create_resource(_description())
    registry: Registry[Any] = Registry().with_resource(_URI, resource)
    return Draft202012Validator({"$ref": f"{_URI}#/components/schemas/{name}"}, registry=registry)


def check(name: str, value: Any) -> None:
    """Fail the test unless ``value`` is an instance of the schema ``name``."""
    error = best_match(_validator(name).iter_errors(value))
    if error is not None:
        pytest.fail(f"{name}: {error.json_path}: {error.message}")


def is_valid(name: str, value: Any) -> bool:
    """Whether ``value`` is an instance of the schema ``name``."""
    return bool(_validator(name).is_valid(value))


_KNOWLEDGE_ANSWERS = (
    ("POST", "files", "OpenAIFile"),
    ("GET", "files", "ListFilesResponse"),
    ("GET", "files/ID", "OpenAIFile"),
    ("DELETE", "files/ID", "DeleteFileResponse"),
    ("POST", "vector_stores", "VectorStoreObject"),
    ("GET", "vector_stores", "ListVectorStoresResponse"),
    ("GET", "vector_stores/ID", "VectorStoreObject"),
    ("POST", "vector_stores/ID", "VectorStoreObject"),
    ("DELETE", "vector_stores/ID", "DeleteVectorStoreResponse"),
    ("POST", "vector_stores/ID/search", "VectorStoreSearchResultsPage"),
    ("POST", "vector_stores/ID/files", "VectorStoreFileObject"),
    ("GET", "vector_stores/ID/files", "ListVectorStoreFilesResponse"),
    ("GET", "vector_stores/ID/files/ID", "VectorStoreFileObject"),
    ("POST", "vector_stores/ID/files/ID", "VectorStoreFileObject"),
    ("DELETE", "vector_stores/ID/files/ID", "DeleteVectorStoreFileResponse"),
    ("GET", "vector_stores/ID/files/ID/content", "VectorStoreFileContentResponse"),
    ("POST", "vector_stores/ID/file_batches", "VectorStoreFileBatchObject"),
    ("GET", "vector_stores/ID/file_batches/ID", "VectorStoreFileBatchObject"),
    ("POST", "vector_stores/ID/file_batches/ID/cancel", "VectorStoreFileBatchObject"),
    ("GET", "vector_stores/ID/file_batches/ID/files", "ListVectorStoreFilesResponse"),
    ("POST", "embeddings", "CreateEmbeddingResponse"),
)


def knowledge_schema(method: str, path: str) -> str | None:
    """The schema of what a knowledge route answers; None for another route, or one that answers bytes."""
    return schema_of(_KNOWLEDGE_ANSWERS, method, path)


def schema_of(answers: tuple[tuple[str, str, str], ...], method: str, path: str) -> str | None:
    """The schema of what a route answers, by a table of method, path under ``/v1/`` with ``ID``, and schema."""
    for known, template, schema in answers:
        if known == method and re.fullmatch("/v1/" + template.replace("ID", "[^/]+"), path):
            return schema
    return None


def is_at_hand() -> bool:
    """Whether there is a description to hold answers against."""
    return _DESCRIPTION.exists()
