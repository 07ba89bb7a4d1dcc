"""Whether a port is free, and who holds it."""

import os
import socket

import pytest

from serving.process import ports


def test_a_free_port_can_be_listened_on() -> None:
    with ports.listen("127.0.0.1", 0) as opened:
        assert opened.getsockname()[1] > 0


def test_a_port_in_use_is_refused_with_its_holder_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(ports.PortInUse) as refused:
            ports.listen("127.0.0.1", port)
        found = ports.holder(port)
    assert found is not None
    assert found.pid == os.getpid()
    assert f"(pid {os.getpid()})" in str(refused.value)
    assert f"Port {port}" in str(refused.value)


def test_an_address_of_another_machine_is_an_ordinary_error() -> None:
    with pytest.raises(OSError, match="assign"):
        ports.listen("198.51.100.7", 1)


def test_nobody_holds_a_free_port() -> None:
    (port,) = ports.choose([0])
    assert ports.holder(port) is None


def test_preferred_ports_are_given_where_they_are_free_and_others_where_not() -> None:
    free = ports.choose([0, 0])
    with socket.create_server(("127.0.0.1", 0)) as held:
        taken = held.getsockname()[1]
        chosen = ports.choose([free[0], taken, free[1]])
    assert chosen[0] == free[0]
    assert chosen[2] == free[1]
    assert chosen[1] != taken
    assert len(set(chosen)) == 3
