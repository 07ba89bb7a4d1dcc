"""Every way to spoil an adapter is refused by its own code, with one sentence that names the cause."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.base_model import BaseModelSpec
from adapters.errors import AdapterRejected
from adapters.sources import fetch_source
from adapters.validate import AdapterLimits, validate
from tests.adapter_factory import BASE_NAME, make_adapter, make_base
from tests.adapter_mutations import MUTATIONS, Mutation
from tests.adapter_spoiling import WEIGHTS

LIMITS = AdapterLimits(max_rank=16, max_bytes=1 << 32)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelSpec:
    return BaseModelSpec.from_checkpoint(make_base(tmp_path_factory.mktemp("base")), BASE_NAME)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory, base: BaseModelSpec) -> Path:
    return make_adapter(tmp_path_factory.mktemp("valid") / "adapter", base)


@pytest.fixture
def folder(tmp_path: Path, valid: Path) -> Path:
    return shutil.copytree(valid, tmp_path / "adapter")


def test_there_are_enough_mutations_and_none_shares_a_name() -> None:
    assert len(MUTATIONS) >= 45
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_an_unspoiled_adapter_is_accepted(folder: Path, base: BaseModelSpec) -> None:
    assert validate(folder, base, LIMITS).rank == 8


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_spoiled_adapter_is_refused_for_its_own_cause(mutation: Mutation, folder: Path, base: BaseModelSpec) -> None:
    mutation.spoil(folder)
    with pytest.raises(AdapterRejected) as refused:
        validate(folder, base, LIMITS)
    message = str(refused.value)
    assert refused.value.code == mutation.code, message
    assert mutation.says in message
    assert "\n" not in message
    assert message.endswith((".", "?"))
    assert len(message) < 400


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_spoiled_adapter_is_refused_on_its_way_from_the_source(
    mutation: Mutation, folder: Path, base: BaseModelSpec, tmp_path: Path
) -> None:
    mutation.spoil(folder)
    with pytest.raises(AdapterRejected) as refused:
        validate(fetch_source(str(folder), tmp_path / "copy", max_bytes=LIMITS.max_bytes), base, LIMITS)
    assert refused.value.code == mutation.code


def _accept_or_reject(folder: Path, base: BaseModelSpec) -> None:
    with contextlib.suppress(AdapterRejected):
        validate(folder, base, LIMITS)


fuzzing = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzzing
@given(flips=st.lists(st.tuples(st.integers(0, 4200), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_in_the_header_never_crash_validation(
    flips: list[tuple[int, int]], folder: Path, valid: Path, base: BaseModelSpec
) -> None:
    data = bytearray((valid / WEIGHTS).read_bytes())
    for position, value in flips:
        data[position % len(data)] = value
    (folder / WEIGHTS).write_bytes(data)
    _accept_or_reject(folder, base)


@fuzzing
@given(size=st.integers(0, 6000))
def test_a_file_cut_anywhere_is_refused(size: int, folder: Path, valid: Path, base: BaseModelSpec) -> None:
    (folder / WEIGHTS).write_bytes((valid / WEIGHTS).read_bytes()[:size])
    with pytest.raises(AdapterRejected):
        validate(folder, base, LIMITS)


@fuzzing
@given(header=st.binary(max_size=200), tail=st.binary(max_size=64))
def test_any_header_at_all_is_refused_not_followed(
    header: bytes, tail: bytes, folder: Path, base: BaseModelSpec
) -> None:
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + tail)
    with pytest.raises(AdapterRejected):
        validate(folder, base, LIMITS)


CONFIG_FIELDS = [
    "r",
    "lora_alpha",
    "target_modules",
    "exclude_modules",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "peft_type",
    "task_type",
    "revision",
    "layers_to_transform",
    "layers_pattern",
    "init_lora_weights",
    "use_rslora",
    "base_model_name_or_path",
    "modules_to_save",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@fuzzing
@given(
    field=st.sampled_from(CONFIG_FIELDS),
    value=json_values,
)
def test_any_value_of_any_setting_is_accepted_or_refused(
    field: str, value: object, folder: Path, valid: Path, base: BaseModelSpec
) -> None:
    settings_of_valid = json.loads((valid / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings_of_valid, field: value}))
    _accept_or_reject(folder, base)
