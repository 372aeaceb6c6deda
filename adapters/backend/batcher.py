"""Gathers changes of one type that wait at the same time into one call of the main backend's door.

The delivery hands over a run of changes at once (`streams.ports.OrderedSink`); here they become calls of up to 70 kB of
plain text, one after the other, in the order of their numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from adapters.backend.queue import ONE_BY_ONE, OneMaySpoil
from adapters.http_client import HttpRefused
from schemas.errors import DeliveryError, OutcomeUnknown

MOST_BYTES: Final = 70_000
"""Plain text of a call: encrypted and in base64 it is 94 kB, and the backend takes 100."""
SOME: Final = 3
"""Things of a failed call that fail alone, after which the others are not tried."""
FRAME_BYTES: Final = len(b'{"data":[]}')


class Poster(Protocol):
    """A client of the door, see `BackendQueue.post`."""

    async def post(self, type: str, things: Sequence[bytes]) -> None:
        """Post things of a type. Raises DeliveryError."""


class _Call:
    """A thing that waits for its answer."""

    def __init__(self, type: str, number: int, body: bytes) -> None:
        self.type, self.number, self.body = type, number, body
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Batcher:
    """The calls of one client."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster
        self._waiting: list[_Call] = []
        self._pump: asyncio.Task[None] | None = None

    async def post(self, type: str, number: int, body: bytes) -> None:
        """Post a thing, ``number`` in the log, with others that wait. Raises DeliveryError of this thing alone."""
        call = _Call(type, number, body)
        self._waiting.append(call)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._send_all())
        await call.answer

    async def close(self) -> None:
        """End the call under way; things that wait raise OutcomeUnknown."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        _settle(self._waiting, OutcomeUnknown("the client was closed"))

    async def _send_all(self) -> None:
        while self._waiting:
            await self._gather()
            calls, self._waiting = sorted(self._waiting, key=lambda call: call.number), []
            for part in _parts(calls):
                try:
                    await self._send(part, [])
                except asyncio.CancelledError:
                    _settle(calls, OutcomeUnknown("the client was closed"))
                    raise
                except Exception as error:  # a defect of the client: each caller reports it
                    _settle(part, error)

    async def _gather(self) -> None:
        """Wait as long as the event loop brings more: the changes of a run come in the same moment."""
        before = 0
        while len(self._waiting) > before:
            before = len(self._waiting)
            for _ in range(3):
                await asyncio.sleep(0)

    async def _send(self, calls: list[_Call], failed: list[OneMaySpoil]) -> None:
        """Send calls together; if one may have spoilt it for all, by halves, until it is found. ``failed``: failures of
        things alone in a row, of which so many are the backend's own.
        """
        if len(failed) == SOME:
            _settle(calls, failed[-1])
            return
        try:
            await self._poster.post(calls[0].type, [call.body for call in calls])
        except (HttpRefused, OneMaySpoil) as error:
            if len(calls) > 1:
                middle = len(calls) // 2
                await self._send(calls[:middle], failed)
                await self._send(calls[middle:], failed)
                return
            _settle(calls, error)
            if isinstance(error, OneMaySpoil):
                failed.append(error)
        except DeliveryError as error:
            _settle(calls, error)
        else:
            _settle(calls, None)
            failed.clear()


def _parts(calls: list[_Call]) -> Iterator[list[_Call]]:
    """Returns the calls, cut where the type changes, or where one more would be too large."""
    part: list[_Call] = []
    size = 0
    for call in calls:
        more = len(call.body) + 1
        if part and (call.type != part[0].type or call.type in ONE_BY_ONE or size + more > MOST_BYTES):
            yield part
            part = []
        size = FRAME_BYTES + more if not part else size + more
        part.append(call)
    if part:
        yield part


def _settle(calls: Sequence[_Call], error: Exception | None) -> None:
    for call in calls:
        if call.answer.done():  # its caller is gone, or it was settled before
            continue
        if error is None:
            call.answer.set_result(None)
        else:
            call.answer.set_exception(error)
