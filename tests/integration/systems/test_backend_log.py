"""The writer of the numbered log on a real Kafka: dense numbers, parents first, over restarts and takeovers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.backend.queue import BackendQueue
from adapters.backend.settings import BackendSettings
from adapters.backend.sink import BackendSink
from adapters.backend.twin.faults import Fault
from adapters.backend.twin.server import BackendTwin
from schemas.backend import CHANGES, EVENTS, BackendChange, BackendEvent, WaitingRelease
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from schemas.parking import ParkedAction, ParkedOrder
from streams.backend_log.backlog import Backlog, backlog
from streams.backend_log.topics import LOG, log_topics
from streams.backend_log.writer import LogWriter
from streams.delivery.delivery import Delivery
from streams.delivery.settings import DeliverySettings
from streams.kafka.consumer import committed_consumer, read_to_end, started
from streams.kafka.dead_letters import TOPIC as DEAD
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import DEAD_LETTERS, REMEMBERED, Topic, changelog_of, ensure_topics, group_of
from tests.support.backend_replicas import Replica
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("backend-log")]


class Log:
    """The topics of this test, a producer of changes, and all that the log holds."""

    def __init__(self, kafka: KafkaSettings, serde: Serde, producer: RecordProducer, folder: Path) -> None:
        self.kafka, self.serde, self.producer, self.folder = kafka, serde, producer, folder

    async def send(self, *rows: Any) -> None:
        await asyncio.gather(*[await self.producer.send_nowait(row) for row in rows])

    def writer(self, name: str = "a", wait_s: float = 600.0) -> LogWriter:
        return LogWriter(self.kafka, self.serde, self.folder / name, wait_s=wait_s, session_ms=3_000)

    async def events(self) -> list[Any]:
        async with started(committed_consumer(self.kafka)) as consumer:
            consumer.assign([LOG])
            end = await consumer.end_offsets([LOG])
            rows = [
                await self.serde.decode(EVENTS, record.value)
                async for polled in read_to_end(consumer, end)
                for record in polled
            ]
            return [row for row in rows if isinstance(row, BackendEvent)]  # the others are orders for parked ones


@pytest.fixture
async def log(own_stack: Any, tmp_path: Path) -> AsyncIterator[Log]:
    kafka = KafkaSettings(bootstrap_servers=own_stack.bootstrap_servers)
    async with SchemaRegistry(RegistrySettings(url=own_stack.registry_url)) as registry:
        serde = Serde(registry)
        await ensure_topics(kafka, [*log_topics(), Topic(DEAD, DEAD_LETTERS)])
        await serde.prepare([CHANGES, EVENTS])
        async with RecordProducer(kafka, serde, "test") as producer:
            yield Log(kafka, serde, producer, tmp_path)


@asynccontextmanager
async def running(*writers: LogWriter) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(writer.run()) for writer in writers]
    try:
        await until(lambda: any(writer.has_seat for writer in writers))
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def change(subject: str, *parents: str, to: Sequence[str] = (), frame: str = "{}") -> BackendChange:
    type, _, ext_id = subject.partition("/")
    return BackendChange(subject, type, ext_id, frame, parents, tuple(to))


def check(events: Sequence[Any], start: int = 0) -> list[str]:
    """Numbers are dense, and stand in the frames too. Returns the subjects behind ``start``."""
    assert [event.update_id for event in events] == list(range(1, len(events) + 1))
    assert all(json.loads(event.frame)["update_id"] == event.update_id for event in events)
    return [event.subject for event in events[start:]]


async def test_a_child_goes_behind_its_parent_over_a_restart(log: Log, tmp_path: Path) -> None:
    before = len(await log.events())
    mark = tmp_path.name
    child, parent = f"premise/{mark}", f"building/{mark}"
    first = log.writer()
    async with running(first):
        await log.send(change(child, parent, frame='{"n":1}'), change(child, parent, frame='{"n":2}'))
        await until(lambda: first.stats.waiting == 2)
    waits = await backlog(log.kafka)  # nobody has the seat now
    assert waits.waiting == 2
    assert waits.oldest_ms is not None
    second = log.writer("b")
    async with running(second):
        await log.send(change(parent))
        await until(lambda: second.stats.written == 3)
    assert await backlog(log.kafka) == Backlog()
    events = await log.events()
    assert check(events, before) == [parent, child, child]
    assert [json.loads(event.frame).get("n") for event in events[before:]] == [None, 1, 2]


async def test_a_release_and_a_reference_that_never_comes(log: Log, tmp_path: Path) -> None:
    before = len(await log.events())
    mark = tmp_path.name
    writer = log.writer(wait_s=0.3)
    async with running(writer):
        await log.send(change(f"lead/{mark}", to=[f"user/{mark}"]))
        await until(lambda: writer.stats.sent_without == 1)
        await log.send(change(f"section/{mark}", f"building/{mark}"))
        await until(lambda: writer.stats.waiting == 1)
        await log.send(WaitingRelease(f"section/{mark}", "me"))
        await until(lambda: writer.stats.written == 2)
    assert check(await log.events(), before) == [f"lead/{mark}", f"section/{mark}"]


async def test_another_takes_the_seat_and_the_numbers_go_on(log: Log, tmp_path: Path) -> None:
    before = len(await log.events())
    mark = tmp_path.name
    first, second = log.writer(), log.writer("b")
    async with running(first):
        await log.send(*(change(f"city/{mark}-{n}") for n in range(500)))
        await until(lambda: first.stats.written >= 500)
        standby = asyncio.create_task(second.run())
        await log.send(*(change(f"city/{mark}-{n}") for n in range(500, 900)))
        await until(lambda: first.has_seat or second.has_seat)
    await until(lambda: second.has_seat)
    await log.send(*(change(f"city/{mark}-{n}") for n in range(900, 1_000)))
    await until(lambda: first.stats.written + second.stats.written == 1_000)
    standby.cancel()
    await asyncio.gather(standby, return_exceptions=True)
    assert sorted(check(await log.events(), before)) == sorted(f"city/{mark}-{n}" for n in range(1_000))


async def test_what_is_no_change_is_a_dead_letter(log: Log, tmp_path: Path) -> None:
    before = len(await log.events())
    writer = log.writer()
    async with running(writer):
        await log.send(change(f"city/{tmp_path.name}", frame="[1]"), change(f"city/{tmp_path.name}"))
        await until(lambda: writer.stats.written == 1)
    assert writer.stats.undecodable == 1
    assert len(check(await log.events(), before)) == 1


@asynccontextmanager
async def delivering(log: Log, twin: BackendTwin, folder: Path) -> AsyncIterator[Delivery]:
    """A delivery to the twin's door, which is stopped in good order."""
    await ensure_topics(log.kafka, [Topic(changelog_of(group_of("backend")), REMEMBERED)])
    async with BackendQueue(BackendSettings(base_url=twin.url)) as queue:
        settings = DeliverySettings(waits_s=(0.0,), circuit_first_s=0.1)
        posting = Delivery(log.kafka, log.serde, BackendSink(queue), settings, folder, settles_s=1)
        task = asyncio.create_task(posting.run())
        try:
            yield posting
        finally:
            posting.stop()
            await task


