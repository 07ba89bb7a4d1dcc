"""What a job needs of the files, wherever they are kept."""

from pathlib import Path

import pytest

from adapters.database import Database
from serving.config import TrainingSettings, parse_config
from serving.errors import ObjectNotFound
from serving.jobs.desk import JobDesk
from serving.jobs.orders import JobRequest
from serving.jobs.records import Jobs
from serving.jobs.service import _library
from serving.jobs.tables import SCHEMA
from tests.knowledge_house import ALICE, BOB, open_house


def test_jobs_train_on_files_that_another_process_keeps(tmp_path: Path, state_url: str) -> None:
    state = {"url": state_url}
    config = parse_config(
        {
            "model": {"id": "org/base"},
            "state": state,
            "artifacts": {"url": str(tmp_path / "artifacts")},
            "knowledge": {},
        }
    )
    with open_house(tmp_path, state_url) as house:
        own = Database(config.state.url, SCHEMA)
        own.migrate()
        desk = JobDesk(
            config,
            TrainingSettings(),
            Jobs(own),
            _library(config, house.database),
            base="/base",
            root=tmp_path / "jobs",
            changed=lambda: None,
        )
        mine = house.library.upload(ALICE, "cards.jsonl", b"{}", "fine-tune")
        # Whoever sees a vector store sees the files in it.
        shared = house.library.upload(ALICE, "shared.jsonl", b"{}", "fine-tune")
        house.store(shared.id)

        def create(file_id: str, validation: str | None = None) -> Path:
            request = JobRequest("base", file_id, "supervised", {}, validation_file=validation, adapter="cards")
            caller = ALICE if file_id == mine.id else BOB
            everything = type(caller)(caller.name, frozenset({"*"}), labels=caller.labels, writes_knowledge=True)
            return tmp_path / "jobs" / desk.create(everything, request).id

        assert (create(mine.id) / "train.jsonl").read_bytes() == b"{}"
        assert (create(shared.id, shared.id) / "heldout.jsonl").read_bytes() == b"{}"
        with pytest.raises(ObjectNotFound) as raised:
            create(shared.id, mine.id)
        assert raised.value.param == "validation_file"
        own.close()
