"""What is taken out of texts, what only looks like it, and that no text makes it slow."""

import time

import pytest

from monitoring.redaction import CARD, EMAIL, KEY, OWN_KEY_PREFIX, PHONE, luhn, redact, redact_keys
from serving.cli.keys import PREFIX, make_key

HEAD, FOOT = "-----BEGIN RSA PRIVATE " + "KEY-----", "-----END RSA PRIVATE " + "KEY-----"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Write to jane.doe+x@mail.example.co.uk!", f"Write to {EMAIL}!"),
        ("<bob@example.com>, eve@example.org.", f"<{EMAIL}>, {EMAIL}."),
        ("J\u00fcrgen@m\u00fcller.example", EMAIL),
        ("a" * 80 + "@example.com", EMAIL),
    ],
)
def test_an_email_address_is_taken_out(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text", ["lodash@4.17.21", "meet me @ noon", "a@b", "@handle said so", "user@localhost", "5 @ 3.50", "x@y.z"]
)
def test_what_only_has_an_at_sign_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("card 4111111111111111.", f"card {CARD}."),
        ("4111 1111 1111 1111", CARD),
        ("5500-0000-0000-0004 and 3782 822463 10005", f"{CARD} and {CARD}"),
        ("4111\u00a01111\u00a01111\u00a01111", CARD),
        ("order 12 4111 1111 1111 1111", f"order 12 {CARD}"),
        ("4111 1111 1111 1111 2nd line", f"{CARD} 2nd line"),
        ("4222222222222", CARD),
    ],
)
def test_a_payment_card_is_taken_out(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "4111 1111 1111 1112",
        "order 1700000000000",
        "1234567812345670",
        "550e8400-e29b-41d4-a716-446655440000",
        "3.14159265358979",
        "411111111111111111111111111111",
        "sha256 a4111111111111111",
    ],
)
def test_a_number_that_no_card_has_stays(text: str) -> None:
    assert redact(text) == text


def test_the_check_digit_is_luhns() -> None:
    assert luhn("4111111111111111")
    assert luhn("79927398713")
    assert not any(luhn(f"7992739871{digit}") for digit in "012456789")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("call +49 (0) 171 1234567 now", f"call {PHONE} now"),
        ("+1-212-555-0123", PHONE),
        ("+442079460958", PHONE),
        ("0049 30 901820", PHONE),
        ("(212) 555-0123", PHONE),
        ("212.555.0123, ask", f"{PHONE}, ask"),
        ("030 90182012", PHONE),
        ("0171/1234567", PHONE),
        ("020 7946 0958", PHONE),
        ("+1 212 555 0123 12345", f"{PHONE}5"),
    ],
)
def test_a_phone_number_is_taken_out(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-06",
        "05-06-2024 10:30",
        "192.168.100.200",
        "version 1.2.3",
        "1,000,000",
        "agent 007 in 1962",
        "+5 points",
        "T10:00:00+00:00",
        "0.0012345678",
        "page 123-456",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert redact(text) == text


def test_our_own_keys_are_known_by_their_prefix() -> None:
    key, _ = make_key()
    assert PREFIX == OWN_KEY_PREFIX
    assert redact_keys(f"use {key}, please") == f"use {KEY}, please"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("id AKIAIOSFODNN7EXAMPLE.", f"id {KEY}."),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", f"aws_secret_access_key = {KEY}"),
        ('"api_key": "a1b2c3d4e5f6"', f'"api_key": "{KEY}"'),
        ("password=correcthorse", f"password={KEY}"),
        ("Authorization: Bearer 0a1b2c3d4e", f"Authorization: Bearer {KEY}"),
        ("authorization: basic dXNlcjpwYXNz", f"authorization: basic {KEY}"),
        (TOKEN, KEY),
        ("sk-proj-abcdefghij0123456789", KEY),
        ("ghp_" + "a1" * 18, KEY),
        ("postgresql://loraplex:hunter22@db/state", f"postgresql://{KEY}@db/state"),
        (f"see {HEAD}\nMIIE\nabc\n{FOOT} there", f"see {KEY} there"),
        (f"see {HEAD}\nMIIE cut off", f"see {KEY}"),
        (f"{HEAD}a{FOOT}-{HEAD}b{FOOT}", f"{KEY}-{KEY}"),
    ],
)
def test_a_key_is_taken_out(text: str, clean: str) -> None:
    assert redact_keys(text) == clean
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "the bearer of bad news",
        "bearer certificates",
        "basic arithmetic",
        "token: classification",
        "sk-learn-contributors-guide",
        "task-runner-with-a-long-name-of-its-own-1",
        "AKIA is a prefix",
        "max_tokens: 12345678",
        "lpx-short",
        "-----BEGIN CERTIFICATE-----",
        "https://example.com/a:b@c",
        "eyJ.eyJ.",
    ],
)
def test_what_only_resembles_a_key_stays(text: str) -> None:
    assert redact_keys(text) == text


def test_what_was_redacted_stays_as_it_is() -> None:
    once = redact("jane@example.com 4111111111111111 +1-212-555-0123 Bearer 0a1b2c3d4e password=correcthorse")
    assert redact(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a.",
        "a@",
        "a@a.",
        "@",
        "1",
        "1 ",
        "4 ",
        "4-",
        "+1 ",
        "0",
        "030 ",
        "(2",
        "eyJaaaaaaaa-",
        "eyJaaaaaaaa.",
        "sk-",
        "sk-a",
        "bearer ",
        "token=",
        "token ",
        "password    ",
        "://",
        "://a:",
        "-----BEGIN PRIVATE " + "KEY-----",
        "-----BEGIN ",
        "-----",
        "\u00a0",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = (piece * 60_000)[:60_000]
    began = time.monotonic()
    redact(text)
    assert time.monotonic() - began < 5
