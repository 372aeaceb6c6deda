"""Batches that can't be unpacked, as a fetch brings them: what stands before them is handed out, then it is named."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.legacy_records import _LegacyRecordBatchBuilderPy
from aiokafka.structs import TopicPartition
from aiokafka.util import create_future

from streams.kafka.batches import unpacking
from streams.kafka.batches.compression import MOST_BYTES
from streams.kafka.batches.headers import UnreadableBatch, batch_at
from tests.unit.streams.kafka.test_header_names import Name

unpacking.install()
TP = TopicPartition("t", 3)
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    yield
    unpacking.passed.clear()
    unpacking._said.clear()
    unpacking._ask.clear()


def sealed(batch: bytearray) -> bytes:
    """With the checksum of what is in it now, as a producer that is wrong sends it."""
    crc = unpacking_crc(bytes(batch[21:]))
    batch[17:21] = crc.to_bytes(4, "big")
    return bytes(batch)


def unpacking_crc(data: bytes) -> int:
    from aiokafka.record.util import calc_crc32c

    return int(calc_crc32c(data))


def batch(base: int, count: int = 3, compression: int = 0, value: bytes = b"v" * 100) -> bytearray:
    builder = _DefaultRecordBatchBuilderPy(2, compression, False, -1, -1, -1, 1 << 30)
    for n in range(count):
        builder.append(offset=n, timestamp=1_000, key=b"k", value=value, headers=[])
    built = bytearray(builder.build())
    built[:8] = base.to_bytes(8, "big")
    return built


def with_body(base: int, count: int, compression: int, body: bytes) -> bytes:
    """Said to be of a codec, whatever stands in it."""
    built = batch(base, count)[:61]
    built += body
    built[8:12] = (len(built) - 12).to_bytes(4, "big")
    built[21:23] = compression.to_bytes(2, "big")
    return sealed(built)


def broken_record(base: int) -> bytes:
    """Of three records the last is cut off."""
    whole = batch(base)
    return with_body(base, 3, 0, bytes(whole[61:-20]))


def wrong_checksum(base: int) -> bytes:
    built = batch(base)
    built[70] ^= 1
    return bytes(built)


def old(base: int, compression: int, body: bytes | None = None) -> bytes:
    """Three records of format 1 in one."""
    builder = _LegacyRecordBatchBuilderPy(1, compression, 1 << 20)
    for n in range(3):
        builder.append(offset=n, timestamp=1_000, key=b"k", value=b"v" * 100)
    built = bytearray(builder.build())
    built[:8] = (base + 2).to_bytes(8, "big")
    if body is not None:
        from binascii import crc32

        built = built[:26] + (-1).to_bytes(4, "big", signed=True) + len(body).to_bytes(4, "big") + body
        built[8:12] = (len(built) - 12).to_bytes(4, "big")
        built[12:16] = crc32(built[16:]).to_bytes(4, "big")
    return bytes(built)


PACK = {GZIP: codec.gzip_encode, SNAPPY: codec.snappy_encode, LZ4: codec.lz4_encode, ZSTD: codec.zstd_encode}
BOMB = {kind: with_body(3, 1, kind, bytes(pack(bytes(MOST_BYTES + 1)))) for kind, pack in PACK.items()}
LEADS_BACK = codec.gzip_encode(bytes(8) + (-12).to_bytes(4, "big", signed=True) + bytes(20))
BAD = {
    "an unknown codec": (with_body(3, 3, 7, b"x" * 50), 3, "Unknown compression codec 0x07"),
    "a wrong checksum": (wrong_checksum(3), 3, "checksum"),
    "no gzip": (with_body(3, 3, GZIP, b"x" * 50), 3, "header check"),
    "no snappy": (with_body(3, 3, SNAPPY, b"x" * 50), 3, "snappy"),
    "no lz4": (with_body(3, 3, LZ4, b"x" * 50), 3, "lz4"),
    "no zstd": (with_body(3, 3, ZSTD, b"x" * 50), 3, "broken"),
    "nothing at all": (with_body(3, 3, ZSTD, b""), 3, "broken"),
    "a cut record": (broken_record(3), 5, "Can't read"),
    "too few records": (with_body(3, 3, GZIP, codec.gzip_encode(bytes(batch(0, 2)[61:]))), 5, "Can't read"),
    "old, no gzip": (old(3, GZIP, b"x" * 30), 3, "header check"),
    "old, lengths that lead back": (old(3, GZIP, LEADS_BACK), 3, "a record of -12 bytes"),
    **{f"a bomb of {kind}": (data, 3, "more than 64 MiB") for kind, data in BOMB.items()},
}


class Fetched:
    """A fetch of one partition, in a consumer's place for it."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        state = SimpleNamespace(position=at, paused=False)
        state.consumed_to = lambda position: setattr(state, "position", position)
        assignment = SimpleNamespace(active=True, state_value=lambda tp: state)
        records = fetcher.PartitionRecords(TP, fetcher.MemoryRecords(data), [], at, None, None, True, READ_COMMITTED)
        self.state, self.result = (
            state,
            fetcher.FetchResult(TP, assignment=assignment, partition_records=records, backoff=0.1),
        )

    def getall(self, most: int | None = None) -> list[int]:
        unpacking._here.unpacked = 0
        return [record.offset for record in self.result.getall(most)]

    @property
    def standing(self) -> UnreadableBatch | None:
        found: UnreadableBatch | None = self.result._partition_records.standing
        return found


