"""The batch transport: what each message covers, whatever seeks race the fetches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from streams.lane import faust_transport
from streams.lane.faust_transport import BatchConsumer, BatchConsumerThread

PLACE = TopicPartition("estate.lead", 6)
COMMITTED, END = 6_100, 6_277


def raw(offset: int, size: int = 100) -> Any:
    """A record as far as the transport looks at it."""
    return SimpleNamespace(offset=offset, timestamp=0, serialized_key_size=size, serialized_value_size=0)


class FakeKafka:
    """An aiokafka consumer of one partition, at the level that the transport sees."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(position=END, has_valid_position=True)
        assignment = SimpleNamespace(state_value=lambda tp: self.state)
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        self._coordinator = self

    def assignment(self) -> set[TopicPartition]:
        return {PLACE}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.state.position = offset

    async def seek_to_committed(self) -> dict[TopicPartition, int]:
        """As aiokafka does it: the seek, then other partitions' requests."""
        self.seek(PLACE, COMMITTED)
        await asyncio.sleep(0)
        return {PLACE: COMMITTED}

    async def fetch_committed_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        await asyncio.sleep(0)
        return {PLACE: OffsetAndMetadata(COMMITTED, "")}


def new_thread(kafka: FakeKafka) -> BatchConsumerThread:
    thread = BatchConsumerThread.__new__(BatchConsumerThread)
    thread._handed_out, thread._assignment = {}, None
    thread._ensure_consumer = lambda: kafka

    async def call_thread(function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await function(*args)

    thread.call_thread = call_thread
    return thread


async def fetch(thread: BatchConsumerThread, kafka: FakeKafka, records: list[Any], monkeypatch: Any) -> Any:
    """One fetch that brings ``records`` and moves the position behind them."""

    async def fetched(self: Any, *args: Any, **options: Any) -> dict[TopicPartition, list[Any]]:
        if not records:
            return {}
        kafka.state.position = records[-1].offset + 1
        return {PLACE: records}

    monkeypatch.setattr(faust_transport.driver.AIOKafkaConsumerThread, "_fetch_records", fetched)
    found = await thread._fetch_records(kafka, {TP(*PLACE)})
    consumer = SimpleNamespace(app=SimpleNamespace(tables=SimpleNamespace(changelog_topics=set())))
    return [message for _, message in BatchConsumer._messages(consumer, found, 1)]


async def test_a_seek_that_races_a_fetch_never_makes_records_look_like_markers(monkeypatch: Any) -> None:
    """Seen in a chaos run: 173 records of a partition were skipped after a worker took it over."""
    kafka = FakeKafka()
    thread = new_thread(kafka)
    await fetch(thread, kafka, [], monkeypatch)
    records = [raw(offset) for offset in range(COMMITTED, END)]
    seeking = asyncio.create_task(thread.seek_to_committed())
    for _ in range(5):
        if kafka.state.position != COMMITTED:
            await asyncio.sleep(0)
    (whole,) = await fetch(thread, kafka, records, monkeypatch)
    assert (whole.base, whole.offset) == (COMMITTED, END - 1)
    await seeking
    for message in await fetch(thread, kafka, [], monkeypatch):
        assert message.base >= END, "an empty message covers what was in the other one, which may have been dropped"


async def test_records_that_nobody_takes_yet_are_read_again() -> None:
    """Also those of a partition for which nothing was ever committed: `perform_seek` knows only the others."""
    first, other, changelog = TP("estate.lead", 1), TP("estate.lead", 2), TP("estate-state-changelog", 1)
    sought: list[dict[TP, int]] = []

    class Consumer(BatchConsumer):  # type: ignore[misc]
        _last_poll, should_stop, flow_active = 0.0, False, False
        app = SimpleNamespace(tables=SimpleNamespace(changelog_topics={changelog.topic}))

        def __init__(self) -> None:
            self._committed_offset: dict[TP, int | None] = {}

        async def perform_seek(self) -> None:
            self._committed_offset[other] = 5

        async def seek_wait(self, partitions: Any) -> None:
            sought.append(dict(partitions))

        async def _wait_next_records(self, timeout: float) -> Any:
            fetched = faust_transport._Fetched({TopicPartition(*tp): [raw(7)] for tp in (first, other, changelog)})
            fetched.span = {first: (3, 8)}
            return fetched, set()

    assert [message async for message in Consumer().getmany(1.0)] == []
    assert sought == [{first: 3}]


async def test_markers_move_the_position(monkeypatch: Any) -> None:
    kafka = FakeKafka()
    thread = new_thread(kafka)
    await fetch(thread, kafka, [], monkeypatch)
    kafka.state.position = END + 2
    (message,) = await fetch(thread, kafka, [], monkeypatch)
    assert (message.base, message.offset, message.value) == (END, END + 1, [])


async def test_large_records_go_in_many_messages(monkeypatch: Any) -> None:
    """By number alone, two thousand of a megabyte filled the memory, at every start again."""
    kafka = FakeKafka()
    records = [raw(COMMITTED + n, 1 << 20) for n in range(9)] + [raw(COMMITTED + 9, 30 << 20), raw(COMMITTED + 12)]
    found = await fetch(new_thread(kafka), kafka, records, monkeypatch)
    assert [len(message.value) for message in found] == [4, 4, 1, 1, 1]
    assert [(m.base, m.offset) for m in found] == [
        (COMMITTED + base, COMMITTED + end) for base, end in ((0, 3), (4, 7), (8, 8), (9, 9), (10, 12))
    ]
    assert found[0].weight == 4 << 20


async def test_what_is_read_after_a_seek_begins_there(monkeypatch: Any) -> None:
    """Also with the first fetch after a rebalance, and where compaction has taken what stood there: it was taken for a
    gap."""
    kafka = FakeKafka()
    thread = new_thread(kafka)

    async def seek_wait(self: Any, consumer: FakeKafka, partitions: Any) -> None:
        for tp, offset in partitions.items():
            consumer.seek(tp, offset)

    monkeypatch.setattr(faust_transport.driver.AIOKafkaConsumerThread, "_seek_wait", seek_wait)
    await thread._seek_wait(kafka, {TP(*PLACE): 100})  # type: ignore[arg-type]
    (message,) = await fetch(thread, kafka, [raw(150)], monkeypatch)
    assert (message.base, message.offset) == (100, 150)


def fetch_of(*parts: tuple[TP, int, int]) -> Any:
    """What one fetch brought, of each partition from where to where."""
    fetched = faust_transport._Fetched({TopicPartition(*tp): [raw(n) for n in range(a, b)] for tp, a, b in parts})
    fetched.span = {tp: (a, b) for tp, a, b in parts}
    return fetched


class Fetching(BatchConsumer):  # type: ignore[misc]
    """A consumer that fetches what it is given, and nobody behind it."""

    should_stop, flow_active = False, True

    def __init__(self, *fetches: Any) -> None:
        monitor = SimpleNamespace(track_tp_end_offset=lambda *_: None)
        self.app = SimpleNamespace(
            tables=SimpleNamespace(changelog_topics=set()), consumer_generation_id=1, monitor=monitor
        )
        self.fetches = list(fetches)

    def highwater(self, tp: TP) -> None:
        return None

    async def _wait_next_records(self, timeout: float) -> Any:
        return self.fetches.pop(0), set()


async def test_what_is_under_way_is_known() -> None:
    first, second = TP("estate.lead", 1), TP("estate.lead", 2)
    consumer = Fetching(fetch_of((first, 0, 3), (second, 0, 3)))
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    consumer.inboxes = (inbox,)
    seen = []
    async for tp, message in consumer.getmany(1.0):
        seen.append((tp, consumer.under_way()))
        inbox.put_nowait(SimpleNamespace(message=message))
    assert seen == [(first, {first, second}), (second, {first, second})]
    inbox.get_nowait()
    assert consumer.under_way() == {second}


async def test_nothing_is_fetched_while_much_waits() -> None:
    """By number alone, 4,096 batches waited, and a long backlog filled the memory."""
    place = TP("estate.lead", 1)
    consumer = Fetching(fetch_of((place, 0, 10)))
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    consumer.inboxes = (inbox,)
    for _ in range(5):
        inbox.put_nowait(SimpleNamespace(message=SimpleNamespace(tp=place, weight=20 << 20, value=[None])))
    while inbox.qsize() > 3:
        assert [message async for message in consumer.getmany(1.0)] == []
        inbox.get_nowait()
    assert len([message async for message in consumer.getmany(1.0)]) == 1


async def test_partitions_are_those_of_the_moment_that_a_fetch_began(monkeypatch: Any) -> None:
    """The main thread changes the set while the consumer's thread fetches: empty, it meant all partitions."""
    kafka, active = FakeKafka(), {TP(*PLACE)}
    thread = new_thread(kafka)

    async def fetched(self: Any, consumer: Any, partitions: Any, **options: Any) -> dict[TopicPartition, list[Any]]:
        active.clear()
        assert partitions == {TP(*PLACE)}
        kafka.state.position = END
        return {PLACE: [raw(END - 1)]}

    monkeypatch.setattr(faust_transport.driver.AIOKafkaConsumerThread, "_fetch_records", fetched)
    found = await thread._fetch_records(kafka, active)  # type: ignore[arg-type]
    assert found.span == {TP(*PLACE): (None, END)}
    assert thread.handed_out(TP(*PLACE)) == END


async def test_a_seek_of_what_is_not_ours_leaves_the_others_where_they_stand(monkeypatch: Any) -> None:
    """Marked as sought, the next fetch would have covered what was never read."""
    kafka, other = FakeKafka(), TP("estate.lead", 7)
    thread = new_thread(kafka)
    thread._current(kafka)  # type: ignore[arg-type]
    thread._handed_out[TP(*PLACE)] = END

    def seek(tp: TopicPartition, offset: int) -> None:
        raise IllegalStateError("no current assignment")

    kafka.seek = seek  # type: ignore[method-assign]
    with pytest.raises(IllegalStateError):
        await thread._seek_wait(kafka, {other: 5, TP(*PLACE): 5})  # type: ignore[arg-type]
    assert thread.handed_out(TP(*PLACE)) == END
    assert thread.handed_out(other) == 0


async def test_a_rebalance_while_records_are_put_back_ends_nothing() -> None:
    class Consumer(Fetching):
        async def perform_seek(self) -> None:
            raise IllegalStateError("no current assignment")

    consumer = Consumer(fetch_of((TP("estate.lead", 1), 0, 3)))
    consumer.flow_active, consumer.log = False, SimpleNamespace(info=lambda text: None)
    assert [message async for message in consumer.getmany(1.0)] == []
