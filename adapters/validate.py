"""``validate``: everything that is checked before an adapter may be stored, let alone loaded.

The base model's name decides less than its shapes, because one checkpoint goes by many names. In this order:

1. Shapes. Every tensor must belong to a linear module of the base and have its features. This alone decides where it
   can: another model's adapter does not fit.
2. Names. ``base_model_name_or_path`` is a claim where it can be a hub id (``org/name`` or ``name``): its last
   component must then be one of the base's names (upper and lower case, and endings such as ``-bnb-4bit``, do not
   count). A path of some machine (``/data/models/x``, ``./x``) says nothing about what lies there, and neither does a
   missing name: shapes decide.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.base_model import BaseModelSpec, comparable_name
from adapters.digest import digest
from adapters.errors import AdapterRejected
from adapters.layout import CONFIG, SERVED, WEIGHTS, check_folder
from adapters.lora_config import LoraConfig, parse_lora_config, read_json
from adapters.lora_tensors import Pair, pair_tensors
from adapters.records import read_records
from adapters.tensors import open_tensors
from adapters.types import AdapterVersion, version_name
from adapters.weights import check_values

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class AdapterLimits:
    """What the gateway has room for."""

    max_rank: int
    max_bytes: int
    """Bytes of all files of one adapter together."""


@dataclass(frozen=True, slots=True)
class AdapterManifest:
    """What is known of an adapter that may serve."""

    digest: str
    rank: int
    """The largest rank of its modules."""
    alpha: float
    target_modules: tuple[str, ...]
    """Last names of the modules that it changes, sorted."""
    size_bytes: int
    base_model: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def version(self, adapter: str, source: str, created_at: datetime | None = None) -> AdapterVersion:
        """The version that these files are, under the name ``adapter``."""
        return AdapterVersion(
            name=version_name(adapter, self.digest),
            adapter=adapter,
            digest=self.digest,
            base_model=self.base_model,
            rank=self.rank,
            alpha=self.alpha,
            target_modules=self.target_modules,
            size_bytes=self.size_bytes,
            source=source,
            created_at=created_at or datetime.now(UTC),
            metadata=self.metadata,
        )


def validate(folder: Path, base: BaseModelSpec, limits: AdapterLimits) -> AdapterManifest:
    """Check the adapter in ``folder`` against ``base``; nothing in it is executed, and no framework is needed.

    Raises:
        AdapterRejected: it must not serve. ``code`` and the one sentence name the first cause found.
        OSError: a file cannot be read.
    """
    present = check_folder(folder, limits.max_bytes)
    raw = read_json(folder / CONFIG, code="config_invalid")
    config = parse_lora_config(raw, limits.max_rank)
    weights = open_tensors(folder / WEIGHTS)
    pairs = pair_tensors(weights.tensors)
    _check_modules(config, pairs, base)
    _check_name(config, base)
    ranks = _check_ranks(config, pairs)
    check_values(weights, pairs, base.dtype)
    return AdapterManifest(
        digest=digest(raw, weights),
        rank=max(ranks.values()),
        alpha=config.alpha,
        target_modules=tuple(sorted({name.rpartition(".")[2] for name in pairs})),
        size_bytes=sum((folder / name).stat().st_size for name in SERVED),
        base_model=base.name,
        metadata=read_records(folder, present),
    )


def _check_modules(config: LoraConfig, pairs: Mapping[str, Pair], base: BaseModelSpec) -> None:
    """The tensors are those of the base's modules, all that the configuration names and no others."""
    modules = base.modules
    vocabulary = sorted(pairs.keys() & base.vocabulary) or _vocabulary_targets(config, base)
    if vocabulary:
        raise AdapterRejected(
            "embedding_lora",
            f"the adapter changes {vocabulary[0]}; embeddings and the output head are not served with LoRA, "
            "train the linear layers only.",
        )
    if modules is None:
        _check_targets(config, list(pairs), pairs)
        return
    unknown = sorted(pairs.keys() - modules.keys())
    if len(unknown) == len(pairs):
        raise AdapterRejected(
            "wrong_base_model",
            f"none of the adapter's modules ({_some(unknown)}) exists in the base model {base.name}; "
            f"it was trained for {_trained_for(config)}.",
        )
    _check_targets(config, list(modules), pairs)
    if unknown:
        raise AdapterRejected(
            "unknown_module",
            f"the adapter has weights for {_some(unknown)}, which the base model {base.name} does not have; "
            f"it was trained for {_trained_for(config)}.",
        )
    _check_features(config, pairs, base)


