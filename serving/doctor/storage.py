"""Where an installation keeps what it must not lose: the state database, the artifact store, the index."""

import fcntl
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapters.errors import CatalogUnavailable
from retrieval.errors import IndexUnavailable
from serving.config import ArtifactSettings, GatewayConfig
from serving.doctor.finding import Finding, counted, fail, ok, skip, warn
from serving.doctor.folders import is_writable, nearest, whose
from serving.doctor.patience import TooLong, within
from serving.settings.knowledge import IndexSettings

LIMIT_S = 15.0
"""How long a database, a store or an index may take to answer, in seconds."""

_SLOW_S = 0.1
_PREFIX = "loraplex_"
_PROBE = b"loraplex doctor was here"
_NAMED_SECRETS = ("key", "secret", "token", "password", "secret_access_key", "aws_secret_access_key", "account_key")


def state(config: GatewayConfig, *, limit_s: float = LIMIT_S) -> Iterator[Finding]:
    """The state database is reached, answers fast, and has the schema of this release."""
    from sqlalchemy import make_url

    url = make_url(config.state.url)
    if url.password:
        yield warn(
            "state",
            "The database's password stands in the configuration (`state.url`).",
            "Take it out, and put it into the environment variable PGPASSWORD, or into the file of PGPASSFILE.",
        )
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        folder = nearest(Path(str(url.database)))
        yield _writable("state", folder, f"There is no state yet; the first start makes it at {url.database}.")
        return
    try:
        yield from within(limit_s, lambda: list(_schema(config.state.url)))
    except (CatalogUnavailable, TooLong) as error:
        yield fail("state", f"{_sentence(error)}", _state_next(str(error)))


def _schema(url: str) -> Iterator[Finding]:
    from serving.state import open_state, standings

    with open_state(url) as database:
        database.reach()
        began = time.perf_counter()
        database.reach()
        seconds = time.perf_counter() - began
    found = standings(url)
    behind = [one.part for one in found if one.before is not None and one.is_behind]
    if behind:
        yield warn(
            "state",
            f"The schema of {', '.join(behind)} is older than this release.",
            "`loraplex migrate --config FILE` brings it up; so does the next start.",
        )
    if seconds > _SLOW_S:
        yield warn(
            "state",
            f"The database takes {seconds * 1000:.0f} ms to answer nothing.",
            "Have it nearer, or look at its load: promotions wait for it. Requests do not.",
        )
    if not behind and seconds <= _SLOW_S:
        made = [one.part for one in found if one.before is not None]
        what = f"has tables of {', '.join(made)}" if made else "is empty, and the first start makes its tables"
        yield ok("state", f"The database answers in {seconds * 1000:.1f} ms and {what}.")


def _state_next(error: str) -> str:
    if "password" in error or "authentication" in error:
        return "Put the right password into the environment variable PGPASSWORD, here and where the gateway runs."
    if "newer than" in error or "restor" in error:
        return ""
    return "Is the server of `state.url` up, and may this machine connect? Try: psql with the same address."


def artifacts(config: GatewayConfig, *, limit_s: float = LIMIT_S) -> Iterator[Finding]:
    """An object can be written into the artifact store, read again and deleted."""
    settings = config.artifacts
    secret = sorted(set(settings.options) & set(_NAMED_SECRETS))
    if secret:
        yield warn(
            "artifacts",
            f"A secret stands in the configuration (`artifacts.options.{secret[0]}`).",
            "Take it out; for S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment are read.",
        )
    if "://" not in settings.url and not Path(settings.url).exists():
        folder = nearest(Path(settings.url))
        yield _writable("artifacts", folder, f"Nothing is stored yet; the first adapter makes {settings.url}.")
        return
    try:
        seconds = within(limit_s, lambda: _probe(settings))
    except Exception as error:  # whatever the store's transport raises
        yield fail("artifacts", f"{settings.url} cannot be used: {_sentence(error)}", _artifacts_next(error))
    else:
        yield ok("artifacts", f"{settings.url}: written, read and deleted in {seconds * 1000:.0f} ms.")


def _probe(settings: ArtifactSettings) -> float:
    import fsspec

    fs, root = fsspec.core.url_to_fs(settings.url, **_impatient(settings))
    path = f"{str(root).rstrip('/')}/.doctor-{uuid.uuid4().hex}"
    began = time.perf_counter()
    fs.pipe_file(path, _PROBE)
    try:
        found = bytes(fs.cat_file(path))
    finally:
        fs.rm_file(path)
    if found != _PROBE:
        raise OSError("what was read is not what was written")
    return time.perf_counter() - began


