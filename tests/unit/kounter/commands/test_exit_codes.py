"""With which code the processes leave: a supervisor goes by it."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest
from aiokafka.errors import KafkaConnectionError
from typer.testing import CliRunner

from kounter import cli, logs
from kounter.cli import app
from kounter.commands import deliver, gateway, source, up
from kounter.connectors import CONNECTORS
from kounter.process.start import start_all
from kounter.process.supervisor import Services
from kounter.settings import Settings, load
from schemas.errors import BrokenSetup, DeliveryDenied, RegistryUnavailable


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("KOUNTER_REGISTRY__URL", "http://127.0.0.1:2")
    monkeypatch.setenv("KOUNTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KOUNTER_GATEWAY__LISTEN", '["127.0.0.1:0"]')
    monkeypatch.setattr(logs, "set_up", lambda level: None)  # it would log into this test's output for ever
    load.cache_clear()
    yield
    load.cache_clear()


COMMANDS = [["deliver"], ["gateway"], *(["source", c.name] for c in CONNECTORS if c.source)]
OLD = {"feed": "brusnika", "feed brusnika": "brusnika", "watch": "bitrix24", "watch bitrix24": "bitrix24"}
OLD |= {"nest": "nest", "rosdomofon bridge": "rosdomofon"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KafkaConnectionError("refused"), 69),
        (RegistryUnavailable("refused"), 69),
        (BrokenSetup("so", hint="so"), 64),
        (ZeroDivisionError(), 1),
    ],
)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_codes(command: list[str], error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: Any) -> NoReturn:
        raise error

    for module, name in ((deliver, "_deliver"), (source, "_read"), (gateway, "_serve")):
        monkeypatch.setattr(module, name, failing)
    assert CliRunner().invoke(app, command).exit_code == code


@pytest.mark.parametrize(("command", "denied"), [("deliver", 69), ("source bitrix24", 64)])
def test_a_source_that_is_denied_ends_for_good(command: str, denied: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: Any) -> NoReturn:
        raise DeliveryDenied("no")

    for module, name in ((deliver, "_deliver"), (source, "_read")):
        monkeypatch.setattr(module, name, failing)
    assert CliRunner().invoke(app, command.split()).exit_code == denied


@pytest.mark.parametrize(("command", "system"), OLD.items())
def test_the_names_of_before_run_the_same_and_print_nothing(
    command: str, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def taken(system: str, *_: Any) -> None:
        asked.append(system)

    monkeypatch.setattr(source, "_read", taken)
    result = CliRunner().invoke(app, command.split())
    assert (result.exit_code, result.output, asked) == (0, "", [system])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_kafka_that_does_not_answer_is_69(command: list[str]) -> None:
    """The gateway left with 1, which says to a supervisor that a repeat is of no use."""
    ours = ["KOUNTER_BITRIX24__WEBHOOK_URL=http://127.0.0.1:9/rest/1/x/", "KOUNTER_BRUSNIKA__URL=ws://127.0.0.1:9"]
    ours.append("KOUNTER_BRUSNIKA__SLOTS__URL=http://127.0.0.1:9")
    kafka = "KOUNTER_ROSDOMOFON__KAFKA__"
    ours += [f"{kafka}BOOTSTRAP_SERVERS=127.0.0.1:9", f'{kafka}COMPANIES=["A"]', f"{kafka}GROUP_ID=g"]
    ours.append('KOUNTER_FEEDS__SOURCES=[{"name": "x", "url": "x.xml"}]')
    with pytest.MonkeyPatch.context() as patch:
        for one in ours:
            patch.setenv(*one.split("=", 1))
        load.cache_clear()
        assert CliRunner().invoke(app, command).exit_code == 69


@pytest.mark.parametrize("options", [["--to", "-1"], ["--to", str(2**63)], ["--to", "x"], ["brusnika"]])
def test_a_feed_is_reset_to_a_number(options: list[str]) -> None:
    assert CliRunner().invoke(app, ["feed", "reset", *options]).exit_code == 2


class Starting:
    """Services of which the first is never ready."""

    def __init__(self, settings: Settings, _: Any) -> None:
        self.settings, self.stopped = settings, False

    def __enter__(self) -> Starting:
        return self

    def __exit__(self, *error: object) -> None:
        signal.raise_signal(signal.SIGINT)  # impatient: what is being stopped is stopped to the end
        self.stopped = True

    def start_worker(self, domain: str, slot: int) -> NoReturn:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("Ctrl-C was not heard")


def test_ctrl_c_is_heard_while_all_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited until the last service was ready, or had failed to be: up to a minute each."""
    made: list[Starting] = []

    def make(*arguments: Any) -> Starting:
        made.append(Starting(*arguments))
        return made[-1]

    monkeypatch.setattr(up, "Services", make)
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert CliRunner().invoke(app, ["up"]).exit_code == 130
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert made[0].stopped


def test_a_port_that_is_taken_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was found out by the last of the services."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("KOUNTER_GATEWAY__LISTEN", f'["{address}"]')
        load.cache_clear()
        with pytest.raises(BrokenSetup, match=f"KOUNTER_GATEWAY__LISTEN: .* {address}: Address already in use$"):
            start_all(Services(load(), lambda *_: None), twins=True, workers=1)


class Pages(BaseHTTPRequestHandler):
    """An Apicurio whose Confluent API is not where the setting says."""

    def do_GET(self) -> None:
        found = self.path == "/apis/ccompat/v7/subjects"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(b"[]" if found else b"<html>Resource not found</html>")

    def log_message(self, *_: Any) -> None:
        pass


def test_a_registry_without_its_path_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the workers' logs had it, each of which was started again for ever."""
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("KOUNTER_REGISTRY__URL", address)
        load.cache_clear()
        with pytest.raises(BrokenSetup) as error, Services(load(), lambda *_: None):
            pass
        server.shutdown()
    assert f"{address}/apis/ccompat/v7" in error.value.hint


def test_a_full_disk_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> NoReturn:
        raise OSError(28, "No space left on device", "/data/x")

    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "No space left on device: '/data/x'" in capsys.readouterr().err
