"""A base model's tokenizer, without the model."""

from pathlib import Path

from training.data.encoding import ChatTokenizer
from training.errors import BaseModelInvalid


def load_chat_tokenizer(base: Path) -> ChatTokenizer:
    """The tokenizer of a checkpoint folder. Raises BaseModelInvalid."""
    # Here and not above: what reads and checks rows is imported without transformers.
    from transformers import AutoTokenizer

    if not (base / "config.json").is_file():
        raise BaseModelInvalid(f"{base} is not a model checkpoint: it has no config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as error:
        raise BaseModelInvalid(f"cannot load the tokenizer in {base}: {error}") from error
    if not tokenizer.chat_template:
        raise BaseModelInvalid(f"the tokenizer in {base} has no chat template; take an instruction-tuned base")
    loaded: ChatTokenizer = tokenizer
    return loaded
