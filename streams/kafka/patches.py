"""The patches of aiokafka 0.14: two small ones here, and those that have a module of their own.

- A fetcher that is closed awaits the fetches that it has just cancelled. One that is in its back-off, as after a broker
  went away, ends cancelled, and `AIOKafkaConsumer.stop` raised CancelledError into its caller: tasks ended in silence,
  and connections stayed open.
- The error of a whole OffsetFetch answer (KIP-88, since version 2) is not checked. A coordinator that still loads its
  offsets, as after a broker's restart, answers with that error and no partitions. aiokafka takes it for a group that
  never committed, and reads everything again from the start: chaos tests saw outputs written twice. The patched client
  raises the error, and the request is retried as after any retriable error.

And one number, for deliveries and the log's writer as for lanes: the back-off between two transactions.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import for_code
from aiokafka.producer import sender

from streams.kafka import deleted_records
from streams.kafka.batches import unpacking

_send: Final = AIOKafkaClient.send
OFFSET_FETCH: Final = 9
"""API key."""
TXN_BACKOFF_S: Final = 0.001
"""Seconds; aiokafka waits 20 ms for CONCURRENT_TRANSACTIONS, which most back-to-back transactions get once."""


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


def install() -> None:
    """Patch every client of this process, before one is made; a second call changes nothing."""
    unpacking.install()
    deleted_records.install()
    Fetcher.close = _close
    sender.BACKOFF_OVERRIDE = TXN_BACKOFF_S
    AIOKafkaClient.send = _checked_send
