"""What is committed before what, by a writer that is none: no Kafka, no outside system."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas.parking import ParkedAction, ParkedOrder
from streams.delivery import partition
from streams.delivery.job import DeliveryStats, Job
from streams.delivery.offset_tracker import OffsetTracker
from streams.delivery.partition import PartitionDelivery
from streams.delivery.state import DeliveryState, Write
from streams.kafka.transactions import ProducerRecord
from tests.support.desk import TOPIC, Record, Shelf

TP = TopicPartition(TOPIC, 0)


@pytest.fixture(autouse=True)
def soon(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes gather for a moment only, but where it is told that one does not wait for them."""
    if "at_once" not in request.node.name:
        monkeypatch.setattr(partition, "GATHER_S", 0.03)


class CommandExecutor:
    """Executes by ``execute``; what is said and done, in its order."""

    def __init__(self, said: list[str], execute: Callable[[Job], Any] | None) -> None:
        self.said, self._execute, self.stats, self.sink = said, execute, DeliveryStats(), None

    async def execute(self, job: Job) -> list[Write]:
        self.said.append(f"call {job.record.offset}")
        if self._execute is not None:
            await self._execute(job)
        return [("answers", ProducerRecord(b"k", b"%d" % job.record.offset))]


class Writer:
    """A transaction takes a moment; with ``broken`` it fails."""

    def __init__(self, said: list[str], broken: bool) -> None:
        self._said, self._broken = said, broken
        self.remembered: list[bytes | None] = []
        self.marks: list[Any] = []

    async def commit(self, changelog: str, writes: dict[str, list[ProducerRecord]], offsets: Any) -> int | None:
        await asyncio.sleep(0.01)
        if self._broken:
            raise KafkaError("fenced")
        answers = [(entry.value or b"").decode() for entry in writes.get("answers", ())]
        self._said.append(f"commit {offsets[TP].offset} with {','.join(answers)}")
        self.remembered += [entry.value for entry in writes.get(changelog, ()) if entry.key == b"tally"]
        self.marks.append(offsets[TP])
        return None

    async def stop(self) -> None:
        self._said.append("stop")


class Scene:
    def __init__(
        self,
        execute: Callable[[Job], Any] | None = None,
        *,
        broken: bool = False,
        end: int = 0,
        remembered: bytes | None = None,
    ) -> None:
        self.said: list[str] = []
        self.failed: list[BaseException] = []
        executor: Any = CommandExecutor(self.said, execute)
        writer: Any = Writer(self.said, broken)
        self.remembered, self.marks = writer.remembered, writer.marks
        shelf: Any = Shelf()
        if remembered:
            shelf.states[b"tally"] = remembered
        state = DeliveryState("memory", shelf)
        self.it = PartitionDelivery(
            TP, OffsetTracker(0), end, state, executor, writer, self.failed.append, lambda: None
        )

    def take(self, *keys: bytes) -> None:
        start = self.it.tracker.next
        records: Any = [Record(key, b"v", start + n, 0, 1, (), TOPIC) for n, key in enumerate(keys)]
        self.it.take(records)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.said) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


async def test_the_next_of_a_key_is_called_out_after_the_commit_of_the_one_before() -> None:
    scene = Scene()
    scene.take(b"a", b"a")
    await scene.until(4)
    assert scene.said == ["call 0", "commit 1 with 0", "call 1", "commit 2 with 1"]
    await scene.it.close(1.0)


async def test_counts_are_remembered_once_a_commit_and_survive_an_offset_that_somebody_set() -> None:
    async def execute(job: Job) -> None:
        job.tally.completed += 1

    scene = Scene(execute)
    scene.take(b"a", b"b", b"c")
    await scene.until(4)
    assert scene.remembered == [b"3,0,0,0,0"], "one for all three"
    await scene.it.close(1.0)

    scene = Scene(execute, remembered=b"41,2,1,0,0")
    await scene.until(1)
    assert scene.marks[-1].metadata.endswith(":41,2,1,0,0"), "beside the offset again, at once"
    assert scene.remembered == []
    scene.take(b"a")
    await scene.until(3)
    assert scene.remembered == [b"42,2,1,0,0"]
    await scene.it.close(1.0)


async def test_those_of_other_keys_share_a_transaction() -> None:
    scene = Scene()
    scene.take(b"a", b"b", b"c")
    await scene.until(4)
    assert scene.said[3] == "commit 3 with 0,1,2"
    await scene.it.close(1.0)


