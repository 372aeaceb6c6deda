"""Numbers for the log's records: dense, from 1 on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from schemas.backend import BackendChange, BackendEvent
from schemas.cloudevents import add_headers, common_headers
from schemas.record import contract
from streams.backend_log.parents_first import Held
from streams.kafka.transactions import ProducerRecord

SOURCE = "kounter/backend"


def event_of(change: BackendChange, update_id: int) -> BackendEvent:
    """Returns the log's record of a change; its number stands in the frame too."""
    inner = change.frame[:-1]
    comma = "" if inner == "{" else ","
    return BackendEvent(change.subject, update_id, change.type, f'{inner}{comma}"update_id":{update_id}}}')


def numbered(released: Sequence[Held], last: int, encode: Callable[[Any], bytes]) -> list[ProducerRecord]:
    """Returns the log's records of these changes, numbered behind ``last``. Their ids and times are the changes'."""
    common = common_headers(SOURCE, contract(BackendEvent).full_name)
    return [
        ProducerRecord(
            held.change.subject.encode(),
            encode(event_of(held.change, number)),
            add_headers(common, held.id, held.at, held.change.subject, held.traceparent),
            held.at // 1_000,
        )
        for number, held in enumerate(released, last + 1)
    ]
