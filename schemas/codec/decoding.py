"""Avro bodies to rows, by steps that are resolved once for each writer's schema, with a strict reference as fallback.

A value that the steps can't decode, valid or not, goes to the reference (`walk`, then fastavro with our schema as
the reader's), which decides and gives the reason. A writer's schema without steps is read by the reference alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import fastavro

from schemas.codec.avro import avro_schema
from schemas.codec.compiled import native
from schemas.codec.encoding import row_encoder
from schemas.codec.plan import TIME_UNITS, Uncovered, steps_of
from schemas.codec.python_source import python_decoder
from schemas.codec.validation import Broken, Names, walker
from schemas.errors import InvalidInput, UndecodableRecord
from schemas.record import Contract

Row = tuple[Any, ...]
Decode = Callable[[bytes], Row]
"""Function that decodes a Kafka value with its wire header. Raises UndecodableRecord."""
HEADER_SIZE: Final = 5
"""Bytes of the Confluent wire header: a zero byte and four of the schema's id."""


def row_decoder(writer: dict[str, Any], contract: Contract) -> Decode:
    """Returns the function that decodes values written with ``writer`` to rows of ``contract``, in the order of our
    fields."""
    reference = reference_decoder(writer, contract)
    try:
        plan = steps_of(writer, contract)
    except Uncovered:
        return reference
    if native is None:
        return python_decoder(plan, contract, reference, HEADER_SIZE)
    size = len(contract.fields)
    return native.Decoder(plan.steps, plan.defaults, contract.record, size, reference, HEADER_SIZE).decode


def reference_decoder(writer: dict[str, Any], contract: Contract) -> Decode:
    """Returns the reference: bytes are checked by `walk`, values decoded by fastavro. Slow, covers all of Avro."""
    names: Names = {}
    written = fastavro.parse_schema(_without_logical(writer), names)
    ours = fastavro.parse_schema(_without_logical(avro_schema(contract)))
    walk = walker(written, names)
    units = _units(writer, contract)
    new, check = contract.record, row_encoder(contract)

    def decode(value: bytes) -> Row:
        try:
            end = walk(value, HEADER_SIZE)
            if end != len(value):
                raise Broken(f"{len(value) - end} bytes are left over behind the record")
            body = io.BytesIO(value)
            body.seek(HEADER_SIZE)
            record: Any = fastavro.schemaless_reader(body, written, ours)
        except Exception as error:
            name = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
            raise UndecodableRecord("undecodable", f"{contract.full_name}: {name}{error}") from None
        for name, unit in units.items():
            if record[name] is not None:
                record[name] *= unit
        row: Row = tuple.__new__(new, [tuple(v) if isinstance(v := record[n], list) else v for n in contract.fields])
        try:
            check(row)  # Avro's promotions can give a value that our type does not have
        except InvalidInput as error:
            raise UndecodableRecord("undecodable", f"{contract.full_name}: {error.message}") from None
        return row

    return decode


def _without_logical(schema: Any) -> Any:
    """Returns the schema without logical types but decimal: times stay numbers of any size, texts stay texts."""
    if isinstance(schema, list):
        return [_without_logical(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    is_decimal = schema.get("logicalType") == "decimal"
    return {k: _without_logical(v) for k, v in schema.items() if is_decimal or k != "logicalType"}


def _units(writer: dict[str, Any], contract: Contract) -> dict[str, int]:
    """Returns our time fields that the writer counts in another unit, with the factor to microseconds."""
    ours = {f["name"]: _logical(f["type"]) for f in avro_schema(contract)["fields"]}
    written = {f["name"]: _logical(f["type"]) for f in writer["fields"]}
    times = (n for n in ours if ours[n] == "timestamp-micros")
    return {n: unit for n in times if (unit := TIME_UNITS.get(written.get(n, ""), 1)) != 1}


def _logical(kind: Any) -> str:
    if isinstance(kind, list):
        return next((found for k in kind if (found := _logical(k))), "")
    if not isinstance(kind, dict):
        return ""
    return str(kind.get("logicalType", "")) or _logical(kind["type"])
