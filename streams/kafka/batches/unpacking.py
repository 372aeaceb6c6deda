"""A patch of aiokafka 0.14: for a batch that can't be unpacked it raises some error, fetches the batch again at the
next call, and so for ever; the records before it, and those of all other partitions, are lost to the reader.

With `install` the records before the batch are handed out, and the partition stands there: `UnreadableBatch` names the
place. It is raised, unless `stand` was called for the consumer; then the others go on, and it is logged every minute. A
batch that a person has passed over (`streams.kafka.batches.passing`) is left out. No batch and no call unpacks without
a bound.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from itertools import islice
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from loguru import logger

from streams.kafka import header_names
from streams.kafka.batches.compression import DECODERS
from streams.kafka.batches.headers import BatchId, UnreadableBatch, batch_at

MOST_AT_ONCE: Final = 64 << 20
"""Bytes that one call unpacks before it leaves the rest to the next one."""
MOST_RECORDS: Final = 10_000
"""Records of a partition and call, where the caller gives no number: a megabyte can be nine million empty ones."""
SAID_EVERY_S: Final = 60.0
ASKED_EVERY_S: Final = 3.0
"""Seconds between checks whether a batch was passed over, by a process whose partition stands."""
READERS: Final = ("default_records", "legacy_records")
LEGACY_HEAD: Final = 26
"""Least bytes of a record of the old formats, with offset and length."""

passed: Final[dict[BatchId, str]] = {}
"""Batches that were passed over, as far as this process has read, and their dead letters."""


class _Here(threading.local):
    unpacked = 0


class _Enough(Exception):
    """This call has unpacked enough; the rest is for the next."""


_here: Final = _Here()
_standing: Final[WeakKeyDictionary[Any, bool]] = WeakKeyDictionary()
"""Consumers that stand, by their subscription, which exists before they start; True: they do not log it."""
_said: Final[dict[BatchId, tuple[float, UnreadableBatch]]] = {}
_asking: Final[ContextVar[bool]] = ContextVar("asking", default=False)
_ask: list[Callable[[], Awaitable[None]]] = []
_asked = 0.0
_tasks: Final[set[asyncio.Task[None]]] = set()


def stand(consumer: Any, *, quietly: bool = False) -> None:
    """Have partitions of this consumer stand at a batch that can't be unpacked, until it is passed over; others go on.

    ``quietly`` means that it is not logged, for a consumer that only measures.
    """
    if (subscription := getattr(consumer, "_subscription", None)) is not None:  # a stand-in of a test has none
        _standing[subscription] = quietly


def unreadable(consumer: Any) -> list[UnreadableBatch]:
    """Returns the batches at which partitions of a started consumer stand now."""
    fetcher_of_it = getattr(consumer, "_fetcher", None)
    return [] if fetcher_of_it is None else _found(fetcher_of_it, None)


def unreadable_here() -> list[UnreadableBatch]:
    """Returns the batches at which this process stood, and which have not been passed over yet."""
    return [batch for id, (_, batch) in _said.items() if id not in passed]


def ask_with(ask: Callable[[], Awaitable[None]]) -> None:
    """Set the function by which this process reads what was `passed` over meanwhile."""
    _ask[:] = [ask]


class _Cut(header_names.Kept):
    """A fetch without a whole batch, as brokers send the first one whole. aiokafka would count one offset on."""

    def has_next(self) -> bool:
        return True

    def next_batch(self) -> Any:
        raise CorruptRecordException("it is longer than what came of it")


def _kept(data: bytes) -> header_names.Kept:
    records = header_names.Kept(data)
    return records if records.has_next() or not data else _Cut(data)


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one partition of a fetch."""

    standing: UnreadableBatch | None = None

    def __init__(self, tp: Any, records: Any, aborted: Any, fetch_offset: int, *options: Any) -> None:
        super().__init__(tp, records, aborted, fetch_offset, *options)
        self._began, self._start = fetch_offset, 0
        self._data: bytes = records.data

    def __next__(self) -> Any:
        found: list[Any] = []
        while not found and not self.take(found, 1):
            if self.standing is not None:
                raise self.standing
            _here.unpacked = 0
        if not found:
            raise StopIteration
        return found[0]

    def take(self, found: list[Any], most: int) -> bool:
        """Add at most ``most`` records to ``found``. Returns True at the end, False where there may be more."""
        if self.standing is not None and not self._is_passed(self.standing):
            return False
        while (room := most - len(found)) > 0:
            before = len(found)
            try:
                found.extend(islice(self._records_iterator, room))  # where it raises, what came before it is kept
            except _Enough:
                self._begin(batch_at(self._data, self.next_fetch_offset).start)
                return False
            except UnicodeDecodeError as error:
                if isinstance(self._records, header_names.Lenient):
                    return self._stop(error)
                self._begin(0, header_names.Lenient(self._data, self.next_fetch_offset))
            except MemoryError:
                raise
            except Exception as error:
                start = batch_at(self._data, self.next_fetch_offset).start
                if start == self._start or isinstance(self._records, header_names.Lenient):
                    return self._stop(error)
                self._begin(start)  # aiokafka reads all batches of a fetch in the format of its first
            else:
                if len(found) - before < room:
                    return self.next_fetch_offset > self._began or self._stop(_NoEnd("its offsets lead nowhere"))
        return False

    def _stop(self, error: Exception) -> bool:
        at = self.next_fetch_offset
        found = batch_at(self._data, at)
        raw = self._data[found.start : found.end]
        self.standing = UnreadableBatch(self._tp.topic, self._tp.partition, max(at, found.first), found, raw, error)
        return False

    def _is_passed(self, batch: UnreadableBatch) -> bool:
        """Go on behind the batch if it was passed over. Returns whether it was."""
        if (letter := passed.get(batch.id)) is None:
            return False
        logger.warning(
            "{} partition {}: offsets {} to {} are passed over, see dead letter {}",
            batch.id.topic, batch.id.partition, batch.offset, batch.last, letter,
        )  # fmt: skip
        self.next_fetch_offset, self.standing = batch.last + 1, None
        self._begin(batch_at(self._data, batch.last + 1).start)
        return True

    def _begin(self, start: int, records: Any = None) -> None:
        self._start = start
        self._records = records or header_names.Kept(self._data[start:])
        self._records_iterator = self._unpack_records()


