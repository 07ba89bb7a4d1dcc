"""The checks of the base model's files, and of what the environment must hold."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from serving.config import GatewayConfig, parse_config
from serving.doctor import environment, model, neighbours
from serving.doctor.finding import Finding, Level
from serving.doctor.inside import examine
from tests.adapter_factory import make_base
from tests.live import served
from tests.unit.serving.doctor.test_storage import one


def config_of(name: str | Path, **sections: Any) -> GatewayConfig:
    """A configuration with vLLM."""
    return parse_config({"model": {"id": str(name)}} | sections)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A whole one."""
    folder = make_base(tmp_path / "base")
    (folder / "tokenizer.json").write_text("{}")
    return folder


# The model's files


def test_a_whole_checkpoint_is_well(checkpoint: Path) -> None:
    assert "is whole: 1 file" in one(model.model(config_of(checkpoint)), Level.OK).message


def test_a_checkpoint_of_several_files_must_have_them_all(checkpoint: Path) -> None:
    weights = {"a.weight": "model.safetensors", "b.weight": "model-00002.safetensors"}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))

    finding = one(model.model(config_of(checkpoint)), Level.FAIL)
    assert "lacks model-00002.safetensors and so 1 of 2 files" in finding.message


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_an_index_of_files_that_is_broken_is_told(checkpoint: Path, text: str) -> None:
    (checkpoint / "model.safetensors.index.json").write_text(text)

    assert "index.json cannot be read" in one(model.model(config_of(checkpoint)), Level.FAIL).message


def test_a_file_that_was_cut_off_is_told(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])

    assert one(model.model(config_of(checkpoint)), Level.FAIL).message.startswith("model.safetensors is broken: ")