def whole(subject: str, *parents: str, **fields: str) -> BackendChange:
    """A change with a frame that the door takes."""
    row = change(subject, *parents)
    known = {f"{type}_ext_id": ext_id for type, _, ext_id in (parent.partition("/") for parent in parents)}
    return row._replace(frame=json.dumps({"ext_id": row.ext_id} | known | fields))


async def test_the_log_goes_to_the_backends_door_in_order_and_what_it_refuses_is_parked(
    log: Log, tmp_path: Path
) -> None:
    """The door knows no city, and nothing that was in the log before this test."""
    mark = tmp_path.name
    names = [f"project/pr-{mark}", f"building/b-{mark}", f"premise/p-{mark}"]
    rows = whole(names[0]), whole(names[1], names[0]), whole(names[2], names[1])

    def taken() -> list[str]:
        # Once each: a call of many that one of them spoils is made again in halves.
        return [*dict.fromkeys(f"{type}/{ext_id}" for type, ext_id in twin.store.taken() if mark in ext_id)]

    async with running(log.writer()), BackendTwin() as twin:
        orphan = whole(f"premise/o-{mark}", building_ext_id="none")
        await log.send(orphan, *reversed(rows), change(f"city/c-{mark}"))
        async with delivering(log, twin, tmp_path) as posting:
            await until(lambda: len(taken()) == 3 and posting.stats.parked)
        assert taken() == names


