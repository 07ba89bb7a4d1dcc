"""What the tests of the command line share."""

from pathlib import Path

import pytest

from tests.knowledge_terminal import write


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder with three documents."""
    return write(
        tmp_path / "docs",
        refunds="# Refunds\n\nRefunds take thirty days.",
        shipping="# Shipping\n\nParcels leave on Mondays.",
        teams__payroll="# Payroll\n\nSalaries are paid on the last day.",
    )
