"""The names of spans and attributes are those of the conventions."""

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, service_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.semconv.schemas import Schemas

from monitoring import semconv

_PUBLISHED = {
    value
    for module in (gen_ai_attributes, service_attributes, error_attributes, http_attributes, server_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}
_OURS = {value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str) and "." in value}


def test_every_attribute_is_of_the_conventions_or_carries_our_name() -> None:
    names = (_OURS | set(semconv.REQUEST_NUMBERS.values())) - {semconv.SCHEMA_URL, semconv.VERSION}

    assert {name for name in names if not name.startswith("loraplex.")} - _PUBLISHED == set()


def test_the_version_is_one_that_was_published() -> None:
    assert semconv.SCHEMA_URL in {schema.value for schema in Schemas}


def test_a_search_that_callers_direct_has_a_name_without_their_ids() -> None:
    assert semconv.retrieval_span(None) == "retrieval"
    assert semconv.retrieval_span("policies") == "retrieval policies"


def test_a_model_call_is_named_by_what_is_done_and_by_the_model() -> None:
    assert semconv.inference_span(semconv.CHAT, "support") == "chat support"
