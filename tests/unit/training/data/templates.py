"""A tokenizer of characters with a chat template, for tests that need no real vocabulary."""

from typing import Any

from jinja2 import Environment, TemplateError

CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TOOLS = (
    "{% if tools %}<|tools|>{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|end|>\n{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% for call in message.tool_calls or [] %}"
    '<call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</call>'
    "{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""As in the templates of models that call tools: definitions first, calls as JSON with parsed arguments."""
FORGETFUL = "{% for message in messages[-2:] %}<{{ message.role }}>{{ message.content }}{% endfor %}"
STRICT = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<{{ message.role }}>{{ message.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


class CharacterTokenizer:
    """One token for each character."""

    def __init__(self, template: str = CHATML) -> None:
        environment = Environment(autoescape=False)  # noqa: S701  (what it renders is read by nobody's browser)
        self._template = environment.from_string(template)

    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> str:
        """The rendered conversation."""
        assert options.pop("tokenize") is False
        options.setdefault("add_generation_prompt", False)
        return self._template.render(messages=conversation, raise_exception=_raise, **options)

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        """The characters' numbers."""
        assert options == {"add_special_tokens": False}
        return {"input_ids": [ord(character) for character in text]}


def decoded(ids: tuple[int, ...]) -> str:
    """The text of tokens."""
    return "".join(map(chr, ids))


def _raise(message: str) -> None:
    raise TemplateError(message)
