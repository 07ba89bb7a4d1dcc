"""The command line as a whole."""

import subprocess
import sys
import time

from typer.testing import CliRunner

from serving.cli.main import COMMANDS, build_app

HEAVY = ("torch", "vllm", "ray", "transformers", "numpy", "fastapi", "sqlalchemy")


def fresh(code: str) -> str:
    """What ``code`` prints in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_help_lists_every_command_without_importing_one() -> None:
    result = CliRunner().invoke(build_app(""), ["--help"])
    assert result.exit_code == 0
    for name, command in COMMANDS.items():
        assert name in result.output
        assert command.help.split(".")[0][:30] in result.output


def test_the_adapter_commands_import_nothing_heavy() -> None:
    loaded = fresh(
        "import sys; from serving.cli.main import build_app; build_app('adapters'); print(' '.join(sys.modules))"
    )
    assert not set(HEAVY) & set(loaded.split())


def test_help_starts_fast() -> None:
    started = time.perf_counter()
    fresh("import sys; sys.argv = ['loraplex', '--help']; from serving.cli.main import main; main()")
    assert time.perf_counter() - started < 3.0, "0.2 s on an idle machine; the bound leaves room for a busy one"


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(build_app(""), ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("loraplex ")
