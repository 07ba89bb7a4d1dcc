"""Measure an example's adapter against the base model: greedy answers to the held-out rows, through transformers.

    python -m examples.evaluate ADAPTER --base DIR --heldout FILE [--schema FILE]

Writes ``greedy`` into the adapter's metrics.json: the share of answers that are exactly right and, with a schema, the
share that is valid JSON by it and the share that is right field by field.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonschema import Draft202012Validator
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from training.data.chat import ChatRow, read_chat
from training.errors import TrainingError
from training.tuning.adapter_folder import METRICS, write_json
from training.tuning.base import load_base, load_tokenizer
from training.tuning.memory import keep_freed_memory

Json = dict[str, Any]
BATCH = 24
MAX_NEW_TOKENS = 48


def evaluate(adapter: Path, base: Path, heldout: Path, schema: Json | None, progress: Callable[[str], None]) -> Json:
    """Scores of the adapter and of the base model on the same rows. Raises TrainingError."""
    rows = read_chat(heldout).rows
    tokenizer = load_tokenizer(base)
    model = PeftModel.from_pretrained(load_base(base), str(adapter)).eval()
    wanted = [row.messages[-1].content for row in rows]
    answers = list(_answers(model, tokenizer, rows))
    scores = {"rows": len(rows), "adapter": score(wanted, answers, schema)}
    progress(f"adapter: {scores['adapter']}")
    for want, answer in zip(wanted, answers, strict=True):
        if want != answer:
            progress(f"  wanted {want}\n  got    {answer}")
    with model.disable_adapter():
        scores["base"] = score(wanted, list(_answers(model, tokenizer, rows)), schema)
    progress(f"base:    {scores['base']}")
    return scores


def _answers(model: PeftModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[ChatRow]) -> Iterator[str]:
    tokenizer.padding_side = "left"
    for start in range(0, len(rows), BATCH):
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.content} for turn in row.messages[:-1]],
                tokenize=False,
                add_generation_prompt=True,
            )
            for row in rows[start : start + BATCH]
        ]
        batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
        with torch.inference_mode():
            output = model.generate(
                **batch, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id
            )
        width = batch["input_ids"].shape[1]
        yield from tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)


def score(wanted: Sequence[str], answers: Sequence[str], schema: Json | None) -> Json:
    """Shares in [0, 1]."""
    scores: Json = {"exact_match": _share([want == answer for want, answer in zip(wanted, answers, strict=True)])}
    if schema is None:
        return scores
    validator = Draft202012Validator(schema)
    parsed = [_parse(answer) for answer in answers]
    scores["valid_json"] = _share([value is not None and validator.is_valid(value) for value in parsed])
    truth = [json.loads(want) for want in wanted]
    for name in truth[0]:
        scores[name] = _share(
            [value is not None and value.get(name) == true[name] for value, true in zip(parsed, truth, strict=True)]
        )
    return scores


def _parse(answer: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(answer)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _share(hits: Sequence[bool]) -> float:
    return round(sum(hits) / len(hits), 4)


def record(adapter: Path, scores: Json) -> None:
    """Put the scores beside what the training measured."""
    path = adapter / METRICS
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_json(path, metrics | {"greedy": scores})


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.evaluate", description="Measure an adapter.")
    parser.add_argument("adapter", type=Path, help="adapter folder")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base checkpoint")
    parser.add_argument("--heldout", type=Path, required=True, help="held-out rows, OpenAI chat JSONL")
    parser.add_argument("--schema", type=Path, help="JSON Schema that answers should satisfy")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    schema = json.loads(options.schema.read_text(encoding="utf-8")) if options.schema else None
    try:
        record(options.adapter, evaluate(options.adapter, options.base, options.heldout, schema, print))
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
