"""The configuration file: what it accepts, and what it says about what it does not."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from serving.config import FakeEngineSettings, OpenAIEngineSettings, VllmEngineSettings, parse_config
from serving.errors import ConfigInvalid

_HASH = "sha256:" + "0" * 64
_MODEL = {"model": {"id": "org/base"}}


def _problems(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        parse_config(_MODEL | data)
    first, *lines = str(caught.value).split("\n")
    assert first == "configuration is not valid:"
    return [line.removeprefix("  - ") for line in lines]


# What is accepted


def test_a_base_model_is_enough() -> None:
    config = parse_config(_MODEL)

    assert config.model.public_name == "base"
    assert isinstance(config.engine, VllmEngineSettings)
    assert not config.authentication_required


def test_an_engine_without_a_kind_is_vllm() -> None:
    config = parse_config(_MODEL | {"engine": {"args": {"max_model_len": 2048}}})

    assert isinstance(config.engine, VllmEngineSettings)
    assert config.engine.args == {"max_model_len": 2048}


def test_an_engine_can_be_a_url() -> None:
    config = parse_config(_MODEL | {"engine": {"kind": "openai", "url": "http://127.0.0.1:9000/v1"}})

    assert isinstance(config.engine, OpenAIEngineSettings)
    assert not config.serves_adapters


def test_an_engine_can_be_a_stand_in_without_a_model() -> None:
    config = parse_config(_MODEL | {"engine": {"kind": "fake", "token_s": 0.01}})

    assert isinstance(config.engine, FakeEngineSettings)
    assert config.serves_adapters


def test_parts_can_run_elsewhere() -> None:
    services = {"control": {"url": "http://control:8000/"}, "knowledge": {"url": "https://[::1]:8443"}}
    config = parse_config(_MODEL | {"knowledge": {}, "services": services})

    assert config.services.control is not None
    assert config.services.control.url == "http://control:8000"
    assert not config.services.control.is_loopback
    assert config.services.knowledge is not None
    assert config.services.knowledge.is_loopback


def test_a_task_may_name_an_alias_that_nothing_preloads() -> None:
    config = parse_config(_MODEL | {"tasks": {"triage": {"adapter": "triage"}}})

    assert config.tasks["triage"].adapter == "triage"


def test_an_unknown_request_field_passes_through_as_a_default() -> None:
    sampling = {"temperature": 0, "reasoning_effort": "low", "chat_template_kwargs": {"thinking": False}}

    assert parse_config(_MODEL | {"tasks": {"t": {"sampling": sampling}}}).tasks["t"].sampling == sampling


def test_a_configuration_survives_the_way_to_another_process() -> None:
    config = parse_config(
        _MODEL
        | {
            "engine": {"kind": "openai", "url": "http://127.0.0.1:9000/v1", "adapters": "vllm"},
            "adapters": {"preload": [{"name": "a", "source": "./a"}]},
            "tasks": {"t": {"adapter": "a", "output": {"choice": ["yes", "no"]}}},
            "api_keys": [{"name": "k", "hash": _HASH}],
        }
    )

    assert parse_config(json.loads(json.dumps(config.model_dump(mode="json")))) == config


def test_a_configuration_cannot_be_changed() -> None:
    config = parse_config(_MODEL)

    with pytest.raises(ValidationError, match="frozen"):
        config.replicas = 2  # type: ignore[misc]


# Keys


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"modle": {}}, "`modle`: unknown key; did you mean `model`?"),
        ({"model": {"id": "x", "nam": "y"}}, "`model.nam`: unknown key; did you mean `name`?"),
        ({"server": {"prot": 1}}, "`server.prot`: unknown key; did you mean `port`?"),
        ({"host": "::1"}, "`host`: unknown key here; did you mean `server.host`?"),
        ({"engine": {"arg": {}}}, "`engine.arg`: unknown key; did you mean `args`?"),
        ({"engine": {"url": "http://x"}}, "`engine.url`: unknown key here; it belongs to `kind: openai`"),
        (
            {"engine": {"kind": "openai", "url": "http://x", "args": {}}},
            "`engine.args`: unknown key here; it belongs to `kind: vllm`",
        ),
        (
            {"engine": {"kind": "openai", "url": "http://x", "timeout": 1}},
            "`engine.timeout`: unknown key; did you mean `timeout_s`?",
        ),
        ({"tasks": {"openai": {"adaptor": "a"}}}, "`tasks.openai.adaptor`: unknown key; did you mean `adapter`?"),
        (
            {"tasks": {"t": {"output": {"json_shema": {}}}}},
            "`tasks.t.output.json_shema`: unknown key; did you mean `json_schema`?",
        ),
        (
            {"adapters": {"preload": [{"name": "a", "source": "b", "surce": "c"}]}},
            "`adapters.preload[0].surce`: unknown key; did you mean `source`?",
        ),
        (
            {"api_keys": [{"name": "a", "hash": _HASH, "modles": []}]},
            "`api_keys[0].modles`: unknown key; did you mean `models`?",
        ),
        ({"state": {"zzz": 1}}, "`state.zzz`: unknown key; valid keys: url"),
    ],
)
def test_an_unknown_key_is_refused_with_the_likeliest_valid_one(data: dict[str, Any], line: str) -> None:
    assert line in _problems(data)


def test_every_problem_is_told_at_once() -> None:
    problems = _problems({"replicas": 0, "server": {"port": 0, "hots": "x"}, "limits": {"adapter_wait_s": 0}})

    assert len(problems) == 4


def test_problems_across_sections_are_told_at_once() -> None:
    problems = _problems(
        {
            "adapters": {"enabled": False, "preload": [{"name": "base", "source": "b"}]},
            "tasks": {"base": {"adapter": "a"}},
            "server": {"host": "192.0.2.7"},
        }
    )

    assert [line.split(":")[0] for line in problems] == [
        "`tasks.base`",
        "`adapters.preload[0].name`",
        "`adapters.preload`",
        "`tasks.base.adapter`",
        "`api_keys`",
    ]


# Values


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"server": {"port": "8000"}}, "`server.port`: must be a whole number"),
        ({"server": {"port": True}}, "`server.port`: must be a whole number"),
        ({"server": {"port": 8000.5}}, "`server.port`: must be a whole number"),
        ({"server": {"port": 70000}}, "`server.port`: must be at most 65535"),
        ({"server": {"host": 5}}, "`server.host`: must be text; write it in quotes"),
        ({"server": {"host": ""}}, "`server.host`: must not be empty"),
        ({"server": {"allow_unauthenticated": 1}}, "`server.allow_unauthenticated`: must be true or false"),
        ({"server": {"allow_unauthenticated": "yes"}}, "`server.allow_unauthenticated`: must be true or false"),
        (
            {"server": {"authentication": "requird"}},
            "`server.authentication`: must be one of 'auto', 'required', 'off'; did you mean `required`?",
        ),
        ({"server": {"request_timeout_s": True}}, "`server.request_timeout_s`: must be a number"),
        ({"server": {"request_timeout_s": 0}}, "`server.request_timeout_s`: must be more than 0.0"),
        ({"server": {"request_timeout_s": float("inf")}}, "`server.request_timeout_s`: must be a finite number"),
        ({"server": None}, "`server`: is empty; give it keys or remove it"),
        ({"server": 5}, "`server`: must be a mapping"),
        ({"engine": "vllm"}, "`engine`: must be a mapping"),
        ({"engine": {"kind": "vlm"}}, "`engine.kind`: must be one of 'vllm', 'openai', 'fake'; did you mean `vllm`?"),
        ({"engine": {"env": {"A": 1}}}, "`engine.env.A`: must be text; write it in quotes"),
        (
            {"engine": {"args": {"max-model-len": 1}}},
            "`engine.args.max-model-len`: write it in its Python spelling, `max_model_len`",
        ),
        ({"engine": {"args": {"max_loras": 1}}}, "`engine.args.max_loras`: is set by `adapters.slots`; remove it here"),
        (
            {"engine": {"kind": "openai", "url": "localhost"}},
            "`engine.url`: must be a URL that starts with `http://` or `https://`",
        ),
        ({"adapters": {"preload": {"name": "a"}}}, "`adapters.preload`: must be a list"),
        ({"adapters": {"preload": [{"name": "a"}]}}, "`adapters.preload[0].source`: is required"),
        ({"adapters": {"max_rank": True}}, "`adapters.max_rank`: must be a whole number"),
        ({"adapters": {"slots": 9}}, "`adapters.cpu_slots`: 8 is less than `slots`, 9"),
        (
            {"tasks": {"a b": {}}},
            "`tasks.a b`: must start with a letter or digit and hold only letters, digits, `.`, `_` and `-`, ",
        ),
        ({"tasks": {"t": {"output": {"regex": "("}}}}, "`tasks.t.output.regex`: does not compile: missing ), "),
        ({"tasks": {"t": {"output": {"choice": []}}}}, "`tasks.t.output.choice`: needs at least one string"),
        (
            {"tasks": {"t": {"output": {"json_schema": {"type": "objet"}}}}},
            "`tasks.t.output.json_schema`: is not a JSON Schema: ",
        ),
        (
            {"tasks": {"t": {"output": {"regex": "a", "choice": ["a"]}}}},
            "`tasks.t.output`: give exactly one of `json_schema`, `regex`, `choice`, `grammar`",
        ),
        (
            {"tasks": {"t": {"sampling": {"temprature": 0}}}},
            "`tasks.t.sampling.temprature`: unknown request field; did you mean `temperature`?",
        ),
        ({"tasks": {"t": {"sampling": {"temperature": "0"}}}}, "`tasks.t.sampling.temperature`: must be a number"),
        ({"tasks": {"t": {"sampling": {"stream": True}}}}, "`tasks.t.sampling.stream`: cannot be a default: "),
        (
            {"tasks": {"t": {"slo": {"availability": 0.99}}}, "metrics": {"enabled": False}},
            "`tasks.t.slo`: with `metrics.enabled: false` no request is counted",
        ),
        ({"state": {"url": "mysql://h/d"}}, "`state.url`: `mysql` is not supported; use `sqlite` or `postgresql`"),
        (
            {"services": {"knowledge": {"url": "http://h:1"}}},
            "`services.knowledge`: there is no knowledge to serve; add a section `knowledge: {}`",
        ),
        ({"services": {"control": {"url": "http://h:1/v1"}}}, "`services.control.url`: must be an address alone"),
        ({"services": {"control": {"url": "http://u:p@h:1"}}}, "`services.control.url`: must be an address alone"),
        ({"services": {"token_env": "a b"}}, "`services.token_env`: must be the name of an environment variable"),
        ({"state": {"url": "state.db"}}, "`state.url`: is not a database URL such as "),
        ({"artifacts": {"url": "s4://b"}}, "`artifacts.url`: fsspec knows no protocol `s4`"),
        ({"api_keys": [{"name": "a", "hash": "secret"}]}, "`api_keys[0].hash`: must be `sha256:` and 64 hex digits; "),
        (
            {"api_keys": [{"name": "a", "hash": _HASH}, {"name": "a", "hash": "sha256:" + "1" * 64}]},
            "`api_keys`: `a` appears 2 times",
        ),
        (
            {"tasks": {"t": {"output": {"grammar": "root ::= missing"}}}},
            "`tasks.t.output.grammar`: uses the rule `missing`, which it does not define",
        ),
        (
            {"replicas": 2, "engine": {"kind": "openai", "url": "http://h/v1", "adapters": "vllm"}},
            "`engine.adapters`: one server has one set of adapters",
        ),
        ({"model": {"id": "/"}}, "`model.id`: its last part is the public name, which must start with "),
        ({"tasks": {"base": {}}}, "`tasks.base`: has the base model's name; rename one of them"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_the_rule(data: dict[str, Any], line: str) -> None:
    problems = _problems(data)

    assert len(problems) == 1
    assert problems[0].startswith(line)


def test_a_key_pasted_in_place_of_its_hash_is_not_repeated() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse_config(_MODEL | {"api_keys": [{"name": "a", "hash": "lpx-secret"}]})

    assert "lpx-secret" not in str(caught.value)
    assert "lpx-secret" not in str(caught.value.__cause__)


# Who may call


@pytest.mark.parametrize(
    ("server", "keys", "required"),
    [
        ({}, False, False),
        ({"host": "::1"}, False, False),
        ({"host": "localhost"}, False, False),
        ({}, True, True),
        ({"authentication": "off"}, True, False),
        ({"host": "192.0.2.7"}, True, True),
        ({"host": "gateway.internal"}, True, True),
        ({"host": "192.0.2.7", "authentication": "off", "allow_unauthenticated": True}, False, False),
    ],
)
def test_keys_are_required_off_loopback_and_wherever_there_are_some(
    server: dict[str, Any], *, keys: bool, required: bool
) -> None:
    api_keys = [{"name": "a", "hash": _HASH}] if keys else []
    config = parse_config(_MODEL | {"server": server, "api_keys": api_keys})

    assert config.authentication_required is required


def test_an_open_gateway_must_be_asked_for_in_so_many_words() -> None:
    (problem,) = _problems({"server": {"host": "192.0.2.7", "authentication": "off"}})

    assert problem.startswith(
        "`server.authentication`: is `off` while other machines can reach `server.host` 192.0.2.7"
    )
    assert "allow_unauthenticated: true" in problem


def test_a_public_address_without_keys_is_refused() -> None:
    (problem,) = _problems({"server": {"host": "192.0.2.7"}})

    assert problem.startswith("`api_keys`: is empty, and other machines can reach `server.host` 192.0.2.7")
