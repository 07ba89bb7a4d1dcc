"""Counts tokens as the base model would, or nearly, without asking the engine."""

import asyncio
import logging
from typing import Any

from serving.config import GatewayConfig, VllmEngineSettings

logger = logging.getLogger(__name__)

_BYTES_PER_TOKEN = 3
"""Fewer than tokenizers need for most languages: the estimate is rather too high than too low."""


def estimate_tokens(text: str) -> int:
    """A guess at the number of tokens of ``text``, from its bytes in UTF-8."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


class TokenCounter:
    """Call it with a text. Before :meth:`load`, and for an engine elsewhere, it estimates."""

    def __init__(self, config: GatewayConfig) -> None:
        self._revision = config.model.revision
        self._name = config.model.id
        if isinstance(config.engine, VllmEngineSettings):
            self._name = config.engine.args.get("tokenizer", config.model.id)
        self._exact = config.knowledge is not None and isinstance(config.engine, VllmEngineSettings)
        self._tokenizer: Any = None

    def __call__(self, text: str) -> int:
        """The tokens of ``text``, without those that a chat template adds."""
        if self._tokenizer is None:
            return estimate_tokens(text)
        return len(self._tokenizer.encode(text, add_special_tokens=False, verbose=False))

    async def load(self) -> None:
        """Load the base model's tokenizer, where passages are to be counted for an engine in this process.

        Without it the gateway goes on with estimates.
        """
        if not self._exact:
            return
        try:
            self._tokenizer = await asyncio.to_thread(self._load)
        except (OSError, ValueError, ImportError) as error:
            logger.warning("Passages are counted by estimate: no tokenizer of %s: %s", self._name, error)

    def _load(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._name, revision=self._revision)
