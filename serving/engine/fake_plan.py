"""What the fake engine will say to a request, decided before the first token."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.engine.fake_text import Unsatisfiable, fraction, grammar_text, json_text, pick, regex_text
from serving.engine.protocol import Endpoint, EngineRejected, EngineRequest, JsonObject
from serving.engine.refusals import check_chat_roles, check_stateless, context_length_exceeded

_TOKEN = re.compile(r"\s*\S+|\s+")
_DEFAULT_MAX_TOKENS = {Endpoint.COMPLETIONS: 16}


@dataclass(frozen=True, slots=True)
class FakeToolCall:
    """One function call."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class FakeChoice:
    """One of the answers to a request."""

    index: int
    tokens: tuple[str, ...]
    finish_reason: str
    prompt: str
    tool_call: FakeToolCall | None = None

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class FakePlan:
    """Everything that a request will be answered with."""

    request: EngineRequest
    speaker: str
    """The adapter that answers, or the base model's name."""
    choices: tuple[FakeChoice, ...]
    prompt_tokens: int
    top_logprobs: int | None
    """How many alternatives to give for each token; None for no log-probabilities."""
    echo: bool = False
    metadata: JsonObject = field(default_factory=dict)

    @property
    def completion_tokens(self) -> int:
        """Tokens generated over all choices."""
        return sum(len(choice.tokens) for choice in self.choices)

    def usage(self) -> JsonObject:
        """Usage in the shape of chat and completions."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }

    def logprob(self, token: str, rank: int = 0) -> float:
        """A stable log-probability of ``token`` by this speaker; alternatives of higher ``rank`` are less likely."""
        return -round(fraction(f"{self.speaker}|{token}"), 4) - rank


def tokens_of(text: str) -> tuple[str, ...]:
    """Split into the fake tokenizer's tokens: words with the white space before them."""
    return tuple(_TOKEN.findall(text))


