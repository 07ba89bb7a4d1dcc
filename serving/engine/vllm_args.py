"""From the configuration to vLLM's own arguments, checked by vLLM's own parser before anything is started."""

import argparse
import dataclasses
import difflib
import json
import re
from typing import Any, NoReturn

from serving.config import AdapterSettings, ModelSettings, VllmEngineSettings
from serving.engine.vllm_tools import bounded_tool_parser
from serving.errors import ConfigInvalid

_FRONTEND = frozenset(
    {
        "chat_template",
        "chat_template_content_format",
        "default_chat_template_kwargs",
        "enable_auto_tool_choice",
        "enable_log_deltas",
        "enable_log_outputs",
        "enable_per_request_metrics",
        "enable_prompt_tokens_details",
        "exclude_tools_when_tool_choice_none",
        "log_error_stack",
        "max_log_len",
        "response_role",
        "return_tokens_as_token_ids",
        "tool_call_parser",
        "tool_parser_plugin",
        "trust_request_chat_template",
    }
)
"""Arguments of vLLM's server that hold for generation itself, and therefore here too."""

_OURS = {
    "worker_extension_cls": "the gateway's own worker extension reports which adapters are loaded",
    "default_mm_loras": "adapters are loaded and chosen by the gateway alone",
    "disable_log_stats": "the gateway passes vLLM's statistics on in /metrics",
}
"""Engine arguments that cannot be given, with the reason."""

WORKER_EXTENSION = "serving.engine.vllm_worker.AdapterAccount"
TELL_TIMES = "enable_per_request_metrics"
"""vLLM's argument that has each answer tell how long the request was queued."""
_DEFAULT_TOOL_PARSER = "hermes"
_COMPACT_BACKENDS = ("xgrammar", "guidance")


class _BadArgument(Exception):
    """What the parser says is wrong."""


def check_engine_args(settings: VllmEngineSettings) -> None:
    """Check ``engine.args`` as far as is possible without the model.

    Imports vLLM (some seconds). Raises ConfigInvalid: an argument that vLLM does not know, with the nearest valid one;
    one that the gateway sets itself; or a value that vLLM does not take.
    """
    make_arguments(ModelSettings(id="unused"), settings, AdapterSettings())


def make_arguments(model: ModelSettings, settings: VllmEngineSettings, adapters: AdapterSettings) -> argparse.Namespace:
    """vLLM's arguments for this gateway, defaults included. Raises ConfigInvalid."""
    parser = _parser()
    actions = {action.dest: action for action in parser._actions}  # noqa: SLF001  (argparse has no public list)
    _check_names(settings.args, actions)
    chosen = _defaults(settings.args)
    if TELL_TIMES not in actions:  # before 0.29
        del chosen[TELL_TIMES]
    words: list[str] = []
    for name, value in (chosen | _owned(model, adapters)).items():
        words += _words(actions[name], value)
    try:
        namespace = parser.parse_args(words)
    except _BadArgument as error:
        raise ConfigInvalid(_explain(str(error))) from None
    except (TypeError, ValueError, argparse.ArgumentTypeError) as error:
        raise ConfigInvalid(f"`engine.args`: {_first_problem(error)}") from error
    if not isinstance(namespace, argparse.Namespace):
        raise ConfigInvalid("`engine.args`: vLLM's parser gave no arguments")
    _check_tool_parser(namespace)
    if namespace.tool_call_parser is not None:
        namespace.tool_call_parser = bounded_tool_parser(namespace.tool_call_parser)
    return namespace


def _parser() -> argparse.ArgumentParser:
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    try:
        from vllm.entrypoints.launchers.cli_args import make_arg_parser
    except ImportError:  # before 0.29
        from vllm.entrypoints.openai.cli_args import make_arg_parser

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> NoReturn:
            raise _BadArgument(message)

    parser: argparse.ArgumentParser = make_arg_parser(Parser(add_help=False, allow_abbrev=False))
    return parser


def _engine_names() -> frozenset[str]:
    from vllm.engine.arg_utils import AsyncEngineArgs

    return frozenset(field.name for field in dataclasses.fields(AsyncEngineArgs) if not field.name.startswith("_"))


