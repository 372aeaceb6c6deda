"""The delivery on a real Kafka: with a port of the test, and as processes that are killed beside the Bitrix24 twin."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupLoadInProgressError

from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.bitrix24 import CardAction, CardOutcome, CardReceipt
from schemas.errors import DeliveryUnavailable
from streams.kafka import dead_letters
from streams.kafka.transactions import TransactionalWriter
from streams.query.lag import LagMeter
from tests.support.cluster import PATIENCE_S, eventually
from tests.support.deliveries import QUICK, Bench, Port, Process, deduplicated, history_of, moves, order

pytestmark = pytest.mark.integration


async def test_order_per_key_receipts_once_and_no_lag_left(bench: Bench) -> None:
    commands, port = moves(bench, 40, 5), Port(0.005)
    await bench.send(*commands)
    delivery = bench.delivery(port)
    running = asyncio.create_task(delivery.run())
    receipts = await bench.all_answered(len(commands))
    assert order(receipts) == order([CardReceipt(c.ext_id, c.command_id) for c in commands])
    assert order(await bench.receipts(bench.reply)) == order(receipts)
    assert 5 < port.most <= QUICK.parallel
    async with LagMeter(bench.cluster.kafka) as meter:

        async def no_lag() -> bool:
            return (await meter.of_group(bench.group, (bench.topic,))).records == 0

        await eventually(no_lag)
    delivery.stop()
    await asyncio.wait_for(running, PATIENCE_S)
    assert (delivery.stats.completed, delivery.stats.in_flight) == (len(commands), 0)


async def test_a_slow_key_holds_up_neither_others_nor_a_successor(bench: Bench) -> None:
    """What is done beyond a command that is not survives in the committed offset's metadata."""
    slow = bench.command("slow", CardAction.CREATE_CARD, "NEW")
    others = moves(bench, 60, 2)
    port = Port()
    port.errors[slow.command_id] = [DeliveryUnavailable("503")] * 1_000
    await bench.send(slow, *others)
    first = bench.delivery(port, QUICK.model_copy(update={"circuit_failures": 1_000}))
    running = asyncio.create_task(first.run())
    await bench.all_answered(len(others))
    await eventually(lambda: first.stats.stalled == 1)
    first.stop()
    await asyncio.wait_for(running, PATIENCE_S)

    again = Port()
    second = bench.delivery(again)
    running = asyncio.create_task(second.run())
    receipts = await bench.all_answered(len(others) + 1)
    second.stop()
    await asyncio.wait_for(running, PATIENCE_S)
    assert [(command, uncertain) for _, command, uncertain in again.calls] == [(slow.command_id, True)]
    final = [r for r in receipts if r.bitrix_outcome == CardOutcome.SUCCESS]
    assert len(final) == len(others) + 1
    told = [r for r in receipts if r.bitrix_outcome == CardOutcome.ERROR]
    assert [(r.bitrix_command_id, r.bitrix_attempts) for r in told] == [(slow.command_id, 3)]


async def test_an_outage_drops_nothing_and_keeps_order(bench: Bench) -> None:
    commands, port = moves(bench, 20, 3), Port()
    port.down = True
    await bench.send(*commands)
    delivery = bench.delivery(port)
    running = asyncio.create_task(delivery.run())
    await eventually(lambda: delivery.executor.circuit.state != "closed")
    await asyncio.sleep(0.5)  # calls that were let through before commit their intents first
    calls = len(port.calls)
    await asyncio.sleep(1.0)
    assert len(port.calls) - calls < 12, "an open circuit asks one at a time"
    port.down = False
    receipts = await bench.all_answered(len(commands))
    delivery.stop()
    await asyncio.wait_for(running, PATIENCE_S)
    final = [r for r in receipts if r.bitrix_outcome == CardOutcome.SUCCESS]
    assert order(final) == order([CardReceipt(c.ext_id, c.command_id) for c in commands])
    assert delivery.stats.parked == 0


