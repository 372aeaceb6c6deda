"""A stack whose ports another one takes in the same moment tries others, or says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from kounter.embedded import artifacts, stack
from kounter.embedded.errors import PortTaken
from kounter.embedded.ports import choose, free_port
from kounter.embedded.stack import EmbeddedStack


class Fake:
    """A service that loses its port ``lost`` times."""

    address = url = ""

    lost: ClassVar[int] = 0
    started: ClassVar[list[int]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.port = arguments[2]
        self.stopped = False

    def start(self) -> None:
        self.started.append(self.port)

    def await_ready(self) -> None:
        if len(self.started) <= self.lost * 2:
            raise PortTaken(f"port {self.port} is in use")

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    Fake.started = []
    for name in ("Broker", "Registry"):
        monkeypatch.setattr(stack, name, Fake)
    monkeypatch.setattr(artifacts, "ensure", lambda cache: None)
    monkeypatch.setattr(stack, "APART_S", 0.0)
    monkeypatch.setattr(EmbeddedStack, "_keep_running", lambda *_: None)
    return Fake.started


def test_a_lost_port_is_looked_for_again(started: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "lost", 1)
    with EmbeddedStack(tmp_path):
        assert len(started) == 4  # both, and both again


def test_a_port_that_is_lost_every_time_is_told(
    started: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fake, "lost", 99)
    with pytest.raises(PortTaken):
        EmbeddedStack(tmp_path, free_port(), free_port()).start()
    assert len(started) == 2 * stack.TRIES


def test_a_wanted_port_that_was_lost_is_not_exchanged_for_another(
    started: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fake, "lost", 1)
    wanted, looked = free_port(), []

    def chosen(port: int | None, usual: int, what: str) -> int:
        looked.append(port)
        return choose(port, usual, what)

    monkeypatch.setattr(stack.ports, "choose", chosen)
    with EmbeddedStack(tmp_path, wanted, None) as running:
        assert running.broker.port == wanted
    assert looked == [wanted, None] * 2
