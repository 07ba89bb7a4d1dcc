"""The base model and its tokenizer, and the LoRA layers that are trained on top."""

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from training.errors import BaseModelInvalid
from training.tuning.recipe import SftRecipe


def load_tokenizer(base: Path) -> PreTrainedTokenizerBase:
    """The base model's tokenizer. Raises BaseModelInvalid."""
    if not (base / "config.json").is_file():
        raise BaseModelInvalid(f"{base} is not a model checkpoint: it has no config.json")
    tokenizer = AutoTokenizer.from_pretrained(base)
    if not tokenizer.chat_template:
        raise BaseModelInvalid(f"the tokenizer in {base} has no chat template; take an instruction-tuned base")
    return tokenizer


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """A token to pad with; it is masked everywhere, so that any will do. Raises BaseModelInvalid."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise BaseModelInvalid("the tokenizer has neither a padding token nor an end-of-sequence token")


def load_base(base: Path) -> PreTrainedModel:
    """The base model in bfloat16, on the GPU if there is one. Raises BaseModelInvalid."""
    on_gpu = torch.cuda.is_available()
    # On the CPU the fused attention in bfloat16 is slower than plain matrix products at the lengths of a fine-tuning.
    attention = "sdpa" if on_gpu else "eager"
    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, attn_implementation=attention)
    except (OSError, ValueError) as error:
        raise BaseModelInvalid(f"cannot load the base model in {base}: {error}") from error
    return model.to("cuda" if on_gpu else "cpu")


def attach_lora(model: PreTrainedModel, recipe: SftRecipe) -> PeftModel:
    """Add the recipe's LoRA layers, whose weights stay in float32 while they are trained. Raises BaseModelInvalid."""
    targets = recipe.target_modules
    names = [name for name, _ in model.named_modules()]
    for target in () if isinstance(targets, str) else targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise BaseModelInvalid(f"the base model has no module named `{target}` (recipe: `target_modules`)")
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)
