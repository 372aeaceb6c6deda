"""Numbers for the log's records: dense, from 1 on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas.backend import BackendChange, BackendEvent
from schemas.record import contract
from streams.backend_log.parents_first import Held
from streams.kafka.transactions import ProducerRecord, new_record

TYPE: Final = "ce_type"


def event_of(change: BackendChange, update_id: int) -> BackendEvent:
    """Returns the log's record of a change; its number stands in the frame too."""
    inner = change.frame[:-1]
    comma = "" if inner == "{" else ","
    return BackendEvent(change.subject, update_id, change.type, f'{inner}{comma}"update_id":{update_id}}}')


def numbered(released: Sequence[Held], last: int, encode: Callable[[Any], bytes]) -> list[ProducerRecord]:
    """Returns the log's records of these changes, numbered behind ``last``, with headers and time of the changes."""
    type = (TYPE, contract(BackendEvent).full_name.encode())
    return [
        new_record(
            ProducerRecord,
            (
                held.change.subject.encode(),
                encode(event_of(held.change, number)),
                [type if header[0] == TYPE else header for header in held.headers],
                held.at_ms,
            ),
        )
        for number, held in enumerate(released, last + 1)
    ]
