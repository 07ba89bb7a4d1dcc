"""``adapter_config.json``: read, and refuse everything that would serve other than it was trained."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from adapters import matching
from adapters.errors import AdapterRejected

CONFIG_NAME = "adapter_config.json"

HARMLESS = frozenset(
    {
        "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "fan_in_fan_out", "inference_mode",
        "lora_dropout", "loftq_config", "lora_ga_config", "megatron_config", "megatron_core", "parent_library",
        "peft_version", "qalora_group_size", "revision", "runtime_config", "task_type", "ensure_weight_tying",
    }
)  # fmt: skip
"""Fields of PEFT's LoraConfig that change no answer: provenance, training, placement."""
_UNDERSTOOD = frozenset(
    {
        "alpha_pattern", "bias", "exclude_modules", "init_lora_weights", "layers_pattern", "layers_to_transform",
        "lora_alpha", "modules_to_save", "peft_type", "r", "rank_pattern", "target_modules", "use_rslora",
    }
)  # fmt: skip
_REFUSED: Mapping[str, tuple[str, str]] = {
    "use_dora": ("dora", "DoRA is not served by the engine; train with use_dora=False."),
    "lora_bias": ("bias", "a bias on the LoRA layers is not served by the engine; train with lora_bias=False."),
    "modules_to_save": (
        "modules_to_save",
        "whole modules trained beside LoRA (modules_to_save) are not served; train without them.",
    ),
    "trainable_token_indices": (
        "trainable_tokens",
        "trained token embeddings (trainable_token_indices) are not served; train without them.",
    ),
    "layer_replication": (
        "layer_replication",
        "layer_replication builds a deeper model than the base that is served; train without it.",
    ),
    "target_parameters": (
        "target_parameters",
        "LoRA on bare parameters (target_parameters) is not served; target linear modules instead.",
    ),
    "alora_invocation_tokens": (
        "lora_variant",
        "activated LoRA (alora_invocation_tokens) is not served; train a plain LoRA adapter.",
    ),
    **{
        field: ("lora_variant", f"the LoRA variant `{field}` is not served; train a plain LoRA adapter.")
        for field in (
            "use_qalora",
            "use_bdlora",
            "velora_config",
            "monteclora_config",
            "arrow_config",
            "kasa_config",
        )
    },
}
# Initialisations that subtract from the base model's weights: on the untouched base such an adapter is wrong.
_CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga", "mica")
_PLAIN_INITS = ("gaussian", "eva", "orthogonal")
_TASK_TYPES = (None, "CAUSAL_LM")


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """The part of an adapter's configuration that decides how it serves."""

    rank: int
    alpha: float
    use_rslora: bool
    target_modules: tuple[str, ...] | str
    """Module names, or one regular expression."""
    exclude_modules: tuple[str, ...] | str
    layers: tuple[int, ...] | None
    """Layers that were trained; None for all."""
    layers_pattern: tuple[str, ...]
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    base_model: str | None

    def matches(self, modules: Sequence[str]) -> set[str]:
        """Those of ``modules`` that ``target_modules`` names, left-out layers and excluded modules among them.

        Raises AdapterRejected with ``pattern_invalid``.
        """
        return _select(modules, self.target_modules, "target_modules")

    def targeted(self, modules: Sequence[str]) -> set[str]:
        """Those of ``modules`` that PEFT would have trained. Raises AdapterRejected with ``pattern_invalid``."""
        found = self.matches(modules)
        if self.layers is not None and not isinstance(self.target_modules, str):
            found = {name for name in found if matching.layer_of(name, self.layers_pattern) in self.layers}
        return found - _select(modules, self.exclude_modules, "exclude_modules")

    def only(self, target_modules: tuple[str, ...] | str) -> "LoraConfig":
        """The same configuration for other target modules."""
        return replace(self, target_modules=target_modules)

    def ranks(self, modules: Sequence[str]) -> dict[str, int]:
        """The rank of each module. Raises AdapterRejected with ``pattern_invalid``."""
        keys = matching.by_pattern_key(modules, self.rank_pattern, field="rank_pattern")
        return {name: self.rank_pattern[keys[name]] if name in keys else self.rank for name in modules}

    def alphas(self, modules: Sequence[str]) -> dict[str, float]:
        """The alpha of each module. Raises AdapterRejected with ``pattern_invalid``."""
        keys = matching.by_pattern_key(modules, self.alpha_pattern, field="alpha_pattern")
        return {name: self.alpha_pattern[keys[name]] if name in keys else self.alpha for name in modules}

    def scaling(self, rank: int, alpha: float) -> float:
        """The factor on a module's update, as PEFT computes it."""
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank


def _select(modules: Sequence[str], wanted: tuple[str, ...] | str, field: str) -> set[str]:
    if wanted == "all-linear":
        return set(modules)
    if isinstance(wanted, str):
        return matching.matching(modules, wanted, field=field) if wanted else set()
    return matching.named(modules, wanted)


