"""Records as nobody should send them, on a real Kafka: each is put aside and the partition goes on."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from streams.kafka import dead_letters
from streams.kafka.partitioner import partition_of
from tests.integration.lane.test_lane import has_version
from tests.support.cluster import Cluster, Worker, eventually
from tests.support.trial import Item

pytestmark = pytest.mark.integration


@pytest.fixture
async def squeezing(cluster: Cluster) -> AsyncIterator[AIOKafkaProducer]:
    """Brokers look at the size of what is sent, which is compressed."""
    producer = AIOKafkaProducer(
        **cluster.kafka.client_options(), compression_type="gzip", max_request_size=64 << 20, max_batch_size=64 << 20
    )
    await producer.start()
    yield producer
    await producer.stop()


async def test_a_record_that_no_dead_letter_can_hold_is_put_aside(
    cluster: Cluster, worker: Worker, squeezing: AIOKafkaProducer
) -> None:
    key = uuid.uuid4().hex
    home = partition_of(key.encode(), cluster.kafka.partitions)
    many = [("", b"")] * 400_000
    kept = b"x" * 2_000_000
    for value, headers in ((kept, []), (b"x" * (20 << 20), []), (b"x", many), (b"x", [("big", b"h" * (10 << 20))])):
        await squeezing.send_and_wait("trial.item", value, key.encode(), partition=home, headers=headers)
    huge = cluster.serde.encode("trial.item", Item(key, 1, "new", "n" * (5 << 20)))
    await squeezing.send_and_wait("trial.item", huge, key.encode(), partition=home)
    await cluster.producer.send(Item(key, 1, "new"))
    await eventually(lambda: has_version(cluster, "trial.item", key, 1))
    letters = await cluster.read(dead_letters.TOPIC, key)
    assert [letter.value for letter in letters] == [kept, None, None, None, None]
    reasons = [dict(letter.headers)[dead_letters.REASON].decode() for letter in letters]
    assert reasons == ["not_confluent_wire"] * 4 + ["too_large"]


async def test_odd_times_and_headers_end_nothing(cluster: Cluster, worker: Worker) -> None:
    """What brokers take: times before 1970, headers without name or value, one name a thousand times."""
    key = uuid.uuid4().hex
    home = partition_of(key.encode(), cluster.kafka.partitions)
    odd: list[tuple[int, list[tuple[str, bytes | None]]]] = [
        (-1, []),
        (-5_000_000_000, [("traceparent", None), ("ce_time", b"\xff"), ("ce_id", None)]),
        (0, [("", b""), ("", None)]),
        (int(time.time() * 1_000) + 3_000_000, [("traceparent", b"\xff" * 500)] * 1_000),
    ]
    taken: list[str] = []
    for number, (at, headers) in enumerate(odd, start=1):
        value = cluster.serde.encode("trial.item", Item(key, number, f"s{number}"))
        try:
            await cluster.raw.send_and_wait(
                "trial.item", value, key.encode(), partition=home, timestamp_ms=at, headers=headers
            )
        except KafkaError:
            continue
        taken.append(f"s{number}")
    await eventually(lambda: has_version(cluster, "trial.item", key, len(taken)))
    assert [m.new for m in await cluster.rows("trial.out", key)] == taken
    assert len(taken) > 2


class Name(str):
    """Of a header, as a C client may send it."""

    __slots__ = ()

    def encode(self, *args: Any) -> bytes:
        return b"\xff\xfe"


async def test_a_header_whose_name_is_no_text_ends_nobody(cluster: Cluster, worker: Worker) -> None:
    key = uuid.uuid4().hex
    home = partition_of(key.encode(), cluster.kafka.partitions)
    for value in (b"no avro", cluster.serde.encode("trial.item", Item(key, 1, "new"))):
        batch = cluster.raw.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, False, -1, -1, -1, 1 << 20)
        batch._builder.append(
            offset=0, timestamp=None, key=key.encode(), value=value, headers=[(Name("x"), b"1"), ("traceparent", b"x")]
        )
        batch._relative_offset = 1
        batch.close()
        await (await cluster.raw.send_batch(batch, "trial.item", partition=home))
    await cluster.producer.send(Item(key, 2, "sold"))
    await eventually(lambda: has_version(cluster, "trial.item", key, 2))
    (letter,) = await cluster.read(dead_letters.TOPIC, key)
    assert letter.value == b"no avro"
    assert dict(letter.headers)["original." + 2 * "\N{REPLACEMENT CHARACTER}"] == b"1"
