"""The numbered log to the main backend's own door, in its order: a child after its parent.

An upsert may be repeated, so no intent is written before a call.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import orjson
from loguru import logger

from adapters.backend.batcher import Batcher, Poster
from adapters.backend.queue import ONE_BY_ONE, PATHS
from schemas.backend import EVENTS, BackendEvent
from schemas.errors import UndecodableRecord
from streams.ports import AcceptedCommand, ExternalId, Outcome, Sent

NAME: Final = "backend"


class BackendSink:
    """The sink of one door. It keeps the order of the log (`streams.ports.OrderedSink`)."""

    name = NAME
    topic = EVENTS
    receipt_topics: tuple[str, ...] = ()

    def __init__(self, poster: Poster) -> None:
        self._batcher = Batcher(poster)
        self.passed_over: Counter[str] = Counter()
        """Changes of types that the backend has no path for, by type."""

    def run_of(self, key: bytes | None) -> str | None:
        """Returns the type of a subject: the changes of a type go together, except where it has no path for many."""
        type = (key or b"").partition(b"/")[0].decode("utf-8", "replace")
        return type if type and type not in ONE_BY_ONE else None

    def accept(self, command: Any) -> AcceptedCommand:
        """Returns the facts about a change. Raises UndecodableRecord if it is none, or has no readable frame."""
        if not isinstance(command, BackendEvent):
            raise UndecodableRecord("foreign_record", f"{type(command).__name__} is no change of the log")
        if not command.subject:
            raise UndecodableRecord("missing_key", "a change without a subject")
        if not _is_object(command.frame):  # as a person's edit may leave it
            raise UndecodableRecord("no_frame", f"change {command.update_id}: its frame is no JSON object")
        return AcceptedCommand(
            str(command.update_id), command.subject, None, remember=False, self_deduplicating=True, prompt=True
        )

    async def deliver(
        self, command: BackendEvent, external_id: ExternalId | None, attempt: int, uncertain: bool
    ) -> Sent:
        """Post a change, with others of its type. Raises DeliveryError."""
        if command.type in PATHS:
            await self._batcher.post(command.type, command.update_id, body_of(command))
        else:
            self._pass_over(command.type)
        return Sent(command.subject)

    def receipts(self, command: BackendEvent, outcome: Outcome) -> tuple[tuple[str, ...], BackendEvent]:
        """Returns no topics: the backend answers with nothing that a thing's history needs."""
        return (), command

    async def close(self) -> None:
        """End the calls under way."""
        await self._batcher.close()
        if self.passed_over:
            logger.info("{}: passed over by type: {}", self.name, dict(self.passed_over))

    def _pass_over(self, type: str) -> None:
        self.passed_over[type] += 1
        if self.passed_over[type] == 1:
            logger.info("{}: the backend has no path for {}, its changes are passed over", self.name, type)


def body_of(event: BackendEvent) -> bytes:
    """Returns the object that the door takes: it has no ``update_id``, which the log's writer puts last."""
    number = f'"update_id":{event.update_id}}}'
    if not event.frame.endswith(number):
        return event.frame.encode()
    # As text: read and written again, an amount of money could lose digits.
    return (event.frame.removesuffix(number).removesuffix(",") + "}").encode()


def _is_object(frame: str) -> bool:
    try:
        return isinstance(orjson.loads(frame), dict)
    except orjson.JSONDecodeError:
        return False