def _check_names(args: dict[str, Any], actions: dict[str, argparse.Action]) -> None:
    known = {name for name in (_engine_names() | _FRONTEND) if name in actions}
    for name in args:
        if name in _OURS:
            raise ConfigInvalid(f"`engine.args.{name}` cannot be set: {_OURS[name]}")
        if name in known:
            continue
        if name.replace("-", "_") in known:
            raise ConfigInvalid(f"`engine.args.{name}`: write it as `{name.replace('-', '_')}`")
        if name in actions:
            raise ConfigInvalid(
                f"`engine.args.{name}` is for vLLM's own HTTP server, which does not run here; "
                "see `server` and `api_keys`"
            )
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise ConfigInvalid(f"`engine.args.{name}`: vLLM has no such argument{hint}")


def _defaults(args: dict[str, Any]) -> dict[str, Any]:
    """``args`` with what is right by default and can still be chosen otherwise."""
    chosen = dict(args)
    chosen.setdefault(TELL_TIMES, True)
    if chosen.get("enable_auto_tool_choice", True):
        chosen["enable_auto_tool_choice"] = True
        chosen.setdefault("tool_call_parser", _DEFAULT_TOOL_PARSER)
    rules = dict(chosen.get("structured_outputs_config") or {})
    # A small model under a JSON schema can fill its whole answer with white space: forbid the optional kind. Of the
    # two backends that can, only the first takes the constraints that vLLM makes of forced tool calls.
    rules.setdefault("backend", _COMPACT_BACKENDS[0])
    if rules["backend"] in _COMPACT_BACKENDS:
        rules.setdefault("disable_any_whitespace", True)
    chosen["structured_outputs_config"] = rules
    return chosen


def _owned(model: ModelSettings, adapters: AdapterSettings) -> dict[str, Any]:
    owned: dict[str, Any] = {
        "model": model.id,
        "served_model_name": [model.public_name],
        "revision": model.revision,
        "worker_extension_cls": WORKER_EXTENSION,
    }
    if adapters.enabled:
        owned |= {
            "enable_lora": True,
            "max_loras": adapters.slots,
            "max_cpu_loras": adapters.cpu_slots,
            "max_lora_rank": adapters.max_rank,
        }
    return owned


def _words(action: argparse.Action, value: Any) -> list[str]:
    """``value`` as vLLM's command line would have it."""
    option = next(option for option in action.option_strings if option.startswith("--") and "no-" not in option[:5])
    if value is None:
        return []
    if isinstance(action, argparse.BooleanOptionalAction) or action.nargs == 0:
        if not isinstance(value, bool):
            raise ConfigInvalid(f"`engine.args.{action.dest}` must be true or false")
        if value:
            return [option]
        return [f"--no-{option[2:]}"] if isinstance(action, argparse.BooleanOptionalAction) else []
    if isinstance(value, list | tuple) and action.nargs in ("+", "*"):
        return [option, *(part if isinstance(part, str) else json.dumps(part) for part in value)]
    return [f"{option}={value if isinstance(value, str) else json.dumps(value)}"]


def _explain(message: str) -> str:
    found = re.match(r"argument (?:-\w+/)?--([\w-]+)(?:/\S+)?: (.*)", message, re.DOTALL)
    if found is None:
        return f"`engine.args`: {message}"
    lines = [line.strip() for line in found.group(2).splitlines() if line.strip() and "errors.pydantic" not in line]
    return f"`engine.args.{found.group(1).replace('-', '_')}`: {'; '.join(lines)}"


def _first_problem(error: Exception) -> str:
    problems = getattr(error, "errors", None)
    if callable(problems):
        first = problems()[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return str(error)


def _check_tool_parser(namespace: argparse.Namespace) -> None:
    from vllm.tool_parsers import ToolParserManager

    if namespace.tool_parser_plugin:
        ToolParserManager.import_tool_parser(namespace.tool_parser_plugin)
    known, name = list(ToolParserManager.list_registered()), namespace.tool_call_parser
    if name is not None and name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"valid: {', '.join(sorted(known))}"
        raise ConfigInvalid(f"`engine.args.tool_call_parser`: vLLM has no parser `{name}`; {hint}")
