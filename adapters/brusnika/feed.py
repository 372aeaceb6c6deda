"""The client of the Brusnika feed: a WebSocket that brings every change of the developer's company.

What docs/contracts/brusnika.md#connection leaves open is decided here: the feed is resumed with the query parameter
``?after=<update_id>`` (the server sends every change above it, in its own order), and a server that denies us sends the
error frame and closes with 1008.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from loguru import logger

from adapters.brusnika.connection import Connection, Ended, NotOpened, denied
from adapters.brusnika.dead_letters import renumbered
from adapters.brusnika.frames import BadFrame, ErrorFrame, FrameReader, frame_of
from adapters.brusnika.opening import Opener
from adapters.brusnika.position import Position
from adapters.brusnika.progress import LOGGED, FeedStats, Progress
from adapters.brusnika.settings import HARD_LIMIT, BrusnikaSettings, Framing
from adapters.brusnika.window import Item, Keep, Refused, Row, Sink, Window
from schemas.error_frame import Trouble
from schemas.errors import BrokenSetup, DeliveryDenied, InvalidInput
from schemas.record import contract
from streams.resilience import end_if_cancelled

IN_FLIGHT: Final = 1024
"""Changes passed to the sink and not yet acknowledged: two batches, one under way and one being filled."""
SAVE_EVERY_S: Final = 1.0
QUIET_S: Final = 1.0
"""Seconds of silence after which a connection that resumed at another number than the position is closed."""
AGAIN_QUIET_S: Final = 5.0
"""Seconds of silence after which missing changes are asked for again."""
MOST_KEPT: Final = 10_000
"""Refused frames that are remembered, so that one that comes again is not kept twice."""
AGAIN_BUSY_S: Final = 30.0
"""Seconds after which they are asked for again while others keep coming."""
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.2, 30.0


def backoff_s(attempt: int) -> float:
    """Returns seconds before the next try: doubling up to `BACKOFF_MOST_S`, half of it random so that clients spread
    out."""
    most: float = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(attempt, 16))
    return most * random.uniform(0.5, 1.0)


def _identity(refused: Refused) -> tuple[str | None, int, int] | None:
    number = refused.bad.update_id
    return None if number is None else (refused.bad.word, number, refused.size)


class BrusnikaFeed:
    """Reads the feed into ``sink`` for ever: `run` ends only by cancellation or an error that no retry can fix.

    At least once: the position, loaded by ``load`` and kept by ``save``, rises only after the sink has acknowledged.
    """

    def __init__(
        self,
        settings: BrusnikaSettings,
        sink: Sink,
        keep: Keep,
        load: Callable[[], Awaitable[int | None]],
        save: Callable[[int], Awaitable[None]],
        *,
        backoff: Callable[[int], float] = backoff_s,
    ) -> None:
        self._settings, self._sink, self._keep = settings, sink, keep
        self._load, self._save, self._backoff = load, save, backoff
        self.stats = FeedStats()
        self._progress = Progress(None, self.stats)
        self._opener = Opener(settings)
        self._frames = FrameReader(in_nest=settings.framing is Framing.NEST, max_bytes=settings.max_frame_bytes)
        self._connection: Connection | None = None
        self._heard = False  # a row came in this session
        self._asked = time.monotonic()
        self._kept: dict[tuple[str | None, int, int], None] = {}
        """Type, number and size of frames that are kept as dead letters: they may come again."""

    @property
    def framing(self) -> Framing:
        """Returns the framing that is set or found, AUTO before the first frame."""
        if self._opener.framing is not Framing.AUTO or not self.stats.frames:
            return self._opener.framing
        return Framing.NEST if self._frames.in_nest else Framing.PLAIN

    @property
    def progress(self) -> Progress:
        """Returns the progress, with gaps and position."""
        return self._progress

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
            except Ended as end:
                self._progress.take_turn(cut=end.is_cut)
                self._explain_end(end)
            except NotOpened as error:
                self.stats.problem = str(error)
                (logger.error if error.is_error else logger.warning)(
                    "brusnika feed not opened, trying again: {}", error
                )
            except Exception as error:  # a sink may raise any error
                self.stats.problem = repr(error)
                logger.error("brusnika feed stopped by the sink, trying again: {!r}", error)
            end_if_cancelled()
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
        after = self._progress.after()
        async with self._opener.open(after, max_size=HARD_LIMIT) as connection:
            self._connection, self._heard = connection, False
            self.stats.sessions += 1
            self.stats.connected, self.stats.problem = True, ""
            logger.info("brusnika feed connected, resuming after {}", after)
            window = Window(self._sink, self._keep, IN_FLIGHT, self._settled, self._refuse)
            reader = asyncio.create_task(self._read(connection, window))
            try:
                await self._until_ended(reader, window, at_position=after == self._progress.position)
                reading_ended = reader.done()
                reader.cancel()
                try:
                    await window.drain()
                except Exception:
                    self._kept.clear()  # some of them are not kept: all are again
                    raise
                if reading_ended:
                    reader.result()
            finally:
                self.stats.connected = False
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
                await window.abort()

    async def _until_ended(self, reader: asyncio.Task[None], window: Window, *, at_position: bool) -> None:
        """Wait for the end of the reader or the window, or for a while without a frame: a short one if the connection
        did not resume ``at_position``, a longer one if changes are missing that can be asked for again."""
        silence = AGAIN_QUIET_S if at_position else QUIET_S
        while True:
            frames = self.stats.frames
            ends = {reader, window.failed}
            if (await asyncio.wait(ends, timeout=silence, return_when=asyncio.FIRST_COMPLETED))[0]:
                return
            is_quiet = frames == self.stats.frames and window.is_idle
            if is_quiet and not at_position:
                return
            if (is_quiet or self._is_overdue()) and self._progress.ask_again():
                return

    def _is_overdue(self) -> bool:
        """Returns whether it is time to ask for missing changes again while others keep coming."""
        now = time.monotonic()
        if now - self._asked < AGAIN_BUSY_S or not self._progress.is_overdue():
            return False
        self._asked = now
        return True

    async def _read(self, connection: Connection, window: Window) -> None:
        """Read frames to rows. Raises Ended."""
        settings, read = self._settings, self._frames.read
        while True:
            raw = await connection.recv()
            self.stats.frames += 1
            try:
                row = read(raw)
            except BadFrame as bad:
                await self._answer(bad)
                await self._put_refused(window, raw, bad)
                continue
            if isinstance(row, ErrorFrame):
                self._hear(row)
                continue
            self._heard = True
            counter = contract(type(row)).counter
            if counter is not None and (number := getattr(row, counter)) is not None:
                self._progress.begin(number)
            await window.put(renumbered(row, settings.source, self._progress.of.above), len(raw))

    async def _put_refused(self, window: Window, raw: bytes, bad: BadFrame) -> None:
        kept = raw if len(raw) <= self._settings.max_frame_bytes else b""
        refused = Refused(kept, bad, len(raw), self._progress.of.above)
        if (identity := _identity(refused)) is not None:
            if identity in self._kept:
                self.stats.repeated += 1
                return
            self._kept[identity] = None
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        await window.put(refused, len(kept))

    def _hear(self, error: ErrorFrame) -> None:
        """Handle an error frame. A denial as the first frame (docs/contracts/brusnika.md#errors) ends the feed."""
        if error.id == Trouble.DENIED.id and not self._heard:
            raise denied(str(error))
        logger.warning("brusnika says {}", error)

    async def _refuse(self, row: Row, error: InvalidInput) -> Refused:
        """Answer a row that the sink can never take (too large for Kafka, for example). Returns it as a frame."""
        bad = BadFrame(Trouble.WRONG_VALUE, error, self._number(row), contract(type(row)).outside)
        await self._answer(bad)
        raw = frame_of(row)
        return Refused(raw, bad, len(raw))

    async def _answer(self, bad: BadFrame) -> None:
        self.stats.bad += 1
        if self.stats.bad <= LOGGED or self.stats.bad % LOGGED == 0:  # without `came`: it may be a person's phone
            logger.warning(
                "bad frame {}, {}: {}: expected {}", self.stats.bad, bad.trouble.name, bad.field, bad.expected
            )
        if self._connection is not None:
            await self._connection.send(self._frames.answer(bad))

    def _number(self, row: Row) -> int | None:
        """Returns the number that the source gave the row."""
        counter = contract(type(row)).counter
        number: int | None = None if counter is None else getattr(row, counter)
        return None if number is None else number - self._progress.of.above

    def _settled(self, item: Item) -> None:
        if isinstance(item, Refused):
            self.stats.kept += 1
            self._progress.passed_over(item.bad.word, item.bad.update_id)
            return
        self.stats.rows += 1
        self._progress.took((contract(type(item)).outside or "").lower(), self._number(item))

    def _explain_end(self, end: Ended) -> None:
        """Log why the connection ended. Raises errors that no retry can fix."""
        if end.is_denial and not self._heard:
            raise denied(str(end))
        if end.is_too_big:
            self._skip_giant()
        else:
            self.stats.problem = f"cut: {end}"
            logger.warning("brusnika feed cut, trying again: {}", end)

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