def _vocabulary_targets(config: LoraConfig, base: BaseModelSpec) -> list[str]:
    if config.target_modules == "all-linear":
        return []
    return sorted(config.targeted(sorted(base.vocabulary)))


def _check_targets(config: LoraConfig, modules: list[str], pairs: Mapping[str, Pair]) -> None:
    """``target_modules`` and the tensors name the same modules."""
    named = config.target_modules if isinstance(config.target_modules, tuple) else (config.target_modules,)
    every_layer = sorted({*modules, *pairs})
    for target in named:
        alone = target if isinstance(config.target_modules, str) else (target,)
        if not config.only(alone).matches(every_layer):
            raise AdapterRejected(
                "unknown_target_module",
                f"`target_modules` names {target}, which matches no linear module of the base model; "
                "was the adapter trained for another model?",
            )
        trained = config.only(alone).targeted(every_layer)
        if trained and not trained & pairs.keys():
            raise AdapterRejected(
                "target_without_weights",
                f"`target_modules` names {target}, but the adapter has no weights for it; save the adapter again.",
            )
    expected = config.targeted(modules)
    missing = sorted(expected - pairs.keys())
    if missing:
        raise AdapterRejected(
            "layers_missing",
            f"weights are missing for {_some(missing)}, {len(missing)} of the {len(expected)} modules that "
            "`target_modules` names; save the adapter again.",
        )
    extra = sorted((pairs.keys() & set(modules)) - expected)
    if extra:
        raise AdapterRejected(
            "module_not_targeted",
            f"the adapter has weights for {_some(extra)}, which `target_modules` does not name; "
            "configuration and weights do not belong together.",
        )


def _check_features(config: LoraConfig, pairs: Mapping[str, Pair], base: BaseModelSpec) -> None:
    assert base.modules is not None  # noqa: S101  (the caller has looked)
    misfits = {
        name: pair
        for name, pair in pairs.items()
        if (pair.inputs, pair.outputs) != (base.modules[name].inputs, base.modules[name].outputs)
    }
    for name, pair in sorted(misfits.items()):
        kind = name.rpartition(".")[2]
        alike = [other for other in pairs if other.rpartition(".")[2] == kind]
        shape = base.modules[name]
        sizes = (
            f"{name} has {shape.inputs} → {shape.outputs} features in {base.name}, "
            f"but {pair.inputs} → {pair.outputs} in the adapter"
        )
        if all(other in misfits for other in alike):
            raise AdapterRejected("wrong_base_model", f"{sizes}; it was trained for {_trained_for(config)}.")
        raise AdapterRejected("tensor_shape", f"{sizes}, other than its neighbours; save the adapter again.")


def _check_name(config: LoraConfig, base: BaseModelSpec) -> None:
    claimed = config.base_model
    if claimed is None or not _HUB_ID.fullmatch(claimed) or comparable_name(claimed) in base.names:
        return
    raise AdapterRejected(
        "wrong_base_model_name",
        f"the adapter says that it was trained for {claimed}, but the base model is {base.name}; if they are the same "
        "weights, correct `base_model_name_or_path`.",
    )


def _check_ranks(config: LoraConfig, pairs: Mapping[str, Pair]) -> dict[str, int]:
    names = sorted(pairs)
    ranks, alphas = config.ranks(names), config.alphas(names)
    served = config.scaling(config.rank, config.alpha)
    for name in names:
        if pairs[name].rank != ranks[name]:
            raise AdapterRejected(
                "rank_mismatch",
                f"the weights of {name} have rank {pairs[name].rank}, but {CONFIG} says {ranks[name]}; "
                "configuration and weights do not belong together.",
            )
        trained = config.scaling(ranks[name], alphas[name])
        if abs(trained - served) > 1e-6 * abs(served):
            raise AdapterRejected(
                "scaling_pattern",
                f"rank_pattern and alpha_pattern give {name} the scaling {trained:g}, but the engine scales every "
                f"module by {served:g}; train without patterns, or with the same alpha / rank everywhere.",
            )
    return ranks


def _trained_for(config: LoraConfig) -> str:
    return config.base_model or "another model"


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
