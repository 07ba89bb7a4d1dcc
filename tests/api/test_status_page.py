"""``/status`` over HTTP, on a whole gateway."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_admin import ADMIN_KEY, USER_KEY, keys
from tests.lifecycle import until
from tests.living import Living, living

SECRET = "xylophone-4111-1111-1111-1111"
HOSTILE = "<script>alert(1)</script> from https://user:word@example.org/x"


def basic(key: str, user: str = "anybody") -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"}


async def page(it: Living, **options: Any) -> str:
    answer = await it.http.get("/status", **options)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_it_lists_what_is_loaded_where_and_what_changed(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        stable, canary = await it.add(1, promote=True), await it.add(2)
        await it.admin("POST", "/adapters/triage/canary", {"version": canary, "share": 0.25})

        async def is_told() -> bool:
            text = await page(it)
            return "25%" in text and text.count(canary) >= 2 and "slot" in text

        await until(is_told, "the canary on the page")
        text = await page(it)
        for expected in (stable, "r0", "promote", "anonymous", "labels", "revision"):
            assert expected in text


async def test_its_headers_forbid_everything_but_its_own_style(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        answer = await it.http.get("/status")
        policy = answer.headers["content-security-policy"]
        style = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)

        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        [css] = style
        digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


async def test_a_hostile_reason_stays_text_and_loses_its_credentials(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        version = await it.add(1)
        it.plane.catalog.promote("triage", version, HOSTILE, reason=HOSTILE)
        await until(lambda: _contains(it, "&lt;script&gt;"), "the change on the page")
        text = await page(it)

        assert "<script" not in text
        assert "user:word" not in text


async def _contains(it: Living, what: str) -> bool:
    return what in await page(it)


async def test_nothing_that_was_asked_or_answered_is_on_it(tmp_path: Path) -> None:
    tasks = {"labels": {"adapter": "triage", "system_prompt": f"Never say {SECRET}."}}
    async with living(tmp_path, tasks=tasks) as it:
        await it.add(1, promote=True)
        message = {"role": "user", "content": SECRET}
        answer = await it.ask(messages=[message])
        assert answer.status_code == 200, answer.text
        given = await it.http.post("/v1/feedback", json={"id": answer.json()["id"], "score": 0, "comment": SECRET})
        assert given.status_code == 200, given.text

        assert SECRET not in await page(it)
        assert "4111" not in await page(it)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Bearer {USER_KEY}"}, 403),
        ({"authorization": f"Bearer {ADMIN_KEY}"}, 200),
        (basic("wrong"), 401),
        (basic(USER_KEY), 403),
        (basic(ADMIN_KEY), 200),
        (basic(ADMIN_KEY, user=""), 200),
        (basic("", user=ADMIN_KEY), 401),
        ({"authorization": "Basic not-base64!"}, 401),
        ({"authorization": "Basic /w=="}, 401),
    ],
)
async def test_only_administrators_see_it_unless_it_is_public(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with living_with_keys(tmp_path) as it:
        answer = await it.http.get("/status", headers=headers)

        assert answer.status_code == status, answer.text
        if status != 200:
            assert "triage" not in answer.text
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Basic realm=")
            assert answer.json()["error"]["code"] == "invalid_api_key"


def living_with_keys(folder: Path, **server: Any) -> Any:
    """A gateway that asks for keys."""
    return living(folder, api_keys=keys(), server=server)


async def test_a_public_page_needs_no_key_and_shows_none(tmp_path: Path) -> None:
    async with living_with_keys(tmp_path, status_page="public") as it:
        text = await page(it)

        assert "Loraplex" in text
        for key in (ADMIN_KEY, USER_KEY, hashlib.sha256(ADMIN_KEY.encode()).hexdigest()):
            assert key not in text
        assert (await it.http.get("/metrics")).status_code == 401


async def test_a_page_that_is_off_does_not_exist(tmp_path: Path) -> None:
    async with living(tmp_path, server={"status_page": "off"}) as it:
        answer = await it.http.get("/status")

        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_url"


async def test_the_browser_refreshes_it_where_it_is_asked_to(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        assert 'http-equiv="refresh"' not in await page(it)
        assert '<meta http-equiv="refresh" content="5">' in await page(it, params={"refresh": "5"})
        for wrong in ("1", "0", "-5", "3601", "ten", "", "1e3", "٥", "99999999999"):
            answer = await it.http.get("/status", params={"refresh": wrong})
            assert answer.status_code == 400, wrong
            assert answer.json()["error"]["param"] == "refresh"


async def test_only_get_and_head_are_answered(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        head = await it.http.head("/status")
        posted = await it.http.post("/status")

        assert (head.status_code, head.content) == (200, b"")
        assert posted.status_code == 405


async def test_before_the_gateway_has_started_it_says_so(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        it.gateway.status.mark_not_ready("the engine is loading")

        async def is_told() -> bool:
            return "the engine is loading" in await page(it)

        await until(is_told, "the reason on the page")
        assert "Not ready" in await page(it)
