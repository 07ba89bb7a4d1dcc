"""The artifact store and the disk cache."""

import multiprocessing
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from adapters.base_model import BaseModelSpec
from adapters.digest import digest_folder
from adapters.errors import ArtifactCorrupt, StoreUnavailable
from adapters.store import ArtifactStore, DiskCache
from adapters.types import AdapterVersion
from tests.adapter_factory import make_adapter, make_version

BIG = 1 << 30


@pytest.fixture
def url(artifacts_url: str) -> str:
    return artifacts_url


@pytest.fixture
def store(url: str) -> ArtifactStore:
    return ArtifactStore(url)


Add = Callable[..., AdapterVersion]


@pytest.fixture
def add(tmp_path: Path, base: BaseModelSpec, store: ArtifactStore) -> Add:
    """Makes an adapter and stores it."""

    def make_and_store(seed: int) -> AdapterVersion:
        folder = make_adapter(tmp_path / f"made-{seed}", base, seed=seed)
        digest = digest_folder(folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
        version = make_version("a", "", digest=digest, name=f"a@{digest[:8]}", size_bytes=size)
        store.put(folder, version.name)
        return version

    return make_and_store


def damage(url: str, version: AdapterVersion) -> None:
    path = f"{url}/{version.name}/adapter_model.safetensors"
    with fsspec.open(path, "rb") as file:
        data = bytearray(file.read())
    data[-1] ^= 1
    with fsspec.open(path, "wb") as file:
        file.write(data)


def test_what_is_put_can_be_fetched(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    version = add(1)
    assert store.exists(version.name)
    store.fetch(version.name, version.digest, tmp_path / "back")
    assert digest_folder(tmp_path / "back") == version.digest


def test_only_files_that_serve_are_stored(store: ArtifactStore, adapter: Path, url: str) -> None:
    (adapter / "training_args.bin").write_bytes(b"\x80\x04")
    (adapter / "recipe.json").write_text("{}")
    store.put(adapter, "a@00000000")
    fs, root = fsspec.core.url_to_fs(url)
    stored = {path.rpartition("/")[2] for path in fs.find(root)}
    assert stored == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_version_stored_before_is_not_written_again(store: ArtifactStore, add: Add, adapter: Path) -> None:
    version = add(1)
    store.put(adapter, version.name)
    store.fetch(version.name, version.digest, adapter.parent / "back")


def test_a_deleted_version_is_gone_and_can_come_back(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    version = add(1)
    store.delete(version.name)
    store.delete(version.name)
    assert not store.exists(version.name)
    with pytest.raises(ArtifactCorrupt, match="missing from the artifact store"):
        store.fetch(version.name, version.digest, tmp_path / "back")
    add(1)
    store.fetch(version.name, version.digest, tmp_path / "back")


def test_damage_in_the_store_is_noticed_and_nothing_is_left_behind(
    store: ArtifactStore, add: Add, url: str, tmp_path: Path
) -> None:
    version = add(1)
    damage(url, version)
    with pytest.raises(ArtifactCorrupt, match="digest"):
        store.fetch(version.name, version.digest, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_put_that_dies_half_way_stores_nothing(store: ArtifactStore, adapter: Path, url: str) -> None:
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(StoreUnavailable):
        store.put(adapter, "a@00000000")
    assert not store.exists("a@00000000")
    fs, root = fsspec.core.url_to_fs(url)
    assert not [path for path in fs.find(root) if path.endswith("config.json")]


def test_what_a_half_done_delete_left_does_not_stand_in_the_way(tmp_path: Path, adapter: Path) -> None:
    store = ArtifactStore(str(tmp_path / "store"))
    store.put(adapter, "a@00000000")
    (tmp_path / "store" / "a@00000000" / "adapter_config.json").unlink()
    assert not store.exists("a@00000000")
    store.put(adapter, "a@00000000")
    assert store.exists("a@00000000")


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden", "", "a\nb"])
def test_a_name_that_is_no_version_never_becomes_a_path(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of an adapter version"):
        store.exists(name)


def test_a_store_that_cannot_be_used_says_so(tmp_path: Path, adapter: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Protocol not known"):
        ArtifactStore("nonsense://x")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        ArtifactStore(str(tmp_path / "file")).put(adapter, "a@00000000")


# The disk cache


def test_a_version_is_fetched_once_and_then_held(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    version = add(1)
    cache = DiskCache(tmp_path / "cache", BIG, store)
    assert not cache.holds(version.name)
    path = cache.ensure(version)
    assert cache.holds(version.name)
    store.delete(version.name)
    assert cache.ensure(version) == path
    assert digest_folder(path) == version.digest


def test_damage_on_disk_is_mended_from_the_store(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    version = add(1)
    DiskCache(tmp_path / "cache", BIG, store).ensure(version)
    damage(str(tmp_path / "cache"), version)
    path = DiskCache(tmp_path / "cache", BIG, store).ensure(version)
    assert digest_folder(path) == version.digest


def test_damage_in_the_store_never_reaches_the_cache(store: ArtifactStore, add: Add, url: str, tmp_path: Path) -> None:
    version = add(1)
    damage(url, version)
    cache = DiskCache(tmp_path / "cache", BIG, store)
    with pytest.raises(ArtifactCorrupt):
        cache.ensure(version)
    assert not cache.holds(version.name)


def test_the_least_recently_used_version_leaves_a_full_cache(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    one, two, three = add(1), add(2), add(3)
    cache = DiskCache(tmp_path / "cache", one.size_bytes + two.size_bytes, store)
    cache.ensure(one)
    cache.ensure(two)
    cache.ensure(one)
    cache.ensure(three)
    assert [cache.holds(version.name) for version in (one, two, three)] == [True, False, True]
    cache.ensure(two)
    assert [cache.holds(version.name) for version in (one, two, three)] == [False, True, True]


def test_a_version_in_use_stays_and_a_cache_full_of_them_says_so(
    store: ArtifactStore, add: Add, tmp_path: Path
) -> None:
    one, two = add(1), add(2)
    kept = {one.name}
    cache = DiskCache(tmp_path / "cache", one.size_bytes, store, keep=lambda: kept)
    cache.ensure(one)
    with pytest.raises(StoreUnavailable, match=r"raise adapters\.cache_bytes"):
        cache.ensure(two)
    assert cache.holds(one.name)
    kept.clear()
    cache.ensure(two)
    assert not cache.holds(one.name)


def test_a_version_that_another_user_of_the_folder_needs_stays(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    one, two = add(1), add(2)
    theirs = DiskCache(tmp_path / "cache", one.size_bytes, store, keep=lambda: {one.name})
    theirs.ensure(one)
    ours = DiskCache(tmp_path / "cache", one.size_bytes, store)
    with pytest.raises(StoreUnavailable):
        ours.ensure(two)
    theirs.close()
    ours.ensure(two)
    assert not theirs.holds(one.name)


def test_threads_that_want_one_version_fetch_it_once(
    store: ArtifactStore, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = add(1)
    cache = DiskCache(tmp_path / "cache", BIG, store)
    fetched: list[str] = []
    fetch = store.fetch

    def counted(name: str, digest: str, into: Path) -> None:
        fetched.append(name)
        fetch(name, digest, into)

    monkeypatch.setattr(store, "fetch", counted)
    threads = [threading.Thread(target=cache.ensure, args=(version,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert fetched == [version.name]


def test_what_a_dead_process_left_half_done_is_cleaned_up(store: ArtifactStore, add: Add, tmp_path: Path) -> None:
    version = add(1)
    DiskCache(tmp_path / "cache", BIG, store)
    half = tmp_path / "cache" / ".incoming" / version.name
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    cache = DiskCache(tmp_path / "cache", BIG, store)
    assert not half.exists()
    assert not cache.holds(version.name)
    assert digest_folder(cache.ensure(version)) == version.digest


def _ensure_all(root: Path, url: str, versions: list[AdapterVersion], size: int) -> None:
    cache = DiskCache(root, size, ArtifactStore(url))
    for _ in range(3):
        for version in versions:
            assert digest_folder(cache.ensure(version)) == version.digest
    cache.close()


def test_processes_share_one_cache(tmp_path: Path, base: BaseModelSpec) -> None:
    """Two processes that want the same versions at the same time: each gets every one of them whole."""
    url = str(tmp_path / "store")
    store = ArtifactStore(url)
    versions = []
    for seed in range(3):
        folder = make_adapter(tmp_path / f"made-{seed}", base, seed=seed)
        digest = digest_folder(folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
        versions.append(make_version("a", "", digest=digest, name=f"a@{digest[:8]}", size_bytes=size))
        store.put(folder, versions[-1].name)
        shutil.rmtree(folder)
    room = sum(version.size_bytes for version in versions) * 2
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["adapters.store", "tests.adapter_factory"])
    others = [
        context.Process(target=_ensure_all, args=(tmp_path / "cache", url, order, room))
        for order in (versions, versions[::-1])
    ]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    assert [other.exitcode for other in others] == [0, 0]
    assert not list((tmp_path / "cache" / ".incoming").iterdir())