def make_plan(request: EngineRequest, speaker: str, max_model_len: int, saying: str | None = None) -> FakePlan:
    """Decide the answer of ``speaker``: ``saying``, or the prompt again where a request constrains nothing.

    Raises EngineRejected for a request that no engine would take.
    """
    body = request.body
    prompts, prompt_tokens = _prompts(request.endpoint, body)
    limit = _max_tokens(request.endpoint, body)
    room = max_model_len - max(prompt_tokens // len(prompts), 0)
    if room < 1 or (limit is not None and limit > room):
        raise context_length_exceeded(
            f"This model's maximum context length is {max_model_len} tokens. However, you requested "
            f"{limit or 0} output tokens and your prompt contains {prompt_tokens} input tokens.",
            {"chat.completions": "messages", "completions": "prompt"}.get(request.endpoint, "input"),
        )
    count = _positive(body, "n", 1)
    choices = tuple(
        _choice(request, speaker, prompt, position * count + copy, copy, min(limit or room, room), saying)
        for position, prompt in enumerate(prompts)
        for copy in range(count)
    )
    return FakePlan(
        request=request,
        speaker=speaker,
        choices=choices,
        prompt_tokens=prompt_tokens,
        top_logprobs=_top_logprobs(request.endpoint, body),
        echo=request.endpoint is Endpoint.COMPLETIONS and bool(body.get("echo")),
        metadata=dict(body.get("metadata") or {}),
    )


def _positive(body: Mapping[str, Any], name: str, default: int | None) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise EngineRejected(f"`{name}` must be an integer of at least 1.", param=name)
    return value


def _max_tokens(endpoint: Endpoint, body: Mapping[str, Any]) -> int | None:
    names = {
        Endpoint.CHAT: ("max_completion_tokens", "max_tokens"),
        Endpoint.COMPLETIONS: ("max_tokens",),
        Endpoint.RESPONSES: ("max_output_tokens",),
    }[endpoint]
    for name in names:
        value: int | None = _positive(body, name, None)
        if value is not None:
            return value
    return _DEFAULT_MAX_TOKENS.get(endpoint)


def _top_logprobs(endpoint: Endpoint, body: Mapping[str, Any]) -> int | None:
    if endpoint is Endpoint.COMPLETIONS:
        return body.get("logprobs")
    if endpoint is Endpoint.CHAT:
        return (body.get("top_logprobs") or 0) if body.get("logprobs") else None
    return (body.get("top_logprobs") or 0) if "message.output_text.logprobs" in (body.get("include") or ()) else None


def _prompts(endpoint: Endpoint, body: Mapping[str, Any]) -> tuple[list[str], int]:
    """What is answered (the last user turn, or each prompt), and the tokens of everything read."""
    if endpoint is Endpoint.CHAT:
        check_chat_roles(body)
        return _conversation(body["messages"], ())
    if endpoint is Endpoint.RESPONSES:
        check_stateless(body)
        instructions = tokens_of(body.get("instructions") or "")
        given = body.get("input")
        if isinstance(given, str):
            return [given], len(instructions) + len(tokens_of(given))
        if not isinstance(given, list) or not given:
            raise EngineRejected("`input` must be a string or a non-empty array.", param="input")
        return _conversation(given, instructions)
    prompt = body.get("prompt")
    prompts = prompt if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else [prompt]
    if prompts == [None] or prompts == [[]]:
        raise EngineRejected("`prompt` is required.", param="prompt")
    texts = [" ".join(map(str, one)) if isinstance(one, list) else str(one) for one in prompts]
    return texts, sum(len(tokens_of(text)) for text in texts)


def _conversation(items: Sequence[Any], before: Sequence[str]) -> tuple[list[str], int]:
    texts = [_flatten(item.get("content", item.get("output"))) for item in items]
    users = [text for item, text in zip(items, texts, strict=True) if item.get("role") == "user"]
    return [(users or texts)[-1]], len(before) + sum(len(tokens_of(text)) for text in texts)


def _flatten(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in content)
    return "" if content is None else str(content)


def _choice(
    request: EngineRequest, speaker: str, prompt: str, index: int, copy: int, limit: int, saying: str | None
) -> FakeChoice:
    body, key = request.body, f"{speaker}|{prompt}"
    try:
        call = _tool_call(request.endpoint, body, prompt, key, speaker)
        if call is not None:
            return FakeChoice(index, tokens_of(call.arguments), "tool_calls", prompt, call)
        text = _constrained(request.endpoint, body, key, speaker)
    except Unsatisfiable as error:
        raise EngineRejected(str(error), param="response_format") from error
    if text is None:
        text = (saying or f"[{speaker}] {prompt}") + (f" #{copy}" if copy else "")
    tokens = tokens_of(_stopped(text, body.get("stop")))
    if len(tokens) > limit:
        return FakeChoice(index, tokens[:limit], "length", prompt)
    return FakeChoice(index, tokens, "stop", prompt)


def _stopped(text: str, stop: Any) -> str:
    for word in [stop] if isinstance(stop, str) else stop or ():
        text = text.split(word, 1)[0] if word else text
    return text


def _tool_call(endpoint: Endpoint, body: Mapping[str, Any], prompt: str, key: str, speaker: str) -> FakeToolCall | None:
    if endpoint is Endpoint.COMPLETIONS or not body.get("tools"):
        return None
    functions = {
        function["name"]: function
        for tool in body["tools"]
        if isinstance(function := tool.get("function", tool), dict) and "name" in function
    }
    wanted = body.get("tool_choice", "auto")
    if wanted == "none" or not functions:
        return None
    if isinstance(wanted, dict):
        name = wanted.get("function", wanted).get("name")
        if name not in functions:
            raise EngineRejected(f"Tool choice {name!r} is not among `tools`.", param="tool_choice")
    elif wanted == "required":
        name = pick(sorted(functions), key)
    else:
        name = next((known for known in functions if known in prompt), None)
    if name is None:
        return None
    schema = {"type": "object", **(functions[name].get("parameters") or {})}
    return FakeToolCall(name, json_text(schema, key, speaker))


def _constrained(endpoint: Endpoint, body: Mapping[str, Any], key: str, speaker: str) -> str | None:
    rules: Mapping[str, Any] = body.get("structured_outputs") or {}
    if rules.get("choice"):
        chosen: str = pick(rules["choice"], key)
        return chosen
    if rules.get("regex"):
        return regex_text(rules["regex"])
    if rules.get("grammar"):
        return grammar_text(rules["grammar"], key)
    schema = rules.get("json")
    given = (body.get("text") or {}).get("format") if endpoint is Endpoint.RESPONSES else body.get("response_format")
    form: Mapping[str, Any] = given or {}
    match form.get("type"):
        case "json_object":
            schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
        case "json_schema":
            schema = form.get("schema") or form["json_schema"].get("schema") or {"type": "object"}
    return None if schema is None else json_text(schema, key, speaker)