async def test_what_is_done_is_committed_though_the_first_is_not() -> None:
    gate = asyncio.Event()

    async def execute(job: Job) -> None:
        if job.record.offset == 0:
            await gate.wait()

    scene = Scene(execute)
    scene.take(b"a", b"b")
    await scene.until(3)
    assert scene.said[2] == "commit 0 with 1", "the position stays before it"
    gate.set()
    await scene.until(4)
    assert scene.said[3] == "commit 2 with 0"
    await scene.it.close(1.0)


async def test_an_intent_is_committed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "GATHER_S", 3_600.0)

    async def execute(job: Job) -> None:
        await job.commit([("answers", ProducerRecord(b"k", b"intent"))])
        scene.said.append("made")

    scene = Scene(execute)
    scene.take(b"a")
    await scene.until(3)
    assert scene.said == ["call 0", "commit 0 with intent", "made"]
    await scene.it.close(1.0)


async def test_a_receipt_that_somebody_waits_for_is_committed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "GATHER_S", 3_600.0)

    async def execute(job: Job) -> None:
        job.prompt = True

    scene = Scene(execute)
    scene.take(b"a")
    await scene.until(2)
    assert scene.said == ["call 0", "commit 1 with 0"]
    await scene.it.close(1.0)


async def test_given_up_what_is_under_way_ends_and_is_committed_and_nothing_else_begins() -> None:
    async def execute(job: Job) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # as the executor, which lets a call come to its end

    scene = Scene(execute)
    scene.take(b"a", b"a", b"b")
    await scene.until(2)
    await scene.it.close(1.0)
    assert scene.said == ["call 0", "call 2", "commit 1 with 0,2", "stop"]
    assert scene.failed == []


async def test_without_any_grace_what_is_done_is_committed_nevertheless() -> None:
    scene = Scene()
    scene.take(b"a")
    await scene.until(1)
    await scene.it.close(0.0)
    assert scene.said == ["call 0", "commit 1 with 0", "stop"]


@pytest.mark.parametrize("grace_s", [None, 0.05])
async def test_after_a_transaction_that_failed_nothing_is_called_out_or_written(grace_s: float | None) -> None:
    scene = Scene(broken=True)
    scene.take(b"a", b"a")
    async with asyncio.timeout(60):
        while not scene.failed:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await scene.it.close(grace_s)
    assert [type(error) for error in scene.failed] == [KafkaError]
    assert scene.said == ["call 0", "stop"]


async def test_keys_of_a_large_backlog_do_not_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A former owner may have tried what it can have read, and not all that stood on the topic."""
    inherited: dict[int, bool] = {}

    async def execute(job: Job) -> None:
        inherited[job.record.offset] = job.inherited

    monkeypatch.setattr(partition, "REACH", 3)
    scene = Scene(execute, end=1_000)
    scene.take(b"a", b"b", b"a", b"c", b"d", b"a")
    assert len(scene.it._met) == 0
    async with asyncio.timeout(60):
        while len(inherited) < 6:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await scene.it.close(1.0)
    assert inherited == {0: True, 1: True, 2: False, 3: False, 4: False, 5: False}


def order(*offsets: int) -> ParkedOrder:
    return ParkedOrder("a", ParkedAction.PARK, offsets, None, "ann")


def order_record(offset: int) -> Any:
    return Record(b"a", b"v", offset, 0, 1, (), TOPIC)


async def test_an_order_to_park_reaches_what_is_in_memory_and_what_is_read_later_of_its_key_alone() -> None:
    found: dict[int, str | None] = {}
    gate = asyncio.Event()

    async def execute(job: Job) -> None:
        await gate.wait()
        found[job.record.offset] = job.interrupt.by

    scene = Scene(execute)
    scene.take(b"a", b"b")
    scene.it.park(order_record(9), order(0, 1, 3, 4, 12))
    scene.take(b"b", b"a", b"b")
    gate.set()
    await scene.until(7)
    assert found == {0: "ann", 1: None, 2: None, 3: "ann", 4: None}
    scene.it.park(order_record(9), order(0))  # done meanwhile: nothing to park
    assert (scene.it._jobs, scene.it._orders) == ({}, {})
    await scene.it.close(1.0)
