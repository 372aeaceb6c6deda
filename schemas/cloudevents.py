"""CloudEvents in Kafka headers, binary mode. Source: CloudEvents Kafka protocol binding 1.0.2, §3.2."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

NAMESPACE: Final = uuid.UUID("7f0c7b0e-6f0a-5a54-9d7c-3d0e2f1b8a61")
"""Of all ids that follow from a cause."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STATIC: Final = [("ce_specversion", b"1.0"), ("content-type", b"application/avro")]
HEADER_LIMIT: Final = 1_024


class EventMeta(NamedTuple):
    """What is known of a record beside its value."""

    id: str
    source: str
    type: str | None
    time: int
    """Microseconds since the epoch, UTC."""
    subject: str | None
    traceparent: str | None


def cause_id(topic: str, partition: int, offset: int, n: int) -> str:
    """UUIDv5 of ``<topic>-<partition>-<offset>-<n>``: the same at every repeat."""
    digest = hashlib.sha1(NAMESPACE.bytes + f"{topic}-{partition}-{offset}-{n}".encode(), usedforsecurity=False)
    h = digest.hexdigest()
    variant = "89ab"[int(h[16], 16) & 3]
    return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{variant}{h[17:20]}-{h[20:32]}"


def make_headers(
    *, id: str, source: str, type: str, time_micros: int, subject: str, traceparent: str | None = None
) -> list[tuple[str, bytes]]:
    """Headers of an event."""
    moment = (_EPOCH + timedelta(microseconds=time_micros)).isoformat().replace("+00:00", "Z")
    headers = [
        *_STATIC,
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", type.encode()),
        ("ce_time", moment.encode()),
        ("ce_subject", subject.encode()),
    ]
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    return headers


def read_headers(
    headers: Iterable[tuple[str, bytes]], *, timestamp_ms: int, topic: str, partition: int, offset: int
) -> EventMeta:
    """What the headers say; a producer that sends none is accepted."""
    found = {name: value[:HEADER_LIMIT].decode("utf-8", "replace") for name, value in headers if value is not None}
    time = timestamp_ms * 1000
    if "ce_time" in found:
        with contextlib.suppress(ValueError, TypeError):
            time = int((datetime.fromisoformat(found["ce_time"]) - _EPOCH) / timedelta(microseconds=1))
    return EventMeta(
        found.get("ce_id") or f"{topic}-{partition}-{offset}",
        found.get("ce_source") or "unknown",
        found.get("ce_type"),
        time,
        found.get("ce_subject"),
        found.get("traceparent"),
    )
