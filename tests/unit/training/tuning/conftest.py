"""A tiny random chat model and rows to train it on."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_chat_model import make_chat_model
from training.tuning.recipe import DpoRecipe, SftRecipe

SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "base_model": "tiny-llama",
    "train": "train.jsonl",
    "rank": 2,
    "alpha": 4,
    "learning_rate": 1e-2,
    "epochs": 2,
    "batch_size": 4,
    "max_length": 96,
    "seed": 3,
}
CITIES = (
    *("Oslo", "Rome", "Cairo", "Lima", "Paris", "Bonn", "Quito", "Accra", "Delhi", "Hanoi"),
    *("Kyiv", "Minsk", "Riga", "Sofia", "Tunis", "Vienna", "Athens", "Berlin", "Dakar", "Dublin"),
)
# Twenty rows are few, and the first of them are measured on.
ALLOW = ("leakage", "near_leakage", "near_duplicates", "near_contradiction", "changing_facts", "few_rows")


def turns(question: str, answer: str) -> list[dict[str, Any]]:
    """A question and its answer."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def chat_rows() -> list[dict[str, Any]]:
    """Rows of chat."""
    return [{"messages": turns(f"Tell me of {city}.", f"{city} is a town{'!' * (len(city) % 3)}")} for city in CITIES]


def preference_rows() -> list[dict[str, Any]]:
    """Preferences for short answers."""
    return [
        {
            "input": {"messages": turns(f"Tell me of {city}.", "")[:1]},
            "preferred_output": [{"role": "assistant", "content": f"{city}."}],
            "non_preferred_output": [{"role": "assistant", "content": f"Well, {city}, you know."}],
        }
        for city in CITIES
    ]


def sft_recipe(folder: Path, **changes: Any) -> SftRecipe:
    """A recipe with training rows and held-out rows in ``folder``."""
    write_rows(folder / "train.jsonl", chat_rows())
    write_rows(folder / "heldout.jsonl", chat_rows()[:3])
    return SftRecipe.parse(SETTINGS | {"heldout": "heldout.jsonl"} | changes, folder)


def dpo_recipe(folder: Path, **changes: Any) -> DpoRecipe:
    """The same for preferences."""
    write_rows(folder / "pairs.jsonl", preference_rows())
    write_rows(folder / "heldout-pairs.jsonl", preference_rows()[:3])
    settings = SETTINGS | {"train": "pairs.jsonl", "heldout": "heldout-pairs.jsonl"} | changes
    return DpoRecipe.parse(settings, folder)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with a chat template."""
    return make_chat_model(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Threads cost more than they bring to models of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
