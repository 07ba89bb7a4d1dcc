"""``loraplex doctor --config`` against the real PostgreSQL, the real S3-compatible store and a real Milvus server."""

from pathlib import Path
from typing import Any

import pytest

from serving.config import GatewayConfig, parse_config
from serving.doctor import storage
from serving.doctor.finding import Finding, Level
from serving.state import migrate_state
from tests.milvus_server import MilvusServer
from tests.postgres_server import PASSWORD, PostgresServer
from tests.s3_server import S3Server

LIMIT_S = 8.0


def config_of(folder: Path, **sections: Any) -> GatewayConfig:
    """A configuration whose state is in ``folder``, unless it is said to be elsewhere."""
    state = {"url": f"sqlite:///{folder}/state.db"}
    return parse_config({"model": {"id": "org/base"}, "engine": {"kind": "fake"}, "state": state} | sections)


def one(findings: Any, level: Level) -> Finding:
    """The only finding, and a fault says what to do next."""
    [finding] = list(findings)
    assert finding.level is level, finding
    assert isinstance(finding, Finding)
    assert finding.level is Level.OK or finding.next
    return finding


def test_the_state_database_is_told_by_its_fault(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_password = postgres_server.new_database()
    migrate_state(with_password)
    url = with_password.replace(f":{PASSWORD}", "")

    def looked_at(address: str, level: Level) -> Finding:
        return one(storage.state(config_of(tmp_path, state={"url": address}), limit_s=LIMIT_S), level)

    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert "has tables of catalog" in looked_at(url, Level.OK).message
    assert "does not exist" in looked_at(url.replace("/test_", "/nothing_"), Level.FAIL).message
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert "PGPASSWORD" in looked_at(url, Level.FAIL).next
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    postgres_server.stop()
    try:
        assert "refused" in looked_at(url, Level.FAIL).message.lower()
    finally:
        postgres_server.start()
    postgres_server.pause()
    try:
        found = one(storage.state(config_of(tmp_path, state={"url": url}), limit_s=0.5), Level.FAIL)
        assert "there was no answer within 0.5 s" in found.message
    finally:
        postgres_server.resume()
    looked_at(url, Level.OK)


def test_the_store_is_told_by_its_fault(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3_server.new_bucket()
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)

    def looked_at(address: str, level: Level) -> Finding:
        return one(storage.artifacts(config_of(tmp_path, artifacts={"url": address}), limit_s=LIMIT_S), level)

    assert "written, read and deleted" in looked_at(f"s3://{bucket}/loraplex", Level.OK).message
    left = s3_server.client.list_objects_v2(Bucket=bucket).get("Contents", [])
    assert left == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "AWS_SECRET_ACCESS_KEY" in looked_at(f"s3://{bucket}/loraplex", Level.FAIL).next
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "AWS_ENDPOINT_URL" in looked_at(f"s3://{bucket}/loraplex", Level.FAIL).next


def test_the_index_is_told_by_its_fault(milvus_server: MilvusServer, tmp_path: Path) -> None:
    def looked_at(uri: str, level: Level) -> Finding:
        config = config_of(tmp_path, knowledge={"index": {"uri": uri}})
        return one(storage.index(config, limit_s=LIMIT_S), level)

    assert "Milvus 2.3" in looked_at(milvus_server.uri, Level.OK).message
    assert "cannot be used" in looked_at("http://127.0.0.1:9", Level.FAIL).message
