"""Parked commands on a real Kafka: kept whole, seen, mended, tried again, dropped; across restarts and lost copies."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kounter.history.reader import Reader
from kounter.parked import Placed, as_dict, by_cause, chosen, drops, heads, read_parked, retries
from kounter.stalled import Stalled, parks, read_stalled
from schemas.bitrix24 import CardAction, CardCommand, CardOutcome
from schemas.errors import DeliveryRefused, DeliveryUnavailable, InvalidInput
from streams.delivery import order_watch, session
from streams.delivery.delivery import Delivery
from streams.delivery.parking import Parked
from streams.delivery.settings import DeliverySettings
from streams.kafka.partitioner import partition_of
from streams.kafka.reader import TopicReader
from streams.kafka.topics import changelog_of
from tests.support.cluster import PATIENCE_S, eventually
from tests.support.deliveries import QUICK, Bench, Port

pytestmark = pytest.mark.integration


class Portal(Port):
    """Refuses every card in a stage that it does not have."""

    async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Any:
        done = await super().deliver(command, attempt, uncertain)
        if command.stage == "NEU":
            raise DeliveryRefused(f"no stage for {command.command_id}")
        return done


@asynccontextmanager
async def running(bench: Bench, port: Port, settings: DeliverySettings = QUICK) -> AsyncIterator[Delivery]:
    delivery = bench.delivery(port, settings)
    task = asyncio.create_task(delivery.run())
    await asyncio.wait_for(delivery.ready.wait(), PATIENCE_S)
    try:
        yield delivery
    finally:
        delivery.stop()
        await asyncio.wait_for(task, PATIENCE_S)


async def parked(bench: Bench) -> list[Parked]:
    async with TopicReader(bench.cluster.kafka) as topics:
        return await read_parked(Reader(bench.cluster.kafka, topics, bench.cluster.serde), changelog_of(bench.group))


async def send(bench: Bench, *orders: Placed) -> None:
    for topic, partition, order in orders:
        await (await bench.cluster.producer.send_nowait(order, topic=topic, partition=partition))


def story(bench: Bench, key: str, stage: str) -> list[CardCommand]:
    create = bench.command(key, CardAction.CREATE_CARD, stage)
    return [create, *(bench.command(key, CardAction.MOVE_CARD, f"S{n}") for n in range(2))]


def ids(commands: list[CardCommand]) -> list[str]:
    return [command.command_id for command in commands]


async def test_parked_seen_mended_retried_dropped_across_restarts(bench: Bench) -> None:
    bad, good, worse = story(bench, "bad", "NEU"), story(bench, "good", "NEW"), story(bench, "worse", "NEU")
    port = Portal()
    await bench.send(*bad, *worse, *good)
    async with running(bench, port) as delivery:
        await bench.all_answered(3)
        await eventually(lambda: delivery.stats.parked == 6)
        assert delivery.stats.parked_keys == 2

    seen = await parked(bench)
    assert [p.key.decode().rpartition("-")[2] for p in seen] == ["bad"] * 3 + ["worse"] * 3
    assert [(cause, count) for cause, count in by_cause(heads(seen))] == [("delivery_refused: no stage for #", 2)]
    assert [as_dict(p)["behind"] for p in seen[:3]] == [False, True, True]
    assert seen[0].value == bench.cluster.serde.encode(bench.topic, bad[0])
    receipts = await bench.receipts(bench.responses)
    assert sorted(r.bitrix_command_id or "" for r in receipts if r.bitrix_outcome == CardOutcome.ERROR) == sorted(
        [bad[0].command_id, worse[0].command_id]
    )

    shutil.rmtree(bench.folder / bench.group)  # the local copy is lost
    port = Portal()
    late = bench.command("bad", CardAction.MOVE_CARD, "S9")
    async with running(bench, port) as delivery:
        await eventually(lambda: delivery.stats.parked == 6)
        await bench.send(late)
        await eventually(lambda: delivery.stats.parked == 7)
        assert port.calls == []

        async with TopicReader(bench.cluster.kafka) as topics:
            reader = Reader(bench.cluster.kafka, topics, bench.cluster.serde)
            firsts = chosen(heads(seen), seen[0].key.decode(), None)
            with pytest.raises(InvalidInput):
                await retries(reader, firsts, {"sage": "NEW"}, "ann")
            plain = await retries(reader, firsts, {}, "ann")
            mended = await retries(reader, firsts, {"stage": "NEW"}, "ann")
        await send(bench, *plain)
        await eventually(lambda: len(port.calls) == 1)
        await send(bench, *mended, *mended)
        await eventually(lambda: delivery.stats.parked == 3)
        assert [c for _, c, _ in port.calls] == [bad[0].command_id, *ids(bad), late.command_id]

        await send(bench, *drops(chosen(seen, None, "no stage"), "ann"))

        async def dropped() -> bool:
            return len(await parked(bench)) == 2

        await eventually(dropped)  # delivery.stats know it before it is committed
        left = await parked(bench)
        assert [p.offset for p in left] == [p.offset for p in seen[4:]]
        await send(bench, *drops(left, "ann"))
        await eventually(lambda: delivery.stats.parked == 0)
        await bench.send(bench.command("worse", CardAction.MOVE_CARD, "S1"))
        await bench.all_answered(3 + 4 + 1)
    assert await parked(bench) == []
    async with running(bench, Portal()) as delivery:
        await asyncio.sleep(1)
        assert (delivery.stats.parked, delivery.stats.completed) == (0, 0)


class Failing(Port):
    """Answers 5xx for one command for ever, and carries out the others."""

    bad = ""

    async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Any:
        done = await super().deliver(command, attempt, uncertain)
        if command.command_id == self.bad:
            raise DeliveryUnavailable("500 for this one")
        return done


async def test_a_stalled_command_is_parked_though_its_partition_holds_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order stands behind more commands than the delivery reads ahead, and comes twice, and after a restart."""
    monkeypatch.setattr(session, "MOST_SPAN", 30)
    monkeypatch.setattr(order_watch, "HELD_S", 0.3)
    bad = bench.command("bad", CardAction.CREATE_CARD, "NEW")
    behind = bench.command("bad", CardAction.MOVE_CARD, "S1")
    home = partition_of(bad.ext_id.encode(), bench.cluster.kafka.partitions)
    keys = [k for k in map(str, range(2_000)) if partition_of(f"{bench.id}-{k}".encode(), 8) == home][:60]
    assert bench.cluster.kafka.partitions == 8
    others = [bench.command(key, CardAction.CREATE_CARD, "NEW") for key in keys]
    port = Failing()
    port.bad = bad.command_id
    await bench.send(bad, behind, *others)
    few = QUICK.model_copy(update={"in_flight": 10})
    async with running(bench, port, few) as delivery:
        await eventually(lambda: delivery.stats.stalled == 1 and delivery.stats.completed >= 28)
        assert delivery.stats.completed <= 40, "it holds back"

        async def stalled() -> list[Stalled]:
            async with TopicReader(bench.cluster.kafka) as topics:
                reader = Reader(bench.cluster.kafka, topics, bench.cluster.serde)
                return await read_stalled(reader, bench.group, bench.topic)

        async def is_known() -> bool:
            return bool(await stalled())

        await eventually(is_known)
        found = await stalled()
        assert [(one.key, one.command_id) for one in found] == [(bad.ext_id, bad.command_id)]

    again = Failing()
    again.bad = bad.command_id
    async with running(bench, again, few) as delivery:
        await send(bench, *parks(found, "ann"), *parks(found, "ann"))
        await bench.all_answered(len(others))
        await eventually(lambda: delivery.stats.parked == 2)
        assert delivery.stats.stalled == 0
        seen = await parked(bench)
        assert [as_dict(p)["reason"] for p in seen] == ["parked_by_order", "parked_behind"]

        again.bad = ""
        async with TopicReader(bench.cluster.kafka) as topics:
            reader = Reader(bench.cluster.kafka, topics, bench.cluster.serde)
            await send(bench, *await retries(reader, heads(seen), {}, "ann"))
        await bench.all_answered(len(others) + 2)
        await eventually(lambda: delivery.stats.parked == 0)
    assert [c for key, c, _ in again.calls if key == bad.ext_id][-2:] == ids([bad, behind])
    calls = [c for key, c, _ in (*port.calls, *again.calls) if key != bad.ext_id]
    assert len(calls) == len(set(calls)), "none was carried out twice"
