"""The client of the Brusnika feed: a WebSocket that brings every change of the developer's company.

What the seed leaves open is decided here: the feed is resumed with the query parameter ``?after=<update_id>`` (the
server sends every change above it, in its own order), and a server that denies us sends the seed's error frame and
closes with 1008.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from loguru import logger
from pydantic import BaseModel, Field, SecretStr, field_validator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxy, InvalidStatus, InvalidURI, WebSocketException
from websockets.frames import CloseCode

from adapters.brusnika.frames import BadFrame, ErrorFrame, Row, Trouble, answer_to, read_frame
from adapters.brusnika.position import Gap, Watermark
from adapters.brusnika.window import Sink, Window
from schemas.errors import BrokenSetup, DeliveryDenied, InvalidInput
from schemas.record import SEQUENCE

IN_FLIGHT: Final = 1024
"""Rows handed to the sink and not yet safe. At 5 ms an acknowledgement far more than any feed brings."""
HARD_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a frame above which the socket itself is closed (1009). Frames between the setting's limit and this one
are refused with an error frame, and the connection lives on."""
QUEUE: Final = 4
"""Frames that the socket buffers while we are busy: few, as each may be of `HARD_LIMIT`."""
LOGGED: Final = 100
"""Bad frames that are logged one by one; after them each hundredth, so that a broken feed does not fill the disk."""
SAVE_EVERY_S: Final = 1.0
CLOSE_S: Final = 2.0
"""A server in the midst of sending does not hear us say good-bye: we leave then without its answer."""
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.2, 30.0


class BrusnikaSettings(BaseModel):
    """Where the feed is, and the custom header by which it knows us (its real name is not public)."""

    url: str = ""
    """``wss://host/path``; empty: no feed."""
    header_name: str = Field(default="X-Kounter-Key", pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    header_value: SecretStr = SecretStr("")
    max_frame_bytes: int = Field(default=1024 * 1024, gt=0, le=HARD_LIMIT)
    source: str = "brusnika"
    """Names the feed in positions and events; two feeds need two names."""

    @field_validator("header_value")
    @classmethod
    def _printable(cls, value: SecretStr) -> SecretStr:
        if not all(" " <= c <= "~" for c in value.get_secret_value()):
            raise ValueError("only printable ASCII: it is sent as an HTTP header")
        return value


@dataclass
class FeedStats:
    """Counters since the start of the process."""

    frames: int = 0
    rows: int = 0
    """Rows that need no more care: safe in the sink, or refused by it (these are also counted as bad)."""
    bad: int = 0
    """Frames answered by an error frame."""
    repeated: int = 0
    """Rows whose `update_id` had been taken before; they are passed on, the fold drops them."""
    missing: int = 0
    """Numbers given up because they never came."""
    sessions: int = 0
    oversized: int = 0
    """Connections closed because of a frame above `HARD_LIMIT`."""
    connected: bool = False
    position: int | None = None


def backoff_s(attempt: int) -> float:
    """Seconds before the next try: doubling up to `BACKOFF_MOST_S`, half of it random so that clients spread out."""
    most: float = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(attempt, 16))
    return most * random.uniform(0.5, 1.0)


