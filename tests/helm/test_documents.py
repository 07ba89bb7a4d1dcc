"""The README's section on Kubernetes and docs/chart.md, followed as far as that goes without a cluster."""

import fnmatch
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.chart_schema import places
from serving.settings.reference import sections
from tests.helm import worlds
from tests.helm.api_server import api_server
from tests.helm.charts import CHART, NAMESPACE, ROOT, helm, merged, render

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_README = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## On Kubernetes\n")[2].partition("\n## ")[0]
_PAGE = (ROOT / "docs" / "chart.md").read_text(encoding="utf-8")
_NEEDS_A_CLUSTER = ("helm test", "helm history", "helm rollback")


def _lines(text: str) -> Iterator[str]:
    for _, block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.partition(" ")[0] in ("helm", "kubectl", "loraplex"):
                yield line


_COMMANDS = list(dict.fromkeys([*_lines(_README), *_lines(_PAGE)]))


def _run(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT, env={**os.environ, **environment}
    )


def test_there_are_commands_to_follow() -> None:
    programs = {line.partition(" ")[0] for line in _lines(_README)}

    assert programs == {"helm", "kubectl", "loraplex"}


@pytest.mark.parametrize("line", [line for line in _COMMANDS if line.startswith("helm ")])
def test_a_helm_command_does_what_it_says_as_far_as_it_goes_without_a_cluster(line: str, tmp_path: Path) -> None:
    words = shlex.split(line, comments=True)
    if line.startswith(_NEEDS_A_CLUSTER):
        assert _run([helm(), words[1], "--help"]).returncode == 0
        return
    if "values.yaml" in words:  # the reader's own
        words[words.index("values.yaml")] = "helm/examples/one-gpu.yaml"
    if words[1] == "upgrade":  # of a release that is not there
        words[1:2] = ["upgrade", "--install"]
    with api_server(tmp_path) as kubeconfig:
        if words[1] in ("install", "upgrade"):
            words += ["--dry-run=client", "--disable-openapi-validation"]
        done = _run([helm(), *words[1:]], KUBECONFIG=str(kubeconfig), HOME=str(tmp_path))

    assert done.returncode == 0, done.stderr
    if words[1] == "install":
        assert "loraplex doctor --url http://127.0.0.1:8000" in done.stdout


@pytest.mark.parametrize("line", [line for line in _COMMANDS if line.startswith("kubectl ")])
def test_a_kubectl_command_names_what_the_chart_makes_or_asks_for(line: str) -> None:
    words = shlex.split(line, comments=True)
    if "port-forward" in words:
        service = next(word for word in words if word.startswith("service/")).removeprefix("service/")
        made = render(worlds.values("example-cpu-trial"), release="trial")
        (found,) = [one for one in made if one["kind"] == "Service" and one["metadata"]["name"] == service]
        assert words[-1].endswith(f":{found['spec']['ports'][0]['port']}")
    elif "secret" in words:
        assert words[-1].startswith("--from-literal=api-key=")
        assert yaml.safe_load((CHART / "values.yaml").read_text())["secrets"]["adminKey"]["key"] == "api-key"
    else:
        assert words[1:] == ["create", "namespace", "models"]


def test_the_key_that_is_made_fits_the_values() -> None:
    (line,) = [line for line in _lines(_README) if line.startswith("loraplex keys new")]
    program = [sys.executable, "-c", "from serving.cli.main import main; main()"]
    made = _run([*program, *shlex.split(line, comments=True)[1:]], PYTHONPATH=str(ROOT))
    entry = yaml.safe_load(made.stdout[made.stdout.index("api_keys:") :])

    assert made.returncode == 0, made.stderr
    assert "lpx-" in made.stdout
    assert render(merged(worlds.WORLDS["standalone"], {"config": entry}))


@pytest.mark.parametrize("text", [text for kind, text in _FENCE.findall(_PAGE) if kind == "helm"])
def test_values_in_the_documentation_are_taken(text: str) -> None:
    assert render(merged(worlds.WORLDS["deployment"], yaml.safe_load(text)))


def test_secrets_that_the_chart_made_are_kept_by_an_upgrade(tmp_path: Path) -> None:
    name = "trial-loraplex-generated"
    present = {"postgresql-password": "b2xk", "service-token": "dG9rZW4="}
    secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": present}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(worlds.WORLDS["deployment-everything"]))
    with api_server(tmp_path, {f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}": secret}) as kubeconfig:
        command = [helm(), "template", "trial", str(CHART), "--namespace", NAMESPACE, "--values", str(values)]
        done = _run([*command, "--dry-run=server"], KUBECONFIG=str(kubeconfig), HOME=str(tmp_path))

    assert done.returncode == 0, done.stderr
    (kept,) = [one for one in yaml.safe_load_all(done.stdout) if one and one["metadata"]["name"] == name]
    assert kept["data"] == present


def test_every_value_that_the_page_and_the_refusals_name_exists() -> None:
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    settings = {f"{place}.{name}".lstrip(".") for place, section in sections() for name in section.model_fields}
    known = set(places(values)) | settings
    templates = "".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").glob("*"))
    refusals = " ".join(re.findall(r'fail (?:\(printf )?"([^"]+)"', templates))
    named = {word for word in re.findall(r"`([a-z]\w*(?:\.\w+)+)", _PAGE) if word.split(".")[0] in values}
    named |= {word for word in re.findall(r"[a-z]\w*(?:\.\w+)+", refusals) if word.split(".")[0] in values}

    unknown = [word for word in named if not fnmatch.filter(known, word.replace("NAME", "*"))]

    assert len(named) > 40
    assert sorted(word for word in unknown if not word.startswith("config.") and not _is_address(word)) == []


def _is_address(word: str) -> bool:
    return word.endswith((".svc", ".example.internal"))