@pytest.mark.parametrize("what", BAD)
def test_it_stands_there_and_goes_on_when_it_is_passed_over(what: str) -> None:
    bad, offset, cause = BAD[what]
    count = batch_at(bad, 0).last - 2
    fetched = Fetched(bytes(batch(0)) + bad + bytes(batch(3 + count)))
    assert fetched.getall() == list(range(offset))
    for _ in range(3):
        assert fetched.getall() == []
        assert fetched.result.has_more()  # so nothing is fetched
        assert fetched.state.position == offset
    stands = fetched.standing
    assert stands is not None
    assert (stands.offset, stands.last, stands.raw) == (offset, 2 + count, bad)
    assert cause in stands.cause
    assert f"t partition 3 stands at offset {offset}" in stands.message
    assert f"dead-letters pass t 3 {offset}`" in stands.hint
    unpacking.passed[stands.id] = "3:0"
    assert fetched.getall() == [3 + count, 4 + count, 5 + count]
    assert fetched.state.position == 6 + count
    assert not fetched.result.has_more()


@pytest.mark.parametrize("compression", [GZIP, SNAPPY, LZ4])
def test_compressed_records_of_the_old_format_are_read(compression: int) -> None:
    fetched = Fetched(old(0, compression) + bytes(batch(3, compression=compression)))
    assert fetched.getall() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("compression", [0, GZIP, SNAPPY, LZ4, ZSTD])
def test_parts_of_a_fetch_come_as_they_are_asked_for(compression: int) -> None:
    fetched = Fetched(bytes(batch(0, 5, compression) + batch(7, 5, compression)), at=1)
    assert [fetched.getall(3) for _ in range(3)] == [[1, 2, 3], [4, 7, 8], [9, 10, 11]]
    assert fetched.getall(3) == []
    assert not fetched.result.has_more()
    assert fetched.state.position == 12


def test_one_call_unpacks_so_much_and_leaves_the_rest_to_the_next() -> None:
    large = [batch(n, 1, ZSTD, bytes(30 << 20)) for n in range(6)]
    fetched = Fetched(b"".join(map(bytes, large)))
    calls = list(itertools.takewhile(bool, (fetched.getall() for _ in range(9))))
    assert [len(call) for call in calls] == [3, 3]
    assert list(itertools.chain(*calls)) == list(range(6))


def test_a_million_tiny_records_come_in_parts() -> None:
    fetched = Fetched(bytes(batch(0, 25_000, ZSTD, b"")))
    assert [len(fetched.getall()) for _ in range(3)] == [10_000, 10_000, 5_000]


