"""``loraplex size`` on the command line."""

import asyncio
import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from typer.testing import CliRunner

from serving.cli.main import build_app
from serving.config import parse_config
from tests.live import served
from tests.meta.sources import ROOT
from tests.unit.serving.sizing.test_shape import described

EIGHT_B = ["--parameters", "8b", "--layers", "32", "--hidden", "4096", "--heads", "32", "--kv-heads", "8"]


def size(*arguments: str, exit_code: int = 0) -> str:
    """What it prints."""
    result = CliRunner().invoke(build_app("size"), ["size", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


def test_the_page_has_every_formula_with_its_numbers() -> None:
    page = size(*EIGHT_B, "--gpu", "h100", "--requests", "20")

    assert "KV bytes per token       128.00 KiB   = 2 x 32 layers x 8 heads x 128 x 2 bytes" in page
    assert "weights                   14.90 GiB" in page
    assert "2 x 1 H100 = 2 GPUs" in page


def test_json_is_the_same_for_machines() -> None:
    body = json.loads(size(*EIGHT_B, "--gpu", "H100", "--max-model-len", "8192", "--json"))

    assert body["gpus"] == body["replicas"] * body["gpus_per_replica"]
    assert {step["name"] for step in body["steps"]} >= {"weights", "KV cache", "adapter slots", "replicas"}
    assert parse_config({"model": {"id": "org/base"}} | body["configuration"]).adapters.slots == 4


@pytest.mark.parametrize(
    "extra", [[], ["--slots", "0"], ["--gpus", "2", "--dtype", "float16", "--kv-dtype", "fp8", "--max-rank", "32"]]
)
def test_the_charts_values_are_taken_by_the_chart(tmp_path: Path, extra: list[str]) -> None:
    body = json.loads(size(*EIGHT_B, "--gpu", "H100", "--max-model-len", "8192", *extra, "--json"))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(body["chart"]))
    helm = Path(sysconfig.get_path("scripts")) / "helm"
    files = [ROOT / "helm" / "examples" / "several-nodes.yaml", tmp_path / "values.yaml"]
    chosen = [word for file in files for word in ("-f", str(file))]
    command = [str(helm), "template", "sized", str(ROOT / "helm" / "loraplex"), *chosen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert f"nvidia.com/gpu: {body['gpus_per_replica']}" in done.stdout.replace('"', "")


def test_a_checkpoint_is_read(tmp_path: Path) -> None:
    described(tmp_path / "small", max_position_embeddings=2048)

    assert "small: 0.00 billion parameters, on L4" in size(str(tmp_path / "small"))


async def test_a_model_of_the_hub_is_read_by_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described(tmp_path / "small", max_position_embeddings=2048)
    asked: list[str] = []

    async def hub(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope)
        asked.append(f"{request.method} {request.url.path}")
        file = tmp_path / "small" / request.url.path.rpartition("/")[2]
        answer = FileResponse(file) if file.is_file() and "org/small" in request.url.path else Response(status_code=404)
        await answer(scope, receive, send)

    monkeypatch.delenv("HF_TOKEN", raising=False)
    async with served(hub) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert "small: 0.00 billion parameters" in await asyncio.to_thread(size, "org/small")
        assert "There is no folder org/none, and the hub" in await asyncio.to_thread(size, "org/none", exit_code=2)
    assert "GET /org/small/resolve/main/config.json" in asked
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "the hub does not give it" in size("org/small", exit_code=2)
    assert "nor can a model of the hub be called so" in size("a/b/c", exit_code=2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Name a MODEL (a folder or a hub id), or give --parameters"),
        (["--parameters", "8b"], "--layers, --hidden and --heads"),
        (["./nowhere"], "There is no folder ./nowhere."),
        (["/tmp", "--layers", "3"], "MODEL says all of its numbers"),
        ([*EIGHT_B[2:], "--parameters", "eight"], "write a number such as 8b"),
        ([*EIGHT_B, "--gpu", "G9"], "there is no `G9` in the table; it has T4, L4"),
        ([*EIGHT_B, "--dtype", "int3"], "`int3` is none of float16, bfloat16"),
        ([*EIGHT_B, "--gpu", "T4", "--gpus", "1"], "take more or larger GPUs"),
        ([*EIGHT_B, "--prompt", "9000"], "9250 tokens together, and the model takes 4096 at most"),
    ],
)
def test_what_cannot_be_sized_is_one_sentence(arguments: list[str], told: str) -> None:
    assert told in size(*arguments, exit_code=2)
