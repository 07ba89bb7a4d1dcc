"""JSON mode as a task, and what is promised of it."""

import json
from pathlib import Path
from typing import Any

from benchmarks.json_mode import prepare, targets


def _arms(base: float, adapter: float, structured: float) -> dict[str, Any]:
    rates = {"base": base, "adapter": adapter, "adapter, structured": structured}
    return {name: {"metrics": {"schema_valid": {"mean": rate}}} for name, rate in rates.items()}


def test_structured_outputs_must_always_be_valid_and_the_adapter_better_than_the_base() -> None:
    assert all(target.passed for target in targets(_arms(0.1, 0.9, 1.0)))
    assert not any(target.passed for target in targets(_arms(0.9, 0.9, 0.99)))


def test_both_suites_ask_the_same_held_out_rows(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"content": f"What is {number}?"}, {"content": json.dumps({"number": number})}]}
        for number in range(40)
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = prepare(path, tmp_path / "task", most=(12, 4), epochs=1.0)
    assert (task.data["rows"], task.data["heldout_rows"]) == (12, 4)
    assert task.free.cases == task.structured.cases
    assert "response_format" not in task.free.parameters
    assert task.recipe.epochs == 1.0
