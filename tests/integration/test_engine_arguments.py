"""``engine.args`` is checked by vLLM's own parser before anything starts."""

import warnings
from typing import Any

import pytest

from serving.config import AdapterSettings, ModelSettings, VllmEngineSettings
from serving.engine.vllm_args import check_engine_args, make_arguments
from serving.errors import ConfigInvalid

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True, scope="module")
def _vllm_is_imported() -> None:
    with warnings.catch_warnings():
        # What vLLM and its dependencies warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        check_engine_args(VllmEngineSettings())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"max_modl_len": 1}, r"`engine.args.max_modl_len`: vLLM has no such argument; did you mean `max_model_len`\?"),
        ({"host": "0.0.0.0"}, "`engine.args.host` is for vLLM's own HTTP server"),  # noqa: S104
        ({"max_model_len": "long"}, "`engine.args.max_model_len`: invalid .* value: 'long'"),
        ({"enforce_eager": "yes"}, "`engine.args.enforce_eager` must be true or false"),
        ({"dtype": "float99"}, "`engine.args.dtype`: invalid choice: 'float99'"),
        ({"worker_extension_cls": "mine.Extension"}, "`engine.args.worker_extension_cls` cannot be set: the gateway"),
        ({"tool_call_parser": "hermess"}, r"no parser `hermess`; did you mean `hermes`\?"),
        ({"structured_outputs_config": {"bakend": "x"}}, "`engine.args.structured_outputs_config`: .*bakend"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message) as refusal:
        check_engine_args(VllmEngineSettings(args=args))
    assert "\n" not in str(refusal.value)


def test_arguments_of_every_kind_reach_vllm() -> None:
    args = {
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 3,
        "gpu_memory_utilization": 0.5,
        "max_model_len": "4k",
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "override_generation_config": {"temperature": 0},
        "compilation_config": {"mode": 0},
    }
    given = make_arguments(ModelSettings(id="some/model", name="m"), VllmEngineSettings(args=args), AdapterSettings())
    assert (given.tensor_parallel_size, given.pipeline_parallel_size) == (2, 3)
    assert given.gpu_memory_utilization == 0.5
    assert given.max_model_len == 4000
    assert given.enforce_eager is True
    assert given.enable_prefix_caching is False
    assert given.override_generation_config == {"temperature": 0}
    assert given.model == "some/model"
    assert given.served_model_name == ["m"]


def test_adapter_limits_come_from_the_adapter_settings() -> None:
    adapters = AdapterSettings(slots=3, cpu_slots=5, max_rank=32)
    given = make_arguments(ModelSettings(id="m"), VllmEngineSettings(), adapters)
    assert (given.enable_lora, given.max_loras, given.max_cpu_loras, given.max_lora_rank) == (True, 3, 5, 32)
    without = make_arguments(ModelSettings(id="m"), VllmEngineSettings(), AdapterSettings(enabled=False))
    assert not without.enable_lora


def test_white_space_is_bounded_unless_the_configuration_says_otherwise() -> None:
    given = make_arguments(ModelSettings(id="m"), VllmEngineSettings(), AdapterSettings())
    assert given.structured_outputs_config.disable_any_whitespace
    chosen = VllmEngineSettings(args={"structured_outputs_config": {"backend": "outlines"}})
    given = make_arguments(ModelSettings(id="m"), chosen, AdapterSettings())
    assert given.structured_outputs_config.backend == "outlines"
    assert not given.structured_outputs_config.disable_any_whitespace


def test_tools_work_by_default_and_can_be_turned_off() -> None:
    given = make_arguments(ModelSettings(id="m"), VllmEngineSettings(), AdapterSettings())
    assert given.enable_auto_tool_choice
    assert given.tool_call_parser.startswith("hermes")
    off = VllmEngineSettings(args={"enable_auto_tool_choice": False})
    assert make_arguments(ModelSettings(id="m"), off, AdapterSettings()).tool_call_parser is None
