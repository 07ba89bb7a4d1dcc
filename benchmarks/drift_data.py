"""Prompts with known topics, embedded once; and traffic that is drawn from them, with or without a drift."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleet import say
from examples.banking77.rows import read_questions
from monitoring.drift.types import UNKNOWN_LANGUAGE, Observation, Vectors
from monitoring.quality.languages import SHORT_TEXTS
from retrieval.embedding import SentenceTransformersEmbedder

CLINC, BANKING, OUT_OF_SCOPE = "clinc150", "banking77", "clinc150 out of scope"
REFERENCE = 2_000
_FEWEST = 100
"""Prompts that an intent must have to be the one that comes or grows."""
_TIMED = 1_000

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Prompts:
    """One set of prompts."""

    vectors: Vectors
    tokens: NDArray[np.int64]
    intents: NDArray[np.str_]
    languages: NDArray[np.str_]

    def of(self, intent: str) -> Places:
        """Its prompts."""
        return np.flatnonzero(self.intents == intent)

    def some_intent(self, rng: np.random.Generator) -> str:
        """One that has enough prompts."""
        names, counts = np.unique(self.intents, return_counts=True)
        return str(rng.choice(names[counts >= _FEWEST]))

    def requests(self, places: Places, rng: np.random.Generator, at: float = 0.0) -> list[Observation]:
        """These prompts in random order, one a second; what else is known of a request is drawn and never changes."""
        return [
            Observation(
                at=at + second,
                embedding=self.vectors[place],
                prompt_tokens=int(self.tokens[place]),
                answer_tokens=int(rng.poisson(rng.choice([12, 40, 90]))),
                language=str(self.languages[place]),
                adapter=str(rng.choice(["triage@1", "triage@2"], p=[0.9, 0.1])),
                retrieval_score=float(rng.beta(8, 2)),
                outcome=str(rng.choice(["ok", "contract_violated"], p=[0.97, 0.03])),
            )
            for second, place in enumerate(rng.permutation(places).tolist())
        ]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A change, at a known share of the live requests."""

    name: str
    traffic: str
    """The set that reference and live window are drawn from."""
    new: str
    """``held out``: an intent of the same set that the reference does not have. ``surge``: one that it has. Else the
    set of which an intent comes in."""
    requests: int
    share: float
    target: float | None
    """The power that was promised; None where nothing was."""


SCENARIOS = (
    Scenario("new topic: an intent of CLINC150 held out", CLINC, "held out", 200, 0.05, 0.86),
    Scenario("new topic: an intent of CLINC150 among BANKING77", BANKING, CLINC, 200, 0.05, 0.86),
    Scenario("new topic: an intent of BANKING77 held out, with siblings", BANKING, "held out", 200, 0.05, None),
    Scenario("out of scope, no topic of its own, among CLINC150", CLINC, OUT_OF_SCOPE, 200, 0.05, None),
    Scenario("surge of an intent of CLINC150", CLINC, "surge", 1_000, 0.05, 0.78),
    Scenario("surge of an intent of BANKING77", BANKING, "surge", 1_000, 0.05, 0.78),
)


def drawn(
    scenario: Scenario, sets: dict[str, Prompts], rng: np.random.Generator
) -> tuple[list[Observation], list[Observation]]:
    """The reference's requests, and a live window's."""
    prompts, changed = sets[scenario.traffic], round(scenario.requests * scenario.share)
    source = sets.get(scenario.new, prompts)
    own = np.arange(len(source.intents)) if scenario.new == OUT_OF_SCOPE else source.of(source.some_intent(rng))
    known = np.arange(len(prompts.intents))
    if scenario.new == "held out":
        known = np.setdiff1d(known, own)
    shuffled = rng.permutation(known)
    reference, rest = shuffled[:REFERENCE], shuffled[REFERENCE:]
    usual = rest[: scenario.requests - changed]
    left = np.setdiff1d(own, np.concatenate([reference, usual])) if source is prompts else own
    coming = rng.choice(left, changed, replace=len(left) < changed)
    live = [*prompts.requests(usual, rng), *source.requests(coming, rng)]
    return prompts.requests(reference, rng), [live[place] for place in rng.permutation(len(live))]


def prepare(data: Path, embedder: Path, folder: Path) -> dict[str, Any]:
    """Embed all sets into files in ``folder``, and tell what that costs. Raises OSError where the data is not there."""
    rows = _read(data)
    model = SentenceTransformersEmbedder(str(embedder))
    for name, pairs in rows.items():
        say(f"embedding {len(pairs)} prompts of {name}")
        texts = [text for text, _ in pairs]
        np.savez(
            folder / f"{name}.npz",
            vectors=model.embed_queries(texts),
            tokens=np.array(model.count_tokens(texts), dtype=np.int64),
            intents=np.array([intent for _, intent in pairs]),
            languages=np.array([SHORT_TEXTS.detect(text) or UNKNOWN_LANGUAGE for text in texts]),
        )
    timed = [text for text, _ in rows[CLINC][:_TIMED]]
    before = time.process_time()
    model.embed_queries(timed)
    between = time.process_time()
    for text in timed:
        SHORT_TEXTS.detect(text)
    per_thousand = 1_000 / len(timed)
    return {
        "prompts": {name: len(pairs) for name, pairs in rows.items()},
        "embedding_cpu_s_per_1000": round((between - before) * per_thousand, 3),
        "languages_cpu_s_per_1000": round((time.process_time() - between) * per_thousand, 3),
    }


def load(folder: Path) -> dict[str, Prompts]:
    """What :func:`prepare` wrote."""
    found = {}
    for name in (CLINC, BANKING, OUT_OF_SCOPE):
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            found[name] = Prompts(arrays["vectors"], arrays["tokens"], arrays["intents"], arrays["languages"])
    return found


def _read(data: Path) -> dict[str, list[tuple[str, str]]]:
    """Text and intent of every prompt, each text once."""
    parts = json.loads((data / CLINC / "data.json").read_text(encoding="utf-8"))
    return {
        CLINC: _once([*parts["train"], *parts["val"]]),
        BANKING: _once(read_questions(data / BANKING / "train.csv")),
        OUT_OF_SCOPE: _once([*parts["oos_train"], *parts["oos_val"]]),
    }


def _once(pairs: list[Any]) -> list[tuple[str, str]]:
    return list({text: (text, intent) for text, intent in pairs}.values())
