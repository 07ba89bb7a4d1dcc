"""Artifacts in a folder, in memory and on a real S3-compatible server: files, rights, and a server that goes away."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adapters.base_model import BaseModelSpec
from adapters.digest import digest_folder
from adapters.errors import ArtifactCorrupt, StoreUnavailable
from adapters.layout import CONFIG, WEIGHTS
from adapters.s3 import BoundedS3FileSystem
from adapters.sources import fetch_source
from adapters.store import ArtifactStore
from serving.config import ArtifactSettings
from serving.knowledge.blobs import Blobs
from tests.adapter_factory import BASE_NAME, make_adapter, make_base, write_tensors
from tests.s3_server import GATEWAY_KEY, READER_KEY, S3Server

NAME = "triage@00000000"
FILE = f"file-{'0' * 32}"
LARGE = 120 * 1024 * 1024
"""Bytes of a file that is put in several parts and fetched in several ranges."""
IMPATIENT = {"connect_timeout": 1, "read_timeout": 1}
BOUND_S = 12.0
"""Three attempts of two seconds each at most, the pauses between them, and a machine that has other things to do."""


@pytest.fixture
def blobs(artifacts_url: str) -> Blobs:
    return Blobs(ArtifactSettings(url=artifacts_url))


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.new_bucket()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelSpec:
    return BaseModelSpec.from_checkpoint(make_base(tmp_path_factory.mktemp("models") / BASE_NAME), BASE_NAME)


@pytest.fixture
def adapter(tmp_path: Path, base: BaseModelSpec) -> Path:
    return make_adapter(tmp_path / "made", base)


def put_large(folder: Path) -> str:
    """Something that is an adapter by its digest alone, with large weights; gives the digest."""
    folder.mkdir()
    (folder / CONFIG).write_text("{}", encoding="utf-8")
    write_tensors(folder / WEIGHTS, {"noise": ("F32", (LARGE // 4,), os.urandom(LARGE))})
    return digest_folder(folder)


# Files


def test_a_file_is_stored_read_and_deleted(blobs: Blobs) -> None:
    assert blobs.get(FILE) is None
    blobs.put(FILE, b"one")
    blobs.put(FILE, b"two")
    assert blobs.get(FILE) == b"two"
    blobs.delete(FILE)
    blobs.delete(FILE)
    assert blobs.get(FILE) is None


def test_what_another_process_stored_is_listed_at_once(artifacts_url: str, blobs: Blobs) -> None:
    assert blobs.entries() == []
    Blobs(ArtifactSettings(url=artifacts_url)).put(FILE, b"content")
    ((name, age_s),) = blobs.entries()
    assert name == FILE
    assert -5 < age_s < 60
    blobs.delete(FILE)
    assert blobs.entries() == []


@pytest.mark.parametrize("name", ["../outside", "file-1", f"{FILE}/x", ""])
def test_a_name_that_is_no_file_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    blobs = Blobs(ArtifactSettings(url=str(tmp_path)))
    for use in (blobs.get, blobs.delete, lambda other: blobs.put(other, b"")):
        with pytest.raises(ValueError, match="not a file id"):
            use(name)


# Versions


def test_writers_of_one_version_at_once_leave_it_whole(artifacts_url: str, adapter: Path, tmp_path: Path) -> None:
    store = ArtifactStore(artifacts_url)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: store.put(adapter, NAME), range(8)))
    store.fetch(NAME, digest_folder(adapter), tmp_path / "back")


def test_an_adapter_that_was_replaced_at_its_source_is_read_anew(
    s3_server: S3Server, bucket: str, base: BaseModelSpec, tmp_path: Path
) -> None:
    digests = []
    for seed in (1, 2):
        made = make_adapter(tmp_path / f"made-{seed}", base, seed=seed, rank=4 * seed)
        for file in (WEIGHTS, CONFIG):
            s3_server.client.put_object(Bucket=bucket, Key=f"triage/{file}", Body=(made / file).read_bytes())
        source = fetch_source(
            f"s3://{bucket}/triage", tmp_path / f"got-{seed}", max_bytes=LARGE, options=s3_server.options
        )
        digests.append((digest_folder(source), digest_folder(made)))
    assert [got for got, _ in digests] == [made for _, made in digests]
    assert digests[0] != digests[1]


def test_the_parts_of_a_large_adapter_have_time_for_a_slow_line() -> None:
    filesystem = BoundedS3FileSystem(anon=True)
    part, line = 50 * 1024 * 1024, 12e6 / 8
    assert filesystem.longest_call_s(part) > filesystem.max_concurrency * part / line
    assert filesystem.longest_call_s(0) == 45


# Rights


def test_reading_writing_and_listing_is_all_that_a_gateway_needs(
    s3_server: S3Server, bucket: str, adapter: Path, tmp_path: Path
) -> None:
    options = s3_server.options_of(GATEWAY_KEY)
    store = ArtifactStore(f"s3://{bucket}/deep/down", options)
    store.put(adapter, NAME)
    store.fetch(NAME, digest_folder(adapter), tmp_path / "back")
    store.delete(NAME)
    assert not store.exists(NAME)
    blobs = Blobs(ArtifactSettings(url=f"s3://{bucket}/deep/down", options=options))
    blobs.put(FILE, b"content")
    assert [name for name, _ in blobs.entries()] == [FILE]
    blobs.delete(FILE)


def test_a_key_that_may_only_read_serves_what_is_there_and_stores_nothing(
    s3_server: S3Server, bucket: str, adapter: Path, tmp_path: Path
) -> None:
    ArtifactStore(f"s3://{bucket}", s3_server.options).put(adapter, NAME)
    reader = ArtifactStore(f"s3://{bucket}", s3_server.options_of(READER_KEY))
    reader.fetch(NAME, digest_folder(adapter), tmp_path / "back")
    with pytest.raises(StoreUnavailable, match="Access Denied"):
        reader.put(adapter, "triage@11111111")


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_a_wrong_key_says_so(s3_server: S3Server, bucket: str, adapter: Path, wrong: str) -> None:
    store = ArtifactStore(f"s3://{bucket}", s3_server.options | {wrong: "wrong"})
    with pytest.raises(StoreUnavailable, match=r"Forbidden|Access Denied|does not exist|signature"):
        store.put(adapter, NAME)


def test_a_bucket_that_is_not_there_is_not_made(s3_server: S3Server, adapter: Path) -> None:
    store = ArtifactStore("s3://never-made/x", s3_server.options)
    with pytest.raises(StoreUnavailable, match="bucket does not exist"):
        store.put(adapter, NAME)
    assert "never-made" not in [one["Name"] for one in s3_server.client.list_buckets()["Buckets"]]


# A server that goes away

Operation = Callable[[ArtifactStore, Blobs, Path], object]
OPERATIONS: dict[str, Operation] = {
    "exists": lambda store, _, __: store.exists(NAME),
    "put": lambda store, _, folder: store.put(folder, "triage@11111111"),
    "fetch": lambda store, _, folder: store.fetch(NAME, digest_folder(folder), folder.parent / "back"),
    "delete": lambda store, _, __: store.delete(NAME),
    "store a file": lambda _, blobs, __: blobs.put(FILE, b"content"),
    "read a file": lambda _, blobs, __: blobs.get(FILE),
    "delete a file": lambda _, blobs, __: blobs.delete(FILE),
    "list files": lambda _, blobs, __: blobs.entries(),
}


@pytest.fixture
def away(s3_server: S3Server, bucket: str, adapter: Path) -> tuple[ArtifactStore, Blobs, Path]:
    """A store and files with something in them, and an adapter."""
    options: dict[str, Any] = s3_server.options | {"config_kwargs": IMPATIENT}
    store = ArtifactStore(f"s3://{bucket}", options)
    blobs = Blobs(ArtifactSettings(url=f"s3://{bucket}", options=options))
    store.put(adapter, NAME)
    blobs.put(FILE, b"content")
    return store, blobs, adapter


def seconds_to_fail(work: Callable[[], object]) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        work()
    return time.monotonic() - began


def check_nothing_was_lost(store: ArtifactStore, blobs: Blobs, adapter: Path) -> None:
    assert not (adapter.parent / "back").exists()
    assert not store.exists("triage@11111111")
    store.put(adapter, "triage@11111111")
    store.fetch(NAME, digest_folder(adapter), adapter.parent / "back")
    assert blobs.get(FILE) == b"content"


@pytest.mark.parametrize(("leave", "come_back"), [("kill", "start"), ("pause", "resume")])
def test_while_the_server_is_away_every_operation_fails_in_time_and_then_all_is_as_before(
    s3_server: S3Server, away: tuple[ArtifactStore, Blobs, Path], leave: str, come_back: str
) -> None:
    getattr(s3_server, leave)()
    try:
        with ThreadPoolExecutor(len(OPERATIONS)) as threads:
            took = threads.map(lambda work: seconds_to_fail(lambda: work(*away)), OPERATIONS.values())
            slow = {name: s for name, s in zip(OPERATIONS, took, strict=True) if s > BOUND_S}
    finally:
        getattr(s3_server, come_back)()
    assert slow == {}
    if leave == "pause":
        # What was sent to a server that hangs is done when it goes on, although nobody waits for it any more.
        store, blobs, adapter = away
        store.put(adapter, NAME)
        store.put(adapter, "triage@11111111")
        store.fetch(NAME, digest_folder(adapter), adapter.parent / "back")
        blobs.put(FILE, b"content")
        assert blobs.get(FILE) == b"content"
    else:
        check_nothing_was_lost(*away)


def test_an_upload_that_a_crash_of_the_server_breaks_off_stores_no_version_until_it_is_made_again(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    digest = put_large(tmp_path / "large")
    store = ArtifactStore(f"s3://{bucket}", s3_server.options | {"config_kwargs": IMPATIENT})
    with ThreadPoolExecutor(1) as thread:
        putting = thread.submit(store.put, tmp_path / "large", NAME)
        for uploads in poll(lambda: s3_server.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])):
            if uploads:
                break
        s3_server.kill()
        try:
            assert isinstance(putting.exception(), StoreUnavailable)
        finally:
            s3_server.start()
    assert not store.exists(NAME)
    with pytest.raises(ArtifactCorrupt, match="missing from the artifact store"):
        store.fetch(NAME, digest, tmp_path / "back")
    store.put(tmp_path / "large", NAME)
    store.fetch(NAME, digest, tmp_path / "back")
    assert (tmp_path / "back" / WEIGHTS).stat().st_size > LARGE


def poll(ask: Callable[[], Any]) -> Iterator[Any]:
    """What a server says, again and again, for a while."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        yield ask()
    raise AssertionError("it never happened")
