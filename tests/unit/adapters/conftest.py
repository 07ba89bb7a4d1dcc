"""A tiny base model and adapters for it."""

from pathlib import Path

import pytest

from adapters.base_model import BaseModelSpec
from tests.adapter_factory import BASE_NAME, make_adapter, make_base


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "checkpoint-on-disk")


@pytest.fixture(scope="session")
def base(base_folder: Path) -> BaseModelSpec:
    return BaseModelSpec.from_checkpoint(base_folder, BASE_NAME)


@pytest.fixture
def adapter(tmp_path: Path, base: BaseModelSpec) -> Path:
    return make_adapter(tmp_path / "adapter", base)
