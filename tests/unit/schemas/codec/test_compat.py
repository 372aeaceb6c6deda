"""FULL compatibility: each change of a schema that is allowed, each that is not, and that fastavro agrees."""

from __future__ import annotations

import copy
import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec.avro import avro_schema
from schemas.codec.compat import incompatibilities
from schemas.estate import Lead
from schemas.record import contract
from tests.support.values import by_fastavro, of_type, writers

OF = contract(Lead)
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 21, "scale": 2}


def changed(**fields: Any) -> dict[str, Any]:
    """Our schema with types of fields replaced, or fields added; None removes one. A pair is (type, default)."""
    schema = copy.deepcopy(avro_schema(OF))
    kept = {f["name"]: f for f in schema["fields"]}
    for name, kind in fields.items():
        if kind is None:
            del kept[name]
        else:
            kept[name] = (
                {"name": name, "type": kind[0], "default": kind[1]}
                if isinstance(kind, tuple)
                else ({**kept.get(name, {"name": name}), "type": kind})
            )
    return {**schema, "fields": list(kept.values())}


def enum(*symbols: str, default: str | None = "UNKNOWN") -> list[Any]:
    more = {} if default is None else {"default": default}
    return ["null", {"type": "enum", "name": "LeadState", "symbols": list(symbols), **more}]


ALL = ("UNKNOWN", "ACTIVE", "IN_PROGRESS", "FAILED", "COMPLETE")


@pytest.mark.parametrize(
    "new",
    [
        changed(),
        changed(note=(["null", "string"], None)),
        changed(fee=None),
        changed(state=enum(*ALL, "SOLD_TWICE")),
        changed(state=enum(*reversed(ALL))),
        {**changed(), "doc": "Other words."},
        {**changed(), "fields": list(reversed(changed()["fields"]))},
    ],
)
def test_what_may_follow(new: dict[str, Any]) -> None:
    assert incompatibilities(new, avro_schema(OF)) == []


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (changed(note="string"), "new readers of old records: note: is not written, and has no default"),
        (changed(ext_id=None), "old readers of new records: ext_id: is not written, and has no default"),
        (changed(lead_number=["null", "string"]), "lead_number: long is none of null, string"),
        (changed(lead_number=["null", "int"]), "new readers of old records: lead_number: long is none of null, int"),
        (changed(lead_number=["null", "double"]), "old readers of new records: lead_number: double is none of"),
        (changed(update_id=("long", 0)), "update_id: null is read as long"),
        (changed(fee=["null", {**MONEY, "scale": 4}]), "fee: decimal(21, 2) is read as decimal(21, 4)"),
        (changed(fee=["null", "bytes"]), "fee: decimal(21, 2) is read as bytes"),
        (changed(unset={"type": "array", "items": "long"}), "unset[]: string is read as long"),
        (changed(state=enum(*ALL[:-1])), "history: kounter.estate.LeadState has lost the symbol COMPLETE"),
    ],
)
def test_what_may_not_follow(new: dict[str, Any], says: str) -> None:
    found = incompatibilities(new, avro_schema(OF))
    assert any(says in text for text in found), found


def test_an_enum_without_default_takes_no_new_symbol() -> None:
    old = changed(state=enum(*ALL, default=None))
    found = incompatibilities(changed(state=enum(*ALL, "LATER", default=None)), old)
    assert found == ["old readers of new records: state: no such symbol as LATER, and no default"]


def test_another_unit_of_a_time_is_refused() -> None:
    def at(unit: str) -> dict[str, Any]:
        return changed(at=(["null", {"type": "long", "logicalType": f"timestamp-{unit}"}], None))

    assert any(
        "timestamp-micros is read as timestamp-millis" in t for t in incompatibilities(at("millis"), at("micros"))
    )


def test_types_that_hold_themselves_are_followed_once() -> None:
    def tree(leaf: str) -> dict[str, Any]:
        node = {
            "type": "record",
            "name": "Node",
            "fields": [{"name": "next", "type": ["null", "Node"]}, {"name": "leaf", "type": leaf}],
        }
        return changed(tree=(["null", node], None))

    assert incompatibilities(tree("string"), tree("string")) == []
    assert "tree.leaf: string is read as long" in incompatibilities(tree("long"), tree("string"))[0]


@given(st.data())
def test_what_is_called_compatible_can_be_read(data: st.DataObject) -> None:
    writer, ours = data.draw(writers(OF)), avro_schema(OF)
    if incompatibilities(ours, writer):
        return
    body = io.BytesIO(by_fastavro(writer, data.draw(of_type(writer, {}))))
    fastavro.schemaless_reader(body, fastavro.parse_schema(writer), fastavro.parse_schema(ours))
