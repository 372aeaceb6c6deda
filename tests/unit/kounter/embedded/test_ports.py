"""Ports on loopback are looked for without surprise."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kounter.embedded.errors import PortTaken
from kounter.embedded.ports import HOST, choose, free_port, holds, is_free, listens


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something listens on."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_wanted_port_that_is_taken_is_an_error_with_a_hint(taken: int) -> None:
    with pytest.raises(PortTaken, match=f"Kafka: port {taken} is in use") as error:
        choose(taken, 1, "Kafka")
    assert "leave the port unset" in error.value.hint


def test_without_a_wish_a_taken_usual_port_gives_way_to_a_free_one(taken: int) -> None:
    chosen = choose(None, taken, "Kafka")
    assert chosen != taken
    assert is_free(chosen)


def test_a_free_port_is_taken_as_asked(taken: int) -> None:
    free = free_port()
    assert choose(free, taken, "Kafka") == free
    assert choose(None, free, "Kafka") == free


def test_a_server_on_all_interfaces_takes_the_port_too() -> None:
    with socket.socket() as server:
        server.bind(("", 0))
        server.listen()
        assert not is_free(server.getsockname()[1])


def test_listens(taken: int) -> None:
    assert listens(taken)
    assert not listens(free_port())


def test_who_listens_is_told_apart_from_who_does_not(taken: int) -> None:
    """What answers on a port is ours only if a process of ours holds it: two stacks find the same port free."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert holds(os.getpid(), taken)
        assert not holds(other.pid, taken)
        assert not holds(os.getpid(), free_port())
        other.communicate(b"\n")
    assert not holds(other.pid, taken)


def test_a_port_is_also_held_by_what_a_process_started() -> None:
    serve = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {serve!r}])"
    with subprocess.Popen([sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guard:
        assert guard.stdout is not None
        assert holds(guard.pid, int(guard.stdout.readline()))
        guard.communicate(b"\n")
