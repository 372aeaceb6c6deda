"""Rows to Avro and back, with fastavro."""

from __future__ import annotations

import io
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import fastavro

from schemas.avro import avro_schema
from schemas.errors import UndecodableRecord
from schemas.record import Contract


def row_encoder(contract: Contract) -> Callable[[Any], bytes]:
    """Body of a row."""
    schema = fastavro.parse_schema(avro_schema(contract))

    def encode(row: Any) -> bytes:
        out = io.BytesIO()
        values = {n: (list(v) if isinstance(v, tuple) else v) for n, v in zip(contract.fields, row, strict=True)}
        fastavro.schemaless_writer(out, schema, values)
        return out.getvalue()

    return encode


def row_decoder(writer: dict[str, Any], contract: Contract) -> Callable[[bytes], Any]:
    """A whole Kafka value to a row of ours."""
    written, ours = fastavro.parse_schema(writer), fastavro.parse_schema(avro_schema(contract))
    new = contract.record

    def decode(value: bytes) -> Any:
        body = io.BytesIO(value)
        body.seek(5)
        try:
            record: Any = fastavro.schemaless_reader(body, written, ours)
        except Exception as error:
            raise UndecodableRecord("undecodable", f"{type(error).__name__}: {error}") from None
        if body.tell() != len(value):
            raise UndecodableRecord("undecodable", "bytes left over behind the record")
        values = (record[name] for name in contract.fields)
        return tuple.__new__(new, [_plain(v) for v in values])

    return decode


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if hasattr(value, "timestamp") and not isinstance(value, Decimal):
        return round(value.timestamp() * 1_000_000)
    return value
