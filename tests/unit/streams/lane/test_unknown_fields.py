"""Fields of a writer that are not ours: told once, counted by source, and free where there are none."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import fastavro
import httpx
import pytest
from loguru import logger
from typer.testing import CliRunner

from kounter.cli import app
from kounter.commands import schemas as command
from schemas.codec.avro import avro_schema
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import extra_fields
from schemas.codec.settings import RegistrySettings
from schemas.record import contract
from streams.lane import unknown_fields
from streams.lane.processor import BatchProcessor
from tests.support.local import PARTITIONS, LocalRegistry, Raw, keys_of, local_serde
from tests.support.trial import TRIAL, Item

HOME = 3
(ONE,) = keys_of(HOME, 1)
ITEMS = "trial.item"
OURS = avro_schema(contract(Item))
MANAGER = {"name": "manager", "type": ["null", "string"], "default": None}
THEIRS = {**OURS, "fields": [*OURS["fields"], MANAGER, {**MANAGER, "name": "region"}]}


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}", level="WARNING")
    yield lines
    logger.remove(sink)


async def theirs(registry: LocalRegistry, n: int, source: str | None = "/sales", update_id: int = 0) -> Raw:
    """A record of a writer with two more fields."""
    id = await registry.register("", THEIRS)
    body = io.BytesIO()
    row = {"ext_id": ONE, "update_id": update_id or n, "status": "new", "unset": [], "manager": "Ann"}
    fastavro.schemaless_writer(body, THEIRS, row)
    headers = () if source is None else (("ce_source", source.encode()),)
    return Raw(ONE.encode(), b"\0" + struct.pack(">I", id) + body.getvalue(), n, HOME, 1_000 + n, headers)


async def test_it_is_told_once_and_counted_by_source(said: list[str]) -> None:
    """The record was applied, its `manager` nowhere, and nobody said so."""
    serde, registry = await local_serde(*TRIAL.writes)
    processor = BatchProcessor(TRIAL, serde, PARTITIONS, 10_000)
    records = [await theirs(registry, 1), await theirs(registry, 2, "/crm"), await theirs(registry, 3, None)]
    await processor.fold(HOME, [(ITEMS, records[:2])], {}.get)
    await processor.fold(
        HOME, [(ITEMS, [*records[2:], await theirs(registry, 4), Raw(ONE.encode(), None, 5, HOME)])], {}.get
    )
    assert len(said) == 1
    assert "trial.item: schema" in said[0]
    assert "manager, region" in said[0]
    id = len(registry.schemas)
    assert processor.stats.as_dict()["extra_fields"] == 4
    news = processor.unknown_fields.news()
    for source, count in (("/sales", 2), ("/crm", 1), ("unknown", 1)):
        assert f"trial.item schema {id} from {source}: {count}" in news
    assert processor.unknown_fields.news() == ""


async def test_a_batch_that_is_folded_again_is_counted_once() -> None:
    """As one whose schema was not met before is."""
    serde, registry = await local_serde(*TRIAL.writes)
    processor = BatchProcessor(TRIAL, serde, PARTITIONS, 10_000)
    first = await theirs(registry, 1)
    await processor.fold(HOME, [(ITEMS, [first])], {}.get)
    registry.schemas.append(avro_schema(contract(Item)) | {"doc": "another version"})
    new = first.value and b"\0" + struct.pack(">I", len(registry.schemas)) + first.value[5:]
    await processor.fold(HOME, [(ITEMS, [await theirs(registry, 2), Raw(ONE.encode(), new, 3, HOME)])], {}.get)
    assert processor.unknown_fields.records.total() == processor.stats.extra_fields == 2


async def test_names_from_outside_fill_no_memory_and_steer_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_fields, "MOST_SOURCES", 3)
    serde, registry = await local_serde(*TRIAL.writes)
    processor = BatchProcessor(TRIAL, serde, PARTITIONS, 10_000)
    sources = ["\x1b[2J" + "x" * 9_000, *(f"/{n}" for n in range(9))]
    records = [await theirs(registry, n, source) for n, source in enumerate(sources, 1)]
    await processor.fold(HOME, [(ITEMS, records)], {}.get)
    assert len(processor.unknown_fields.records) == 4
    assert processor.unknown_fields.records.total() == 10
    assert all(len(str(writer)) < 150 and str(writer).isprintable() for writer in processor.unknown_fields.records)
    assert "from others: 7" in processor.unknown_fields.news()


async def test_who_has_our_fields_costs_and_says_nothing(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def count(*_: Any) -> int:
        raise AssertionError("looked through")

    monkeypatch.setattr(unknown_fields.UnknownFieldCounter, "count", count)
    serde, registry = await local_serde(*TRIAL.writes)
    await registry.register("", OURS)
    value = serde.encode(ITEMS, Item(ONE, 1))
    processor = BatchProcessor(TRIAL, serde, PARTITIONS, 10_000)
    await processor.fold(HOME, [(ITEMS, [Raw(ONE.encode(), value, 0, HOME)])], {}.get)
    assert said == []
    assert processor.stats.extra_fields == 0


async def test_others_that_read_say_it_too(said: list[str]) -> None:
    serde, registry = await local_serde(*TRIAL.writes)
    record = await theirs(registry, 1)
    for _ in range(2):
        assert (await serde.decode(ITEMS, record.value or b"")).ext_id == ONE
    assert len(said) == 1


def test_fewer_fields_are_no_finding() -> None:
    assert extra_fields({**OURS, "fields": OURS["fields"][:1]}, contract(Item)) == ()
    assert extra_fields(THEIRS, contract(Item)) == ("manager", "region")


def test_schemas_check_names_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    of = next(c for c in command.contracts("estate.lead") if c.name == "LeadOp")
    ours = avro_schema(of)
    new = {**ours, "fields": [*ours["fields"], MANAGER]}
    known = {"estate.lead-kounter.estate.LeadOp": [ours, new], "estate.lead-value": [new]}

    def answer(request: httpx.Request) -> httpx.Response:
        parts = request.url.path.strip("/").split("/")
        if parts == ["subjects"]:
            return httpx.Response(200, json=list(known))
        if parts[0] == "compatibility":
            return httpx.Response(200, json={"is_compatible": True})
        versions = known.get(parts[1], [])
        if len(parts) == 3:
            return httpx.Response(200, json=list(range(1, len(versions) + 1)))
        return httpx.Response(200, json={"schema": json.dumps(versions[int(parts[3]) - 1])})

    class Registry(SchemaRegistry):
        def __init__(self, *_: Any) -> None:
            super().__init__(RegistrySettings(url="http://registry.example"))
            self._http._transport = httpx.MockTransport(answer)

    monkeypatch.setattr(command, "SchemaRegistry", Registry)
    monkeypatch.setattr(command, "connected_settings", lambda: type("S", (), {"registry": None}))
    done = CliRunner().invoke(app, ["schemas", "check", "--registry"])
    assert done.exit_code == 0, done.output
    for place in ("version 2 of estate.lead-kounter.estate.LeadOp", "version 1 of estate.lead-value"):
        assert f"{place} has fields that are not ours, which are passed over: manager" in done.stdout
    assert "version 1 of estate.lead-kounter" not in done.stdout
    answered = json.loads(CliRunner().invoke(app, ["schemas", "check", "--registry", "--json"]).stdout)
    assert (answered["compatible"], len(answered["not_ours"])) == (True, 2)
