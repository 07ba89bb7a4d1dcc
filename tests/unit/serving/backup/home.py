"""A small installation without a gateway: a real database, artifact store and index in memory."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from adapters.base_model import BaseModelSpec
from adapters.catalog import Catalog
from adapters.digest import digest_folder
from adapters.store import ArtifactStore
from adapters.types import version_name
from retrieval.indexes.memory import MemoryIndexStore
from retrieval.indexes.protocol import IndexSpec
from retrieval.types import Passage
from serving.backup.manifest import Manifest
from serving.backup.passages import IndexPassages
from serving.backup.restore import Restore, Restored
from serving.backup.save import Backup
from serving.backup.vault import Vault
from serving.cli.main import build_app
from serving.config import GatewayConfig, load_config
from serving.knowledge.types import WrittenEdition
from serving.state import migrate_state
from tests.adapter_factory import BASE_NAME, make_adapter, make_base, make_version
from tests.knowledge_house import ALICE, House, open_house
from tests.word_embedder import WordEmbedder

INDEX = "kb_0123456789abcdef0123456789abcdef"
EMBEDDER = WordEmbedder()


def nothing(_: str) -> None:
    """Nobody is told."""


@dataclass(slots=True)
class Home:
    """An installation whose whole state is in ``folder``, and a place for its backups beside it."""

    folder: Path
    indexes: MemoryIndexStore = field(default_factory=MemoryIndexStore)

    @property
    def config(self) -> GatewayConfig:
        """Its configuration."""
        return load_config(self.file)

    @property
    def file(self) -> Path:
        """The file with it."""
        return self.folder / "loraplex.yaml"

    @property
    def place(self) -> Path:
        """Where backups go."""
        return self.folder.parent / "backups"

    @property
    def vault(self) -> Vault:
        """The same."""
        return Vault(str(self.place))

    def back_up(self, say: Callable[[str], None] = nothing) -> Manifest:
        """Make a backup."""
        return Backup(self.config, self.vault, IndexPassages(self.indexes), say).make()

    def restore(self, into: "Home", backup: str | None = None) -> Restored:
        """Restore the newest backup of this one into another."""
        name = backup or self.vault.backups()[-1]
        manifest = Manifest.read(self.vault.manifest(name), name)
        return Restore(into.config, self.vault, manifest, lambda: into.indexes, nothing).run()

    def run(self, command: str, *options: str) -> Result:
        """``loraplex backup`` or ``restore``, over the same place, without an index."""
        place = {"backup": "--to", "restore": "--from"}[command]
        arguments = [command, "-c", str(self.file), place, str(self.place), *options]
        return CliRunner().invoke(build_app(command), arguments)

    def house(self) -> Any:
        """Its files and vector stores."""
        return open_house(self.folder)

    def catalog(self) -> Catalog:
        """Its adapters."""
        return Catalog(self.config.state.url)


def empty_home(folder: Path, **sections: Any) -> Home:
    """One that was never used."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        "model": {"id": str(make_base(folder.parent / BASE_NAME))},
        "state": {"url": f"sqlite:///{folder}/state.db"},
        "artifacts": {"url": str(folder / "artifacts")},
        "logging": {"audit": {"enabled": False}},
        "training": {"folder": str(folder / "jobs")},
        **sections,
    }
    home = Home(folder)
    home.file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return home


def copied(home: Home, folder: Path) -> Home:
    """Another one that is as it is."""
    copy = empty_home(folder)
    for name in ("state.db", "artifacts"):
        source = home.folder / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    for name in home.indexes.names():
        index = home.indexes.open(name)
        assert index is not None
        for number in index.documents():
            copy.indexes.create(name, index.spec).add(*index.stored(number))
    return copy


def make_home(folder: Path, *, files: int = 3) -> Home:
    """One that was used."""
    home = empty_home(folder)
    migrate_state(home.config.state.url)
    add_version(home, 1)
    add_version(home, 2)
    with home.house() as house:
        ids = [add_file(house, f"fact-{number}.md", f"Fact number {number}.".encode()) for number in range(files)]
        store = house.store(*ids[:2])
        house.stores.change(store, index_name=INDEX, recipe="{}")
        for file_id in ids[:2]:
            search_in(home, house, store, file_id)
    return home


def add_version(home: Home, seed: int) -> str:
    """Add a version of ``triage`` and promote it; its name."""
    source = make_adapter(
        home.folder / f"triage-{seed}", BaseModelSpec.from_checkpoint(Path(home.config.model.id), BASE_NAME), seed=seed
    )
    digest = digest_folder(source)
    name = version_name("triage", digest)
    ArtifactStore(home.config.artifacts.url).put(source, name)
    catalog = home.catalog()
    catalog.register(replace(make_version("triage", str(seed)), name=name, digest=digest))
    catalog.promote("triage", name, "tests")
    catalog.close()
    return name


def add_file(house: House, name: str, data: bytes) -> str:
    """Upload a file; its id."""
    return house.library.upload(ALICE, name, data, "assistants").id


def search_in(home: Home, house: House, store: str, file_id: str) -> int:
    """Ingest a file of a store; the number of its edition."""
    document = house.documents.get(store, file_id)
    data = house.blobs.get(file_id)
    assert document is not None
    assert data is not None
    number = house.documents.begin_edition(INDEX)
    texts = data.decode().split()
    passages = [Passage(number, place, text, "Facts") for place, text in enumerate(texts)]
    index = home.indexes.create(INDEX, IndexSpec(EMBEDDER.dimension, EMBEDDER.fingerprint))
    index.add(passages, EMBEDDER.embed_documents(texts))
    house.documents.complete(document, WrittenEdition(number, len(passages), len(data)), title=document.filename)
    return number