async def test_a_coordinator_that_loads_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a broker's restart; to leave the group for it would take the partitions from all others too."""
    listed, failures = AIOKafkaAdminClient.list_consumer_group_offsets, [GroupLoadInProgressError()] * 4

    async def loading(self: Any, *args: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await listed(self, *args, **options)

    monkeypatch.setattr(AIOKafkaAdminClient, "list_consumer_group_offsets", loading)
    await bench.send(bench.command("a", CardAction.CREATE_CARD, "NEW"))
    delivery = bench.delivery(Port())
    running = asyncio.create_task(delivery.run())
    await bench.all_answered(1)
    delivery.stop()
    await asyncio.wait_for(running, PATIENCE_S)
    assert (failures, delivery.stats.sessions) == ([], 1)


async def test_noise_goes_to_dead_letters_and_does_not_stop_it(bench: Bench) -> None:
    commands, port = moves(bench, 3, 3), Port()
    await bench.cluster.send_raw(bench.topic, b"x", b"noise")
    await bench.cluster.send_raw(bench.topic, None, b"\0\0\0\0\1")
    await bench.send(*commands)
    delivery = bench.delivery(port)
    running = asyncio.create_task(delivery.run())
    await bench.all_answered(len(commands))
    await eventually(lambda: delivery.stats.undecodable == 2)
    delivery.stop()
    await asyncio.wait_for(running, PATIENCE_S)
    dead = [r for r in await bench.cluster.read(dead_letters.TOPIC) if bench.topic.encode() in dict(r.headers).values()]
    assert len(dead) == 2
    assert all(dict(record.headers)["__connect.errors.stage"] == b"deliver" for record in dead)


async def test_memory_is_bounded(bench: Bench) -> None:
    commands, port = moves(bench, 200, 2), Port()
    port.down = True
    await bench.send(*commands)
    delivery = bench.delivery(port, QUICK.model_copy(update={"in_flight": 50}))
    running = asyncio.create_task(delivery.run())
    for _ in range(20):
        await asyncio.sleep(0.1)
        assert delivery.stats.in_flight <= 50
    assert delivery.stats.in_flight == 50
    port.down = False
    await bench.all_answered(len(commands))
    delivery.stop()
    await asyncio.wait_for(running, PATIENCE_S)


async def test_partitions_are_handed_over_in_good_order(bench: Bench) -> None:
    commands, ports = moves(bench, 60, 6), [Port(0.15), Port(0.15)]
    await bench.send(*commands)
    first, second = (bench.delivery(port, QUICK.model_copy(update={"parallel": 8})) for port in ports)
    parts: tuple[list[float], list[float]] = [], []
    first.shared, second.shared = parts[0].append, parts[1].append
    running = [asyncio.create_task(first.run())]
    await eventually(lambda: first.stats.completed > 30)
    running.append(asyncio.create_task(second.run()))
    receipts = await bench.all_answered(len(commands))
    for delivery in (first, second):
        delivery.stop()
    await asyncio.wait_for(asyncio.gather(*running), PATIENCE_S)
    assert second.stats.completed > 0
    assert parts[0][0] == 1.0
    assert parts[0][1] + parts[1][0] == 1.0, "each keeps to its part of the outside's limits"
    assert order(receipts) == order([CardReceipt(c.ext_id, c.command_id) for c in commands])
    done = [command for port in ports for _, command, _ in port.calls]
    assert sorted(done, key=int) == [c.command_id for c in commands], "no command was called out twice"


async def test_killed_again_and_again_each_card_is_made_once(bench: Bench, tmp_path: Path) -> None:
    commands = moves(bench, 60, 5)
    dice = random.Random(7)
    async with Bitrix24Twin() as twin:
        writes = ("crm.lead.add", "crm.lead.update")
        kinds = ("hang_after", "cut_after", "error_after", "hang_before", "bad_gateway", "QUERY_LIMIT_EXCEEDED")
        twin.faults.plan(
            *(Fault(kind, 0.01, methods=writes, seconds=1.5) for kind in kinds), Fault("slow", 1.0, seconds=0.03)
        )
        await bench.send(*commands)
        process = Process(bench, twin, tmp_path)
        try:
            for _ in range(4):
                handled = changes(twin)
                await eventually(lambda before=handled: changes(twin) > before + 15)  # type: ignore[misc]
                await asyncio.sleep(dice.random() / 5)
                await process.end(signal.SIGKILL)
                await bench.cluster.bury(bench.group)
                process = Process(bench, twin, tmp_path)
            receipts = await bench.all_answered(len(commands), 150)
            assert await process.end(signal.SIGTERM) == 0, process.log.read_text()[-3_000:]
        finally:
            process.process.kill()
            process.process.wait()
        log = process.log.read_text()
        leads = twin.portal.store.rows("SELECT * FROM leads")
        histories = {lead["born_origin"]: history_of(twin, lead["id"]) for lead in leads}
    assert "Traceback" not in log
    assert "/rest/1/twin" not in log, "the webhook's secret"
    assert len(leads) == 60, "each card once"
    wanted = order([CardReceipt(c.ext_id, c.command_id) for c in commands])
    assert {k: deduplicated(v) for k, v in histories.items()} == {f"estate.lead:{k}": v for k, v in wanted.items()}
    final = [r for r in receipts if r.bitrix_outcome == CardOutcome.SUCCESS]
    assert order(final) == wanted
    replies = [r for r in await bench.receipts(bench.reply) if r.bitrix_outcome == CardOutcome.SUCCESS]
    assert order(replies) == wanted
    async with LagMeter(bench.cluster.kafka) as meter:
        assert sum(p.tally.completed for p in await meter.progress(bench.group, bench.topic)) == len(commands)


def changes(twin: Bitrix24Twin) -> int:
    """Of all leads; one request may make many."""
    return len(twin.portal.store.rows("SELECT id FROM history"))


POINTS = ("before the intent", "after the intent", "before the call", "after the call", "before the outcome",
          "after the outcome")  # fmt: skip


async def test_killed_at_every_point_of_a_create_each_card_is_made_once(bench: Bench, tmp_path: Path) -> None:
    """Also where the portal makes the card and does not answer."""
    commands = []
    async with Bitrix24Twin() as twin:
        for point in POINTS:
            create = bench.command(point.replace(" ", "-"), CardAction.CREATE_CARD, "NEW")
            commands += [create, create._replace(command_id=f"{create.command_id}00", action=CardAction.MOVE_CARD)]
            await bench.send(*commands[-2:])
            twin.faults.plan(Fault("hang_after", 1.0, 1, methods=("crm.lead.add",), seconds=1.5))
            process = Process(bench, twin, tmp_path, point)
            died = await asyncio.to_thread(process.process.wait, PATIENCE_S)
            assert died == -signal.SIGKILL, process.log.read_text()[-3_000:]
            await bench.cluster.bury(bench.group)
        process = Process(bench, twin, tmp_path)
        try:
            await bench.all_answered(len(commands))
            assert await process.end(signal.SIGTERM) == 0, process.log.read_text()[-3_000:]
        finally:
            process.process.kill()
            process.process.wait()
        leads = twin.portal.store.rows("SELECT * FROM leads")
    assert sorted(lead["born_origin"] for lead in leads) == sorted({f"estate.lead:{c.ext_id}" for c in commands})


async def test_a_fenced_process_can_not_write_receipts(bench: Bench) -> None:
    """A successor that takes the partitions over without the group's knowledge fences the former owner."""
    port = Port(3.0)  # the writers below have all begun by then: one that is later would fence it once more
    zombie = bench.delivery(port)
    running = asyncio.create_task(zombie.run())
    await zombie.ready.wait()
    await bench.send(bench.command("a", CardAction.CREATE_CARD, "NEW"))
    await eventually(lambda: bool(port.calls))
    writers = [TransactionalWriter(bench.cluster.kafka, bench.group, p) for p in range(bench.cluster.kafka.partitions)]
    await asyncio.gather(*(writer.start() for writer in writers))
    await asyncio.gather(*(writer.stop() for writer in writers))
    receipts = await bench.all_answered(1)
    zombie.stop()
    await asyncio.wait_for(running, PATIENCE_S)
    assert zombie.stats.sessions == 2, "its first session ended when it was fenced"
    assert len(receipts) == 1
    assert [uncertain for _, _, uncertain in port.calls] == [False, True]
