"""What the reserved attributes of a document say."""

from datetime import UTC, datetime

import pytest

from retrieval.errors import AttributesInvalid
from retrieval.types import NEVER
from serving.knowledge.types import canonical_labels, document_meta, labels_of, parse_labels


def test_a_document_without_attributes_is_its_file() -> None:
    meta = document_meta("file-1", "prices.md", "Prices", {})
    assert (meta.source, meta.title, meta.version) == ("prices.md", "Prices", "")
    assert (meta.effective_at, meta.expires_at, meta.labels) == (0, NEVER, frozenset())


def test_attributes_say_more_than_the_file() -> None:
    attributes: dict[str, str | float | bool] = {
        "source": "docs/prices.md",
        "title": "Price list",
        "version": 2.5,
        "labels": "hr, finance",
    }
    meta = document_meta("file-1", "prices.md", "Prices", attributes)
    assert (meta.source, meta.title, meta.version) == ("docs/prices.md", "Price list", "2.5")
    assert meta.labels == {"hr", "finance"}
    assert meta.attributes == attributes


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:00:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        (1_772_323_200.0, datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_dates_are_seconds_or_iso_8601_in_utc(value: str | float, moment: datetime) -> None:
    meta = document_meta("file-1", "a.md", "", {"effective_at": value, "expires_at": value})
    assert meta.effective_at == meta.expires_at == int(moment.timestamp())


def test_a_date_beyond_all_calendars_is_never() -> None:
    assert document_meta("file-1", "a.md", "", {"expires_at": 1e300}).expires_at == NEVER


@pytest.mark.parametrize(
    "attributes",
    [
        {"labels": ""},
        {"labels": "hr,,it"},
        {"labels": " "},
        {"labels": True},
        {"labels": 7.0},
        {"labels": "x" * 65},
        {"labels": ",".join("abcdefghijklmnopqrstuvwxyz0123456789")},
        {"source": 1.0},
        {"title": False},
        {"version": True},
        {"expires_at": "soon"},
        {"expires_at": True},
        {"effective_at": "2026-13-01"},
        {"effective_at": ""},
    ],
)
def test_a_reserved_attribute_that_is_not_what_it_must_be_is_refused(attributes: dict[str, str | float | bool]) -> None:
    with pytest.raises(AttributesInvalid):
        document_meta("file-1", "a.md", "", attributes)


def test_labels_are_read_back_whatever_is_in_them() -> None:
    labels = parse_labels('a "quoted" one, с кириллицей, it')
    assert labels_of(canonical_labels(labels)) == labels
    assert canonical_labels(["b", "a"]) == canonical_labels(["a", "b"])
    assert parse_labels(None) == frozenset()
