"""The rows that a version was trained on, as far as a fine-tuning job of this installation trained it."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import or_, select

from adapters.database import Database
from adapters.errors import StoreUnavailable
from serving.config import GatewayConfig
from serving.engine.protocol import Endpoint
from serving.jobs.folder import TRAIN
from serving.jobs.tables import SCHEMA, checkpoints, jobs
from serving.knowledge.blobs import Blobs
from serving.observing.reading import asked_text


class DataUnknown(Exception):
    """The training data of a version cannot be had. Its text holds nothing of the data."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one row asks and answers."""

    prompt: str
    """Text of the last message of the user."""
    answer: str


class TrainingData:
    """Blocking. Reads a job's copy of its training file, or the file itself where the copy is gone."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config

    def rows(self, version: str, most: int) -> list[Row]:
        """Up to ``most`` rows, drawn at random, always the same ones.

        Raises:
            DataUnknown: no job here trained the version, or its data is gone.
            CatalogUnavailable: the state database cannot be used.
        """
        if self._config.training is None:
            raise DataUnknown("this gateway has no section `training`: it knows no version's training data")
        found = self._job(version)
        if found is None:
            raise DataUnknown(f"no fine-tuning job of this installation made {version}")
        rows = list(read_rows(self._bytes(*found, version)))
        if not rows:
            raise DataUnknown(f"the training data of {version} holds no row with a question")
        return rows if len(rows) <= most else random.Random(version).sample(rows, most)  # noqa: S311

    def _job(self, version: str) -> tuple[str, str] | None:
        """A job's id and its training file."""
        database = Database(self._config.state.url, SCHEMA)
        published = select(checkpoints.c.job_id).where(checkpoints.c.version == version)
        query = select(jobs.c.id, jobs.c.training_file).where(or_(jobs.c.version == version, jobs.c.id.in_(published)))
        try:
            with database.reading() as connection:
                row = connection.execute(query.order_by(jobs.c.serial.desc()).limit(1)).first()
        finally:
            database.close()
        return None if row is None else (row.id, row.training_file)

    def _bytes(self, job: str, file_id: str, version: str) -> bytes:
        folder = None if self._config.training is None else self._config.training.folder
        copy = None if folder is None else folder / job / TRAIN
        try:
            if copy is not None and copy.is_file():
                return copy.read_bytes()
            data = Blobs(self._config.artifacts).get(file_id)
        except (OSError, StoreUnavailable) as error:
            raise DataUnknown(f"the training data of {version} cannot be read: {type(error).__name__}") from error
        if data is None:
            raise DataUnknown(f"the training data of {version} was deleted")
        return data


def read_rows(data: bytes) -> Iterator[Row]:
    """The questions and answers of JSON lines: chats, or preferences with the preferred answer. Others are left out."""
    for line in data.splitlines():
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        found = _row(row) if isinstance(row, dict) else None
        if found is not None and found.prompt:
            yield found


def _row(row: dict[str, Any]) -> Row | None:
    given = row.get("input")
    messages = given.get("messages") if isinstance(given, dict) else row.get("messages")
    if not isinstance(messages, list):
        return None
    prompt = asked_text(Endpoint.CHAT, {"messages": messages})
    answers = row.get("preferred_output") if isinstance(given, dict) else messages
    if not isinstance(answers, list):
        return None
    said = [turn.get("content") for turn in answers if isinstance(turn, dict) and turn.get("role") == "assistant"]
    last = said[-1] if said else ""
    return Row(prompt, last if isinstance(last, str) else "")
