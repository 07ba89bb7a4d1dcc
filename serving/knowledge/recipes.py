"""How an index was made, written down with it, so that a change of the configuration is noticed."""

import json
from dataclasses import dataclass
from typing import Self

from serving.settings.knowledge import ChunkingSettings, EmbedderSettings


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an index was made with."""

    embedder: EmbedderSettings
    fingerprint: str
    """The embedding model by content: the same name may mean other weights tomorrow."""
    chunking: ChunkingSettings

    def written(self) -> str:
        """One text for one recipe."""
        plain = {
            "embedder": self.embedder.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
            "chunking": self.chunking.model_dump(mode="json"),
        }
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Self:
        """What :meth:`written` wrote, by this version or by an older one."""
        plain = json.loads(text)
        return cls(
            EmbedderSettings.model_validate(_known(EmbedderSettings, plain["embedder"])),
            plain["fingerprint"],
            ChunkingSettings.model_validate(_known(ChunkingSettings, plain["chunking"])),
        )

    def makes_the_same(self, other: Self) -> bool:
        """Whether both make the same passages and vectors. How many texts are embedded at once makes no difference."""
        return (self.fingerprint, self.chunking) == (other.fingerprint, other.chunking)


def _known(model: type[EmbedderSettings] | type[ChunkingSettings], plain: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in plain.items() if name in model.model_fields}
