"""The report on QLoRA beside LoRA."""

from typing import Any

from benchmarks.qlora import describe_turns, targets


def _turn(peak_mib: int, weights_mib: int, speed: float) -> dict[str, Any]:
    sizes = {"peak_memory_bytes": peak_mib, "imports_bytes": 500, "weights_bytes": weights_mib}
    losses = {"train_loss": 0.4, "heldout_loss_base": 3.0, "heldout_loss": 0.5, "steps": 10}
    return {**{name: mib * 2**20 for name, mib in sizes.items()}, "tokens_per_second": speed, **losses}


def test_memory_and_speed_are_ratios_to_lora() -> None:
    found = describe_turns({"lora": _turn(1500, 260, 400.0), "qlora": _turn(1300, 104, 300.0)})
    assert found["lora"]["weights_against_lora"] == 1.0
    assert found["qlora"]["weights_against_lora"] == 0.4
    assert found["qlora"]["own_memory_mib"] == 800
    assert found["qlora"]["own_memory_against_lora"] == 0.8
    assert found["qlora"]["speed_against_lora"] == 0.75


def test_smaller_weights_and_a_passed_gate_are_promised() -> None:
    assert all(target.passed for target in targets(0.41, passed=True))
    assert not any(target.passed for target in targets(0.9, passed=False))
