"""``loraplex doctor`` from outside: the way to a gateway, and who may come in. Each test breaks one thing."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from typer.testing import CliRunner

from serving.cli.main import build_app
from serving.doctor.finding import Finding, Level
from serving.doctor.visit import Wishes
from tests.certificates import make_certificate
from tests.doctoring import Answer, look, look_through, of, only, served_over_tls
from tests.knowledge_live import key_of
from tests.live import listen, served
from tests.living import Living, living

OUTSIDE = (
    "connection", "health", "readiness", "clock", "authentication", "models", "admin API", "replicas", "residency",
    "rollouts", "request", "version", "stream", "metrics", "release", "monitoring", "knowledge", "jobs",
)  # fmt: skip
KEYS: dict[str, Any] = {"api_keys": [key_of("root", admin=True), key_of("user"), key_of("nobody", models=[])]}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def it(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Living]:
    """A gateway with one adapter, without keys. Tests leave it as it is."""
    async with living(tmp_path_factory.mktemp("gateway")) as made:
        await made.add(1, promote=True)
        yield made


def url_of(it: Living) -> str:
    return str(it.http.base_url).rstrip("/")


async def command(*arguments: str, exit_code: int, env: dict[str, str | None] | None = None) -> str:
    """What ``loraplex doctor`` prints."""
    words = ["doctor", *arguments]
    result = await asyncio.to_thread(CliRunner(env=env).invoke, build_app("doctor"), words)
    assert result.exit_code == exit_code, result.output
    return result.output


# All is well


async def test_a_gateway_that_is_well_has_a_line_for_every_check(it: Living) -> None:
    found = await look(url_of(it))

    assert [finding.check for finding in found] == list(OUTSIDE)
    assert {finding.level for finding in found} == {Level.OK, Level.SKIP}
    assert [finding.check for finding in found if finding.level is Level.SKIP] == ["monitoring", "knowledge", "jobs"]


async def test_the_command_prints_a_line_for_each_check_and_ends_with_0(it: Living) -> None:
    printed = await command("--url", f"{url_of(it)}/v1", exit_code=0)

    assert "ok    readiness       The gateway is ready." in printed
    assert "Nothing is broken: 15 well, 0 to look at, 3 not checked." in printed


async def test_the_command_tells_machines_the_same(it: Living) -> None:
    body = json.loads(await command("--url", url_of(it), "--json", exit_code=0))

    assert body["ok"] is True
    assert [line["check"] for line in body["findings"]] == list(OUTSIDE)
    assert body["findings"][0].keys() == {"check", "level", "message", "next"}


async def test_no_request_is_sent_where_none_is_wished(it: Living) -> None:
    before = len(it.engine.requests)
    found = await look(url_of(it), wishes=Wishes(requests=False))

    assert len(it.engine.requests) == before
    assert [only(found, check, Level.SKIP).message for check in ("request", "stream")] == 2 * [
        "Left out, as you wished."
    ]


async def test_a_model_can_be_chosen(it: Living) -> None:
    found = await look(url_of(it), wishes=Wishes(model="tiny-llama"))
    assert only(found, "version", Level.OK).message == "tiny-llama was answered by base, as it should be."

    found = await look(url_of(it), wishes=Wishes(model="tiny-lama"))
    assert "no model `tiny-lama`" in only(found, "models", Level.FAIL).message
    assert "triage" in only(found, "models", Level.FAIL).next


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--url", "gateway:8000"], "not an address"),
        (["--url", "http://"], "not an address"),
        (["--url", "http://a b:8000"], "not an address"),
        (["--url", "http://gateway:port"], "not an address"),
        (["--config", "none.yaml"], "cannot read none.yaml"),
        (["--timeout", "0"], "greater than or equal to 1"),
    ],
)
async def test_a_command_line_that_is_wrong_ends_with_2(arguments: list[str], told: str) -> None:
    assert told in await command(*arguments, exit_code=2)


async def test_requests_need_a_gateway_to_go_to(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("model: {id: org/base}\n")

    assert "go with --url" in await command("--config", str(file), "--no-request", exit_code=2)


async def test_inside_a_pod_the_file_of_the_environment_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f"model: {{id: org/base}}\nengine: {{kind: fake}}\nstate: {{url: 'sqlite:///{tmp_path}/state.db'}}\n"
        "metrics: {token_env: NOBODY_SET_THIS}\n"
    )
    printed = await command(exit_code=1, env={"LORAPLEX_CONFIG": str(file)})

    assert "fail  variables       The environment variable NOBODY_SET_THIS is not set" in printed
    assert "ok    state" in printed
    assert "connection" not in printed


# The way there


async def _one(url: str, **options: Any) -> Finding:
    """The only finding: nothing else can be said."""
    [finding] = await look(url, **options)
    assert finding.level is Level.FAIL
    assert finding.next
    return finding


async def test_a_port_that_nobody_listens_on_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"

    assert (await _one(url)).message == f"Nothing listens at 127.0.0.1:{port}."
    printed = await command("--url", url, exit_code=1)
    assert "→ Start a gateway with `loraplex serve" in printed
    assert "1 fault, 0 to look at, 0 well." in printed


async def test_a_name_that_does_not_resolve_is_told() -> None:
    assert (await _one("http://two..dots:8000")).message == "The name two..dots cannot be resolved."


async def test_a_gateway_that_hangs_is_told() -> None:
    with listen() as listener:
        finding = await _one(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.2)

    assert "was not answered within 0.2 s" in finding.message


async def test_http_where_tls_is_spoken_is_told(it: Living, tmp_path: Path) -> None:
    async with served_over_tls(it.gateway.app, make_certificate(tmp_path)) as url:
        finding = await _one(url.replace("https://", "http://"))

    assert "speaks TLS, and was asked without" in finding.message
    assert url in finding.next


async def test_tls_where_http_is_spoken_is_told(it: Living) -> None:
    finding = await _one(url_of(it).replace("http://", "https://"))

    assert "does not speak TLS" in finding.message
    assert url_of(it) in finding.next


@pytest.mark.parametrize(
    ("options", "trusts", "told"),
    [
        ({"days": -1}, ["authority.pem"], "has expired"),
        ({}, [], "of an authority that this machine does not know"),
        ({"name": "elsewhere.example"}, ["authority.pem"], "is for another name"),
    ],
)
async def test_a_bad_certificate_is_told_by_its_fault(
    it: Living, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], trusts: list[str], told: str
) -> None:
    certificate = make_certificate(tmp_path, **options)
    for name in trusts:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
    async with served_over_tls(it.gateway.app, certificate) as url:
        assert told in (await _one(url)).message


@pytest.mark.parametrize(("days", "level"), [(90, Level.OK), (5, Level.WARN)])
async def test_a_certificate_that_ends_soon_is_told(
    it: Living, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, level: Level
) -> None:
    certificate = make_certificate(tmp_path, days=days)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    async with served_over_tls(it.gateway.app, certificate) as url:
        found = await look(url)

    only(found, "connection", level)
    assert not [finding for finding in found if finding.level is Level.FAIL]


# Who answers


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (PlainTextResponse("It works!", headers={"server": "Apache"}), "(Apache) is not a Loraplex gateway"),
        (PlainTextResponse("Bad Gateway", 502, headers={"server": "nginx"}), "it reaches no gateway behind it"),
        (RedirectResponse("https://gateway.example/"), "redirects to https://gateway.example/"),
        (PlainTextResponse("", 401), "asks for credentials of its own"),
    ],
)
async def test_what_is_no_gateway_is_told_by_what_it_is(answer: Response, told: str) -> None:
    async with served(answer) as url:
        found = await look(url)

    assert [finding.check for finding in found] == ["connection", "health"]
    assert told in only(found, "health", Level.FAIL).message


async def test_a_gateway_that_is_not_ready_says_what_it_does(it: Living) -> None:
    it.gateway.status.mark_not_ready("the engine died")
    [finding] = of(await look(url_of(it)), "readiness")
    it.gateway.status.mark_ready()

    assert (finding.level, finding.message) == (Level.FAIL, "The gateway is not ready: the engine died.")


async def test_warnings_of_a_ready_gateway_are_told(it: Living) -> None:
    it.gateway.status.warnings = ("the engine does not tell vllm:num_requests_running",)
    found = await look(url_of(it))
    it.gateway.status.warnings = ()

    assert "vllm:num_requests_running" in only(found, "readiness", Level.WARN).message


async def test_a_clock_that_is_wrong_is_told(it: Living) -> None:
    def long_ago(answer: Answer) -> None:
        answer.headers["date"] = "Sun, 06 Nov 1994 08:49:37 GMT"

    finding = only(await look_through(it.gateway.app, "/healthz", long_ago), "clock", Level.WARN)
    assert "behind this machine's" in finding.message


async def test_an_answer_that_no_gateway_gives_is_a_finding_and_no_crash(it: Living) -> None:
    def strange(answer: Answer) -> None:
        answer.body = b'{"data": 1}'

    found = await look_through(it.gateway.app, "/admin/v1/adapters", strange)
    assert "is not one that a gateway of this release gives" in of(found, "admin API")[0].message
    assert of(found, "metrics")[0].level is Level.OK


# Who may come in


async def test_keys_are_told_apart(tmp_path: Path) -> None:
    async with living(tmp_path, **KEYS) as it:
        found = {key: await look(url_of(it), key=key) for key in ("", "unknown", "user", "root", "nobody")}

    assert only(found[""], "authentication", Level.FAIL).message == "The gateway asks for a key."
    assert "does not know the key" in only(found["unknown"], "authentication", Level.FAIL).message
    assert "LORAPLEX_API_KEY" in only(found["user"], "admin API", Level.SKIP).next
    assert only(found["root"], "authentication", Level.OK).message == "Keys are required, and this one is known."
    assert only(found["nobody"], "models", Level.FAIL).message == "This key may use no model."


async def test_the_command_takes_its_key_from_the_environment(tmp_path: Path) -> None:
    async with living(tmp_path, **KEYS) as it:
        printed = await command("--url", url_of(it), exit_code=0, env={"LORAPLEX_API_KEY": "root"})

    assert "Keys are required, and this one is known." in printed


async def test_an_open_gateway_that_others_reach_is_told(it: Living) -> None:
    name = socket.gethostname()
    async with served(it.gateway.app) as url:
        try:
            port = int(url.rpartition(":")[2])
            socket.create_connection((name, port), 1).close()
        except OSError:
            pytest.skip("this machine's own name does not lead to its loopback")
        finding = only(await look(f"http://{name}:{port}"), "authentication", Level.WARN)

    assert "may use and administer the gateway" in finding.message
