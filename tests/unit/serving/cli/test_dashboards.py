"""``loraplex dashboards``."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from serving.cli import dashboards

_CONFIG = "model: {id: org/base}\ntasks: {support: {slo: {availability: 0.99}}}\n"


def _build(*arguments: str) -> Result:
    return CliRunner().invoke(dashboards.app, ["build", *arguments])


def test_a_build_writes_pages_and_rules(tmp_path: Path) -> None:
    out = tmp_path / "made"
    result = _build("--out", str(out))

    assert result.exit_code == 0, result.output
    assert "Wrote 8 files" in result.stdout
    pages = sorted((out / "grafana").glob("*.json"))
    assert len(pages) == 6
    assert all(json.loads(page.read_text(encoding="utf-8"))["uid"] == page.stem for page in pages)
    assert sorted(path.name for path in (out / "prometheus").iterdir()) == [
        "loraplex-alerts.yaml",
        "loraplex-recording.yaml",
    ]


def test_the_objectives_of_a_configuration_become_alerts(tmp_path: Path) -> None:
    config = tmp_path / "loraplex.yaml"
    config.write_text(_CONFIG, encoding="utf-8")
    result = _build("--out", str(tmp_path / "made"), "--config", str(config), "--job", "llm", "--runbooks", "https://w")

    assert result.exit_code == 0, result.output
    rules = yaml.safe_load((tmp_path / "made/prometheus/loraplex-slo.yaml").read_text(encoding="utf-8"))
    budget, alert, *_ = rules["groups"][0]["rules"]
    assert budget["labels"] == {"job": "llm", "task": "support", "slo": "availability"}
    assert alert["annotations"]["runbook_url"] == "https://w/LoraplexErrorBudgetBurn.md"
    assert 'job="llm"' in alert["expr"]


def test_a_configuration_that_promises_nothing_is_told_of(tmp_path: Path) -> None:
    config = tmp_path / "loraplex.yaml"
    config.write_text("model: {id: org/base}\n", encoding="utf-8")
    result = _build("--out", str(tmp_path / "made"), "--config", str(config))

    assert result.exit_code == 0
    assert "no budgets to watch" in result.stderr


def test_a_configuration_that_is_not_valid_ends_it(tmp_path: Path) -> None:
    config = tmp_path / "loraplex.yaml"
    config.write_text("model: {}\n", encoding="utf-8")
    result = _build("--out", str(tmp_path / "made"), "--config", str(config))

    assert result.exit_code == 1
    assert "`model.id`: is required" in result.stderr
    assert not (tmp_path / "made").exists()


def test_check_passes_what_was_just_built(tmp_path: Path) -> None:
    _build("--out", str(tmp_path))
    result = _build("--out", str(tmp_path), "--check")

    assert result.exit_code == 0
    assert "is as it would be built" in result.stdout


def test_check_names_what_differs_what_is_missing_and_what_is_left_over(tmp_path: Path) -> None:
    _build("--out", str(tmp_path))
    changed, missing = tmp_path / "grafana/loraplex-overview.json", tmp_path / "prometheus/loraplex-alerts.yaml"
    left_over, others = tmp_path / "prometheus/loraplex-slo.yaml", tmp_path / "prometheus/mine.yaml"
    changed.write_text("{}", encoding="utf-8")
    missing.unlink()
    left_over.write_text("", encoding="utf-8")
    others.write_text("", encoding="utf-8")
    result = _build("--out", str(tmp_path), "--check")

    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{changed}: differs from what would be built",
        f"{missing}: is missing",
        f"{left_over}: is not made any more",
    ]
    assert changed.read_text(encoding="utf-8") == "{}"


def test_a_build_tells_of_files_that_it_does_not_make_any_more(tmp_path: Path) -> None:
    left_over = tmp_path / "prometheus/loraplex-slo.yaml"
    left_over.parent.mkdir()
    left_over.write_text("", encoding="utf-8")
    result = _build("--out", str(tmp_path))

    assert result.exit_code == 0
    assert result.stderr.startswith(f"{left_over} is of an earlier build")
    assert left_over.exists()


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_a_folder_that_is_a_file_is_refused(tmp_path: Path, check: tuple[str, ...]) -> None:
    out = tmp_path / "file"
    out.write_text("", encoding="utf-8")
    result = _build("--out", str(out), *check)

    assert result.exit_code == 1
    assert "Traceback" not in result.output
