"""Records and facts that tests make up."""

from typing import Any

import numpy as np

from serving.observing.facts import Fact, written
from serving.observing.notes import Record
from tests.word_embedder import WordEmbedder

VERSION = "triage@11111111"


def record(**changes: Any) -> Record:
    """A good answer of the stable version, as it arrives in the observing process."""
    made: Record = {
        "kind": "answer",
        "id": "req-1",
        "at": 1_000_000.0,
        "task": "triage",
        "is_task": True,
        "adapter": VERSION,
        "role": "stable",
        "outcome": "ok",
        "prompt": "Where is the parcel that I have been waiting for since Monday?",
        "answer": "It left the warehouse yesterday and will be with you by noon.",
        "finish_reason": "stop",
        "calls": [],
        "prompt_tokens": 12,
        "completion_tokens": 14,
        "streamed": False,
        "violation": None,
        "is_drawn": False,
        "rollout": None,
    }
    return made | changes


def fact(text: str = "where is my parcel", **changes: Any) -> Fact:
    """A packed fact whose prompt is in the windows."""
    vector = WordEmbedder().embed_queries([text])[0]
    made: Fact = {
        "task": "triage",
        "adapter": VERSION,
        "role": "stable",
        "at": 1_000_000.0,
        "checks": [["refusal", 0.0]],
        "counts": True,
        "drift": {
            "prompt_tokens": 12,
            "answer_tokens": 14,
            "language": "en",
            "retrieval_score": None,
            "outcome": "ok",
            "text": None,
            "embedding": written(np.asarray(vector)),
            "model": "words",
        },
    }
    return made | changes


def facts(count: int, words: tuple[str, ...] = ("parcel", "refund", "invoice", "login"), **changes: Any) -> list[Fact]:
    """So many facts, about one topic after the other."""
    return [
        fact(f"question {number % 37} about my {words[number % len(words)]}", **{"at": 1_000_000.0 + number} | changes)
        for number in range(count)
    ]
