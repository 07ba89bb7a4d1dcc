"""The servers that other tests stop and start: what was written before is there after."""

import psycopg
import pytest

from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_postgresql_keeps_what_was_committed_over_a_restart(postgres_server: PostgresServer, end: str) -> None:
    name = postgres_server.new_database().rpartition("/")[2]
    with postgres_server.connect(name) as connection:
        connection.execute("CREATE TABLE kept (number integer)")
        connection.execute("INSERT INTO kept VALUES (7)")
    getattr(postgres_server, end)()
    try:
        with pytest.raises(psycopg.OperationalError):
            postgres_server.connect(name)
    finally:
        postgres_server.start()
    with postgres_server.connect(name) as connection:
        assert connection.execute("SELECT number FROM kept").fetchall() == [(7,)]


def test_the_s3_server_keeps_what_was_put_over_a_crash(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    s3_server.client.put_object(Bucket=bucket, Key="kept", Body=b"content")
    s3_server.kill()
    s3_server.start()
    assert s3_server.client.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"content"
