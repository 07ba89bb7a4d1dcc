"""The documentation says what the code does."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from adapters import errors as adapter_errors
from adapters.lora_config import _REFUSED
from docs.generate import PAGES
from monitoring.catalogue import CATALOGUE
from serving.cli.main import build_app
from serving.config import load_config, parse_config
from serving.settings.reference import sections
from tests.meta.sources import ROOT, rejection_codes, tracked_files

_PAGES = sorted(path for path in tracked_files() if path.suffix == ".md")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_what_the_code_says_now(page: str) -> None:
    assert _text(ROOT / "docs" / page) == PAGES[page](), "run `make docs`"


def test_every_setting_has_a_description() -> None:
    silent = [
        f"{place}.{name}"
        for place, section in sections()
        for name, field in section.model_fields.items()
        if not (field.description or "").strip().endswith(".")
    ]

    assert silent == []


def test_every_metric_is_documented() -> None:
    page = _text(ROOT / "docs" / "metrics.md")

    assert [spec.name for spec in CATALOGUE if f"`{spec.name}`" not in page] == []


def test_every_refusal_is_documented_with_cause_and_remedy() -> None:
    refusals = _text(ROOT / "docs" / "adapters.md").partition("## Refusals")[2]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", refusals, re.MULTILINE)
    codes = [code for code, _, _ in rows]

    assert sorted(codes) == sorted(set(codes))
    assert set(codes) == rejection_codes() | {code for code, _ in _REFUSED.values()}
    assert all(cause.strip().endswith(".") and remedy.strip().endswith(".") for _, cause, remedy in rows)


def test_every_other_adapter_error_is_mentioned_beside_the_refusals() -> None:
    page = _text(ROOT / "docs" / "adapters.md")
    public = {
        cls.code
        for cls in vars(adapter_errors).values()
        if isinstance(cls, type) and issubclass(cls, adapter_errors.AdapterError) and "code" in vars(cls)
    } - {"adapter_error", "base_model_unreadable"}

    assert [code for code in sorted(public) if f"`{code}`" not in page] == []


# Examples


def _fences(language: str) -> Iterator[Any]:
    for path in _PAGES:
        for index, (kind, text) in enumerate(_FENCE.findall(_text(path))):
            if kind == language:
                yield pytest.param(text, id=f"{_name(path)}-{index}")


@pytest.mark.parametrize("text", list(_fences("yaml")))
def test_an_example_configuration_is_valid(text: str) -> None:
    data = yaml.safe_load(text)
    if "model" in data:
        parse_config(data)
    else:
        parse_config({"model": {"id": "org/base"}} | data)


@pytest.mark.parametrize(
    "path", [path for path in tracked_files() if path.suffix == ".yaml" and path.parent == ROOT / "examples"], ids=_name
)
def test_a_configuration_that_we_ship_is_valid(path: Path) -> None:
    load_config(path)


def _commands(program: str) -> Iterator[Any]:
    """Lines of code blocks, and inline code, that start with ``program``."""
    for path in _PAGES:
        text = _text(path)
        lines = [line for _, block in _FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
        inline = re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
        for line in dict.fromkeys([*lines, *inline]):
            words = line.removeprefix("$ ").removeprefix(".venv/bin/")
            if words.split(" ")[0] == program:
                yield pytest.param(words, id=f"{_name(path)}: {words}")


@pytest.mark.parametrize("line", list(_commands("make")))
def test_a_make_target_that_is_mentioned_exists(line: str) -> None:
    targets = re.findall(r"^([a-z-]+):", _text(ROOT / "Makefile"), re.MULTILINE)
    words = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word and not word.startswith("-")]

    assert [word for word in words if word not in targets] == []


@pytest.mark.parametrize("line", list(_commands("loraplex")))
def test_a_command_that_is_mentioned_exists_with_its_options(line: str) -> None:
    words = shlex.split(re.split(r"[|&;<>]", re.sub(r"[\[\]{}]|\.\.\.|…", "", line), maxsplit=1)[0], comments=True)[1:]
    command: Any = typer.main.get_command(build_app())
    while words and (inner := getattr(command, "commands", None)):
        assert words[0] in inner or words[0].startswith("-"), f"no command {words[0]}"
        if words[0].startswith("-"):
            break
        command = inner[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("-")}

    assert given - known - {"--help"} == set()


@pytest.mark.parametrize("path", _PAGES, ids=_name)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    targets = [link.partition("#")[0] for link in _LINK.findall(_text(path)) if "://" not in link]

    assert [target for target in targets if target and not (path.parent / target).exists()] == []


def test_every_test_that_the_page_of_services_names_is_there() -> None:
    page = _text(ROOT / "docs" / "services.md")
    files = set(re.findall(r"tests/[\w/]+\.py", page))
    written = "".join(_text(ROOT / file) for file in files)
    names = set(re.findall(r"\btest_\w+\b(?!\.py)", page))
    assert len(names) > 9
    assert {name for name in names if f"def {name}(" not in written} == set()