def test_a_folder_without_weights_config_or_tokenizer_is_told(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    assert "holds no tokenizer" in one(model.model(config_of(checkpoint)), Level.WARN).message
    (checkpoint / "model.safetensors").unlink()
    assert "lacks every weight" in one(model.model(config_of(checkpoint)), Level.FAIL).message
    (checkpoint / "config.json").unlink()
    assert "holds no config.json" in one(model.model(config_of(checkpoint)), Level.FAIL).message
    assert "There is no folder" in one(model.model(config_of(checkpoint / "gone")), Level.FAIL).message


def test_an_engine_elsewhere_needs_no_files_here() -> None:
    one(model.model(config_of("org/base", engine={"kind": "fake"})), Level.SKIP)


# The hub


async def _hub(scope: Scope, receive: Receive, send: Send) -> None:
    """Knows one model, and one that it gives to nobody."""
    status = {"/api/models/org/base": 200, "/api/models/org/gated": 401}.get(scope["path"], 404)
    await JSONResponse({}, status)(scope, receive, send)


async def _asked(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path, level: Level) -> Finding:
    monkeypatch.setenv("HF_HOME", str(folder))
    for variable in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    async with served(_hub) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        return one(await asyncio.to_thread(list, model.model(config_of(name))), level)


async def test_a_model_is_asked_for_at_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "fetched at the first start" in (await _asked("org/base", monkeypatch, tmp_path, Level.OK)).message
    gated = await _asked("org/gated", monkeypatch, tmp_path, Level.FAIL)
    assert gated.message == "The hub answers 401 for org/gated."
    assert "HF_TOKEN" in gated.next
    assert "answers 404" in (await _asked("org/bsae", monkeypatch, tmp_path, Level.FAIL)).message


def test_a_hub_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "the hub is not reached" in one(model.model(config_of("org/base")), Level.FAIL).message
    monkeypatch.setenv("HF_ENDPOINT", "nowhere")
    assert "HF_ENDPOINT is wrong" in one(model.model(config_of("org/base")), Level.FAIL).message
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE forbids" in one(model.model(config_of("org/base")), Level.FAIL).message


def test_a_model_in_the_cache_needs_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cache = tmp_path / "models--org--base"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc123")
    (cache / "snapshots").mkdir()
    (cache / "snapshots" / "abc123").symlink_to(checkpoint)

    assert "is whole" in one(model.model(config_of("org/base")), Level.OK).message
    (checkpoint / "model.safetensors").unlink()
    one(model.model(config_of("org/base")), Level.FAIL)


# The environment


def test_variables_that_are_named_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    sections: dict[str, Any] = {
        "engine": {"kind": "fake"},
        "metrics": {"token_env": "SCRAPERS"},
        "knowledge": {"index": {"uri": "http://127.0.0.1:9", "token_env": "MILVUS"}},
    }
    config = config_of("org/base", **sections)
    monkeypatch.setenv("SCRAPERS", " ")
    monkeypatch.delenv("MILVUS", raising=False)
    found = list(environment.variables(config))
    assert [finding.message for finding in found] == [
        "The environment variable SCRAPERS is not set, which `metrics.token_env` names.",
        "The environment variable MILVUS is not set, which `knowledge.index.token_env` names.",
    ]

    monkeypatch.setenv("SCRAPERS", "a")
    monkeypatch.setenv("MILVUS", "b")
    assert one(environment.variables(config), Level.OK).message == "2 variables that the file names, all set."
    assert one(environment.variables(config_of("org/base", engine={"kind": "fake"})), Level.OK).message == "None named."


def test_what_a_start_would_lack_is_told(tmp_path: Path) -> None:
    config = config_of("org/base", engine={"kind": "fake"}, adapters={"preload": [{"name": "a", "source": "/none"}]})

    assert "there is no folder /none" in one(environment.configuration(config), Level.FAIL).message
    one(environment.configuration(config_of("org/base", engine={"kind": "fake"})), Level.OK)


# Servers


async def _told(check: Any, config: GatewayConfig) -> list[Finding]:
    return await asyncio.to_thread(list, check(config))


class Neighbour:
    """A server that answers every path with one status, or with another for some."""

    def __init__(self, status: int = 200, **others: int) -> None:
        self.status = status
        self.others = {f"/{path}": code for path, code in others.items()}
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        status = self.others.get(scope["path"], self.status)
        body = {"error": {"message": "I start.", "code": "not_ready"}} if status >= 400 else {}
        await JSONResponse(body, status)(scope, receive, send)


@pytest.mark.parametrize(
    ("status", "level", "told"),
    [
        (200, Level.OK, "answers."),
        (401, Level.FAIL, "refuses the key (401)."),
        (400, Level.FAIL, "refuses a request (400): I start."),
        (404, Level.WARN, "does not know"),
        (503, Level.FAIL, "answers 503: I start."),
    ],
)
async def test_a_server_is_told_by_what_it_answers(status: int, level: Level, told: str) -> None:
    server = Neighbour(status)
    async with served(server) as url:
        config = config_of("org/base", engine={"kind": "openai", "url": f"{url}/v1"})
        assert told in one(await _told(neighbours.servers, config), level).message

    assert server.asked == ["/v1/models"]


async def test_models_behind_urls_are_asked_for_what_they_are_for() -> None:
    server = Neighbour()
    async with served(server) as url:
        knowledge = {
            "embedder": {"url": f"{url}/v1"},
            "reranker": {"kind": "url", "url": f"{url}/v1/rerank", "model": "ranker"},
        }
        config = config_of("org/base", engine={"kind": "fake"}, knowledge=knowledge)
        found = await _told(neighbours.servers, config)

    assert {finding.level for finding in found} == {Level.OK}
    assert server.asked == ["/v1/embeddings", "/v1/rerank"]


def test_servers_out_of_reach_are_told() -> None:
    nowhere = "http://127.0.0.1:9/v1"
    describer = {"url": nowhere, "model": "writer"}
    knowledge = {
        "embedder": {"url": nowhere},
        "reranker": {"kind": "url", "url": nowhere, "model": "ranker"},
        "bases": {"handbook": {"chunking": {"describer": describer}}},
    }
    found = list(neighbours.servers(config_of("org/base", engine={"kind": "fake"}, knowledge=knowledge)))

    assert [finding.message.split("`")[1] for finding in found] == [
        "knowledge.embedder.url",
        "knowledge.reranker.url",
        "knowledge.bases.handbook.chunking.describer.url",
    ]
    assert {finding.level for finding in found} == {Level.FAIL}
    one(neighbours.servers(config_of("org/base", engine={"kind": "fake"})), Level.SKIP)


@pytest.mark.parametrize(
    ("server", "level", "told"),
    [
        (Neighbour(), Level.OK, "is ready"),
        (Neighbour(readyz=503), Level.FAIL, "is not ready: I start."),
        (Neighbour(404), Level.FAIL, "is not the control process"),
    ],
)
async def test_a_part_in_another_process_must_be_ready(server: Neighbour, level: Level, told: str) -> None:
    async with served(server) as url:
        config = config_of("org/base", engine={"kind": "fake"}, services={"control": {"url": url}})
        assert told in one(await _told(neighbours.services, config), level).message


def test_a_part_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LORAPLEX_SERVICE_TOKEN", raising=False)
    services = {"control": {"url": "http://127.0.0.1:9"}, "knowledge": {"url": "http://two..dots:8000"}}
    found = list(neighbours.services(config_of("org/base", engine={"kind": "fake"}, knowledge={}, services=services)))

    assert "loraplex serve --only control" in found[0].next
    assert "The name two..dots cannot be resolved" in found[1].message
    assert "LORAPLEX_SERVICE_TOKEN is not set" in found[2].message
    assert {finding.level for finding in found} == {Level.FAIL}


# All of it


def test_every_check_from_inside_has_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(examine(config_of("org/base", engine={"kind": "fake"})))

    assert [finding.check for finding in found] == [
        "configuration", "variables", "state", "artifacts", "index", "services", "servers", "model", "disk",
        "shared memory", "gpus", "open files", "port", "haproxy",
    ]  # fmt: skip
    assert not [finding for finding in found if finding.level is Level.FAIL and finding.check != "port"]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().out == ""
