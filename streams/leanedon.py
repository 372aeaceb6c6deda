"""The private names of Faust 0.15.3 and aiokafka 0.14.0 that Kounter leans on, each with its reason.

They are checked at start, and by a test: a new version of either fails with the name that is gone, not with lost data.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from schemas.errors import BrokenSetup

LEANED_ON: Final = {
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer": "read_committed, fetch wait",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._fetch_records": "positions as of each fetch",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._seek_wait": "positions after a seek",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._ensure_consumer": "the aiokafka consumer",
    "faust.transport.drivers.aiokafka:Consumer._new_consumer_thread": "our thread in its place",
    "faust.transport.drivers.aiokafka:Consumer._wait_next_records": "the fetch of one poll",
    "faust.transport.drivers.aiokafka:Consumer._commit": "offsets without transactions",
    "faust.transport.consumer:Consumer._read_offset": "records that Faust takes for known reach the lanes, which judge",
    "faust.transport.consumer:Consumer._committed_offset": "where nothing was committed, a seek leaves out",
    "faust.tables.recovery:Recovery._wait": "a recovery that takes too long is an error",
    "asyncio.queues:Queue._init": "what waits for the agent: in the _queue that this makes",
    "faust.streams:_CStreamIterator": "without the compiled stream, messages of an old generation are acked",
    "aiokafka:AIOKafkaConsumer._subscription": "a fetch's position, markers and aborted records included",
    "aiokafka:AIOKafkaConsumer._coordinator": "all committed offsets in one request",
    "aiokafka:AIOKafkaConsumer._fetch_max_wait_ms": "the long poll's length",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.fetch_committed_offsets": "the same",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.check_errors": "a group's errors, without polling",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_heartbeat": "whether a group still hears of us",
    "aiokafka.consumer.fetcher:Fetcher._fetch_task": "schemas.fetcherclose ends the fetches itself",
    "aiokafka.consumer.fetcher:Fetcher._pending_tasks": "the same",
    "aiokafka.consumer.fetcher:Fetcher._fetch_waiters": "the same",
    "aiokafka.consumer.fetcher:Fetcher._notify": "the same",
    "aiokafka:AIOKafkaProducer._message_accumulator": "schemas.lasting stops producers without sending what they hold",
    "aiokafka.producer.message_accumulator:MessageAccumulator.fail_all": "the same",
    "aiokafka.admin:AIOKafkaAdminClient._send_request": "deletes a group, for which there is no public call",
    "aiokafka.client:AIOKafkaClient.send": "schemas.offsetfetch looks at an error that aiokafka does not",
    "aiokafka.consumer.fetcher:MemoryRecords": "schemas.headernames reads headers whose names are no UTF-8",
    "aiokafka.consumer.fetcher:PartitionRecords._unpack_records": "the same",
    "aiokafka.record.memory_records:_MemoryRecordsPy._cache_next": "the same",
    "aiokafka.record.memory_records:_MemoryRecordsPy._next_slice": "the same",
    "aiokafka.record.default_records:_DefaultRecordBatchPy._read_msg": "the same",
    "aiokafka.producer.message_accumulator:BatchBuilder._builder": "many records at once: a third of the time",
    "aiokafka.producer.message_accumulator:BatchBuilder._relative_offset": "the same",
    "aiokafka.producer.sender:BACKOFF_OVERRIDE": "back-off between transactions",
}
_SET_IN_INIT: Final = {
    "_subscription", "_coordinator", "_fetch_max_wait_ms", "_builder", "_relative_offset", "_read_offset",
    "_committed_offset", "_next_slice",
    "_fetch_task", "_pending_tasks", "_fetch_waiters", "_message_accumulator",
}  # fmt: skip


def verify() -> None:
    """Raise BrokenSetup if a private name is gone, or Faust was built without its compiled stream."""
    for path, reason in LEANED_ON.items():
        module, _, name = path.partition(":")
        target: Any = importlib.import_module(module)
        *outer, last = name.split(".")
        for part in outer:
            target = getattr(target, part, None)
        if last in _SET_IN_INIT:
            found = target is not None and last in target.__init__.__code__.co_names
        else:
            found = getattr(target, last, None) is not None
        if not found:
            raise BrokenSetup(
                f"{path} is gone, it is needed for: {reason}",
                hint="Install the pinned versions: faust-streaming 0.15.3 with its compiled parts, aiokafka 0.14.0.",
            )
