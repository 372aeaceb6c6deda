"""The client of the Brusnika feed: a WebSocket that brings every change of the developer's company.

What docs/contracts/brusnika.md#connection leaves open is decided here: the feed is resumed with the query parameter
``?after=<update_id>`` (the server sends every change above it, in its own order), and a server that denies us sends the
error frame and closes with 1008.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Final

from loguru import logger
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidProxy, InvalidStatus, WebSocketException
from websockets.frames import CloseCode

from adapters.brusnika.connection import Redirected, denied, open_socket, problem_of
from adapters.brusnika.frames import BadFrame, ErrorFrame, Row, answer_to, read_frame
from adapters.brusnika.position import Position
from adapters.brusnika.progress import LOGGED, FeedStats, Progress
from adapters.brusnika.settings import HARD_LIMIT, BrusnikaSettings
from adapters.brusnika.window import Sink, Window
from schemas.error_frame import Trouble
from schemas.errors import BrokenSetup, DeliveryDenied, InvalidInput
from schemas.record import contract

IN_FLIGHT: Final = 1024
"""Rows passed to the sink and not yet acknowledged. At 5 ms each, far more than any feed brings."""
SAVE_EVERY_S: Final = 1.0
QUIET_S: Final = 1.0
"""Seconds of silence after which a connection that resumed at another number than the position is closed."""
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.2, 30.0


def backoff_s(attempt: int) -> float:
    """Returns seconds before the next try: doubling up to `BACKOFF_MOST_S`, half of it random so that clients spread
    out."""
    most: float = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(attempt, 16))
    return most * random.uniform(0.5, 1.0)


class BrusnikaFeed:
    """Reads the feed into ``sink`` for ever: `run` ends only by cancellation or an error that no retry can fix.

    At least once: the position, loaded by ``load`` and kept by ``save``, rises only after the sink has acknowledged.
    """

    def __init__(
        self,
        settings: BrusnikaSettings,
        sink: Sink,
        load: Callable[[], Awaitable[int | None]],
        save: Callable[[int], Awaitable[None]],
        *,
        backoff: Callable[[int], float] = backoff_s,
    ) -> None:
        self._settings, self._sink, self._load, self._save, self._backoff = settings, sink, load, save, backoff
        self.stats = FeedStats()
        self._progress = Progress(None, self.stats)
        self._socket: ClientConnection | None = None
        self._heard = False  # a row came in this session

    async def run(self) -> None:
        """Connect, take, reconnect. Raises DeliveryDenied or BrokenSetup; all else is logged and tried again."""
        if not self._settings.url:
            raise BrokenSetup("the Brusnika feed has no address", hint="Set KOUNTER_BRUSNIKA__URL.")
        self._progress = Progress(await self._load(), self.stats)
        saver = asyncio.create_task(self._keep_saving())
        try:
            await self._reconnect_forever()
        finally:
            saver.cancel()
            await asyncio.gather(saver, return_exceptions=True)
            await self._save_position(None)

    async def _reconnect_forever(self) -> None:
        attempt = 0
        while True:
            rows = self.stats.rows
            try:
                await self._connected()
                self._progress.take_turn()
            except (DeliveryDenied, BrokenSetup):
                raise
            except ConnectionClosed as error:
                self._progress.take_turn(cut=not isinstance(error, ConnectionClosedOK))
                self._explain_close(error)
            except Exception as error:  # a sink may raise any error
                self._explain(error)
            attempt = 0 if self.stats.rows > rows else attempt + 1
            await asyncio.sleep(self._backoff(attempt))
            await self._notice_reset()

    async def _notice_reset(self) -> None:
        """Check whether a person has reset the feed to another number."""
        try:
            wanted = await self._load()
        except Exception as error:
            logger.warning("whether the brusnika feed was reset can't be seen: {!r}", error)
            return
        if wanted is not None and Position.of(wanted).reset != self._progress.of.reset:
            logger.info("the brusnika feed was reset, beginning after {}", int(wanted))
            self._progress = Progress(wanted, self.stats)

    async def _connected(self) -> None:
        """Run one connection until it ends; all its rows are settled before this returns."""
        settings, after = self._settings, self._progress.after()
        header = settings.header_name, settings.header_value.get_secret_value()
        async with open_socket(settings.url, after, header, max_size=HARD_LIMIT) as socket:
            self._socket, self._heard = socket, False
            self.stats.sessions += 1
            self.stats.connected = True
            logger.info("brusnika feed connected, resuming after {}", after)
            window = Window(self._sink, IN_FLIGHT, self._settled, self._refuse)
            reader = asyncio.create_task(self._read(socket, window))
            silence = None if after == self._progress.position else QUIET_S
            try:
                await self._until_ended({reader, window.failed}, silence)
                reading_ended = reader.done()
                reader.cancel()
                await window.drain()
                if reading_ended:
                    reader.result()
            finally:
                self.stats.connected = False
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
                await window.abort()

    async def _until_ended(self, ends: set[asyncio.Future[None]], silence: float | None) -> None:
        """Wait for any of these, or for ``silence`` seconds without a frame."""
        frames = -1
        while frames != self.stats.frames or silence is None:
            frames = self.stats.frames
            if (await asyncio.wait(ends, timeout=silence, return_when=asyncio.FIRST_COMPLETED))[0]:
                return

    async def _read(self, socket: ClientConnection, window: Window) -> None:
        """Read frames to rows. Raises ConnectionClosed at the end of the connection."""
        while True:
            raw = await socket.recv(decode=False)  # bytes: a text that is not UTF-8 is one bad frame, not the end
            self.stats.frames += 1
            try:
                row = read_frame(raw, max_bytes=self._settings.max_frame_bytes)
            except BadFrame as bad:
                await self._answer(bad)
                self._progress.passed_over(bad.word, bad.update_id)
                continue
            if isinstance(row, ErrorFrame):
                self._hear(row)
                continue
            self._heard = True
            counter = contract(type(row)).counter
            if counter is not None and (number := getattr(row, counter)) is not None:
                self._progress.begin(number)
                if above := self._progress.of.above:
                    row = row._replace(**{counter: number + above})  # type: ignore[attr-defined]
            await window.put(row)

    def _hear(self, error: ErrorFrame) -> None:
        """Handle an error frame. A denial as the first frame (docs/contracts/brusnika.md#errors) ends the feed."""
        if error.id == Trouble.DENIED.id and not self._heard:
            raise denied(str(error))
        logger.warning("brusnika says {}", error)

    async def _refuse(self, row: Row, error: InvalidInput) -> None:
        """Answer a row that the sink can never take (too large for Kafka, for example)."""
        await self._answer(BadFrame(Trouble.WRONG_VALUE, error, self._number(row)))

    async def _answer(self, bad: BadFrame) -> None:
        self.stats.bad += 1
        if self.stats.bad <= LOGGED or self.stats.bad % LOGGED == 0:  # without `came`: it may be a person's phone
            logger.warning(
                "bad frame {}, {}: {}: expected {}", self.stats.bad, bad.trouble.name, bad.field, bad.expected
            )
        with contextlib.suppress(ConnectionClosed):  # the reader sees it too
            if self._socket is not None:
                await self._socket.send(answer_to(bad), text=True)

    def _number(self, row: Row) -> int | None:
        """Returns the number that the source gave the row."""
        counter = contract(type(row)).counter
        number: int | None = None if counter is None else getattr(row, counter)
        return None if number is None else number - self._progress.of.above

    def _settled(self, row: Row) -> None:
        self.stats.rows += 1
        self._progress.took((contract(type(row)).outside or "").lower(), self._number(row))

    def _explain_close(self, error: ConnectionClosed) -> None:
        """Log why the connection ended. Raises errors that no retry can fix."""
        if error.rcvd is not None and error.rcvd.code == CloseCode.POLICY_VIOLATION and not self._heard:
            raise denied(f"closed with {error.rcvd.code} {error.rcvd.reason!r}")
        if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG:
            self._skip_giant()
        else:
            logger.warning("brusnika feed cut, trying again: {!r}", error)

    def _explain(self, error: Exception) -> None:
        """Log an error that ended a session from within, or kept it from beginning. Raises errors that no retry can
        fix."""
        if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403):
            raise denied(f"HTTP {error.response.status_code}")
        if isinstance(error, InvalidProxy):  # its text may hold the proxy's password
            raise BrokenSetup("the proxy named in the environment can't be used for the Brusnika feed") from None
        if isinstance(error, Redirected):
            logger.error("brusnika feed not opened, trying again: {}", problem_of(error))
        elif isinstance(error, OSError | WebSocketException):
            logger.warning("brusnika feed can't be reached, trying again: {}", problem_of(error))
        else:
            logger.error("brusnika feed stopped by the sink, trying again: {!r}", error)

    def _skip_giant(self) -> None:
        """The frame after the last one that came is above `HARD_LIMIT`, and would close every connection again.

        Its number is unknown. It is assumed to be the one after the highest that came near the last one; if that is
        wrong, the next connection closes in the same way and one more is skipped, so the rest of the feed is not lost.
        """
        self.stats.oversized += 1
        logger.error("a frame above {} bytes is skipped, resuming after {}", HARD_LIMIT, self._progress.skip())

    async def _keep_saving(self) -> None:
        saved = self._progress.now()
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            saved = await self._save_position(saved)

    async def _save_position(self, saved: Position | None) -> Position | None:
        """Save the position if it is not ``saved``. A failure is harmless: more rows come again after a restart."""
        now = self._progress.now()
        if now is None or (saved is not None and now == saved and now.apart == saved.apart):
            return saved
        try:
            await self._save(now)
        except Exception as error:
            logger.warning("the position of the brusnika feed was not saved: {!r}", error)
            return saved
        return now