def read_json(path: Path, *, code: str) -> dict[str, Any]:
    """A JSON object. Raises AdapterRejected with ``code``."""
    try:
        text = path.read_bytes().decode("utf-8")
        if not text.strip():
            _refuse(code, f"{path.name} is empty; save the adapter again.")
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AdapterRejected(code, f"{path.name} is not valid JSON ({error}); save the adapter again.") from None
    if not isinstance(found, dict):
        _refuse(code, f"{path.name} is not a JSON object; save the adapter again.")
    return found


def read_lora_config(path: Path, max_rank: int) -> LoraConfig:
    """Read ``adapter_config.json``.

    Raises:
        AdapterRejected: it cannot be read, or the engine would not serve what it describes.
    """
    return parse_lora_config(read_json(path, code="config_invalid"), max_rank)


def parse_lora_config(config: Mapping[str, Any], max_rank: int) -> LoraConfig:
    """Check a configuration that is already an object. Raises AdapterRejected."""
    _check_kind(config)
    for field, (code, message) in _REFUSED.items():
        if config.get(field):
            _refuse(code, message)
    if config.get("bias", "none") != "none":
        _refuse("bias", f"`bias` is {config['bias']!r}: trained biases are not served; train with bias='none'.")
    _check_init(config.get("init_lora_weights", True))
    unknown = [key for key in config if key not in HARMLESS | _UNDERSTOOD | _REFUSED.keys() and config[key]]
    if unknown:
        _refuse(
            "unknown_setting",
            f"{CONFIG_NAME} has the setting `{unknown[0]}`, which this gateway does not know and could serve wrongly; "
            "remove it if the adapter works without.",
        )
    rank_pattern = _pattern(config, "rank_pattern")
    for name, value in (("r", config.get("r")), *rank_pattern.items()):
        _check_rank(name, value, max_rank)
    return LoraConfig(
        rank=config["r"],
        alpha=_alpha("lora_alpha", config.get("lora_alpha")),
        use_rslora=_flag(config, "use_rslora"),
        target_modules=_targets(config.get("target_modules")),
        exclude_modules=_names(config, "exclude_modules"),
        layers=_layers(config.get("layers_to_transform")),
        layers_pattern=_tuple(_names(config, "layers_pattern")),
        rank_pattern=rank_pattern,
        alpha_pattern={key: _alpha(key, value) for key, value in _pattern(config, "alpha_pattern").items()},
        base_model=_base_model(config.get("base_model_name_or_path")),
    )


def _refuse(code: str, message: str) -> NoReturn:
    raise AdapterRejected(code, message)


def _check_kind(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        _refuse("peft_type", f"the adapter is of type {kind}, not LORA; only LoRA adapters are served.")
    task = config.get("task_type")
    if task not in _TASK_TYPES:
        _refuse("task_type", f"the adapter was trained for {task}, not for text generation (CAUSAL_LM).")


def _check_init(init: Any) -> None:
    if isinstance(init, bool) or init is None or init in _PLAIN_INITS:
        return
    if isinstance(init, str) and init.lower().startswith(_CHANGES_BASE):
        _refuse(
            "init_changes_base",
            f"the adapter was initialised with {init}, which changes the base model's weights; save it again with "
            "path_initial_model_for_weight_conversion to make it a plain LoRA adapter.",
        )
    _refuse("init_unknown", f"`init_lora_weights` is {init!r}, which this gateway does not know; use the default.")


def _check_rank(name: str, rank: Any, max_rank: int) -> None:
    if type(rank) is not int or rank < 1:
        _refuse("rank_invalid", f"the rank `{name}` is {rank!r}; it must be a whole number above 0.")
    if rank > max_rank:
        _refuse(
            "rank_too_large",
            f"the rank `{name}` is {rank}, above the limit of {max_rank}; train with a smaller rank, or raise "
            "adapters.max_rank.",
        )


def _alpha(name: str, alpha: Any) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        _refuse("alpha_invalid", f"the alpha `{name}` is {alpha!r}; it must be a number.")
    if alpha == 0:
        _refuse("alpha_zero", f"the alpha `{name}` is 0, so the adapter changes nothing; save it with its real alpha.")
    return float(alpha)


def _flag(config: Mapping[str, Any], field: str) -> bool:
    value = config.get(field) or False
    if not isinstance(value, bool):
        _refuse("config_invalid", f"`{field}` is {value!r}; it must be true or false.")
    return value


def _pattern(config: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = config.get(field) or {}
    if not isinstance(value, dict):
        _refuse("config_invalid", f"`{field}` must be a map from module names to numbers.")
    return value


def _targets(value: Any) -> tuple[str, ...] | str:
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
        _refuse("target_modules_invalid", "`target_modules` must list the names of the modules that were trained.")
    return tuple(value)


def _names(config: Mapping[str, Any], field: str) -> tuple[str, ...] | str:
    value = config.get(field) or ()
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        _refuse("config_invalid", f"`{field}` must list names.")
    return tuple(value)


def _tuple(names: tuple[str, ...] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _layers(value: Any) -> tuple[int, ...] | None:
    if value is None or value == []:
        return None
    layers = [value] if type(value) is int else value
    if not isinstance(layers, list) or not all(type(layer) is int for layer in layers):
        _refuse("config_invalid", "`layers_to_transform` must list layer numbers.")
    return tuple(layers)


def _base_model(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        _refuse("config_invalid", "`base_model_name_or_path` must be a name.")
    return value or None