class BrusnikaFeed:
    """Takes the feed into ``sink`` for ever: `run` returns only by cancellation or an error that no retry mends.

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
        self._mark = Watermark()
        self._socket: ClientConnection | None = None
        self._heard = False  # a row came in this session
        self.stats = FeedStats()

    async def run(self) -> None:
        """Connect, take, reconnect. Raises DeliveryDenied or BrokenSetup; all else is logged and tried again."""
        if not self._settings.url:
            raise BrokenSetup("the Brusnika feed has no address", hint="Set KOUNTER_BRUSNIKA__URL.")
        self._mark = Watermark(await self._load())
        self.stats.position = self._mark.value
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
            rows, mark = self.stats.rows, self._mark.value
            try:
                await self._session()
            except (DeliveryDenied, BrokenSetup):
                raise
            except ConnectionClosed as error:
                self._explain_close(error)
                if self.stats.rows > rows and self._mark.value == mark:
                    # A whole session did not bring what is missing: asking from there again could go on for ever.
                    self._report(self._mark.give_up())
            except Exception as error:  # the sink's errors are as many as there are sinks
                self._explain(error)
            attempt = 0 if self.stats.rows > rows else attempt + 1
            await asyncio.sleep(self._backoff(attempt))

    async def _session(self) -> None:
        """One connection, until it ends; what it brought is settled before this returns."""
        async with self._connect() as socket:
            self._socket, self._heard = socket, False
            self.stats.sessions += 1
            self.stats.connected = True
            logger.info("brusnika feed connected, resuming after {}", self._mark.value)
            window = Window(self._sink, IN_FLIGHT, self._settled, self._refuse)
            reader = asyncio.create_task(self._read(socket, window))
            try:
                await asyncio.wait({reader, window.failed}, return_when=asyncio.FIRST_COMPLETED)
                await window.drain()
                reader.result()
            finally:
                self.stats.connected = False
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
                await window.abort()

    def _connect(self) -> connect:
        settings = self._settings
        try:
            return connect(
                _resume_url(settings.url, self._mark.value),
                additional_headers={settings.header_name: settings.header_value.get_secret_value()},
                process_exception=lambda error: error,  # no retry inside: ours knows what can be mended
                close_timeout=CLOSE_S,
                compression=None,
                max_size=HARD_LIMIT,
                max_queue=QUEUE,
            )
        except InvalidURI:
            raise BrokenSetup("the address of the Brusnika feed is not a WebSocket URL", hint=_URL_HINT) from None

    async def _read(self, socket: ClientConnection, window: Window) -> None:
        """Frames to rows, until the connection closes (ConnectionClosed)."""
        while True:
            raw = await socket.recv(decode=False)  # bytes: a text that is not UTF-8 is one bad frame, not the end
            self.stats.frames += 1
            try:
                row = read_frame(raw, max_bytes=self._settings.max_frame_bytes)
            except BadFrame as bad:
                await self._answer(bad)
                self._pass(bad.update_id)
                continue
            if isinstance(row, ErrorFrame):
                self._hear(row)
                continue
            self._heard = True
            if self._mark.value is None and (number := getattr(row, SEQUENCE, None)) is not None:
                self._mark.begin(number)
                self.stats.position = self._mark.value
            await window.put(row)

    def _hear(self, error: ErrorFrame) -> None:
        """An error from the server. The seed's denial, as the first thing it says, ends the feed."""
        if error.id == Trouble.DENIED.id and not self._heard:
            raise _denied(str(error))
        logger.warning("brusnika says {}", error)

    async def _refuse(self, row: Row, error: InvalidInput) -> None:
        """The sink can never take this row (too large for Kafka, say)."""
        await self._answer(BadFrame(Trouble.WRONG_VALUE, error, getattr(row, SEQUENCE, None)))

    async def _answer(self, bad: BadFrame) -> None:
        self.stats.bad += 1
        if self.stats.bad <= LOGGED or self.stats.bad % LOGGED == 0:  # without `came`: it may be a person's phone
            logger.warning(
                "bad frame {}, {}: {}: expected {}", self.stats.bad, bad.trouble.name, bad.field, bad.expected
            )
        with contextlib.suppress(ConnectionClosed):  # the reader sees it too
            if self._socket is not None:
                await self._socket.send(answer_to(bad), text=True)

    def _settled(self, row: Row) -> None:
        self.stats.rows += 1
        self._pass(getattr(row, SEQUENCE, None))

    def _pass(self, update_id: int | None) -> None:
        """Nothing more is to be done for this change."""
        if update_id is None:
            return
        new, gap = self._mark.take(update_id)
        self.stats.repeated += not new
        self._report(gap)
        self.stats.position = self._mark.value

    def _report(self, gap: Gap | None) -> None:
        if gap is not None:
            self.stats.missing += gap.last - gap.first + 1
            self.stats.position = self._mark.value
            logger.warning("changes {} to {} of brusnika never came", gap.first, gap.last)

    def _explain_close(self, error: ConnectionClosed) -> None:
        """Say why the connection ended, and raise what no retry mends."""
        if error.rcvd is not None and error.rcvd.code == CloseCode.POLICY_VIOLATION and not self._heard:
            raise _denied(f"closed with {error.rcvd.code} {error.rcvd.reason!r}")
        if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG:
            self._skip_giant()
        else:
            logger.warning("brusnika feed cut, trying again: {!r}", error)

    def _explain(self, error: Exception) -> None:
        """The same for what ends a session from within, or keeps it from beginning."""
        if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403):
            raise _denied(f"HTTP {error.response.status_code}")
        if isinstance(error, InvalidProxy):  # its text may hold the proxy's password
            raise BrokenSetup("the proxy named in the environment can't be used for the Brusnika feed") from None
        if isinstance(error, OSError | WebSocketException):
            logger.warning("brusnika feed can't be reached, trying again: {!r}", error)
        else:
            logger.error("brusnika feed stopped by the sink, trying again: {!r}", error)

    def _skip_giant(self) -> None:
        """The frame after the last one that came is above `HARD_LIMIT`, and would close every connection again.

        Its number can't be known. It is taken for the one after the highest that came; if that was not it, the next
        connection closes in the same way and one more is passed over, so this ends without losing what lies behind.
        """
        self.stats.oversized += 1
        while gap := self._mark.give_up():
            self._report(gap)
        self.stats.position = self._mark.skip()
        logger.error("a frame above {} bytes is passed over, resuming after {}", HARD_LIMIT, self.stats.position)

    async def _keep_saving(self) -> None:
        saved = self._mark.value
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            saved = await self._save_position(saved)

    async def _save_position(self, saved: int | None) -> int | None:
        """Keep the position if it rose above ``saved``; failing is harmless: more comes again after a restart."""
        now = self._mark.value
        if now is None or now == saved:
            return saved
        try:
            await self._save(now)
        except Exception as error:
            logger.warning("the position of the brusnika feed was not saved: {!r}", error)
            return saved
        return now


_URL_HINT: Final = "Set KOUNTER_BRUSNIKA__URL to ws://… or wss://…."


def _resume_url(url: str, after: int | None) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, "" if after is None else urlencode({"after": after})]))
    return urlunsplit(parts._replace(query=query))


def _denied(why: str) -> DeliveryDenied:
    return DeliveryDenied(
        f"brusnika denies the connection: {why}",
        hint="Check KOUNTER_BRUSNIKA__HEADER_NAME and KOUNTER_BRUSNIKA__HEADER_VALUE, then start again.",
    )
