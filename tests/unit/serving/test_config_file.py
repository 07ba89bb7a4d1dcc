"""The configuration as a YAML file: lines, notation, and where relative paths start."""

from pathlib import Path

import pytest

from serving.config import load_config
from serving.errors import ConfigInvalid

_MODEL = {"model": {"id": "org/base"}}


def _file(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _file_problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        load_config(_file(folder, text))
    return [line.removeprefix("  - ") for line in str(caught.value).split("\n")[1:]]


def test_a_problem_is_told_with_its_line(tmp_path: Path) -> None:
    text = "model:\n  id: org/base\nserver:\n  # which\n  prot: 1\nlimits:\n  adapter_wait_s: 0\n"

    assert _file_problems(tmp_path, text) == [
        "line 5: `server.prot`: unknown key; did you mean `port`?",
        "line 7: `limits.adapter_wait_s`: must be more than 0.0",
    ]


def test_a_key_that_appears_twice_is_refused(tmp_path: Path) -> None:
    text = "model: {id: org/base}\nserver: {port: 1}\nreplicas: 1\nserver: {host: '::1'}\n"

    assert _file_problems(tmp_path, text) == ["line 4, column 1: key `server` appears twice"]


def test_a_merged_mapping_may_be_overridden(tmp_path: Path) -> None:
    text = (
        "model: {id: org/base}\ntasks:\n  a: &a\n    system_prompt: one\n    description: of a\n"
        "  b: &b\n    <<: *a\n    description: of b\n  c:\n    <<: *b\n    system_prompt: two\n"
    )
    tasks = load_config(_file(tmp_path, text)).tasks

    assert [(task.system_prompt, task.description) for task in tasks.values()] == [
        ("one", "of a"),
        ("one", "of b"),
        ("two", "of b"),
    ]


def test_off_and_no_and_dates_are_text_and_leading_zeros_are_decimal(tmp_path: Path) -> None:
    text = (
        "model: {id: org/base, revision: 2024-01-01}\nserver: {authentication: off, port: 010}\n"
        "tasks: {no: {sampling: {temperature: 1e-1}}}\n"
    )
    config = load_config(_file(tmp_path, text))

    assert (config.model.revision, config.server.authentication, config.server.port) == ("2024-01-01", "off", 10)
    assert config.tasks["no"].sampling == {"temperature": 0.1}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: {id: a\n", "line 2, column 1: expected ',' or '}', but got '<stream end>'"),
        ("model: {id: org/base}\n1: {}\n", "line 2: `1`: the key 1 must be text; write it in quotes"),
        ("model: &m {id: *m}\n", "line 1: `model.id`: is nested too deeply, or holds itself"),
        ("model: {id: !!timestamp 2024-01-01}\n", "line 1: `model.id`: is a date; write it in quotes if text is meant"),
        ("model: {id: !!python/object:os.system x}\n", "line 1, column 13: could not determine a constructor"),
        ('model: {id: "a\\0b"}\n', "line 1: `model.id`: holds a NUL character"),
        ("replicas: " + "9" * 30 + "\n", "line 1: `replicas`: is too large a number"),
        ("replicas: " + "9" * 5000 + "\n", "Exceeds the limit"),
        ("replicas: " + "[" * 5000 + "\n", "it is nested too deeply"),
        ("replicas: 1\x07\n", "unacceptable character"),
    ],
)
def test_a_file_that_is_no_plain_yaml_is_refused(tmp_path: Path, text: str, line: str) -> None:
    problems = _file_problems(tmp_path, text)

    assert problems[0].startswith(line)


@pytest.mark.parametrize("content", [b"", b"- a\n", b"text"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigInvalid, match="must be a mapping with at least `model:`"):
        load_config(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigInvalid, match="not UTF-8"):
        load_config(binary)
    with pytest.raises(ConfigInvalid, match="No such file"):
        load_config(tmp_path / "missing.yaml")
    with pytest.raises(ConfigInvalid, match="Is a directory"):
        load_config(tmp_path)


def test_relative_paths_are_taken_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "org" / "local").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    text = (
        "model: {id: org/local}\nadapters:\n  preload:\n  - {name: a, source: ./a}\n  - {name: b, source: hub/b}\n"
        "  - {name: c, source: 's3://bucket/c'}\n"
    )
    config = load_config(_file(tmp_path / "etc", text))

    assert config.model.id == str(tmp_path / "org/local")
    assert [item.source for item in config.adapters.preload] == [str(tmp_path / "a"), "hub/b", "s3://bucket/c"]
    assert config.adapters.cache_dir == tmp_path / ".loraplex/adapters"
    assert config.state.url == f"sqlite:///{tmp_path}/.loraplex/state.db"
    assert config.artifacts.url == str(tmp_path / ".loraplex/artifacts")


def test_what_is_absolute_or_elsewhere_stays_as_it_is(tmp_path: Path) -> None:
    text = (
        "model: {id: org/hub}\nstate: {url: 'postgresql://u@h/d'}\nartifacts: {url: 's3://bucket/x'}\n"
        "adapters: {cache_dir: /var/cache/adapters}\n"
    )
    config = load_config(_file(tmp_path, text))

    assert (config.model.id, config.state.url, config.artifacts.url) == (
        "org/hub",
        "postgresql://u@h/d",
        "s3://bucket/x",
    )
    assert config.adapters.cache_dir == Path("/var/cache/adapters")


def _with_schema_file(folder: Path, content: str | bytes) -> str:
    file = folder / "reply.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"model: {{id: org/base}}\ntasks: {{t: {{output: {{json_schema: {file}}}}}}}\n"


def test_a_json_schema_can_stand_in_a_file_whose_order_it_keeps(tmp_path: Path) -> None:
    text = _with_schema_file(tmp_path, '{"type": "object", "properties": {"queue": {}, "answer": {}}}')

    output = load_config(_file(tmp_path, text)).tasks["t"].output

    assert output is not None
    assert output.json_schema is not None
    assert list(output.json_schema["properties"]) == ["queue", "answer"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON: "),
        (b"\xff", "is not JSON: "),
        ("[" * 100_000, "is not JSON: "),
        ("[]", "holds no JSON object"),
    ],
)
def test_a_file_that_is_no_json_schema_is_refused(tmp_path: Path, content: str | bytes, says: str) -> None:
    (problem,) = _file_problems(tmp_path, _with_schema_file(tmp_path, content))

    assert problem.startswith(f"line 2: `tasks.t.output.json_schema`: the file {tmp_path / 'reply.json'} {says}")


def test_the_content_of_the_file_is_checked_as_a_schema(tmp_path: Path) -> None:
    (problem,) = _file_problems(tmp_path, _with_schema_file(tmp_path, '{"type": "objet"}'))

    assert "`tasks.t.output.json_schema`: is not a JSON Schema: " in problem


def test_a_schema_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    text = f"model: {{id: org/base}}\ntasks: {{t: {{output: {{json_schema: {tmp_path / 'none.json'}}}}}}}\n"

    (problem,) = _file_problems(tmp_path, text)

    assert problem.endswith(f"cannot read the file {tmp_path / 'none.json'}: No such file or directory")


def test_an_empty_path_is_no_schema(tmp_path: Path) -> None:
    text = "model: {id: org/base}\ntasks: {t: {output: {json_schema: ''}}}\n"

    (problem,) = _file_problems(tmp_path, text)

    assert problem.endswith("is empty; write a JSON Schema, or the path of a file with one")
