"""Whatever stands in a configuration, the only error is ConfigInvalid."""

import contextlib
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.config import GatewayConfig, load_config, parse_config
from serving.errors import ConfigInvalid
from serving.settings.reference import settings_places

_PLACES = [place for place in settings_places() if "<" not in place and "[" not in place]
_KEYS = sorted({part for place in settings_places() for part in place.replace("[]", "").split(".")})
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["vllm", "openai", "org/base", "192.0.2.7", "sqlite://", "postgresql://", "http://x", "s3://", "~x"]
    ),
)
_VALUES = st.recursive(
    _SCALARS | st.binary(max_size=3) | st.dates(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=5) | st.integers(), inner, max_size=4),
    ),
    max_leaves=12,
)
_MAPPINGS = st.dictionaries(
    st.sampled_from(list(GatewayConfig.model_fields)) | st.text(max_size=5), _VALUES, max_size=6
)


def _use(data: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigInvalid):
        config = parse_config(data).with_absolute_paths(Path("/base"))
        assert parse_config(config.model_dump(mode="json")) == config


@given(_MAPPINGS)
@settings(max_examples=200)
def test_no_mapping_raises_anything_else(data: dict[str, Any]) -> None:
    _use(data)


@given(st.sampled_from(_PLACES), _VALUES)
@settings(max_examples=200)
def test_no_value_at_a_real_place_raises_anything_else(place: str, value: Any) -> None:
    data: dict[str, Any] = {"model": {"id": "org/base"}}
    *sections, last = place.split(".")
    section = data
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = value
    _use(data)


@given(st.text(max_size=60) | _MAPPINGS.map(lambda data: yaml.dump(data, allow_unicode=True)))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_raises_anything_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with contextlib.suppress(ConfigInvalid):
        load_config(path)
