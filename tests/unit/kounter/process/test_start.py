"""The services of a deployment follow from what is set, and come in their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from kounter.connectors import find
from kounter.process.start import start_all, start_system
from kounter.process.supervisor import Services
from kounter.settings import Settings

FREE = {"gateway": {"listen": ["127.0.0.1:0"]}, "watch": {"listen": "127.0.0.1:0"}}
OPERATOR = {"kafka": {"bootstrap_servers": "theirs:9092", "companies": ["A"], "group_id": "g"}}


class Started:
    """Starts nothing, and notes what should be."""

    def __init__(self, folder: Path, **parts: Any) -> None:
        self.settings = Settings(data_dir=folder, **FREE, **parts)
        self.commands: dict[str, tuple[str, ...]] = {}
        self.rules: dict[str, Any] = {}
        self.awaited: list[str] = []

    def start(self, name: str, *arguments: str) -> None:
        self.commands[name] = arguments

    def start_worker(self, domain: str, slot: int, env: Any = None) -> str:
        name = f"worker-{domain}-{slot}"
        self.commands[name], self.rules[domain] = (), env
        return name

    def await_service(self, name: str) -> None:
        assert name in self.commands
        self.awaited.append(name)


def started(folder: Path, *, twins: bool, **parts: Any) -> Started:
    services = Started(folder, **parts)
    start_all(cast(Services, services), twins=twins, workers=1)
    assert services.awaited == list(services.commands), "each is awaited, in the order of the start"
    return services


def test_with_nothing_set_there_is_what_needs_no_outside_system(tmp_path: Path) -> None:
    found = started(tmp_path, twins=False)
    assert list(found.commands) == ["worker-estate-0", "worker-crm-0", "gateway", "bridge-nest"]


def test_with_the_twins_all_systems_are_there_behind_their_twins(tmp_path: Path) -> None:
    found = started(tmp_path, twins=True)
    twins = ["twin-bitrix24", "twin-brusnika", "twin-feeds", "twin-rosdomofon"]
    workers = ["worker-estate-0", "worker-crm-0", "worker-domofon-0"]
    sources = ["watch-bitrix24", "feed-brusnika", "feed-files", "bridge-nest", "bridge-rosdomofon"]
    assert list(found.commands) == [*twins, *workers, "delivery-bitrix24", "delivery-rosdomofon", "gateway", *sources]
    assert found.commands["twin-bitrix24"] == ("twins", "bitrix24", "--no-limits")
    assert found.commands["feed-brusnika"] == ("source", "brusnika")
    (acknowledged,) = json.loads(found.rules["domofon"]["KOUNTER_DOMOFON__ACKNOWLEDGEMENTS"])
    assert acknowledged == "SK_SB"
    assert not found.rules["estate"]


def test_a_system_that_is_set_has_no_twin(tmp_path: Path) -> None:
    found = started(tmp_path, twins=True, rosdomofon=OPERATOR, bitrix24={"webhook_url": "https://portal/rest/1/x/"})
    assert [name for name in found.commands if name.startswith("twin-")] == ["twin-brusnika", "twin-feeds"]
    assert not found.rules["domofon"], "rules for the twin's company alone"


def test_of_systems_that_are_set_all_runs_without_twins(tmp_path: Path) -> None:
    found = started(tmp_path, twins=False, rosdomofon=OPERATOR)
    assert {"worker-domofon-0", "delivery-rosdomofon", "bridge-rosdomofon"} <= found.commands.keys()
    assert "delivery-bitrix24" not in found.commands


@pytest.mark.parametrize("name", ["rosdomofon", "bitrix24"])
def test_one_system_comes_with_its_own(name: str, tmp_path: Path) -> None:
    services, system = Started(tmp_path), find(name)
    start_system(cast(Services, services), system, workers=1)
    assert system.source is not None
    workers = [f"worker-{domain}-0" for domain in system.domains]
    assert list(services.commands) == [f"twin-{name}", *workers, f"delivery-{name}", system.source.process]


def test_the_main_backend_is_there_only_where_it_is_on(tmp_path: Path) -> None:
    backend = {"enabled": True, "listen": "127.0.0.1:0"}
    found = list(started(tmp_path, twins=True, backend=backend).commands)
    assert {"twin-backend", "backend", "delivery-backend"} <= {*found}
    assert found.index("backend") < found.index("delivery-backend"), "the first makes the log"
    set_up = backend | {"base_url": "http://127.0.0.1:1"}
    assert "delivery-backend" in started(tmp_path, twins=False, backend=set_up).commands
    for off in (started(tmp_path, twins=False, backend=backend), started(tmp_path, twins=True)):
        assert "delivery-backend" not in off.commands
