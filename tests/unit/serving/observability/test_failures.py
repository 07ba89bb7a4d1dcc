"""What a log may tell of an exception."""

import pytest

from adapters.errors import CatalogUnavailable
from serving.errors import InvalidRequest
from serving.observability.failures import named, told


def raised(error: BaseException) -> BaseException:
    """``error`` after somebody raised it."""
    try:
        raise error
    except BaseException as caught:
        return caught


def test_errors_of_ours_that_speak_of_state_alone_keep_their_message() -> None:
    assert named(CatalogUnavailable("the state database is away")) == "CatalogUnavailable: the state database is away"
    assert named(OSError(28, "No space left on device")) == "OSError: [Errno 28] No space left on device"
    assert named(TimeoutError()) == "TimeoutError"


def test_errors_that_may_quote_a_request_are_their_class() -> None:
    assert named(ValueError("secret")) == "ValueError"
    assert named(TimeoutError("secret")) == "TimeoutError"
    assert named(OSError("cannot read `secret`")) == "OSError"
    assert named(InvalidRequest("`secret` is no number")) == "InvalidRequest"
    assert named(UnicodeEncodeError("ascii", "secret", 0, 1, "no")) == "UnicodeEncodeError"


def test_causes_come_first_as_in_a_traceback() -> None:
    try:
        try:
            raise KeyError("secret")
        except KeyError as cause:
            raise RuntimeError("secret") from cause
    except RuntimeError as error:
        text = told(error, messages=False)
    lines = [line for line in text.splitlines() if not line.startswith(" ")]
    assert lines == ["KeyError", "RuntimeError"]
    assert "secret" not in lines


def test_what_python_would_not_show_is_not_shown() -> None:
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise RuntimeError("second") from None

    with pytest.raises(RuntimeError) as failure:
        fail()

    assert "KeyError" not in told(failure.value, messages=False)


def test_a_chain_in_a_circle_ends() -> None:
    first, second = raised(ValueError()), raised(KeyError())
    first.__cause__, second.__cause__ = second, first
    assert told(first, messages=False).count("ValueError") == 1


def test_with_messages_it_is_the_traceback() -> None:
    assert told(raised(ValueError("secret")), messages=True).endswith("ValueError: secret")
