"""``python -m bench.domofon``: from an abonent's message on the operator's Kafka to its acknowledgement there.

Bridge, worker and delivery are processes as in production, on one broker. Both topics have the broker's own time, so
the latency is from append to append; the n-th acknowledgement of an abonent answers the n-th message.

The first messages of the stream are not measured, as they warm: brand-new partitions make their index files with their
first record, which holds up all others of the broker, and the JVM and the processes are cold. After that each partition
of each topic has had records, and each abonent is known.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition
from rich.console import Console
from rich.table import Table

from adapters.rosdomofon.settings import RosDomofonSettings
from kounter.embedded.ports import free_port
from kounter.embedded.stack import EmbeddedStack
from tests.conftest import Stack
from tests.support.stage import Stage

ABONENTS: Final = 2_000
PARTITIONS: Final = 3
TICK_S: Final = 0.01
WARM_S: Final = 10.0
"""Seconds that are not measured, see above; more than one message of each abonent."""
PATIENCE_S: Final = 60.0
Times = dict[int, list[int]]
console = Console()


class Result(NamedTuple):
    """Latencies in milliseconds."""

    messages: int
    per_second: float
    acknowledged: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def main(
    rate: Annotated[int, typer.Option(min=1, help="Messages a second.")] = 500,
    seconds: Annotated[float, typer.Option(min=1, help="Measured seconds.")] = 30.0,
) -> None:
    """Measure, print a table, and a JSON line last; exits with 1 if a message was not acknowledged once."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if kafka := os.environ.get("KOUNTER_TEST_KAFKA"):
            result = asyncio.run(run(Stack(kafka, os.environ["KOUNTER_TEST_REGISTRY"]), folder, rate, seconds))
        else:
            with EmbeddedStack(folder / "stack", free_port(), free_port()) as stack:
                own = Stack(stack.bootstrap_servers, stack.registry_url)
                result = asyncio.run(run(own, folder, rate, seconds))
    table = Table(*result._fields)
    table.add_row(*(f"{value:,}" for value in result))
    console.print(table)
    print(json.dumps({"domofon": result._asdict()}))
    raise typer.Exit(result.acknowledged != result.messages)


async def run(stack: Stack, folder: Path, rate: int, seconds: float) -> Result:
    """Returns the result of one run of one stream; its first messages warm up, and are not counted."""
    company = f"BENCH_{time.time_ns():x}"
    into, out = f"MESSAGES_IN_{company}", f"MESSAGES_OUT_{company}"
    await _make(stack, into, out, f"SIGN_UPS_{company}")
    async with Stage(stack, folder, [company], RosDomofonSettings(base_url="http://127.0.0.1:1")):
        since = (time.time() + WARM_S) * 1_000
        sent = await _send(stack, into, rate, WARM_S + seconds)
        await _until(stack, out, sent)
        asked = await _times(stack, into, "fromAbonent")
        answered = await _times(stack, out, "toAbonents")
    measured = [q for at in asked.values() for q in at if q >= since]
    exact = {id: at for id, at in asked.items() if len(answered.get(id, ())) == len(at)}
    waited = sorted(a - q for id, at in exact.items() for q, a in zip(at, answered[id], strict=True) if q >= since)
    cuts = statistics.quantiles(waited, n=100)
    per_second = len(measured) / (max(measured) - since) * 1_000
    return Result(len(measured), round(per_second, 1), len(waited), cuts[49], round(cuts[98], 1), waited[-1])


async def _make(stack: Stack, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    await admin.start()
    try:
        timed = {"message.timestamp.type": "LogAppendTime"}
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=timed) for name in topics])
    finally:
        await admin.close()


async def _send(stack: Stack, topic: str, rate: int, seconds: float) -> int:
    """Send messages of all abonents in turn, evenly. Returns their number."""
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers, acks="all")
    await producer.start()
    begun, sent = time.monotonic(), 0
    try:
        while (passed := time.monotonic() - begun) < seconds:
            while sent < passed * rate:
                abonent = sent % ABONENTS
                # On one partition, as the abonent's order is what pairs messages and answers.
                await producer.send(topic, _message(abonent, sent), partition=abonent % PARTITIONS)
                sent += 1
            await asyncio.sleep(TICK_S)
        await producer.flush()
    finally:
        await producer.stop()
    return sent


def _message(abonent: int, number: int) -> bytes:
    doc = {
        "fromAbonent": {
            "id": 1_574_870 + abonent,
            "phone": 79_000_000_000 + abonent,
            "companyId": 1292,
            "restrictionPushTokenIds": [],
        },
        "channel": "support",
        "message": None,
        "deliveryMethod": None,
        "toAbonents": None,
        "broadcast": False,
        "waitResponse": True,
        "localizedPush": {"message": f"Домофон не работает, {number}", "messageKey": None, "messageArgs": None},
    }
    return json.dumps(doc, ensure_ascii=False).encode()


async def _until(stack: Stack, topic: str, count: int) -> None:
    """Wait until ``count`` records are there, or nothing comes for too long."""
    async with AIOKafkaConsumer(bootstrap_servers=stack.bootstrap_servers) as consumer:
        before, since = -1, time.monotonic()
        while before < count and time.monotonic() - since < PATIENCE_S:
            ends = await consumer.end_offsets([TopicPartition(topic, p) for p in range(PARTITIONS)])
            if (now := sum(ends.values())) > before:
                before, since = now, time.monotonic()
            await asyncio.sleep(0.5)


async def _times(stack: Stack, topic: str, field: str) -> Times:
    """Returns the times at which each abonent's records were appended, in milliseconds."""
    found: Times = defaultdict(list)
    async with AIOKafkaConsumer(bootstrap_servers=stack.bootstrap_servers) as consumer:
        tps = [TopicPartition(topic, p) for p in range(PARTITIONS)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    who: Any = json.loads(record.value)[field]
                    found[(who[0] if isinstance(who, list) else who)["id"]].append(record.timestamp)
    return found


if __name__ == "__main__":
    typer.run(main)