def test_a_header_that_is_no_text_in_a_broken_batch_ends_no_process() -> None:
    builder = _DefaultRecordBatchBuilderPy(2, 0, False, -1, -1, -1, 1 << 20)
    builder.append(offset=0, timestamp=1, key=b"k", value=b"v", headers=[(Name("x"), b"1"), ("y", b"2")])
    whole = bytearray(builder.build())
    for cut in range(1, len(whole) - 61):
        fetched = Fetched(with_body(0, 1, 0, bytes(whole[61:-cut])))
        assert fetched.getall() == []
        assert fetched.standing is not None


def test_offsets_that_lead_nowhere_are_not_fetched_for_ever() -> None:
    built = batch(0, 0)
    built[23:27] = (-1).to_bytes(4, "big", signed=True)
    fetched = Fetched(sealed(built))
    assert fetched.getall() == []
    assert fetched.standing is not None
    assert "lead nowhere" in fetched.standing.cause


def test_a_batch_that_is_not_whole_is_not_passed_over_in_silence() -> None:
    fetched = Fetched(bytes(batch(0)[:-1]))
    assert fetched.getall() == []
    assert fetched.standing is not None
    assert (fetched.standing.offset, fetched.standing.last) == (0, 2)
    behind = Fetched(bytes(batch(0)) + bytes(batch(3)[:-1]))
    assert behind.getall() == [0, 1, 2]
    assert not behind.result.has_more()  # the end of a fetch


def test_another_batch_at_the_same_place_is_not_passed_over() -> None:
    first = Fetched(with_body(0, 3, 7, b"x" * 50))
    first.getall()
    assert first.standing is not None
    unpacking.passed[first.standing.id] = "3:0"
    another = Fetched(with_body(0, 3, 7, b"y" * 50))
    assert another.getall() == []
    assert another.standing is not None


class Consumer:
    """As much of one as matters here: two partitions, of which one stands."""

    def __init__(self) -> None:
        self._subscription = type("Subscription", (), {"reassignment_in_progress": False})()
        self.bad, self.good = Fetched(BAD["an unknown codec"][0], 3), Fetched(bytes(batch(0)))
        of = fetcher.Fetcher.__new__(fetcher.Fetcher)
        of._subscriptions, of._records, of._closed = self._subscription, {}, False
        of._records = {TP: self.bad.result, TopicPartition("t", 4): self.good.result}
        of._wait_consume_future, of._fetch_waiters, of._loop = create_future(), set(), asyncio.get_running_loop()
        self._fetcher = of

    async def getmany(self) -> Any:
        return await self._fetcher.fetched_records((), 0.01)


async def test_it_is_raised_when_nothing_else_is_there() -> None:
    consumer = Consumer()
    assert list(await consumer.getmany()) == [TopicPartition("t", 4)]
    for _ in range(2):
        with pytest.raises(UnreadableBatch, match="t partition 3 stands at offset 3"):
            await consumer.getmany()
    assert unpacking.unreadable_here() == []


async def test_a_consumer_that_stands_goes_on_with_the_others_until_it_is_passed_over() -> None:
    consumer = Consumer()
    unpacking.stand(consumer)
    marks: list[Any] = []

    async def ask() -> None:
        for batch in marks:
            unpacking.passed[batch.id] = "3:0"

    unpacking.ask_with(ask)
    assert list(await consumer.getmany()) == [TopicPartition("t", 4)]
    assert await consumer.getmany() == {}
    (batch,) = unpacking.unreadable(consumer)
    assert unpacking.unreadable_here() == [batch]
    marks.append(batch)
    unpacking._asked = 0.0
    await consumer.getmany()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await consumer.getmany() == {}
    assert consumer.bad.state.position == 6
    assert unpacking.unreadable(consumer) == unpacking.unreadable_here() == []


async def test_whoever_would_raise_asks_first_whether_it_was_passed_over() -> None:
    consumer = Consumer()
    await consumer.getmany()
    asked = []

    async def ask() -> None:
        asked.append(1)
        assert consumer.bad.standing is not None
        unpacking.passed[consumer.bad.standing.id] = "3:0"

    unpacking.ask_with(ask)
    assert await consumer.getmany() == {}
    assert await consumer.getmany() == {}
    assert asked == [1]
    assert consumer.bad.state.position == 6
