"""``loraplex gate``."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli.main import build_app
from tests.unit.training.gating.runs import make_run
from training.evaluation.run_file import write_run


def _files(tmp_path: Path, candidate: int, current: int, count: int = 200) -> list[str]:
    for name, right in (("candidate", candidate), ("current", current)):
        write_run(tmp_path / f"{name}.json", make_run({"exact": [1.0] * right + [0.0] * (count - right)}))
    return ["gate", str(tmp_path / "candidate.json"), str(tmp_path / "current.json")]


@pytest.mark.parametrize(
    ("candidate", "current", "count", "code", "outcome"),
    [(195, 190, 200, 0, "passed"), (120, 190, 200, 5, "failed"), (38, 38, 40, 6, "undecided")],
)
def test_the_exit_code_is_the_verdict(
    tmp_path: Path, candidate: int, current: int, count: int, code: int, outcome: str
) -> None:
    arguments = _files(tmp_path, candidate, current, count)

    shown = CliRunner().invoke(build_app("gate"), arguments)
    as_json = CliRunner().invoke(build_app("gate"), [*arguments, "--json"])

    assert (shown.exit_code, as_json.exit_code) == (code, code)
    assert outcome in shown.output.splitlines()[0]
    assert json.loads(as_json.output)["outcome"] == outcome


def test_reports_are_written(tmp_path: Path) -> None:
    page, text = tmp_path / "gate.html", tmp_path / "gate.md"
    CliRunner().invoke(
        build_app("gate"),
        [*_files(tmp_path, 195, 190), "--html", str(page), "--markdown", str(text)],
        catch_exceptions=False,
    )

    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert text.read_text(encoding="utf-8").startswith("# triage")


def test_a_policy_decides(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("metrics: {exact: {kind: improvement, margin: 0.1}}\n", encoding="utf-8")

    result = CliRunner().invoke(build_app("gate"), [*_files(tmp_path, 195, 190), "--policy", str(policy)])

    assert result.exit_code == 5
    assert "better by more than 0.1" in result.output


@pytest.mark.parametrize(
    ("spoil", "message"),
    [("missing", "cannot read the run"), ("policy", "cannot read the policy"), ("html", "cannot be written")],
)
def test_what_cannot_be_done_is_refused_with_exit_code_1(tmp_path: Path, spoil: str, message: str) -> None:
    arguments = _files(tmp_path, 195, 190)
    extra = {
        "missing": [],
        "policy": ["--policy", str(tmp_path / "none.yaml")],
        "html": ["--html", str(tmp_path / "no" / "folder.html")],
    }[spoil]
    if spoil == "missing":
        (tmp_path / "candidate.json").unlink()

    result = CliRunner().invoke(build_app("gate"), [*arguments, *extra])

    assert result.exit_code == 1
    assert message in result.output
