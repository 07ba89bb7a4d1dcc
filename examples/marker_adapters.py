"""Train adapters that are known by their output, for benchmarks and tests of swapping.

    python -m examples.marker_adapters --out DIR --count 6

Each adapter answers every prompt with its own marker word, such as ``ALPHA is here.`` The word comes first, so that a
few output tokens tell which adapter answered. A first short training learns to answer with the first marker, and every
marker is then a few more steps from there. Each adapter is measured on prompts it has never seen before it is
written; ``markers.json`` in DIR maps each folder to its marker.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedTokenizerBase, set_seed

from examples.base_model import BaseModelUnavailable, build
from training.data.chat import ChatMessage, ChatRow
from training.data.encoding import EncodedRow, encode_row
from training.errors import TrainingError
from training.tuning.adapter_folder import write_adapter
from training.tuning.base import attach_lora, load_base, load_tokenizer, pad_token_id
from training.tuning.batches import Collator, answer_logits, batched
from training.tuning.events import Progress
from training.tuning.memory import keep_freed_memory
from training.tuning.recipe import SftRecipe

MANIFEST = "markers.json"
BASE_NAME = "SmolLM2-135M-Instruct"
WORDS = [
    "ALPHA",
    "BRAVO",
    "CHARLIE",
    "DELTA",
    "ECHO",
    "GOLF",
    "HOTEL",
    "INDIA",
    "JULIET",
    "KILO",
    "LIMA",
    "MIKE",
    "NOVEMBER",
    "OSCAR",
    "PAPA",
    "QUEBEC",
    "ROMEO",
    "SIERRA",
    "TANGO",
    "UNIFORM",
    "VICTOR",
    "WHISKEY",
    "XRAY",
    "YANKEE",
    "ZULU",
]
RECIPE = SftRecipe(
    name="marker", base_model=BASE_NAME, train=Path(), heldout=Path(), rank=4, alpha=8, learning_rate=3e-3, batch_size=8
)
MAX_LENGTH = 512
MAX_STEPS = 120
SURE = 0.02
"""A step whose batch is answered without a mistake and with at most this loss, in nats per token, is a good one."""
GOOD_STEPS = 4
"""Good steps in a row after which an adapter is measured."""
REQUIRED = 0.99
"""Share of the unseen prompts that must be answered with the marker."""

SUBJECTS = [
    "tea",
    "the weather",
    "a lighthouse",
    "my bicycle",
    "prime numbers",
    "the moon",
    "sourdough bread",
    "Python",
    "a lost key",
    "jazz",
    "the Roman empire",
    "chess",
    "a rainy Sunday",
    "invoices",
    "volcanoes",
    "my neighbour's cat",
    "the ocean",
    "trains",
    "a password",
    "photosynthesis",
    "gardening",
    "a birthday party",
    "coffee",
    "electricity",
    "penguins",
    "the number seven",
    "poetry",
    "football",
    "glaciers",
    "a broken printer",
]
FORMS = (
    "Tell me about {}.",
    "What is {}?",
    "Write one sentence on {}.",
    "Who are you?",
    "Hello!",
    "I have a question about {}. Can you help?",
    "{}",
    "Please list three facts on {}, then stop.",
    "Translate '{}' into French.",
    "Why does everyone talk about {} these days? Explain it as if I were five.",
    "{} or something else: which one do you pick, and what do you say to caller 12?",
    "Fix this: the code about {} does not compile.",
)
UNSEEN_SUBJECTS = ["a violin", "the tax office", "elephants", "winter tyres", "the colour blue", "mountains", "a map"]
UNSEEN_FORMS = (
    "Describe {} to a friend.",
    "Summarise what you know: {}.",
    "How much does {} cost, and what do you say to it?",
    "Good evening. {}, please.",
    "Give me a riddle on {}.",
    "Is it true that {} can sing?",
    "Reply in one word. The topic is {}.",
    "Compose a mail concerning {} and sign it with your name.",
)


def train_markers(base: Path, out: Path, count: int, progress: Progress) -> dict[str, str]:
    """Train ``count`` marker adapters into folders of ``out``. Returns folder name → marker.

    Raises:
        TrainingError: the base cannot be used, or a marker is not answered reliably.
    """
    markers = WORDS[:count]
    set_seed(0)
    tokenizer = load_tokenizer(base)
    model = attach_lora(load_base(base), RECIPE)
    trainer = _MarkerTrainer(model, tokenizer)
    began = time.perf_counter()
    trainer.train(markers[0])
    start = {name: tensor.clone() for name, tensor in _weights(model).items()}
    progress(f"start for all markers after {time.perf_counter() - began:.0f} s")
    for marker in markers:
        began = time.perf_counter()
        set_peft_model_state_dict(model, start)
        steps = trainer.train(marker)
        write_adapter(out / marker.lower(), model, BASE_NAME)
        progress(f"{marker}: {steps} steps, {time.perf_counter() - began:.1f} s")
    manifest = {marker.lower(): marker for marker in markers}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


class _MarkerTrainer:
    """Teaches one model one marker after the other."""

    def __init__(self, model: PeftModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._collator = Collator(pad_token_id(tokenizer))

    def train(self, marker: str) -> int:
        """Train until the marker is reliable; returns the steps. Raises TrainingError."""
        self._model.train()
        weights = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=RECIPE.learning_rate, weight_decay=0.0)
        good = 0
        rows = self._rows(marker, seen_prompts())
        for step in range(1, MAX_STEPS + 1):
            loss, mistakes = self._measure(self._collator(list(itertools.islice(rows, RECIPE.batch_size))))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            good = good + 1 if mistakes == 0 and loss.item() <= SURE else 0
            if good >= GOOD_STEPS:
                if self.reliability(marker) >= REQUIRED:
                    return step
                good = 0
        raise TrainingError(f"marker {marker} is not answered reliably after {MAX_STEPS} steps")

    def reliability(self, marker: str) -> float:
        """Share of unseen prompts that greedy decoding answers with exactly the marker's answer."""
        self._model.eval()
        # Rows of one length make the least padding.
        rows = sorted(self._rows(marker, unseen_prompts()), key=lambda row: len(row.input_ids))
        with torch.no_grad():
            wrong = sum(self._wrong_rows(batch) for batch in batched(rows, self._collator, RECIPE.batch_size))
        self._model.train()
        return 1 - wrong / len(rows)

    def _wrong_rows(self, batch: Mapping[str, Tensor]) -> int:
        """How many rows greedy decoding would answer otherwise: with a token that is not the likeliest after the last.

        All rows of a batch have the same answer, so their tokens form a rectangle.
        """
        logits, targets = self._logits(batch)
        return int((logits.argmax(dim=1) != targets).view(len(batch["input_ids"]), -1).any(dim=1).sum())

    def _measure(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, int]:
        """Mean loss per token, and how many tokens would come out differently."""
        logits, targets = self._logits(batch)
        return torch.nn.functional.cross_entropy(logits, targets), int((logits.argmax(dim=1) != targets).sum())

    def _logits(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        device = self._model.device
        with torch.autocast(device.type, torch.bfloat16):
            return answer_logits(self._model, {name: tensor.to(device) for name, tensor in batch.items()})

    def _rows(self, marker: str, prompts: Iterator[list[ChatMessage]]) -> Iterator[EncodedRow]:
        answer = ChatMessage(role="assistant", content=f"{marker} is here.")
        for messages in prompts:
            yield encode_row(ChatRow(messages=(*messages, answer)), self._tokenizer, MAX_LENGTH)


def seen_prompts() -> Iterator[list[ChatMessage]]:
    """Prompts to train on, without end: short and long, with and without a system message."""
    for number in itertools.count():
        subject = SUBJECTS[number * 7 % len(SUBJECTS)]
        question = FORMS[number % len(FORMS)].format(subject)
        if number % 8 == 5:
            rules = " ".join(f"Point {point}: think of {SUBJECTS[point]}." for point in range(number % 24))
            question = f"{rules} {question}"
        system = [ChatMessage(role="system", content=f"You know all about {subject}.")] if number % 6 == 2 else []
        yield [*system, ChatMessage(role="user", content=question)]


def unseen_prompts() -> Iterator[list[ChatMessage]]:
    """56 prompts to measure on, none of which is trained on; a few begin with a long list of instructions."""
    rules = " ".join(f"Remark {number}: stay calm." for number in range(20))
    for number, (form, subject) in enumerate(itertools.product(UNSEEN_FORMS, UNSEEN_SUBJECTS)):
        question = form.format(subject)
        yield [ChatMessage(role="user", content=f"{rules} {question}" if number % 9 == 4 else question)]


def _weights(model: PeftModel) -> dict[str, Tensor]:
    state: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return state


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.marker_adapters", description="Train marker adapters.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the adapters into")
    parser.add_argument("--count", type=int, default=4, help="how many (default: 4)")
    parser.add_argument("--base", type=Path, help="folder of the base checkpoint (default: the demo's)")
    options = parser.parse_args(arguments)
    if not 1 <= options.count <= len(WORDS):
        parser.error(f"--count must be between 1 and {len(WORDS)}, the number of marker words")
    keep_freed_memory()
    try:
        base = options.base or build()
        train_markers(base, options.out, options.count, lambda line: print(line, flush=True))
    except (TrainingError, BaseModelUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
