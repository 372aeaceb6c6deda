"""How a session of the delivery ends, without Kafka."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.delivery import session as module
from streams.delivery.delivery import Delivery
from streams.delivery.job import DeliveryStats
from streams.delivery.session import Session
from streams.delivery.settings import DeliverySettings
from streams.kafka import consumer
from streams.kafka.settings import KafkaSettings
from streams.resilience import Suspended, Watchdog

TP = TopicPartition("bitrix.commands", 0)


class PartitionDelivery:
    """One that takes its time to close."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    async def close(self, grace_s: float) -> None:
        await asyncio.sleep(0.02)
        self._said.append("last commit")


def session(said: list[str], kafka: Any = None) -> Session:
    states = SimpleNamespace(close=lambda: said.append("state closed"))
    delivery: Any = SimpleNamespace(
        group="test", settings=DeliverySettings(), states=states, ready=asyncio.Event(), stats=DeliveryStats(),
        pulse=Watchdog(8.0), membership=Watchdog(8.0), whose=None,
        executor=SimpleNamespace(decode=None),
    )  # fmt: skip
    return Session(delivery, kafka)


async def test_told_to_end_in_a_rebalance_the_last_commit_comes_before_the_state_closes() -> None:
    said: list[str] = []
    it = session(said)
    it._ours[TP] = PartitionDelivery(said)  # type: ignore[assignment]
    revoking = asyncio.create_task(it.on_partitions_revoked({TP}))
    await asyncio.sleep(0.01)
    await it._give_up(10.0)
    await revoking
    assert said.index("last commit") < said.index("state closed")


class Group:
    """A consumer, as far as its group is looked at."""

    error: KafkaError | None = None
    answers = True

    async def _do_heartbeat(self) -> bool:
        return self.answers

    @property
    def _coordinator(self) -> Group:
        return self

    def check_errors(self) -> None:
        if self.error is not None:
            raise self.error


async def test_what_is_wrong_with_the_group_is_heard_by_one_that_holds_back() -> None:
    """aiokafka tells only who polls, and neither beats nor joins again until then: a standby stood for good."""
    it = session([])
    it._consumer = Group()
    loop = asyncio.create_task(it._loop())
    await asyncio.sleep(0.01)
    assert not loop.done()
    it._consumer.error = KafkaError("unexpected")
    it._wake.set()
    with pytest.raises(KafkaError):
        await asyncio.wait_for(loop, 60)


async def test_who_is_cut_off_from_its_group_makes_no_more_calls() -> None:
    """It could try an older command once more, after its successor had carried out a newer one."""
    it = session([])
    group = it._consumer = Group()
    delivery = it._delivery
    module.hear_heartbeats(group, it._heard)
    before = delivery.membership = Watchdog(-1.0)
    group.answers = False
    assert not await group._do_heartbeat()
    assert delivery.membership is before
    with pytest.raises(Suspended):
        Delivery._check_ours(delivery)
    group.answers = True
    assert await group._do_heartbeat()
    Delivery._check_ours(delivery)


async def test_the_loop_ends_when_it_is_told_in_the_moment_that_something_is_done() -> None:
    it = session([])
    it._consumer = Group()
    loop = asyncio.create_task(it._loop())
    await asyncio.sleep(0.01)
    it._wake.set()
    await asyncio.sleep(0)
    loop.cancel()
    await asyncio.wait({loop}, timeout=60)
    assert loop.cancelled()


async def test_a_writer_that_can_not_start_leaves_none_beside_it_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Writer:
        def __init__(self, kafka: Any, group: str, partition: int) -> None:
            self._partition = partition

        async def start(self) -> None:
            if self._partition == 0:
                raise KafkaError("no coordinator")
            await asyncio.sleep(0.02)
            said.append("started")

        async def stop(self) -> None:
            said.append("stopped")

    monkeypatch.setattr(module, "TransactionalWriter", Writer)
    it = session(said, KafkaSettings())
    await it._open([TP, TopicPartition(TP.topic, 1)])
    assert said == ["started", "stopped", "stopped"], "one that starts later would fence the next session's"
    with pytest.raises(KafkaError):
        it._failed.result()


async def test_a_session_that_is_cancelled_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client(Group):
        def __init__(self, **options: Any) -> None: ...
        async def start(self) -> None: ...
        async def stop(self) -> None: ...
        async def close(self) -> None: ...
        def subscribe(self, topics: Any, listener: Any) -> None: ...

    monkeypatch.setattr(consumer, "AIOKafkaConsumer", Client)
    monkeypatch.setattr(module, "AIOKafkaAdminClient", Client)
    it = session([], KafkaSettings())
    it._delivery.topic = TP.topic
    running = asyncio.create_task(it.run(asyncio.Event()))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_rebalance_that_takes_long_makes_nobody_join_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may drain for 10 s while we join: that was taken for a process that stood still."""
    stopping = asyncio.Event()

    class Client(Group):
        def __init__(self, **options: Any) -> None: ...
        async def start(self) -> None:
            await asyncio.sleep(0.5)  # aiokafka's ends with the assignment

        def check_errors(self) -> None:
            stopping.set()  # the loop runs

        async def stop(self) -> None: ...
        async def close(self) -> None: ...
        def subscribe(self, topics: Any, listener: Any) -> None: ...

    monkeypatch.setattr(consumer, "AIOKafkaConsumer", Client)
    monkeypatch.setattr(module, "AIOKafkaAdminClient", Client)
    monkeypatch.setattr(module, "PULSE_S", 0.4)
    it = session([], KafkaSettings())
    it._delivery.topic = TP.topic
    await it.run(stopping)


async def test_partitions_that_come_while_it_ends_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebalance may be under way: what is opened then would fence the next session's writers."""
    fenced: list[int] = []

    class Writer:
        def __init__(self, kafka: Any, group: str, partition: int) -> None:
            fenced.append(partition)

        async def start(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(module, "TransactionalWriter", Writer)
    it = session([])

    class Client:
        async def stop(self) -> None:
            await it.on_partitions_assigned({TP})
            await asyncio.sleep(0)

        close = stop

    it._consumer = it._admin = Client()
    await it._end()
    assert fenced == []
