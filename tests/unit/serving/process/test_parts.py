"""The small parts of the process side: reports, in-flight counting, standby, orders, the environment for Ray."""

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from adapters.catalog import Catalog
from serving.config import GatewayConfig, parse_config
from serving.errors import ConfigInvalid
from serving.process import launch
from serving.process.inflight import InFlight
from serving.process.orders import Orders, base_url
from serving.process.ray_environment import cluster_environment, container_environment, preferred_ports, ray_environment
from serving.process.replica import summary
from serving.process.reports import Kind, Report, Reporter, ReportListener
from serving.process.standby import Standby
from tests.api.harness import version


def config_of(**sections: Any) -> GatewayConfig:
    return parse_config({"model": {"id": "org/tiny"}, **sections})


async def test_reports_arrive_in_order(tmp_path: Path) -> None:
    received: asyncio.Queue[Report] = asyncio.Queue()
    listener = ReportListener(tmp_path / "r.sock", received.put_nowait)
    await listener.start()
    reporter = Reporter(tmp_path / "r.sock", "replica-0")
    reporter.progress("Loading")
    reporter.listening()
    reporter.ready("all of it")
    reporter.failed("no")
    got = [await asyncio.wait_for(received.get(), 5) for _ in range(4)]
    listener.close()
    assert [report.kind for report in got] == [Kind.PROGRESS, Kind.LISTENING, Kind.READY, Kind.FAILED]
    assert got[0] == Report(Kind.PROGRESS, "replica-0", "Loading")


async def test_garbage_on_the_report_socket_is_ignored(tmp_path: Path) -> None:
    received: asyncio.Queue[Report] = asyncio.Queue()
    listener = ReportListener(tmp_path / "r.sock", received.put_nowait)
    await listener.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for data in (b"", b"nonsense", b"[]", b'{"kind": "other", "source": "", "text": ""}'):
            sender.sendto(data, str(tmp_path / "r.sock"))
    Reporter(tmp_path / "r.sock", "x").progress("after")
    assert (await asyncio.wait_for(received.get(), 5)).text == "after"
    listener.close()


def test_a_report_that_nobody_hears_is_no_error(tmp_path: Path) -> None:
    Reporter(tmp_path / "nobody.sock", "x").progress("hello")


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _drop(_: Message) -> None:
    return None


async def test_in_flight_counts_until_the_app_returns() -> None:
    finish = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await finish.wait()

    counted = InFlight(app)
    assert await counted.wait_until_idle(0.1)
    task = asyncio.create_task(counted({"type": "http"}, _nothing, _drop))
    await asyncio.sleep(0)
    assert counted.count == 1
    assert not await counted.wait_until_idle(0.01)
    finish.set()
    assert await counted.wait_until_idle(1)
    await task


async def test_in_flight_forgets_a_request_that_failed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    counted = InFlight(app)
    with pytest.raises(RuntimeError):
        await counted({"type": "http"}, _nothing, _drop)
    assert counted.count == 0


async def test_standby_answers_503_and_gives_the_socket_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"
        standby = Standby(listener)
        await standby.start()
        await standby.start()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, content=b"x" * 300_000)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "2"
            assert answer.json()["error"]["code"] == "not_ready"
            standby.stop()
            with pytest.raises(httpx.ReadTimeout):
                await client.get(url, timeout=0.2)
            await standby.start()
            assert (await client.get(url)).status_code == 503
        standby.stop()
        assert listener.fileno() > 0


def test_orders_survive_the_file_and_are_for_this_user_alone(tmp_path: Path) -> None:
    config = config_of(tasks={"t": {"output": {"json_schema": {"type": "object"}}}}, replicas=2)
    orders = Orders(config, tmp_path, tmp_path, tmp_path, ray_address="auto", omp_threads="3")
    orders.write(tmp_path / "orders.json")
    assert Orders.read(tmp_path / "orders.json") == orders
    assert (tmp_path / "orders.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("h", "h")],  # noqa: S104
)
def test_the_address_for_clients_can_be_called(host: str, expected: str) -> None:
    config = config_of(server={"host": host, "allow_unauthenticated": True, "authentication": "off"})
    assert base_url(config) == f"http://{expected}:8000"


def test_the_summary_counts_in_english(tmp_path: Path) -> None:
    config = config_of(state={"url": f"sqlite:///{tmp_path / 'state.db'}"})
    catalog = Catalog(config.state.url)
    catalog.migrate()
    assert summary(config, 2) == "tiny, 2 replicas"
    found = version("triage")
    catalog.register(found)
    catalog.promote("triage", found.name, "me")
    catalog.close()
    assert summary(config, 1) == "tiny, 1 adapter, 1 replica"


def test_no_request_is_cut_off_by_haproxy_before_its_own_limit(tmp_path: Path) -> None:
    config = config_of(server={"request_timeout_s": 900}, limits={"adapter_wait_s": 50})
    environment = ray_environment(config, tmp_path, tmp_path / "haproxy", preferred_ports())
    assert int(environment["RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S"]) > 950
    assert int(environment["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) > 950
    assert all(isinstance(value, str) for value in environment.values())


def test_every_instance_has_a_ray_token_of_its_own(tmp_path: Path) -> None:
    tokens = {ray_environment(config_of(), tmp_path, tmp_path, preferred_ports())["RAY_AUTH_TOKEN"] for _ in range(2)}
    assert len(tokens) == 2


def test_containers_get_no_secret_and_nothing_of_the_machine_that_wrote_their_environment() -> None:
    environment = container_environment(config_of())
    assert not [name for name in environment if "TOKEN" in name or "PASSWORD" in name]
    assert environment == container_environment(config_of())
    assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert environment["RAY_SERVE_HAPROXY_BINARY_PATH"] == "/opt/loraplex/bin/loraplex-haproxy"


def test_what_a_cluster_must_agree_on_depends_on_the_configuration_alone() -> None:
    assert cluster_environment(config_of()) == cluster_environment(config_of())
    longer = cluster_environment(config_of(server={"request_timeout_s": 1200}))
    assert longer != cluster_environment(config_of())


def test_where_nobody_listens_a_report_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        Reporter(None, "control").progress("Reading the adapter catalog")
        Reporter(None, "control").failed("no database")
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    assert "Reading the adapter catalog" in caplog.text


def test_a_process_without_a_folder_of_logs_writes_json_to_its_standard_error() -> None:
    program = (
        "import logging; from serving.config import parse_config; from serving.process.orders import Orders; "
        "from serving.process.replica import prepare_process; from serving.observability.logs import drain_logs; "
        "prepare_process(Orders.for_cluster(parse_config({'model': {'id': 'org/tiny'}})), 'replica-0'); "
        "logging.getLogger('x').warning('hello'); drain_logs()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr.splitlines()[-1])["message"] == "hello"


def test_a_model_folder_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no checkpoint"):
        launch.check(parse_config({"model": {"id": str(tmp_path / "none")}}))
