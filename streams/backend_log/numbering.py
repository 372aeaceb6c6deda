"""Numbers for the log's records: dense, from 1 on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas.backend import BackendChange, BackendEvent
from schemas.record import contract
from streams.backend_log.parents_first import Headers, Held
from streams.kafka.transactions import ProducerRecord, new_record

TYPE: Final = "ce_type"
_CHANGE: Final = (TYPE, contract(BackendChange).full_name.encode())
_EVENT: Final = (TYPE, contract(BackendEvent).full_name.encode())
_TYPE_AT: Final = 3
"""Index of the type among the headers that `schemas.cloudevents.common_headers` makes."""
_new: Final[Callable[[type[BackendEvent], Any], BackendEvent]] = tuple.__new__  # half the time of the class's own


def event_of(change: BackendChange, update_id: int) -> BackendEvent:
    """Returns the log's record of a change; its number is spliced into the frame, which is not parsed."""
    subject, type, _, frame, _, _ = change
    comma = "" if frame[-2] in "{ \n\r\t" and not frame[1:-1].strip() else ","
    return _new(BackendEvent, (subject, update_id, type, f'{frame[:-1]}{comma}"update_id":{update_id}}}'))


def numbered(released: Sequence[Held], last: int, encode: Callable[[Any], bytes]) -> list[ProducerRecord]:
    """Returns the log's records of these changes, numbered behind ``last``, with headers and time of the changes."""
    return [
        new_record(ProducerRecord, (change.subject.encode(), encode(event_of(change, number)), _typed(headers), at_ms))
        for number, (_, _, change, headers, at_ms) in enumerate(released, last + 1)
    ]


def _typed(headers: Headers) -> list[tuple[str, bytes]]:
    """Returns the headers of the event that a change becomes."""
    if len(headers) > _TYPE_AT and headers[_TYPE_AT] == _CHANGE:  # as the lanes write it
        found = [*headers]
        found[_TYPE_AT] = _EVENT
        return found
    return [_EVENT if header[0] == TYPE else header for header in headers]
