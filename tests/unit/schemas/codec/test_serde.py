"""Wire format: what a record's first five bytes lead to."""

from __future__ import annotations

from typing import Any

import pytest

import schemas.bitrix24
import schemas.estate  # noqa: F401 - declares the contracts
from schemas.bitrix24 import CardReceipt
from schemas.codec.avro import avro_schema
from schemas.errors import BrokenSetup, RegistryUnavailable, UndecodableRecord
from schemas.estate import City, Lead, LeadOp
from schemas.record import contract
from tests.support.local import local_serde


async def test_records_of_one_topic_are_told_apart() -> None:
    serde, _ = await local_serde("estate.lead", "bitrix.responses")
    for row in (Lead("l", 1), LeadOp("l", 2), CardReceipt("l", bitrix_lead_id=3)):
        value = serde.encode("estate.lead", row)
        assert value[0] == 0
        back = await serde.decode("estate.lead", value)
        assert back == row
        assert type(back) is type(row)
        assert serde.decoders[value[:5]].contract is contract(type(row))


async def test_what_was_not_prepared_is_not_written() -> None:
    serde, _ = await local_serde("estate.lead")
    for topic, row in (("estate.city", City("c")), ("estate.lead", City("c"))):
        with pytest.raises(BrokenSetup, match=f"City is not prepared for {topic}"):
            serde.encode(topic, row)


@pytest.mark.parametrize("value", [b"", b"\0\0\0\0", b"\1\0\0\0\1x", b'{"ext_id": 1}'])
async def test_other_formats_are_told(value: bytes) -> None:
    serde, _ = await local_serde("estate.lead")
    with pytest.raises(UndecodableRecord) as caught:
        await serde.decode("estate.lead", value)
    assert caught.value.reason == "not_confluent_wire"


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (None, "unknown_schema_id"),
        ("string", "unknown_record_type"),
        ({"type": "enum", "name": "kounter.estate.Lead", "symbols": ["A"]}, "unknown_record_type"),
        ({"type": "record", "name": "Lead", "fields": []}, "unknown_record_type"),
        ({"type": "record", "name": "kounter.estate.Lead"}, "unreadable_schema"),
        (
            {"type": "record", "name": "kounter.estate.Lead", "fields": [{"name": "a", "type": "x.Y"}]},
            "unreadable_schema",
        ),
        ({"type": "record", "name": "Lead", "namespace": "kounter.estate", "fields": []}, "undecodable"),
    ],
)
async def test_schemas_of_strangers(schema: Any, reason: str) -> None:
    serde, registry = await local_serde("estate.lead")
    if schema is not None:
        registry.schemas.append(schema)
    id = len(registry.schemas) + (schema is None)
    with pytest.raises(UndecodableRecord) as caught:
        await serde.decode("estate.lead", b"\0" + id.to_bytes(4, "big"))
    assert caught.value.reason == reason


def nested(depth: int) -> Any:
    kind: Any = "string"
    for _ in range(depth):
        kind = {"type": "array", "items": kind}
    return kind


LINKED = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ({"type": "bytes", "logicalType": "decimal", "precision": 1_000_000_000}, b"\2\1"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 10**30, "scale": 10**29}, b"\2\1"),
        ({"type": "bytes", "logicalType": "decimal", "precision": "9" * 9}, b"\2\1"),
        ({"type": "bytes", "logicalType": "decimal"}, b"\2\1"),
        ({"type": "fixed", "name": "F", "size": 1 << 62}, b"\2\1"),
        ({"type": "fixed", "name": "F", "size": -5}, b"\2\1"),
        ({"type": "array", "items": "null"}, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"),
        ({"type": "map", "values": "null"}, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1"),
        (nested(200), b"\2" * 200 + b"\xff"),
        (nested(20_000), b"\2"),
        (LINKED, b"\2" * 200_000),
        (["null"] * 3, b"\0"),
        ([], b"\0"),
        (7, b"\0"),
        ({"type": {"type": {"type": []}}}, b"\0"),
        ({"type": "enum", "name": "E", "symbols": []}, b"\0"),
        ({"type": "enum", "name": "x:\n import os", "symbols": ["a\n"]}, b"\0"),
    ],
)
async def test_a_strangers_field_ends_nothing(kind: Any, body: bytes) -> None:
    """Whether we know a field of that name or not; one that took long would exceed the CPU limit of a unit test."""
    for name in ("zzz", "status", "fee", "unset", "bad()\n  import os"):
        serde, registry = await local_serde("estate.lead")
        fields = [{"name": "ext_id", "type": "string"}, {"name": name, "type": kind}]
        registry.schemas.append({"type": "record", "name": "kounter.estate.Lead", "fields": fields})
        header = b"\0" + len(registry.schemas).to_bytes(4, "big")
        with pytest.raises(UndecodableRecord) as caught:
            await serde.decode("estate.lead", header + b"\2l" + body + b"more")
        assert len(caught.value.message) < 2_000


async def test_a_record_on_a_topic_that_is_not_its_own() -> None:
    serde, _ = await local_serde("estate.lead", "estate.city")
    with pytest.raises(UndecodableRecord) as caught:
        await serde.decode("estate.city", serde.encode("estate.lead", Lead("l")))
    assert caught.value.reason == "foreign_record"


async def test_a_registry_that_is_down_is_not_the_records_fault() -> None:
    writer, registry = await local_serde("estate.lead")
    reader, _ = await local_serde()
    reader._registry = registry  # type: ignore[assignment]
    value = writer.encode("estate.lead", Lead("l"))
    registry.down = 1
    with pytest.raises(RegistryUnavailable):
        await reader.decode("estate.lead", value)
    assert await reader.decode("estate.lead", value) == Lead("l")


async def test_a_full_name_in_one_piece_is_known() -> None:
    serde, registry = await local_serde("estate.lead")
    schema = avro_schema(contract(Lead))
    registry.schemas.append({**schema, "name": "kounter.estate.Lead", "namespace": ""})
    header = b"\0" + len(registry.schemas).to_bytes(4, "big")
    assert await serde.decode("estate.lead", header + serde.encode("estate.lead", Lead("l"))[5:]) == Lead("l")
