"""Ways to spoil a valid adapter. Each one must be refused by its own code, with a sentence that names the cause."""

import math

import tests.adapter_file_mutations  # noqa: F401  (registers its own)
from tests.adapter_spoiling import (
    MUTATIONS,
    Mutation,
    disjoint,
    drop_setting,
    dropped,
    first,
    in_dtype,
    poisoned,
    renamed,
    resized,
    spoil_config,
    spoil_tensors,
    with_tensor,
    zeroed,
)

__all__ = ["MUTATIONS", "Mutation"]

# Wrong base model

spoil_config("other_hub_id", "wrong_base_model_name", "google/gemma-2-2b", base_model_name_or_path="google/gemma-2-2b")
spoil_config("other_bare_name", "wrong_base_model_name", "gpt2", base_model_name_or_path="gpt2")
spoil_config("base_name_is_no_text", "config_invalid", "base_model_name_or_path", base_model_name_or_path=7)
spoil_tensors("inputs_of_another_base", "wrong_base_model", "features in", resized("A", 1, 8))
spoil_tensors("outputs_of_another_base", "wrong_base_model", "features in", resized("B", 0, 8))
spoil_tensors("mlp_of_another_base", "wrong_base_model", "up_proj has", resized("B", 0, 8, "up_proj"))
spoil_tensors(
    "modules_of_another_base",
    "wrong_base_model",
    "exists in the base model",
    lambda tensors: renamed(tensors, "model.layers.", "transformer.h."),
)

# Rank and alpha

spoil_config("rank_over_the_limit", "rank_too_large", "above the limit", r=1024)
spoil_config("rank_pattern_over_the_limit", "rank_too_large", "above the limit", rank_pattern={"q_proj": 1024})
spoil_config("rank_zero", "rank_invalid", "whole number above 0", r=0)
spoil_config("rank_negative", "rank_invalid", "whole number above 0", r=-8)
spoil_config("rank_fraction", "rank_invalid", "whole number above 0", r=7.5)
spoil_config("rank_text", "rank_invalid", "whole number above 0", r="8")
spoil_config("rank_true", "rank_invalid", "whole number above 0", r=True)
spoil_config("rank_pattern_zero", "rank_invalid", "whole number above 0", rank_pattern={"q_proj": 0})
drop_setting("rank_missing", "rank_invalid", "whole number above 0", "r")
spoil_config("rank_other_than_weights", "rank_mismatch", "adapter_config.json says 2", r=2)
spoil_config("rank_pattern_other_than_weights", "rank_mismatch", "says 2", rank_pattern={"v_proj": 2})
spoil_config("rank_pattern_no_map", "config_invalid", "rank_pattern", rank_pattern=[8])
spoil_config("rank_pattern_never_ends", "pattern_invalid", "too long", rank_pattern={"(((a|.)*)*)*!": 8})
spoil_config("rank_pattern_no_regex", "pattern_invalid", "not a regular expression", rank_pattern={"(": 8})
spoil_config("alpha_zero", "alpha_zero", "changes nothing", lora_alpha=0)
spoil_config("alpha_text", "alpha_invalid", "must be a number", lora_alpha="16")
spoil_config("alpha_not_a_number", "alpha_invalid", "must be a number", lora_alpha=math.nan)
drop_setting("alpha_missing", "alpha_invalid", "must be a number", "lora_alpha")
spoil_config("alpha_pattern_scales_otherwise", "scaling_pattern", "the engine scales", alpha_pattern={"q_proj": 3})
spoil_config("alpha_pattern_zero", "alpha_zero", "changes nothing", alpha_pattern={"q_proj": 0})

# Target modules

spoil_config("target_unknown", "unknown_target_module", "names w_qkv", target_modules=["q_proj", "w_qkv"])
spoil_config(
    "target_pattern_matches_nothing", "unknown_target_module", "names .*attention", target_modules=".*attention"
)
spoil_config(
    "target_not_in_weights", "module_not_targeted", "`target_modules` does not name", target_modules=["q_proj"]
)
spoil_config("targets_empty", "target_modules_invalid", "must list the names", target_modules=[])
spoil_config("targets_no_text", "target_modules_invalid", "must list the names", target_modules=[1])
drop_setting("targets_missing", "target_modules_invalid", "must list the names", "target_modules")
spoil_config("target_embeddings", "embedding_lora", "embed_tokens", target_modules=["q_proj", "embed_tokens"])
spoil_config("target_lm_head", "embedding_lora", "lm_head", target_modules=["q_proj", "lm_head"])
spoil_config("one_layer_only", "module_not_targeted", "does not name", layers_to_transform=[0])
spoil_config("layers_no_numbers", "config_invalid", "layers_to_transform", layers_to_transform=["all"])

# Tensors that match only in part

