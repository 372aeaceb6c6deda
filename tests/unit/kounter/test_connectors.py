"""The table of connectors: what each declares is what its parts have, and the twin stands in where nothing is set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.backend.settings import BackendSettings
from adapters.backend.sink import BackendSink
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.sink import Bitrix24Sink
from adapters.connector import Connector, Context, EndlessSource
from adapters.rosdomofon.settings import OperatorSettings
from adapters.rosdomofon.sink import RESPONSES, RosDomofonRestSink, RosDomofonSink
from kounter import connectors
from kounter.connectors import (
    CONNECTORS,
    alarms,
    all_topics,
    connected,
    context_of,
    find,
    sinks,
    topics_for,
)
from kounter.embedded.runfile import RunFile
from kounter.settings import Settings
from schemas.backend import CHANGES, EVENTS
from schemas.errors import BrokenSetup
from schemas.record import contracts
from streams.backend_log.topics import MEMORY
from streams.domains import DOMAINS

SECRET = ("bitrix24", "feeds")
"""Systems whose addresses are secrets."""
DECLARED = pytest.mark.parametrize("connector", CONNECTORS, ids=lambda connector: connector.name)


def settings(folder: Path, **parts: Any) -> Settings:
    return Settings(data_dir=folder, **parts)


@DECLARED
def test_each_declares_what_the_program_has(connector: Connector, tmp_path: Path) -> None:
    context = context_of(settings(tmp_path))
    assert context.part(connector.settings) is not None
    assert set(connector.domains) <= DOMAINS.keys()
    wanted = {topic.name for topic in all_topics()}
    if connector.deliveries:
        assert {*connector.deliveries.topics.values()} <= wanted | {topic.name for topic in connector.deliveries.own()}
        assert connector.deliveries.responses in wanted | {None}
    if connector.source:
        ours = {topic for c in contracts() if c.record.__module__.startswith("schemas.") for topic in c.topics}
        written = ours & set(connector.source.writes())  # other tests' records stay declared
        assert written
        assert written <= wanted


def test_names_topics_ports_and_processes_are_unique() -> None:
    names = [c.name for c in CONNECTORS] + [c.noun for c in CONNECTORS]
    processes = [c.source.process for c in CONNECTORS if c.source]
    ports = [c.twin.port for c in CONNECTORS if c.twin]
    options = [option.name for c in CONNECTORS if c.twin for option in c.twin.options]
    for those in (names, processes, ports, options, list(sinks().values())):
        assert len(set(those)) == len(those)


def test_the_sinks_have_the_names_and_topics_that_are_declared() -> None:
    none: Any = None
    made = [Bitrix24Sink(none, none), RosDomofonSink(none), RosDomofonRestSink(none), BackendSink(none)]
    assert {sink.name: sink.topic for sink in made} == sinks()
    deliveries = find("rosdomofon").deliveries
    assert deliveries is not None
    assert deliveries.responses == RESPONSES


@DECLARED
def test_without_a_system_and_a_twin_the_error_names_variables_and_command(
    connector: Connector, tmp_path: Path
) -> None:
    if connector.is_set(context_of(settings(tmp_path))):
        return
    with pytest.raises(BrokenSetup, match=f"no {connector.title} {connector.noun} is set") as error:
        connected(connector, settings(tmp_path))
    assert error.value.hint.startswith(f"Set {connector.variables}")
    assert (f"kounter twins {connector.name}" in error.value.hint) == (connector.twin is not None)


@DECLARED
def test_a_twin_that_runs_stands_in(connector: Connector, tmp_path: Path) -> None:
    if connector.twin is None:
        return
    RunFile(tmp_path).add(f"twin-{connector.name}", "http://127.0.0.1:7/x/")
    context = connected(connector, settings(tmp_path))
    assert context.twin == "http://127.0.0.1:7/x/"
    assert connector.is_set(context) or isinstance(context.part(connector.settings), OperatorSettings)
    assert "127.0.0.1:7" in str(context.part(connector.settings).model_dump_json()) or connector.name in SECRET


def test_a_system_that_is_set_comes_before_its_twin(tmp_path: Path) -> None:
    RunFile(tmp_path).add("twin-bitrix24", "http://127.0.0.1:7/x/")
    context = connected(find("bitrix24"), settings(tmp_path, bitrix24={"webhook_url": "https://portal/rest/1/x/"}))
    assert context.twin == ""
    assert context.part(Bitrix24Settings).webhook_url.get_secret_value() == "https://portal/rest/1/x/"


async def test_an_endless_source_ends_when_it_is_stopped_and_raises_its_error() -> None:
    import asyncio

    began, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def failing() -> None:
        raise BrokenSetup("so", hint="so")

    source = EndlessSource(endless)
    running = asyncio.create_task(source.run())
    await began.wait()
    assert source.ready.is_set()
    source.stop()
    await running
    assert ended.is_set()
    with pytest.raises(BrokenSetup):
        await EndlessSource(failing).run()


def test_the_topics_of_the_log_are_needed_where_a_backend_is_enabled(tmp_path: Path) -> None:
    without = {topic.name for topic in topics_for(settings(tmp_path))}
    assert without == {topic.name for topic in all_topics()}
    found = topics_for(settings(tmp_path, backend=BackendSettings(enabled=True)))
    assert {topic.name for topic in found} - without == {CHANGES, EVENTS, MEMORY}
    assert {topic.name: topic.partitions for topic in found}[EVENTS] == 1


async def test_the_alarms_of_all_systems_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def one(context: Context) -> list[str]:
        return [f"one of {context.data_dir.name}"]

    async def two(context: Context) -> list[str]:
        return ["two", "three"]

    declared = [replace(find("feeds"), alarms=one), find("nest"), replace(find("backend"), alarms=two)]
    monkeypatch.setattr(connectors, "CONNECTORS", declared)
    assert await alarms(context_of(settings(tmp_path))) == [f"one of {tmp_path.name}", "two", "three"]
