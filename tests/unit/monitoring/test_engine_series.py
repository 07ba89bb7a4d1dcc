"""What an engine is expected to expose."""

from monitoring.catalogue import ENGINE_SERIES
from monitoring.engine_series import missing_series


def test_a_family_without_samples_is_there() -> None:
    exposition = b"# HELP vllm:a Something.\n# TYPE vllm:a gauge\n# TYPE vllm:b_total counter\nvllm:b_total 1\n"
    assert missing_series(("vllm:a", "vllm:b_total", "vllm:c"), exposition) == ("vllm:c",)


def test_a_sample_alone_declares_nothing() -> None:
    assert missing_series(("vllm:a",), b"vllm:a 1\n") == ("vllm:a",)


def test_an_engine_without_metrics_lacks_all_of_them() -> None:
    assert missing_series(ENGINE_SERIES, b"") == ENGINE_SERIES


def test_names_are_unique_and_the_engines_own() -> None:
    assert len(set(ENGINE_SERIES)) == len(ENGINE_SERIES)
    assert all(name.startswith("vllm:") for name in ENGINE_SERIES)
