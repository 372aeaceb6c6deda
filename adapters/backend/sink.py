"""The numbered log to the main backend's own door, one change after the other.

The delivery has one change at a time in flight, so the door gets them in the order of the log: a child after its
parent. An upsert may be repeated, so no intent is written before a call.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from adapters.backend.queue import BackendQueue
from schemas.backend import EVENTS, BackendEvent
from schemas.errors import UndecodableRecord
from streams.ports import AcceptedCommand, ExternalId, Outcome, Sent

NAME: Final = "backend"


class BackendSink:
    """The sink of one door."""

    name = NAME
    topic = EVENTS
    receipt_topics: tuple[str, ...] = ()

    def __init__(self, queue: BackendQueue) -> None:
        self._queue = queue
        self.passed_over: Counter[str] = Counter()
        """Changes of types that the backend has no path for, by type."""

    def accept(self, command: Any) -> AcceptedCommand:
        """Returns the facts about a change. Raises UndecodableRecord if it is none."""
        if not isinstance(command, BackendEvent):
            raise UndecodableRecord("foreign_record", f"{type(command).__name__} is no change of the log")
        return AcceptedCommand(
            f"{command.update_id}", f"backend:{command.update_id}", None,
            remember=False, self_deduplicating=True, prompt=True,
        )  # fmt: skip

    async def deliver(
        self, command: BackendEvent, external_id: ExternalId | None, attempt: int, uncertain: bool
    ) -> Sent:
        """Post a change. Raises DeliveryError."""
        if not await self._queue.post(command.type, body_of(command)):
            self.passed_over[command.type] += 1
        return Sent(command.subject)

    def receipts(self, command: BackendEvent, outcome: Outcome) -> tuple[tuple[str, ...], BackendEvent]:
        """Returns no topics: the backend answers with nothing that a thing's history needs."""
        return (), command


def body_of(event: BackendEvent) -> str:
    """Returns the bare object of a change: the door has no ``update_id``, which the log's writer has put last."""
    number = f'"update_id":{event.update_id}}}'
    return event.frame.removesuffix(number).rstrip(",") + "}"