async def test_a_backlog_goes_to_the_door_by_many_over_outages_and_a_restart(log: Log, tmp_path: Path) -> None:
    """No premise goes before its building, and no change of a building before premises that came before it."""
    mark, most = tmp_path.name, 600
    buildings = [f"building/{mark}-b{n}" for n in range(3)]
    rows = [whole(name) for name in buildings]
    rows += [whole(f"premise/{mark}-p{n}", f"building/{mark}-b{n % 3}") for n in range(most)]
    writer = log.writer()
    async with running(writer):
        await log.send(*rows)
        await until(lambda: writer.stats.written == len(rows))
        await log.send(*(whole(name, name="again") for name in buildings))
        await until(lambda: writer.stats.written == len(rows) + 3)

    def premises() -> int:
        return len({*_ids(twin, mark, "premise")})

    async with BackendTwin() as twin:
        kinds = ("unavailable", "cut_after", "bad_gateway")
        twin.faults.plan(*(Fault(kind=kind, rate=0.3, count=2, types=("premise",)) for kind in kinds))
        async with delivering(log, twin, tmp_path):
            await until(lambda: premises() >= most // 3)
        async with delivering(log, twin, tmp_path):
            await until(lambda: all((twin.store.get(*name.split("/")) or {}).get("name") for name in buildings))
        ids, calls = _ids(twin, mark), twin.app.requests["/queue/premise/many"]
    first = {ext_id: n for n, ext_id in reversed([*enumerate(ids)])}
    assert first.keys() == {row.ext_id for row in rows}
    assert all(first[f"{mark}-b{n % 3}"] < first[f"{mark}-p{n}"] for n in range(most))
    assert {*ids[-3:]} == {row.ext_id for row in rows[:3]}, "the second change of each building, behind all premises"
    assert calls < most / 10


async def test_a_thing_that_the_database_never_takes_holds_the_log_until_a_person_parks_it(
    log: Log, tmp_path: Path
) -> None:
    mark = tmp_path.name
    good, bad, later = (whole(f"task/{mark}-{n}", name="x" * (300 if n == "bad" else 1)) for n in ("a", "bad", "c"))
    writer = log.writer()
    async with running(writer):
        for row in (good, bad, whole(f"agency/{mark}"), later):
            before = writer.stats.written
            await log.send(row)
            await until(lambda before=before: writer.stats.written > before)  # type: ignore[misc]
    async with BackendTwin() as twin, delivering(log, twin, tmp_path) as posting:
        await until(lambda: posting.stats.stalled)
        assert {*_ids(twin, mark)} == {good.ext_id}, "the good one of its run is taken, what is behind the run waits"
        offset = await _offset_of(log, bad.subject)
        order = ParkedOrder(bad.subject, ParkedAction.PARK, (offset,), None, "me")
        await (await log.producer.send_nowait(order, topic=EVENTS, partition=0))
        await until(lambda: later.ext_id in _ids(twin, mark))
        assert [*dict.fromkeys(_ids(twin, mark))] == [good.ext_id, mark, later.ext_id]
        assert posting.stats.stalled == 0


async def test_a_process_that_is_killed_in_the_midst_leaves_nothing_out_and_no_order_broken(
    log: Log, own_stack: Any, tmp_path: Path
) -> None:
    """Each building changes once more behind its premises: it must end as that, and no premise may be refused."""
    mark = tmp_path.name
    rows = [whole(f"building/{mark}-b{n}") for n in range(3)]
    for n in range(300):
        rows += [whole(f"premise/{mark}-p{n}", rows[n % 3].subject), whole(f"section/{mark}-s{n}", rows[n % 3].subject)]
    rows += [whole(row.subject, name="again") for row in rows[:3]]
    writer = log.writer()
    async with running(writer):
        await log.send(*rows)
        await until(lambda: writer.stats.written == len(rows))
    async with BackendTwin() as twin:
        twin.faults.plan(Fault(kind="slow", seconds=0.2, types=("premise",)))
        door = {"KOUNTER_BACKEND__BASE_URL": twin.url, "KOUNTER_BACKEND__TIMEOUT_S": "1"}
        folder, command = tmp_path / "delivery", ("kounter", "deliver", "backend")
        process = Replica(own_stack, folder, *command, KOUNTER_DELIVERY__WAITS_S="[0]", **door)
        try:
            await until(lambda: len(_ids(twin, mark, "premise")) > 20)
            process.kill()
            early = {*_ids(twin, mark)}
            twin.faults.plan()
            process.start()
            await until(lambda: {*_ids(twin, mark)} == {row.ext_id for row in rows})
            await until(lambda: all((twin.store.get("building", f"{mark}-b{n}") or {}).get("name") for n in range(3)))
        finally:
            process.kill()
    assert len(early) < 600, "it was killed in the midst"


async def _offset_of(log: Log, subject: str) -> int:
    async with started(committed_consumer(log.kafka)) as consumer:
        consumer.assign([LOG])
        await consumer.seek_to_beginning(LOG)
        found: list[int] = []
        while not found:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found = [record.offset for record in records if record.key == subject.encode()]
        return found[-1]


def _ids(twin: BackendTwin, mark: str, type: str | None = None) -> list[str]:
    return [ext_id for taken, ext_id in twin.store.taken() if mark in ext_id and type in (None, taken)]