spoil_tensors("one_target_without_weights", "target_without_weights", "names down_proj", dropped("down_proj"))
spoil_tensors("one_layer_missing", "layers_missing", "layers.1.", dropped("layers.1."))
spoil_tensors("one_module_missing", "layers_missing", "layers.1.mlp.up_proj", dropped("layers.1.mlp.up_proj"))
spoil_tensors("lora_a_alone", "tensor_pair", "lora_A without lora_B", dropped("layers.0.self_attn.q_proj", "lora_B"))
spoil_tensors("lora_b_alone", "tensor_pair", "lora_B without lora_A", dropped("layers.0.self_attn.q_proj", "lora_A"))
spoil_tensors("no_tensors", "no_tensors", "no tensors at all", lambda tensors: {})
spoil_tensors(
    "layer_beyond_the_last",
    "unknown_module",
    "layers.99.",
    lambda tensors: {**tensors, **renamed({n: v for n, v in tensors.items() if "layers.1." in n}, "rs.1.", "rs.99.")},
)
spoil_tensors(
    "adapter_name_in_tensor_names",
    "tensor_name",
    "lora_A.default.weight",
    lambda tensors: renamed(renamed(tensors, "lora_A.", "lora_A.default."), "lora_B.", "lora_B.default."),
)
spoil_tensors("a_and_b_of_other_ranks", "tensor_rank", "must agree", resized("A", 0, 1, "layers.0.self_attn.q_proj"))
spoil_tensors(
    "one_misshapen_module", "tensor_shape", "other than its neighbours", resized("B", 0, 8, "layers.0.mlp.up")
)
spoil_tensors(
    "a_vector",
    "tensor_rank",
    "must be matrices",
    lambda tensors: {
        name: (dtype, (math.prod(shape),), data) if name == first(tensors, "lora_A.weight") else (dtype, shape, data)
        for name, (dtype, shape, data) in tensors.items()
    },
)

# Features that the engine does not serve

spoil_config("dora", "dora", "DoRA is not served", use_dora=True)
spoil_tensors(
    "dora_tensor_only",
    "dora",
    "DoRA, which is not served",
    with_tensor("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"),
)
spoil_config("modules_to_save", "modules_to_save", "modules_to_save", modules_to_save=["lm_head"])
spoil_tensors(
    "full_module_only",
    "modules_to_save",
    "a weight of the model itself",
    with_tensor("base_model.model.lm_head.weight"),
)
spoil_config("bias_all", "bias", "trained biases are not served", bias="all")
spoil_config("bias_lora_only", "bias", "trained biases are not served", bias="lora_only")
spoil_config("lora_bias", "bias", "lora_bias", lora_bias=True)
spoil_tensors(
    "bias_tensor_only",
    "bias",
    "a trained bias",
    with_tensor("base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias"),
)
spoil_tensors(
    "embedding_tensors",
    "embedding_lora",
    "changes the embeddings",
    with_tensor("base_model.model.model.embed_tokens.lora_embedding_A"),
)
spoil_config("pissa", "init_changes_base", "pissa", init_lora_weights="pissa_niter_4")
spoil_config("olora", "init_changes_base", "olora", init_lora_weights="olora")
spoil_config("loftq", "init_changes_base", "loftq", init_lora_weights="loftq")
spoil_config("corda", "init_changes_base", "corda", init_lora_weights="corda")
spoil_config("unknown_init", "init_unknown", "zebra", init_lora_weights="zebra")
spoil_config("prompt_tuning", "peft_type", "PROMPT_TUNING", peft_type="PROMPT_TUNING")
spoil_config("ia3", "peft_type", "IA3", peft_type="IA3")
spoil_config("classifier", "task_type", "SEQ_CLS", task_type="SEQ_CLS")
spoil_config("trained_tokens", "trainable_tokens", "trainable_token_indices", trainable_token_indices=[1, 2])
spoil_config("layer_replication", "layer_replication", "deeper model", layer_replication=[[0, 1], [0, 2]])
spoil_config("bare_parameters", "target_parameters", "target_parameters", target_parameters=["experts.down_proj"])
spoil_config("activated_lora", "lora_variant", "activated LoRA", alora_invocation_tokens=[1, 2, 3])
spoil_config("qalora", "lora_variant", "use_qalora", use_qalora=True)
spoil_config("unknown_setting", "unknown_setting", "use_tomorrows_lora", use_tomorrows_lora=True)

# Values

spoil_tensors("nan_in_float32", "non_finite_weights", "NaN or infinity", poisoned(math.nan, "F32"))
spoil_tensors("infinity_in_float32", "non_finite_weights", "NaN or infinity", poisoned(-math.inf, "F32"))
spoil_tensors("nan_in_float16", "non_finite_weights", "NaN or infinity", poisoned(math.nan, "F16"))
spoil_tensors("infinity_in_float16", "non_finite_weights", "NaN or infinity", poisoned(math.inf, "F16"))
spoil_tensors("nan_in_bfloat16", "non_finite_weights", "NaN or infinity", poisoned(math.nan, "BF16"))
spoil_tensors("infinity_in_bfloat16", "non_finite_weights", "NaN or infinity", poisoned(math.inf, "BF16"))
spoil_tensors("float8", "tensor_dtype", "F8_E4M3", in_dtype("F8_E4M3", 1))
spoil_tensors("integers", "tensor_dtype", "I8", in_dtype("I8", 1))
spoil_tensors("lora_b_all_zero", "no_effect", "changes nothing", zeroed("B"))
spoil_tensors("lora_a_all_zero", "no_effect", "changes nothing", zeroed("A"))
spoil_tensors("all_zero", "no_effect", "changes nothing", zeroed("A", "B"))
spoil_tensors("product_zero", "no_effect", "changes nothing", disjoint)
