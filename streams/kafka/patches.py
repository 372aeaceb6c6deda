"""The patches of aiokafka 0.14: three small ones here, and those that have a module of their own.

- A fetcher that is closed awaits the fetches that it has just cancelled. One that is in its back-off, as after a broker
  went away, ends cancelled, and `AIOKafkaConsumer.stop` raised CancelledError into its caller: tasks ended in silence,
  and connections stayed open.
- The error of a whole OffsetFetch answer (KIP-88, since version 2) is not checked. A coordinator that still loads its
  offsets, as after a broker's restart, answers with that error and no partitions. aiokafka takes it for a group that
  never committed, and reads everything again from the start: chaos tests saw outputs written twice. The patched client
  raises the error, and the request is retried as after any retriable error.
- Offsets of a partition (first, last, by time) are requested again and again until a timeout of 40 s: it may have no
  leader just now, as in the moment after its creation. The error after that named neither the partition nor the cause,
  and a partition that never was looked the same as brokers that are away. The patched fetcher raises it with both.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import BrokerResponseError, KafkaTimeoutError, for_code
from aiokafka.structs import TopicPartition

from streams.kafka import deleted_records
from streams.kafka.batches import unpacking

_send: Final = AIOKafkaClient.send
_retrieve_offsets: Final = Fetcher._retrieve_offsets
OFFSET_FETCH: Final = 9
"""API key."""


async def _close(self: Fetcher) -> None:
    self._closed = True
    tasks = [self._fetch_task, *self._pending_tasks]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for waiter in self._fetch_waiters:
        self._notify(waiter)


async def _checked_send(self: AIOKafkaClient, *args: Any, **options: Any) -> Any:
    response = await _send(self, *args, **options)
    if getattr(response, "API_KEY", None) == OFFSET_FETCH and (code := getattr(response, "error_code", 0)):
        raise for_code(code)()
    return response


async def _named_retrieve_offsets(
    self: Fetcher, timestamps: dict[TopicPartition, int], timeout_ms: int | None = None
) -> Any:
    try:
        return await _retrieve_offsets(self, timestamps, timeout_ms)
    except KafkaTimeoutError as error:
        known = self._client.cluster
        found = {topic: known.partitions_for_topic(topic) for topic in {tp.topic for tp in timestamps}}
        causes = {tp: _cause(found[tp.topic], tp, known.leader_for_partition(tp)) for tp in timestamps}
        places = "; ".join(f"{tp.topic} {tp.partition}: {cause}" for tp, cause in causes.items() if cause)
        last = _last_answer(error)
        asked = ", ".join(f"{tp.topic} {tp.partition}" for tp in timestamps)
        why = places or f"{asked}: {f'the brokers answer {last!r}' if last else 'no answer'}"
        raise KafkaTimeoutError(f"no offsets from Kafka in {timeout_ms} ms. {why}") from error


def _cause(partitions: set[int] | None, tp: TopicPartition, leader: int | None) -> str:
    """Returns the reason why a partition can't be asked, empty if it could be."""
    if not partitions:
        return "there is no such topic"
    if tp.partition not in partitions:
        return f"there is no such partition, the topic has {len(partitions)}"
    return "" if leader is not None and leader >= 0 else "it has no leader, check that enough brokers run"


def _last_answer(error: BaseException) -> BaseException | None:
    """Returns the error to which aiokafka was to repeat the request when its time was over."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, BrokerResponseError):
        found = found.__cause__ or found.__context__
    return found


def install() -> None:
    """Patch every client of this process, before one is made; a second call changes nothing."""
    unpacking.install()
    deleted_records.install()
    Fetcher.close = _close
    Fetcher._retrieve_offsets = _named_retrieve_offsets
    AIOKafkaClient.send = _checked_send
