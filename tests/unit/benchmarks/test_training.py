"""The report on the speed of training."""

from benchmarks.training import describe


def _turn(seconds: float, mib: float) -> dict[str, float]:
    return {"seconds": seconds, "train_loss": 1.0, "steps": 8, "peak_memory_bytes": mib * 2**20}


def test_speed_and_memory_are_ratios_to_the_reference_of_the_same_round() -> None:
    turns = {"ours": [_turn(1.0, 100), _turn(4.0, 100)], "trl": [_turn(2.0, 200), _turn(8.0, 200)]}
    found = describe(turns, 400, "trl")
    assert found["ours"]["speed_ratio"]["rounds"] == [2.0, 2.0]
    assert found["ours"]["memory_ratio"]["median"] == 0.5
    assert (found["ours"]["tokens_per_s"], found["trl"]["tokens_per_s"]) == (250.0, 125.0)
    assert found["trl"]["peak_memory_mib"] == 200
