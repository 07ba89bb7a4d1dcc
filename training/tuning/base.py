"""The base model and its tokenizer, and the LoRA layers that are trained on top."""

import os
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from adapters.base_model import BaseModelSpec
from adapters.errors import AdapterRejected, BaseModelUnreadable
from adapters.lora_config import parse_lora_config
from training.data.tokenizer import load_chat_tokenizer
from training.errors import BaseModelInvalid, RecipeInvalid
from training.tuning.adapter_folder import adapter_config
from training.tuning.recipe import Recipe

_PEFT_PREFIX = "base_model.model."


def load_tokenizer(base: Path) -> PreTrainedTokenizerBase:
    """The base model's tokenizer, for whoever needs more of it than a ChatTokenizer has. Raises BaseModelInvalid."""
    return load_chat_tokenizer(base)


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """A token to pad with; it is masked everywhere, so that any will do. Raises BaseModelInvalid."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise BaseModelInvalid("the tokenizer has neither a padding token nor an end-of-sequence token")


def device() -> torch.device:
    """This process's GPU, which accelerate names by LOCAL_RANK, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def load_base(base: Path, quantization: str = "none") -> PreTrainedModel:
    """The base model in bfloat16 or in 4 bits, on the GPU if there is one. Raises BaseModelInvalid.

    ``nf4``: 4-bit NormalFloat with double quantisation of its constants (QLoRA, arXiv 2305.14314); products are
    computed in bfloat16, embeddings and the head stay as they are.
    """
    # On the CPU the fused attention in bfloat16 is slower than plain matrix products at the lengths of a fine-tuning.
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    settings: dict[str, Any] = {"dtype": torch.bfloat16, "attn_implementation": attention}
    if quantization == "nf4":
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    try:
        # A model in 4 bits cannot be moved once it is loaded.
        model = AutoModelForCausalLM.from_pretrained(base, device_map={"": device()}, **settings)
    except (OSError, ValueError) as error:
        raise BaseModelInvalid(f"cannot load the base model in {base}: {error}") from error
    for module in model.modules():
        if isinstance(module, Linear4bit):
            # On processors with AVX512-BF16 a first measurement would repack the weights for a kernel without gradient:
            # all layers below would silently learn nothing from then on.
            module.support_avx512bf16_for_cpu = False
    return model


def lora_config(model: PreTrainedModel, recipe: Recipe) -> LoraConfig:
    """PEFT's configuration of the recipe's LoRA layers. Raises BaseModelInvalid where ``model`` lacks their modules."""
    targets = recipe.target_modules
    names = [name for name, _ in model.named_modules()]
    for target in () if isinstance(targets, str) else targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise BaseModelInvalid(
                f"the base model has no module named `{target}` (recipe: `target_modules`)", param="target_modules"
            )
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        use_rslora=recipe.use_rslora,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )


def attach_lora(model: PreTrainedModel, recipe: Recipe) -> PeftModel:
    """Add the recipe's LoRA layers, whose weights stay in float32 while they are trained. Raises BaseModelInvalid."""
    return get_peft_model(model, lora_config(model, recipe))


def require_servable(recipe: Recipe, base: Path, max_rank: int | None = None) -> None:
    """Ask, before a model is read, what serving will ask of the adapter.

    ``max_rank``: what the gateway has room for, where that is known. Raises RecipeInvalid, BaseModelInvalid.
    """
    targets = recipe.target_modules
    plain = {
        "r": recipe.rank,
        "lora_alpha": recipe.alpha,
        "use_rslora": recipe.use_rslora,
        "target_modules": targets if isinstance(targets, str) else list(targets),
    }
    try:
        config = parse_lora_config(plain, max_rank or recipe.rank)
    except AdapterRejected as refused:
        raise RecipeInvalid(f"the adapter could not be served: {refused}") from refused
    spec = _spec(recipe, base)
    vocabulary = sorted(config.targeted(sorted(spec.vocabulary))) if targets != "all-linear" else []
    if vocabulary:
        raise RecipeInvalid(
            f"the adapter could not be served: {vocabulary[0]} is an embedding or the head; train linear layers only",
            param="target_modules",
        )


def require_served(model: PeftModel, recipe: Recipe, base: Path) -> None:
    """The same of the layers that PEFT really made. Raises RecipeInvalid, BaseModelInvalid."""
    try:
        parse_lora_config(adapter_config(model, recipe.base_model), recipe.rank)
    except AdapterRejected as refused:
        raise RecipeInvalid(f"the adapter could not be served: {refused}") from refused
    modules = _spec(recipe, base).modules
    trained = {
        name.partition(".lora_")[0].removeprefix(_PEFT_PREFIX) for name in model.state_dict() if ".lora_" in name
    }
    unserved = sorted(trained - modules.keys()) if modules is not None else []
    if unserved:
        raise RecipeInvalid(
            f"the adapter could not be served: {unserved[0]} is not a linear layer that the engine puts LoRA on",
            param="target_modules",
        )


def _spec(recipe: Recipe, base: Path) -> BaseModelSpec:
    try:
        return BaseModelSpec.from_checkpoint(base, recipe.base_model)
    except BaseModelUnreadable as error:
        raise BaseModelInvalid(str(error)) from error
