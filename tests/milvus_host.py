"""Run inside a network namespace of its own: a Milvus server, which binds every interface, and the only way to it.

Usage: ``milvus_host.py LISTENER FOLDER``: the descriptor of a socket that listens outside, and where data and logs go.
Commands come by line on the standard input, answers go to the standard output: ``start`` answers with the server's
process id once it serves, or with ``failed`` and a reason. At the input's end everything is killed.
"""

import contextlib
import fcntl
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_SESSION_TTL_S = 12
"""How long a killed server's place stays taken, which a new one waits for; one that is paused for longer gives up."""


def main(listener: socket.socket, folder: str) -> None:
    """Obey until the input ends."""
    from milvus import MilvusServer, MilvusServerConfig

    _raise_loopback()
    config = MilvusServerConfig(data_dir=folder)
    config.set("common.session.ttl", _SESSION_TTL_S)
    server = MilvusServer(config)
    threading.Thread(target=_accept, args=(listener, lambda: server.listen_port), daemon=True).start()
    for command in sys.stdin:
        if command.strip() == "start":
            print(_start(server), flush=True)
    with contextlib.suppress(AttributeError):
        server.server_proc.kill()
    os._exit(0)


def _start(server: Any) -> str:
    if server.server_proc is not None:
        server.server_proc.kill()
        server.server_proc.wait()
    try:
        server.start()
    except (OSError, RuntimeError, TimeoutError) as error:
        return f"failed {error}"
    return str(server.server_proc.pid)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _accept(listener: socket.socket, port: Callable[[], int]) -> None:
    """The listener belongs to the namespace that it was made in, new sockets to this one."""
    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", port()))
        except OSError:
            client.close()
            continue
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
