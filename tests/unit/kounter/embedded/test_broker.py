"""A broker refuses a folder that it must not touch, and listens on loopback only."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kounter.embedded import broker
from kounter.embedded.artifacts import KAFKA_VERSION, Artifacts
from kounter.embedded.broker import Broker, new_cluster_id
from kounter.embedded.errors import DataVersionMismatch, DiskFull, PortTaken, StartTimeout
from kounter.embedded.ports import free_port, holds
from kounter.embedded.process import Child
from kounter.embedded.service import await_ready

NOTHING = Artifacts(Path("/bin/false"), Path("no-kafka"), Path("no-registry"))


class Usage(NamedTuple):
    """As `shutil.disk_usage` tells it."""

    total: int
    used: int
    free: int


def properties(node: Broker, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a start writes for Kafka, which is not started."""
    monkeypatch.setattr(Broker, "_run", lambda *_: None)
    monkeypatch.setattr(broker, "Child", lambda *_: None)
    node.start()
    text = (node._folder / "server.properties").read_text("utf-8")
    return dict(line.split("=", 1) for line in text.splitlines())


def test_data_of_another_version_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "kafka.version").write_text("3.9.0\n")
    with pytest.raises(DataVersionMismatch, match=r"written by Kafka 3\.9\.0") as error:
        Broker(NOTHING, tmp_path, free_port()).start()
    assert "KOUNTER_DATA_DIR" in error.value.hint
    assert [file.name for file in tmp_path.iterdir()] == ["kafka.version"]
    assert (tmp_path / "kafka.version").read_text() == "3.9.0\n"


@pytest.mark.parametrize("left", [None, "", "\n", f"{KAFKA_VERSION}\n"])
def test_the_version_is_noted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str | None) -> None:
    """It was written at every start: a power loss in one left an empty file, which no start took any more."""
    mark = tmp_path / "kafka.version"
    if left is not None:
        mark.write_text(left)
        os.utime(mark, (1, 1))
    properties(Broker(NOTHING, tmp_path, 29_999), monkeypatch)
    assert mark.read_text() == f"{KAFKA_VERSION}\n"
    assert (mark.stat().st_mtime == 1) == bool(left and left.strip())


def test_a_full_disk_is_told_before_kafka_meets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 << 30, 100 << 30, 5 << 20))
    with pytest.raises(DiskFull, match="5 MB are free, 1024 MB are needed") as error:
        Broker(NOTHING, tmp_path, free_port()).start()
    assert "Free some space" in error.value.hint


def test_every_listener_is_on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = properties(Broker(NOTHING, tmp_path, 29_999), monkeypatch)
    listeners = [*found["listeners"].split(","), *found["advertised.listeners"].split(",")]
    assert len(listeners) == 3
    assert all("://127.0.0.1:" in listener for listener in listeners)
    assert found["controller.quorum.voters"].startswith("1@127.0.0.1:")
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:29999"
    assert (tmp_path / "kafka.version").read_text().strip() == KAFKA_VERSION


@pytest.mark.parametrize(("count", "copies", "in_sync"), [(1, "1", "1"), (3, "3", "2")])
def test_copies_follow_from_the_number_of_brokers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, copies: str, in_sync: str
) -> None:
    controllers = [free_port() for _ in range(count)]
    found = properties(Broker(NOTHING, tmp_path, free_port(), controllers=controllers), monkeypatch)
    for name in ("default", "offsets.topic", "transaction.state.log"):
        assert found[f"{name}.replication.factor"] == copies
    assert found["min.insync.replicas"] == found["transaction.state.log.min.isr"] == in_sync
    assert found["auto.create.topics.enable"] == "false"


def test_a_folder_is_formatted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(Broker, "_run", lambda _, *arguments: ran.append(arguments[:2]))
    monkeypatch.setattr(broker, "Child", lambda *_: None)
    Broker(NOTHING, tmp_path, free_port()).start()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("")
    Broker(NOTHING, tmp_path, free_port()).start()
    assert ran == [("kafka.tools.StorageTool", "format")]


def test_a_format_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartTimeout, match="StorageTool failed"):
        Broker(NOTHING, tmp_path, free_port()).start()


def test_a_process_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = Child("kafka-1", ["/bin/sh", "-c", "echo Address already in use; exit 7"], tmp_path / "kafka.log")
    with pytest.raises(StartTimeout, match=r"kafka-1 ended with 7; its log .*kafka\.log ends:\nAddress already in use"):
        await_ready(child, lambda: False)
    child.stop()


def test_a_process_that_ends_as_its_port_is_taken_is_told_so(tmp_path: Path) -> None:
    """What answers on the port then is another's."""
    child = Child("kafka-1", ["/bin/false"], tmp_path / "kafka.log")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"kafka-1: port {port} is in use"):
            await_ready(child, lambda: holds(child.pid, port), ports=(free_port(), port))
    child.stop()


def test_a_process_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    child = Child("kafka-1", ["/bin/sleep", "600"], tmp_path / "kafka.log")
    with pytest.raises(StartTimeout, match="was not ready in 0 s"):
        await_ready(child, lambda: False, timeout=0.2)
    assert child.poll() is not None


def test_cluster_ids_are_kafkas() -> None:
    """22 characters of base64url; one that starts with '-' would be taken for an option."""
    ids = {new_cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(made) == 22 and not made.startswith("-") for made in ids)
