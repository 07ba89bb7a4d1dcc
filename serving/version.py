"""Which release runs."""

from importlib.metadata import PackageNotFoundError, version


def gateway_version() -> str:
    """The installed one; ``unknown`` where the sources run without having been installed."""
    try:
        return version("loraplex")
    except PackageNotFoundError:
        return "unknown"
