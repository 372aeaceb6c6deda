"""Ports on loopback are looked for without surprise."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from kounter.embedded.errors import PortTaken
from kounter.embedded.ports import HOST, choose, free_port, is_free, listens


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