def _impatient(settings: ArtifactSettings) -> Mapping[str, Any]:
    """The store's options; S3 would otherwise try again for minutes."""
    options = dict(settings.options)
    if settings.url.startswith("s3://") and "config_kwargs" not in options:
        options["config_kwargs"] = {"connect_timeout": 5, "read_timeout": 10, "retries": {"max_attempts": 1}}
    return options | {"skip_instance_cache": True}


def _artifacts_next(error: Exception) -> str:
    text = f"{type(error).__name__} {error}".lower()
    if "credential" in text or "access" in text or "denied" in text or "forbidden" in text or "signature" in text:
        return "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do: get, put, delete and list."
    if "bucket" in text or "notfound" in text or "no such" in text:
        return "Make the bucket, or correct `artifacts.url`."
    return "Is the store of `artifacts.url` up, and does the disk have room? Its address: AWS_ENDPOINT_URL."


def index(config: GatewayConfig, *, limit_s: float = LIMIT_S) -> Iterator[Finding]:
    """Milvus is reached, and has a collection for every vector store that the state knows of."""
    if config.knowledge is None:
        yield skip("index", "The configuration has no section `knowledge`.")
        return
    settings = config.knowledge.index
    try:
        expected = _expected(config.state.url)
    except CatalogUnavailable:
        expected = {}  # told by the check of the state
    try:
        there, what = _embedded(Path(settings.uri)) if settings.is_embedded else _server(settings, limit_s)
    except (IndexUnavailable, TooLong, OSError) as error:
        yield fail(
            "index",
            f"The index cannot be used: {_sentence(error)}",
            f"Is the Milvus of `knowledge.index.uri` up? Its token comes from {settings.token_env or '`token_env`'}.",
        )
        return
    missing = sorted({name for name, collection in expected.items() if there is not None and collection not in there})
    for name in missing:
        yield fail(
            "index",
            f"The passages of the vector store {name} are not in the index: it finds nothing.",
            "Is `knowledge.index.uri` the right one? Else restore a backup, or remove the store and ingest it again.",
        )
    if not missing:
        yield ok("index", f"{what}; {counted(len(expected), 'vector store')}, each with its collection.")


def _expected(url: str) -> dict[str, str]:
    """Vector stores that have passages, and the collection of each. Raises CatalogUnavailable."""
    from sqlalchemy import make_url, select

    from adapters.database import Database
    from serving.knowledge.tables import SCHEMA, stores

    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).exists():
        return {}
    database = Database(url, SCHEMA)
    try:
        if database.revision() is None:
            return {}
        with database.reading() as connection:
            rows = connection.execute(select(stores.c.name, stores.c.id, stores.c.index_name)).all()
        return {row.name or row.id: row.index_name for row in rows if row.index_name}
    finally:
        database.close()


def _embedded(path: Path) -> tuple[set[str] | None, str]:
    """The collections of an embedded index, read without opening it; None: it does not show them."""
    if not path.exists():
        folder = nearest(path)
        if not is_writable(folder):
            raise OSError(f"{folder} cannot be written")
        return set(), f"Milvus Lite, not made yet, at {path}"
    folder = path / "collections"
    there = {one.name.removeprefix(_PREFIX) for one in folder.iterdir()} if folder.is_dir() else None
    by = "in use by a gateway" if _is_locked(path / "LOCK") else "in use by nobody now"
    return there, f"Milvus Lite at {path}, {by}"


def _is_locked(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _server(settings: IndexSettings, limit_s: float) -> tuple[set[str], str]:
    """Raises IndexUnavailable, TooLong."""
    from serving.knowledge.indexes import open_milvus

    def ask() -> tuple[set[str], str]:
        store = open_milvus(settings)
        try:
            return set(store.names()), store.capabilities.description
        finally:
            store.close()

    return within(limit_s, ask)


def _writable(check: str, folder: Path, message: str) -> Finding:
    if is_writable(folder):
        return ok(check, message)
    return fail(check, f"{folder} cannot be written.", whose())


def _sentence(error: Exception) -> str:
    """The first line of an error, as the end of a sentence."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if text.endswith(".") else f"{text}."