class _NoEnd(CorruptRecordException):  # type: ignore[misc]
    """A fetch after which the position has not moved: it would be fetched again and again."""


class _Result(fetcher.FetchResult):  # type: ignore[misc]
    """A result that stays where it is while it stands: aiokafka fetches nothing of a partition that has one."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        found: list[Any] = []
        if not self.has_more() or not self.check_assignment(self._topic_partition):
            return found
        ended = self._partition_records.take(found, MOST_RECORDS if max_records is None else max_records)
        self._update_position()
        if ended:
            self._partition_records = None
        return found

    def getone(self) -> Any:
        if not self.has_more() or not self.check_assignment(self._topic_partition):
            return None
        try:
            found = next(self._partition_records, None)
        finally:
            self._update_position()
        if found is None:
            self._partition_records = None
        return found


def _found(of: Any, partitions: Any) -> list[UnreadableBatch]:
    results = [(tp, result._partition_records) for tp, result in of._records.items() if isinstance(result, _Result)]
    chosen = [records for tp, records in results if records is not None and (not partitions or tp in partitions)]
    return [records.standing for records in chosen if records.standing is not None]


_fetched: Final = fetcher.Fetcher.fetched_records


async def _fetched_records(self: Any, partitions: Any, timeout: float = 0, max_records: int | None = None) -> Any:
    _here.unpacked = 0
    found = await _fetched(self, partitions, timeout, max_records)
    if self._records and (standing := _found(self, partitions)):
        if (quietly := _standing.get(self._subscriptions)) is not None:
            if not quietly:
                _wait(standing)
        elif not found:  # else they would be lost
            await _raise(standing)
    return found


async def _raise(standing: list[UnreadableBatch]) -> None:
    await look()
    for batch in standing:
        if batch.id not in passed:
            raise batch


def _wait(standing: list[UnreadableBatch]) -> None:
    global _asked
    now = time.monotonic()
    for batch in standing:
        last, _ = _said.get(batch.id, (-SAID_EVERY_S, batch))
        if now - last >= SAID_EVERY_S:
            _said[batch.id] = now, batch
            logger.error("{} {}", batch.message, batch.hint)
    if now - _asked >= ASKED_EVERY_S:
        _asked = now
        task = asyncio.ensure_future(look())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def look() -> None:
    """Read which batches were `passed` over meanwhile."""
    for ask in () if _asking.get() else tuple(_ask):
        token = _asking.set(True)
        try:
            await ask()
        except Exception as error:
            logger.warning("it could not be asked what was passed over: {!r}", error)
        finally:
            _asking.reset(token)


def _bounded(decode: Callable[[Any], bytes], walk: Callable[[bytes], object]) -> Callable[[Any], bytes]:
    def decoded(payload: Any) -> bytes:
        if _here.unpacked >= MOST_AT_ONCE:
            raise _Enough
        data = decode(payload)
        walk(data)
        _here.unpacked += len(data)
        return data

    return decoded


def _walk(data: bytes) -> None:
    """Walk over a set of records of an old format. aiokafka loops for ever at a length that leads back."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 8 : at + 12], "big", signed=True)
        if length < LEGACY_HEAD - 12 or at + 12 + length > len(data):
            raise CorruptRecordException(f"a record of {length} bytes, where {len(data) - at - 12} are left")
        at += 12 + length


def install() -> None:
    """Patch every consumer of this process; a second call changes nothing."""
    for reader in READERS:
        walk = _walk if reader == "legacy_records" else len
        for package in ("aiokafka.record", "aiokafka.record._crecords"):
            try:
                module = importlib.import_module(f"{package}.{reader}")
            except ImportError:  # aiokafka without its parts in C, which `leanedon` tells where that matters
                continue
            for name, decode in DECODERS.items():
                if hasattr(module, name):  # the old formats have no zstd
                    setattr(module, name, _bounded(decode, walk))
    fetcher.MemoryRecords = _kept
    fetcher.PartitionRecords = _Records
    fetcher.FetchResult = _Result
    fetcher.Fetcher.fetched_records = _fetched_records
